"""What is installed in this Python, read from the names of the `*.dist-info` folders.

`importlib.metadata` opens a file for each of the 700 distributions of a Colab image (250 ms); their folders' names
say the same (1 ms). Files are opened only for the distributions that a question is about.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit.packages.request.requirement import normal, read_need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from colabkit.packages.request.requirement import CheckedRequirement
    from colabkit.packages.request.requirements_file import InstallRequirement

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
        for path in (f"{self.folder}/METADATA", f"{self.folder}/PKG-INFO", self.folder):
            try:
                with open(path, "rb") as file:
                    text = file.read()
            except OSError:
                continue
            return text.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
        return ""

    def requires(self) -> tuple[str, ...]:
        """List its `Requires-Dist` fields as they stand."""
        try:
            written = os.stat(self.folder).st_mtime_ns  # noqa: PTH116 - for each of 700
        except OSError:
            return ()
        return _requires(self, written)

    def origin(self) -> dict[str, Any]:
        """Return what its `direct_url.json` says (PEP 610); empty when it came from an index."""
        try:
            origin = json.loads(Path(self.folder, "direct_url.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return origin if isinstance(origin, dict) else {}


@functools.lru_cache(4096)
def _requires(distribution: Installed, written: int) -> tuple[str, ...]:  # noqa: ARG001 - an install writes it anew
    fields = tuple(line[15:] for line in distribution.metadata().split("\n") if line.startswith("Requires-Dist: "))
    if not fields and distribution.folder.endswith(".egg-info"):
        return _egg_requires(Path(distribution.folder) / "requires.txt")
    return fields


class Environment:
    """The distributions that this Python sees, the first on the path winning, as it does at import.

    Args:
        paths: The folders to look in.

    Example:
        >>> "packaging" in Environment()
        True
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._distributions: dict[str, Installed] = {}
        for path in paths or sys.path:
            for distribution in _scan(path):
                self._distributions.setdefault(distribution.name, distribution)

    def __contains__(self, name: str) -> bool:
        return normal(name) in self._distributions

    def __iter__(self) -> Iterator[Installed]:
        return iter(self._distributions.values())

    def __len__(self) -> int:
        return len(self._distributions)

    def get(self, name: str) -> Installed | None:
        """Return the distribution of that name, or None."""
        return self._distributions.get(normal(name))

    def versions(self) -> dict[str, str]:
        """Return every name with its version."""
        return {distribution.name: distribution.version for distribution in self}

    def missing(self, requirements: Iterable[InstallRequirement], *, no_deps: bool = False) -> list[str]:
        """List what keeps the requirements from being satisfied; empty when nothing needs to be installed.

        The requirements of what is installed count too, with their extras and markers, as an installer would see it.

        Args:
            requirements: The requirements.
            no_deps: Leave the requirements of what is installed alone.
        """
        lacking: list[str] = []
        seen: set[tuple[str, frozenset[str]]] = set()
        pending = [(requirement.need, frozenset[str]()) for requirement in requirements if not requirement.editable]
        pending += [(requirement.need, frozenset[str]()) for requirement in requirements if requirement.editable]
        live = {requirement.need.text for requirement in requirements if requirement.editable}
        while pending:
            need, extras = pending.pop()
            if not need.applies(extras):
                continue
            here = (
                self._at(need.url or "") if need.text in live or not need.name else self._distributions.get(need.name)
            )
            if here is None or not (need.text in live or _is_met(need, here)):
                lacking.append(need.text)
                continue
            key = (here.name, need.extras)
            if key not in seen and not no_deps:
                seen.add(key)
                pending += [(dependency, need.extras) for dependency in _needs(here, bool(need.extras))]
        return lacking

    def _at(self, url: str) -> Installed | None:
        """Return the distribution that came from an address; of a folder only one that is used from there."""
        for distribution in self:
            origin = distribution.origin()
            if origin.get("dir_info", {}).get("editable") and url == origin.get("url"):
                return distribution
            if "dir_info" not in origin and origin and _same_address(url, distribution):
                return distribution
        return None


def _needs(here: Installed, with_extras: bool) -> Iterator[CheckedRequirement]:
    for text in here.requires():
        # Most fields of a big package are for extras nobody asked for; reading each would be most of the time.
        if not with_extras and _EXTRA_ONLY.search(text) and " or " not in text:
            continue
        try:
            yield read_need(text)
        except ValueError:
            continue  # an old package's field that no installer can read either


def _is_met(need: CheckedRequirement, here: Installed) -> bool:
    if need.url:
        return _same_address(need.url, here)
    return need.allows(here.version)


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
    match = re.search(r"^Version: *(\S+)", text, re.MULTILINE)
    return match[1] if match else "0"


def _egg_requires(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    plain: list[str] = []
    for line in lines:
        if line.startswith("["):
            break  # sections of extras follow the plain requirements
        if line.strip():
            plain.append(line.strip())
    return tuple(plain)
