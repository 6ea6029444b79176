"""What is installed in this Python, read from the names of the `*.dist-info` folders.

`importlib.metadata` opens a file for each of the 700 distributions of a Colab image (250 ms); their folders' names
say the same (1 ms). Files are opened only for the distributions that a question is about.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from colabkit.packages._requirements import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from packaging.markers import Environment, Marker
    from packaging.requirements import Requirement

    from colabkit.packages._requirements import Wanted

_FOLDER = re.compile(r"([A-Za-z0-9].*)-([^-]+)\.dist-info")  # not pip's leftovers, which begin with ~
_EGG = re.compile(r"([A-Za-z0-9][A-Za-z0-9._]*?)(?:-([^-]+))?(?:-py[\d.]+)?\.egg-info")
_EXTRA_ONLY = re.compile(r"\bextra *==")


@dataclass(frozen=True, slots=True)
class Installed:
    """One distribution.

    Attributes:
        name: The name in its normal form.
        version: The version, as its folder says it.
        folder: The path of its `*.dist-info` (or, from other tools, `*.egg-info`).
    """

    name: str
    version: str
    folder: str

    def metadata(self) -> str:
        """Return the fields of its METADATA file, without the description that follows them."""
        folder = Path(self.folder)
        for path in (folder / "METADATA", folder / "PKG-INFO", folder):
            try:
                text = path.read_bytes()
            except OSError:
                continue
            return text.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
        return ""

    def requires(self) -> list[str]:
        """List its `Requires-Dist` fields as they stand."""
        fields = [line[15:] for line in self.metadata().split("\n") if line.startswith("Requires-Dist: ")]
        if not fields and self.folder.endswith(".egg-info"):
            return _egg_requires(Path(self.folder) / "requires.txt")
        return fields

    def origin(self) -> dict[str, Any]:
        """Return what its `direct_url.json` says (PEP 610); empty when it came from an index."""
        try:
            origin = json.loads(Path(self.folder, "direct_url.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return origin if isinstance(origin, dict) else {}


class Site:
    """The distributions that this Python sees, the first on the path winning, as it does at import.

    Args:
        paths: The folders to look in.

    Example:
        >>> "packaging" in Site()
        True
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._found: dict[str, Installed] = {}
        for path in paths or sys.path:
            for one in _scan(path):
                self._found.setdefault(one.name, one)

    def __contains__(self, name: str) -> bool:
        return normal(name) in self._found

    def __iter__(self) -> Iterator[Installed]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def get(self, name: str) -> Installed | None:
        """Return the distribution of that name, or None."""
        return self._found.get(normal(name))

    def versions(self) -> dict[str, str]:
        """Return every name with its version."""
        return {one.name: one.version for one in self}

    def missing(self, wanted: Iterable[Wanted]) -> list[str]:
        """List what keeps the requirements from being satisfied; empty when nothing needs to be installed.

        The requirements of what is installed count too, with their extras and markers, as an installer would see it.
        """
        from packaging.markers import default_environment

        environment = default_environment()
        lacking: list[str] = []
        seen: set[tuple[str, frozenset[str]]] = set()
        pending = [(one.requirement, frozenset[str]()) for one in wanted]
        while pending:
            requirement, extras = pending.pop()
            if requirement.marker and not _applies(requirement.marker, environment, extras):
                continue
            here = self.get(requirement.name)
            if here is None or not _is_met(requirement, here):
                lacking.append(str(requirement))
                continue
            key = (here.name, frozenset(map(normal, requirement.extras)))
            if key not in seen:
                seen.add(key)
                pending += [(needed, key[1]) for needed in _parsed(here, key[1])]
        return lacking


def _applies(marker: Marker, environment: Environment, extras: frozenset[str]) -> bool:
    values = cast("dict[str, str]", environment)
    return any(marker.evaluate({**values, "extra": extra}) for extra in extras or ("",))


def _parsed(here: Installed, extras: frozenset[str]) -> Iterator[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in here.requires():
        # Most fields of a big package are for extras nobody asked for; reading each would be most of the time.
        if not extras and _EXTRA_ONLY.search(text) and " or " not in text:
            continue
        try:
            yield Requirement(text)
        except InvalidRequirement:
            continue  # an old package's field that no installer can read either


def _is_met(requirement: Requirement, here: Installed) -> bool:
    from packaging.version import InvalidVersion

    if requirement.url:
        return _same_address(requirement.url, here)
    if not requirement.specifier:
        return Path(here.folder).exists()
    try:
        return requirement.specifier.contains(here.version, prereleases=True)
    except InvalidVersion:
        return False


def _same_address(url: str, here: Installed) -> bool:
    origin = here.origin()
    if "dir_info" in origin:
        return False  # a folder's content may have changed; only the installer can say
    if vcs := origin.get("vcs_info"):
        commit = str(vcs.get("commit_id", ""))
        return bool(commit) and url == f"git+{origin.get('url')}@{commit}"
    return url.partition("#")[0] == str(origin.get("url", "")).partition("#")[0]


def _scan(path: str) -> Iterator[Installed]:
    try:
        entries = list(os.scandir(path or "."))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(".dist-info"):
            if match := _FOLDER.fullmatch(entry.name):
                yield Installed(normal(match[1]), match[2], entry.path)
        elif entry.name.endswith(".egg-info") and (match := _EGG.fullmatch(entry.name)):
            name, version = normal(match[1]), match[2]
            yield Installed(name, version or _egg_version(name, entry.path), entry.path)


def _egg_version(name: str, folder: str) -> str:
    text = Installed(name, "", folder).metadata()
    found = re.search(r"^Version: *(\S+)", text, re.MULTILINE)
    return found[1] if found else "0"


def _egg_requires(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    plain: list[str] = []
    for line in lines:
        if line.startswith("["):
            break  # sections of extras follow the plain requirements
        if line.strip():
            plain.append(line.strip())
    return plain
