"""Installing with pip, where uv cannot be had."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from typing import TYPE_CHECKING

from colabkit._internal.process import proc
from colabkit.packages.installers import running
from colabkit.packages.installers.request import INSTALL_TIMEOUT, PLAN_TIMEOUT, Failure
from colabkit.packages.report import Change
from colabkit.packages.request.requirement import normal
from colabkit.packages.request.requirements_file import masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.packages.environment import Environment
    from colabkit.packages.installers.request import Request

NAME = "pip"
FILES: tuple[str, ...] = ("PIP_CONSTRAINT", "PIP_CONFIG_FILE")


def find(env: Mapping[str, str]) -> str | None:  # noqa: ARG001 - the same shape as uv's
    """Return the Python whose pip it is, this one; None where it has none."""
    return sys.executable if importlib.util.find_spec("pip") else None


def plan(program: str, request: Request, site: Environment) -> tuple[Change, ...]:
    """Ask what would change, touching nothing.

    Raises:
        Failure: pip finds no way, with its own words.
    """
    with request.files() as arguments, tempfile.NamedTemporaryFile(suffix=".json") as report:
        _run(
            program,
            ["--dry-run", "--report", report.name, *_choices(request), *arguments],
            request,
            timeout=PLAN_TIMEOUT,
        )
        planned = json.load(report)["install"]
    changes = []
    for item in planned:
        name = normal(item["metadata"]["name"])
        here = site.get(name)
        changes.append(
            Change(
                name=name,
                before=here.version if here else None,
                after=item["metadata"]["version"],
                origin=masked(str(item["download_info"]["url"])) if item.get("is_direct") else "",
            )
        )
    return tuple(changes)


def install(program: str, request: Request, planned: Sequence[Change]) -> None:
    """Install what was planned.

    Raises:
        Failure: pip could not, with its own words.
    """
    with request.files(planned) as arguments:
        _run(program, [*_choices(request), *arguments], request, timeout=INSTALL_TIMEOUT)


def versions(program: str, request: Request, name: str) -> list[str]:
    """Return the versions that an index has of a package, those without a wheel too."""
    command = [program, "-m", "pip", "index", "versions", "--no-input", *request.links(), name]
    output = proc.run(command, timeout=PLAN_TIMEOUT, env={**request.env, **_settings(request)}, cwd=request.cwd).out
    return output.partition("Available versions: ")[2].partition("\n")[0].split(", ")


def nearest(program: str, request: Request, requirement: str, *, is_lowest: bool) -> str:  # noqa: ARG001
    """Return ""; pip's own refusal lists the versions that have a wheel."""
    return ""


def _choices(request: Request) -> list[str]:
    options = request.options
    words = ["--upgrade"] if options.upgrade else []
    words += ["--pre"] if options.pre else []
    words += ["--force-reinstall"] if options.reinstall else []
    return words if options.source else [*words, "--only-binary", ":all:"]  # it builds addresses all the same


def _run(program: str, arguments: Sequence[str], request: Request, *, timeout: float) -> None:
    command = [program, "-m", "pip", "install", "--no-input", "--progress-bar", "off", "--retries", "1", *arguments]
    if request.options.offline:
        command.append("--no-index")
    log = running.new_log() if request.may_build else None
    label = "planning" if "--dry-run" in arguments else "building" if request.may_build else "installing"
    settings = {**request.env, **_settings(request)}
    if log is not None:
        settings["PIP_LOG"] = str(log)  # with what a build prints, as it is printed
    done = running.run(command, label=label, timeout=timeout, env=settings, cwd=request.cwd)
    if not done.ok:
        raise Failure(NAME, done, log)


def _settings(request: Request) -> dict[str, str]:
    # by the environment: an index address may hold a password, and arguments are visible to every user
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COLOR": "1"}
    if request.options.index_url:
        settings["PIP_INDEX_URL"] = request.options.index_url
    if request.options.extra_index_urls:
        settings["PIP_EXTRA_INDEX_URL"] = " ".join(request.options.extra_index_urls)
    return settings
