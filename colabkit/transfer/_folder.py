"""Folders of many files: each file comes whole and verified, and the folder appears when all are there."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colabkit._tools.files import PART, sync_folder, write_json, writing_to
from colabkit.errors import AddressError, ColabKitError
from colabkit.transfer._headers import safe_name
from colabkit.transfer._job import FALLBACK_NAME, Fetched, Job
from colabkit.transfer._many import fetch_many
from colabkit.transfer._spot import Spot
from colabkit.transfer.base import key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.transfer._job import Options
    from colabkit.transfer.base import Entry, Folder

_FORMAT = 1
_SAVE_EVERY = 1.0


def fetch_folder(folder: Folder, to: StrPath | None, options: Options) -> Fetched:
    """Fetch all files of a folder.

    Raises:
        AddressError: A checksum is asked for: it is for one file.
        ExistsError: Something else is at the destination.
        ColabKitError: A file could not be had; the others are kept for the next try.
    """
    if options.wanted is not None:
        raise AddressError(f"{folder.shown} is a folder", why="a checksum is for one file", do="leave out checksum=")
    spot = Spot(folder.identity, to, options)
    if known := spot.noted():
        return known
    spot.refuse_if_taken()
    with spot.locked("folder", folder.shown) as part:
        if known := spot.noted():
            return known
        name, entries = folder.entries()
        target = spot.target(safe_name(name) or folder.name or FALLBACK_NAME)
        spot.refuse_if_taken(target)
        staging = _Staging(part, key(folder.identity))
        size = staging.fill(folder, entries, options)
        staging.publish(target)
        spot.note(target, folder.shown, "")
    return Fetched(path=target, source=folder.shown, from_cache=False, checksum="", size=size)


class _Staging:
    """The hidden folder that grows, and its list of what is complete."""

    def __init__(self, place: Path, identity: str) -> None:
        self._place = place
        self._files = place / "files"
        self._list = place / "list.json"
        self._identity = identity
        self._lock = threading.Lock()
        self._next_save = time.monotonic() + _SAVE_EVERY
        with writing_to(place):
            self._files.mkdir(parents=True, exist_ok=True)
        self._done = _read(self._list, identity)

    def fill(self, folder: Folder, entries: Sequence[Entry], options: Options) -> int:
        """Bring all that is missing, and return the bytes that there are."""
        paths = local_paths([entry.path for entry in entries])
        wanted = dict(zip(paths, entries, strict=True))
        self._drop_all_but(wanted)
        plain = replace(options, use_cache=False, overwrite=True, unpack=False, wanted=None)
        try:
            fetched = fetch_many(
                list(wanted.items()),
                plain,
                lambda item, mine: self._bring(*item, mine),
                at_once=folder.at_once,
                pause=folder.pause,
            )
        except ColabKitError as error:
            error.add_note(f"{len(self._done)} of {len(entries)} files are kept; run the same again for the rest")
            raise
        finally:
            self._save()
        return sum(one.size for one in fetched)

    def _bring(self, path: str, entry: Entry, options: Options) -> Fetched:
        place = self._files / path
        if self._has(place, path, entry):
            return Fetched(path=place, source=entry.source.shown, from_cache=True, checksum="", size=_size(place))
        with writing_to(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        fetched = Job(entry.source, place, options).run()
        status = place.stat()
        with self._lock:
            self._done[path] = (entry.version, status.st_size, status.st_mtime_ns)
            due = time.monotonic() >= self._next_save
        if due:
            self._save()
        return fetched

    def _has(self, place: Path, path: str, entry: Entry) -> bool:
        known = self._done.get(path)
        if known is None or known[0] != entry.version or entry.size not in (None, known[1]):
            return False
        try:
            status = place.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == known[1:]

    def _drop_all_but(self, wanted: dict[str, Entry]) -> None:
        """Forget what an earlier try brought and what is not in the folder any more."""
        for path in [path for path in self._done if path not in wanted]:
            del self._done[path]
            with writing_to(self._files):
                (self._files / path).unlink(missing_ok=True)

    def _save(self) -> None:
        with self._lock:
            value = {"format": _FORMAT, "identity": self._identity, "files": dict(self._done)}
            write_json(self._list, value)
            self._next_save = time.monotonic() + _SAVE_EVERY

    def publish(self, target: Path) -> None:
        """Give the complete folder its name in one step."""
        old = self._place / "old"
        with writing_to(target):
            if os.path.lexists(target):
                os.replace(target, old)
            os.replace(self._files, target)
            sync_folder(target.parent)
        shutil.rmtree(self._place, ignore_errors=True)


def _size(path: Path) -> int:
    return path.stat().st_size


def _read(path: Path, identity: str) -> dict[str, tuple[str, int, int]]:
    """Read the list of an earlier try; anything that is not exactly one counts as none."""
    try:
        value = json.loads(path.read_bytes())
        if (value["format"], value["identity"]) != (_FORMAT, identity):
            return {}
        return {name: _known(name, *known) for name, known in value["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _known(name: str, version: Any, size: Any, modified: Any) -> tuple[str, int, int]:
    plain = isinstance(version, str) and type(size) is int and type(modified) is int
    if not plain or local_paths([name]) != [name]:
        raise ValueError
    return version, size, modified


def local_paths(paths: Sequence[str]) -> list[str]:
    """Make safe, different relative paths of those that a source gives.

    Example:
        >>> local_paths(["a/b.csv", "a/b.csv", "../../etc/passwd", ".gitignore"])
        ['a/b.csv', 'a/b (2).csv', '_/_/etc/passwd', '.gitignore']
    """
    split = [tuple(_part(part) for part in path.split("/") if part not in ("", ".")) or ("_",) for path in paths]
    taken = {path[:end] for path in split for end in range(1, len(path))}  # a file cannot have the name of a folder
    numbers: dict[tuple[str, ...], int] = {}
    found = []
    for path in split:
        unique = path
        while unique in taken:
            numbers[path] = numbers.get(path, 1) + 1
            stem, dot, ending = path[-1].rpartition(".")
            last = f"{stem} ({numbers[path]}){dot}{ending}" if stem else f"{path[-1]} ({numbers[path]})"
            unique = (*path[:-1], last)
        taken.add(unique)
        found.append("/".join(unique))
    return found


def _part(name: str) -> str:
    """Make a plain name of one part of a path; unlike a file from the web, it may begin with a dot."""
    plain = safe_name(name) or "_"
    hidden = name.startswith(".") and plain != "_" and PART not in name
    return f".{plain}" if hidden else plain
