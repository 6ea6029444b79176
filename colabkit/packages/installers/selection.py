"""Whether this Python may be changed, and by which installer: asked before anything is planned."""

from __future__ import annotations

import configparser
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from colabkit._internal.disk.paths import expand
from colabkit.errors import InstallerError, SiteError
from colabkit.packages.installers import pip, uv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.packages.environment import Environment
    from colabkit.packages.installers.request import Request
    from colabkit.packages.report import Change


class Installer(Protocol):
    """What a module of an installer offers."""

    NAME: str
    FILES: tuple[str, ...]
    """Variables that name files: one that is missing makes every call of it fail."""

    def find(self, env: Mapping[str, str]) -> str | None:
        """Return the program, or None where it cannot be had."""
        ...

    def plan(self, program: str, request: Request, site: Environment) -> tuple[Change, ...]:
        """Ask what would change, touching nothing."""
        ...

    def install(self, program: str, request: Request, planned: Sequence[Change]) -> None:
        """Install what was planned."""
        ...

    def versions(self, program: str, request: Request, name: str) -> list[str]:
        """Return the versions that an index has of a package, those without a wheel too."""
        ...

    def nearest(self, program: str, request: Request, requirement: str, *, is_lowest: bool) -> str:
        """Return the highest or lowest version with a wheel for this Python that meets a requirement; "" for none."""
        ...


INSTALLERS: tuple[Installer, ...] = (uv, pip)
"""In the order in which they are tried."""


def find_installer(env: Mapping[str, str]) -> tuple[Installer, str]:
    """Return the first installer that can be had, and its program.

    Raises:
        InstallerError: There is none, or a variable of it names a file that does not exist.
    """
    for installer in INSTALLERS:
        if program := installer.find(env):
            _check_files(installer, env)
            return installer, program
    raise InstallerError(
        "nothing can be installed here: there is neither uv nor pip",
        why=f"no uv on PATH, and {sys.executable} has no pip",
        hint="run: python -m ensurepip",
    )


def check_writable(env: Mapping[str, str]) -> None:
    """Refuse a Python that must not, or cannot, be changed.

    Raises:
        SiteError: The operating system manages it (PEP 668), or its folder refuses to be written.
    """
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    is_own = sys.prefix != sys.base_prefix
    is_allowed = any(env.get(f"{tool}_BREAK_SYSTEM_PACKAGES", "") not in ("", "0", "false") for tool in ("UV", "PIP"))
    if marker.is_file() and not is_own and not is_allowed:
        raise SiteError(
            f"{sys.executable} belongs to the operating system and refuses to be changed (PEP 668)",
            why=_managers_words(marker),
            hint="make an environment of your own, `python -m venv ENV`, and run this in it",
        )
    for kind in ("purelib", "platlib"):
        folder = sysconfig.get_path(kind)
        if not os.access(folder, os.W_OK):
            raise SiteError(
                f"cannot install into {folder}",
                why="the folder does not exist" if not Path(folder).exists() else "it refuses to be written",
                hint="make an environment of your own, `python -m venv ENV`, and run this in it",
            )


def _check_files(installer: Installer, env: Mapping[str, str]) -> None:
    for variable in installer.FILES:
        for name in env.get(variable, "").split():
            if "://" not in name and not expand(name).exists():
                raise InstallerError(
                    f"{variable} names {name}, which does not exist",
                    why=f"with it every call of {installer.NAME} fails",
                    hint=f"run: import os; del os.environ[{variable!r}]",
                )


def _managers_words(marker: Path) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(marker, encoding="utf-8")
        text = parser.get("externally-managed", "Error", fallback="")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return ""
    return " ".join(text.split())[:400]
