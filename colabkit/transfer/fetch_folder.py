"""Folders of many files: each file comes whole and verified, and the folder appears when all are there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colabkit._engine.fetch_task import FALLBACK_NAME, Fetched, FetchTask
from colabkit._engine.parallel import fetch_many
from colabkit._engine.source import key
from colabkit._http.headers import safe_name
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors, sync_folder, write_quickly
from colabkit._safe_text import TURNS
from colabkit.errors import AddressError, ColabKitError
from colabkit.transfer.destination import Destination
from colabkit.transfer.merging import Joining, merge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import RawIOBase
    from pathlib import Path

    from colabkit._engine.fetch_task import Options
    from colabkit._engine.source import Entry, Folder
    from colabkit._types import StrPath

_FORMAT = 2
_LONGEST_NAME = 236  # there is room for the ending of what is not whole yet


def fetch_folder(folder: Folder, to: StrPath | None, options: Options) -> Fetched:
    """Fetch all files of a folder.

    Raises:
        AddressError: A checksum is asked for: it is for one file.
        ExistsError: Something else is at the destination.
        ColabKitError: A file could not be had; the others are kept for the next try.
    """
    if options.wanted is not None:
        raise AddressError(f"{folder.shown} is a folder", why="a checksum is for one file", hint="leave out checksum=")
    destination = Destination(folder.identity, to, options)
    if earlier := destination.noted():
        return earlier
    destination.refuse_if_taken()
    with destination.locked("folder", folder.shown) as part:
        if earlier := destination.noted():
            return earlier
        name, entries = folder.entries()
        target = destination.target(safe_name(name) or folder.name or FALLBACK_NAME)
        destination.refuse_if_taken(target)
        staging = _Staging(part, key(folder.identity))
        size = staging.fill(folder, entries, options)
        staging.publish(target)
        destination.note(target, folder.shown, "")
    return Fetched(path=target, source=folder.shown, from_cache=False, checksum="", size=size)


def merge_folder(folder: Folder, into: Path, options: Options, how: Joining) -> Fetched:
    """Fetch all files of a folder straight into a folder of this machine, beside what it holds.

    Raises:
        AddressError: A checksum is asked for: it is for one file.
        ExistsError: Something else has the name of a file.
        ColabKitError: A file could not be had; the others are kept for the next try.
    """
    if options.wanted is not None:
        raise AddressError(f"{folder.shown} is a folder", why="a checksum is for one file", hint="leave out checksum=")

    def fill(files: Path) -> tuple[str, str]:
        _, entries = folder.entries()
        staging = _Staging(files.parent, key(folder.identity))
        staging.fill(folder, entries, options)
        return folder.shown, ""

    return merge(folder.identity, folder.shown, into, options, how, fill, goes_on=True)


class _Staging:
    """The hidden folder that grows, and its list of what is complete: one line a file, so that a kill loses none."""

    def __init__(self, place: Path, identity: str) -> None:
        self._place = place
        self._files = place / "files"
        self._list = place / "list.jsonl"
        self._identity = identity
        with map_os_errors(place):
            self._files.mkdir(parents=True, exist_ok=True)
        self._done = _read(self._list, identity)

    def fill(self, folder: Folder, entries: Sequence[Entry], options: Options) -> int:
        """Bring all that is missing, and return the bytes that there are."""
        paths = local_paths([entry.path for entry in entries], exact=getattr(folder, "exact_names", False))
        missing = dict(zip(paths, entries, strict=True))
        self._drop_all_but(missing)
        with map_os_errors(self._list):
            lines = [
                {"format": _FORMAT, "identity": self._identity},
                *([name, *record] for name, record in self._done.items()),
            ]
            text = "".join(f"{json.dumps(line)}\n" for line in lines)
            write_quickly(self._list, text.encode(), by=f"{self._list}.new")
            journal = open(self._list, "ab", buffering=0)  # noqa: SIM115 - closed below
        plain = replace(options, use_cache=False, overwrite=True, unpack=False, wanted=None)
        try:
            fetched = fetch_many(
                list(missing.items()),
                plain,
                lambda item, mine: self._fetch_entry(*item, mine, journal),
                at_once=folder.at_once,
                pause=folder.pause,
            )
        except ColabKitError as error:
            error.add_note(f"{len(self._done)} of {len(entries)} files are kept; run it again for the rest")
            raise
        finally:
            journal.close()
        return sum(fetched_file.size for fetched_file in fetched)

    def _fetch_entry(self, path: str, entry: Entry, options: Options, journal: RawIOBase) -> Fetched:
        place = self._files / path
        if self._has(place, path, entry):
            return Fetched(path=place, source=entry.source.shown, from_cache=True, checksum="", size=_size(place))
        with map_os_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        fetched = FetchTask(entry.source, place, options).run()
        status = place.stat()
        record = self._done[path] = (entry.version, status.st_size, status.st_mtime_ns)
        with map_os_errors(self._list), contextlib.suppress(ValueError):  # closed: whoever waited for us has gone
            journal.write(f"{json.dumps([path, *record])}\n".encode())
        return fetched

    def _has(self, place: Path, path: str, entry: Entry) -> bool:
        record = self._done.get(path)
        if record is None or record[0] != entry.version or entry.size not in (None, record[1]):
            return False
        try:
            status = place.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == record[1:]

    def _drop_all_but(self, entries: dict[str, Entry]) -> None:
        """Forget what an earlier try brought and what is not in the folder any more."""
        for path in [path for path in self._done if path not in entries]:
            del self._done[path]
            with map_os_errors(self._files):
                (self._files / path).unlink(missing_ok=True)

    def publish(self, target: Path) -> None:
        """Give the complete folder its name in one step."""
        old = self._place / "old"
        with map_os_errors(target):
            if os.path.lexists(target):
                os.replace(target, old)
            os.replace(self._files, target)
            sync_folder(target.parent)
        shutil.rmtree(self._place, ignore_errors=True)


def _size(path: Path) -> int:
    return path.stat().st_size


def _read(path: Path, identity: str) -> dict[str, tuple[str, int, int]]:
    """Read the list of an earlier try; from the first line on that is not exactly one, it counts as none."""
    entries: dict[str, tuple[str, int, int]] = {}
    unreadable = contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
    with unreadable, path.open("rb") as lines:
        value = json.loads(next(lines, b""))
        if (value["format"], value["identity"]) != (_FORMAT, identity):
            return {}
        for line in lines:
            name, *known = json.loads(line)
            entries[name] = _known(name, *known)
    return entries


def _known(name: str, version: Any, size: Any, modified: Any) -> tuple[str, int, int]:
    plain = isinstance(version, str) and type(size) is int and type(modified) is int
    if not plain or local_paths([name], exact=True) != [name]:
        raise ValueError
    return version, size, modified


def local_paths(paths: Sequence[str], *, exact: bool = False) -> list[str]:
    """Make safe, different relative paths of those that a source gives.

    Args:
        paths: They.
        exact: A name that this machine takes, and that leads nowhere else, stays as it is; else what other systems
            do not take is replaced.

    Example:
        >>> local_paths(["a/b.csv", "a/b.csv", "../../etc/passwd", ".gitignore"])
        ['a/b.csv', 'a/b (2).csv', '_/_/etc/passwd', '.gitignore']
    """
    split = [
        tuple(_part(part, exact=exact) for part in path.split("/") if part not in ("", ".")) or ("_",) for path in paths
    ]
    taken = {path[:end] for path in split for end in range(1, len(path))}  # a file cannot have the name of a folder
    numbers: dict[tuple[str, ...], int] = {}
    local_names = []
    for path in split:
        unique = path
        while unique in taken:
            numbers[path] = numbers.get(path, 1) + 1
            stem, dot, ending = path[-1].rpartition(".")
            last = f"{stem} ({numbers[path]}){dot}{ending}" if stem else f"{path[-1]} ({numbers[path]})"
            unique = (*path[:-1], last)
        taken.add(unique)
        local_names.append("/".join(unique))
    return local_names


def _part(name: str, *, exact: bool) -> str:
    """Make a plain name of one part of a path; unlike a file from the web, it may begin with a dot."""
    if exact and name != ".." and TEMP_MARKER not in name and _fits_here(name):
        return name
    plain = safe_name(name) or "_"
    hidden = name.startswith(".") and plain != "_" and TEMP_MARKER not in name
    return f".{plain}" if hidden else plain


def _fits_here(name: str) -> bool:
    plain = sys.platform != "win32" and name.isprintable() and "\\" not in name
    return plain and not any(mark in name for mark in TURNS) and len(name.encode(errors="replace")) <= _LONGEST_NAME
