"""Installing with pip, where uv cannot be had."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from typing import TYPE_CHECKING

from colabkit._tools import proc
from colabkit.packages._need import normal
from colabkit.packages._report import Change
from colabkit.packages._request import INSTALL_TIMEOUT, PLAN_TIMEOUT, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.packages._request import Request
    from colabkit.packages._site import Site

NAME = "pip"
FILES: tuple[str, ...] = ("PIP_CONSTRAINT", "PIP_CONFIG_FILE")


def find(env: Mapping[str, str]) -> str | None:  # noqa: ARG001 - the same shape as uv's
    """Return the Python whose pip it is, this one; None where it has none."""
    return sys.executable if importlib.util.find_spec("pip") else None


def plan(program: str, request: Request, site: Site) -> tuple[Change, ...]:
    """Ask what would change, touching nothing.

    Raises:
        Failure: pip finds no way, with its own words.
    """
    with request.files() as arguments, tempfile.NamedTemporaryFile(suffix=".json") as report:
        _run(program, ["--dry-run", "--report", report.name, *arguments], request, timeout=PLAN_TIMEOUT)
        planned = json.load(report)["install"]
    found = []
    for item in planned:
        name = normal(item["metadata"]["name"])
        here = site.get(name)
        found.append(Change(name=name, before=here.version if here else None, after=item["metadata"]["version"]))
    return tuple(found)


def install(program: str, request: Request, planned: Sequence[Change]) -> None:
    """Install what was planned.

    Raises:
        Failure: pip could not, with its own words.
    """
    with request.files(planned) as arguments:
        _run(program, arguments, request, timeout=INSTALL_TIMEOUT)


def _run(program: str, arguments: Sequence[str], request: Request, *, timeout: float) -> None:
    command = [program, "-m", "pip", "install", "--no-input", "--progress-bar", "off", "--retries", "1", *arguments]
    if request.options.offline:
        command.append("--no-index")
    done = proc.run(command, timeout=timeout, env={**request.env, **_settings(request)})
    if not done.ok:
        raise Failure(NAME, done)


def _settings(request: Request) -> dict[str, str]:
    # by the environment: an index address may hold a password, and arguments are visible to every user
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COLOR": "1"}
    if request.options.index_url:
        settings["PIP_INDEX_URL"] = request.options.index_url
    if request.options.extra_index_urls:
        settings["PIP_EXTRA_INDEX_URL"] = " ".join(request.options.extra_index_urls)
    return settings
