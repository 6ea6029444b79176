"""Packages that are named by where they lie: a repository, an archive, a wheel, a folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from colabkit._internal.disk import working_dir
from colabkit._internal.disk.paths import expand
from colabkit.errors import NotFoundError, RequirementError
from colabkit.packages.request.requirement import CheckedRequirement, normal
from colabkit.packages.request.requirements_file import InstallRequirement, masked, refuse_credentials

if TYPE_CHECKING:
    import os
    from pathlib import Path

_SCHEME = re.compile(r"(?:(?:git|hg|svn|bzr)\+)?[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz")
_EXTRAS = re.compile(r"(.*?)\[([\w\s,.-]*)\]$", re.DOTALL)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_EGG = re.compile(rf"(?:^|&)egg=({_NAME})(?:\[([\w,.-]*)\])?", re.IGNORECASE)
_SUBDIRECTORY = re.compile(r"(?:^|&)(subdirectory=[^&]+)")


def is_address(text: str, folder: Path | None = None) -> bool:
    """Say whether a text names a place rather than a package.

    Example:
        >>> is_address("git+https://github.com/a/b"), is_address("./demo"), is_address("numpy>=2"), is_address(".[dev]")
        (True, True, False, True)
    """
    if _SCHEME.match(text):
        return True
    plain, _ = _without_extras(text)
    if plain in (".", "..") or plain.startswith(("./", "../", "/", "~/")):
        return True
    if any(letter in plain for letter in "=<>!~;@ "):
        return False
    return plain.endswith(_ARCHIVES) or ("/" in plain and path_of(plain, folder).exists())


def path_of(text: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Return the path that a text means, from a folder on; from the working folder when None.

    Raises:
        StorageError: It is relative, and the working folder is gone.
    """
    path = expand(text)
    return path if path.is_absolute() else working_dir.absolute(path if folder is None else folder / path)


def address_of(text: str, folder: Path | None = None, *, editable: bool = False) -> InstallRequirement:
    """Read an address; its package's name is "" where only the code itself tells it.

    Args:
        text: As pip takes it: with `#egg=NAME`, `@REVISION`, extras in brackets.
        folder: What a path is relative to.
        editable: Leave the code where it is (`-e`).

    Raises:
        NotFoundError: A path is not there.
        RequirementError: It holds a password, or is a page about a repository.

    Example:
        >>> address_of("git+https://github.com/a/b.git#egg=b").line
        'b @ git+https://github.com/a/b.git'
    """
    if not _SCHEME.match(text):
        return _local(text, folder, editable=editable)
    refuse_credentials(text, masked(text))
    address, _, fragment = text.partition("#")
    plain, extras = _without_extras(address)
    egg, below = _EGG.search(fragment), _SUBDIRECTORY.search(fragment)
    name = egg[1] if egg else _name_in(plain)
    extras = (egg[2] if egg else None) or extras
    if re.fullmatch(r"https?://(?:www\.)?git(?:hub|lab)\.com/[^/]+/[^/]+/?", plain):
        raise RequirementError(
            f"{masked(plain)} is the page of a repository",
            why="a package is installed from the repository itself",
            hint=f'write "git+{masked(plain)}"',
        )
    if match := re.fullmatch(r"https?://(?:www\.)?pypi\.org/(?:project|simple)/([\w.-]+)(?:/.*)?", plain):
        raise RequirementError(
            f"{masked(plain)} is the page of a package",
            why="what lies behind it is no archive",
            hint=f'write "{match[1]}"',
        )
    url = plain + (f"#{below[1]}" if below else "")
    return _made(url, name, extras, editable=editable)


def _local(text: str, folder: Path | None, *, editable: bool) -> InstallRequirement:
    plain, extras = _without_extras(text)
    path = path_of(plain, folder)
    if not path.exists():
        raise NotFoundError(f"there is no package at {path}", hint="check the path, and the working folder (%pwd)")
    if path.is_dir() and not any(
        (path / filename).exists() for filename in ("pyproject.toml", "setup.py", "setup.cfg")
    ):
        raise RequirementError(
            f"{path} is not a package",
            why="it has neither a pyproject.toml nor a setup.py",
            hint="name the folder that has one; to use its modules without installing: import sys; sys.path.append(…)",
        )
    name = _name_in(path.name) if path.is_file() else _project_name(path)
    return _made(path.resolve().as_uri(), name, extras, editable=editable)


def _made(url: str, name: str, extras: str, *, editable: bool) -> InstallRequirement:
    brackets = f"[{extras}]" if extras else ""
    path = unquote(url.removeprefix("file://")) if url.startswith("file://") else url
    if editable:
        text = f"-e {path}{brackets}"
    elif name:
        text = f"{name}{brackets} @ {url}"
    else:
        text = f"{path}{brackets}"
    need = CheckedRequirement(
        text=text,
        name=normal(name) if name else "",
        extras=frozenset(normal(extra.strip()) for extra in extras.split(",") if extra.strip()),
        url=url,
        marker=None,
        allows=lambda _: True,
    )
    return InstallRequirement(need=need, editable=editable)


def _without_extras(text: str) -> tuple[str, str]:
    match = _EXTRAS.fullmatch(text)
    return (match[1], match[2]) if match else (text, "")


def _name_in(address: str) -> str:
    """The name that a wheel's file has; "" for all else, whose name is a habit and no rule."""
    name = unquote(address.rpartition("/")[2])
    return name.split("-")[0].replace("_", "-") if name.endswith(".whl") and name.count("-") >= 4 else ""


def _project_name(folder: Path) -> str:
    """The name that a project's file states; its code is not run."""
    import tomllib

    try:
        with (folder / "pyproject.toml").open("rb") as file:
            name = tomllib.load(file)["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) and re.fullmatch(_NAME, name) else ""
