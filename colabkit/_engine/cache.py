"""What was fetched before: a receipt for each file, so that the second call needs no network."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._engine.source import key
from colabkit._internal.disk.checksum import DIGITS, Checksum, of_file
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors, write_quickly
from colabkit._internal.disk.paths import expand
from colabkit.errors import ColabKitError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """A file that was fetched, and how to see that nobody changed it since.

    Attributes:
        path: Where it lies.
        source: Where it came from, without credentials and query.
        size: Its size in bytes.
        modified: Its time of change, in nanoseconds.
        fetched: When, in UTC, as ISO text.
        checksums: The hashes that were verified, of the archive where it was unpacked.
        inode: For an unpacked folder: its number in the file system, which survives what the user does inside.
        members: For a folder of the cache: how many files it had, and their bytes; later it may hold more, not less.
    """

    path: Path
    source: str
    size: int
    modified: int
    fetched: str
    checksums: dict[str, str] = field(default_factory=dict)
    inode: int = 0
    members: tuple[int, int] = (0, 0)

    def holds(self, checksum: Checksum | None) -> bool:
        """Say whether the file is still there, unchanged, and the one that is expected."""
        try:
            status = self.path.stat()
        except (OSError, ValueError):
            return False
        if self.inode:
            known = checksum is None or self.checksums.get(checksum.algorithm) == checksum.digits
            return status.st_ino == self.inode and known and self._is_complete()
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            return False
        if checksum is None:
            return True
        verified = self.checksums.get(checksum.algorithm)
        return (verified or of_file(self.path, checksum.algorithm).digits) == checksum.digits

    def _is_complete(self) -> bool:
        if not any(self.members):
            return True
        return all(now >= before for now, before in zip(_members(self.path), self.members, strict=True))


def _members(folder: Path) -> tuple[int, int]:
    """Count the files below a folder, and their bytes."""
    count = size = 0
    for top, _, names in os.walk(folder):
        count += len(names)
        with contextlib.suppress(OSError):
            size += sum(os.lstat(os.path.join(top, name)).st_size for name in names)  # noqa: PTH118 - there may be many
    return count, size


def folder() -> Path:
    """Return where downloads without a destination are kept."""
    return _folder(*map(os.environ.get, (config.CACHE_DIR, "XDG_CACHE_HOME", "HOME")))


@functools.lru_cache(maxsize=4)
def _folder(*variables: str | None) -> Path:  # noqa: ARG001 - what it depends on
    return config.cache_dir() / "fetch"


@functools.lru_cache(maxsize=4)
def _receipts(place: Path) -> str:
    return f"{place}{os.sep}receipts{os.sep}"


def home(identity: str) -> Path:
    """Return the folder of one source in the cache."""
    return folder() / "files" / key(identity)


def find(identity: str, to: str | os.PathLike[str] | None) -> CacheEntry | None:
    """Return the receipt of an earlier fetch of this source to this place, if there is one."""
    return read(receipt_of(identity, to))


def read(receipt: str) -> CacheEntry | None:
    """Return what a receipt says, if there is such a file and nobody has spoilt it."""
    try:
        with open(receipt, "rb", buffering=0) as file:
            return _read(json.loads(file.read()))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def note(
    identity: str,
    to: str | os.PathLike[str] | None,
    path: Path,
    source: str,
    checksum: Checksum | None,
    status: os.stat_result | None = None,
    place: str = "",
) -> None:
    """Write the receipt of a file; failing to is no failure of the fetch.

    Args:
        identity: Tells the source from all others.
        to: What the user named as its place.
        path: Where the file is.
        source: What the source is called.
        checksum: What was verified.
        status: What the file will be like when it is there; None if it is.
        place: Where the receipt is written, if that is known.
    """
    status, place = status or path.stat(), place or receipt_of(identity, to)
    value = {
        "format": _FORMAT,
        "path": str(path.absolute()),
        "source": source,
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "fetched": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "checksums": {} if checksum is None else {checksum.algorithm: checksum.digits},
        "inode": status.st_ino if stat.S_ISDIR(status.st_mode) else 0,
    }
    if value["inode"] and to is None:
        value["members"] = _members(path)
    with contextlib.suppress(ColabKitError), map_os_errors(place):
        # Without waiting for the disk: a receipt that a power cut takes costs one more fetch.
        data, by = json.dumps(value).encode(), f"{place}{TEMP_MARKER}{os.getpid()}-{threading.get_ident()}"
        try:
            write_quickly(place, data, by=by)
        except StorageError:
            os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
            write_quickly(place, data, by=by)


def listing() -> list[CacheEntry]:
    """List the files that earlier fetches left and that are still unchanged, newest first."""
    receipts = [receipt for receipt in _all() if receipt.holds(None)]
    return sorted(receipts, key=lambda receipt: receipt.fetched, reverse=True)


def _all() -> Iterator[CacheEntry]:
    for path in sorted((folder() / "receipts").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            yield _read(json.loads(path.read_bytes()))


def receipt_of(identity: str, to: str | os.PathLike[str] | None) -> str:
    """Return where the receipt of a source at a place is, or would be."""
    # Plain text all the way: a list of a thousand small files spends a tenth of its time in pathlib otherwise.
    where = "" if to is None else os.fspath(to)
    if where and not where.startswith("/"):
        where = os.path.abspath(expand(where) if where.startswith("~") else where)  # noqa: PTH100
    return f"{_receipts(folder())}{key(identity, where and _absolute(where))}.json"


_absolute = functools.lru_cache(maxsize=64)(os.path.abspath)


def _read(value: Any) -> CacheEntry:
    checksums = value["checksums"]
    if not isinstance(checksums, dict):
        raise TypeError
    members = value.get("members", (0, 0))
    numbers = (value["size"], value["modified"], value["inode"])
    texts = (value["path"], value["source"], value["fetched"], *checksums, *checksums.values())
    wrong = (
        value["format"] != _FORMAT
        or not all(isinstance(text, str) for text in texts)
        or not all(type(number) is int for number in numbers)
        or not checksums.keys() <= DIGITS.keys()
    )
    if wrong:
        raise ValueError
    return CacheEntry(
        path=Path(value["path"]),
        source=value["source"],
        size=numbers[0],
        modified=numbers[1],
        fetched=value["fetched"],
        checksums=checksums,
        inode=numbers[2],
        members=(int(members[0]), int(members[1])),
    )
