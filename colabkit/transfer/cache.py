"""What was fetched before: a receipt for each file, so that the second call needs no network."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._tools.files import PART, write_quickly, writing_to
from colabkit.errors import ColabKitError
from colabkit.transfer._checksum import DIGITS, Checksum, of_file
from colabkit.transfer.base import key

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A file that was fetched, and how to see that nobody changed it since.

    Attributes:
        path: Where it lies.
        source: Where it came from, without credentials and query.
        size: Its size in bytes.
        modified: Its time of change, in nanoseconds.
        fetched: When, in UTC, as ISO text.
        checksums: The hashes that were verified, of the archive where it was unpacked.
        inode: For an unpacked folder: its number in the file system, which survives what the user does inside.
    """

    path: Path
    source: str
    size: int
    modified: int
    fetched: str
    checksums: dict[str, str] = field(default_factory=dict)
    inode: int = 0

    def holds(self, checksum: Checksum | None) -> bool:
        """Say whether the file is still there, unchanged, and the one that is expected."""
        try:
            status = self.path.stat()
        except (OSError, ValueError):
            return False
        if self.inode:
            known = checksum is None or self.checksums.get(checksum.algorithm) == checksum.digits
            return status.st_ino == self.inode and known
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            return False
        if checksum is None:
            return True
        verified = self.checksums.get(checksum.algorithm)
        return (verified or of_file(self.path, checksum.algorithm).digits) == checksum.digits


def folder() -> Path:
    """Return where downloads without a destination are kept."""
    return config.cache_dir() / "fetch"


def home(identity: str) -> Path:
    """Return the folder of one source in the cache."""
    return folder() / "files" / key(identity)


def find(identity: str, to: str | os.PathLike[str] | None) -> Receipt | None:
    """Return the receipt of an earlier fetch of this source to this place, if there is one."""
    try:
        with open(_place(identity, to), "rb") as file:
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
) -> Receipt:
    """Write the receipt of a file; failing to is no failure of the fetch.

    Args:
        identity: Tells the source from all others.
        to: What the user named as its place.
        path: Where the file is.
        source: What the source is called.
        checksum: What was verified.
        status: What the file will be like when it is there; None if it is.
    """
    status = status or path.stat()
    receipt = Receipt(
        path=path.absolute(),
        source=source,
        size=status.st_size,
        modified=status.st_mtime_ns,
        fetched=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        checksums={} if checksum is None else {checksum.algorithm: checksum.digits},
        inode=status.st_ino if stat.S_ISDIR(status.st_mode) else 0,
    )
    place = _place(identity, to)
    with contextlib.suppress(ColabKitError), writing_to(place):
        value = {"format": _FORMAT, **vars(receipt), "path": str(receipt.path)}
        # Without waiting for the disk: a receipt that a power cut takes costs one more fetch.
        data, by = json.dumps(value).encode(), f"{place}{PART}{os.getpid()}-{threading.get_ident()}"
        if not os.path.isdir(os.path.dirname(place)):  # noqa: PTH112, PTH120
            os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
        write_quickly(place, data, by=by)
    return receipt


def listing() -> list[Receipt]:
    """List the files that earlier fetches left and that are still unchanged, newest first."""
    receipts = [receipt for receipt in _all() if receipt.holds(None)]
    return sorted(receipts, key=lambda receipt: receipt.fetched, reverse=True)


def _all() -> Iterator[Receipt]:
    for path in sorted((folder() / "receipts").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            yield _read(json.loads(path.read_bytes()))


def _place(identity: str, to: str | os.PathLike[str] | None) -> str:
    # Plain text all the way: a list of a thousand small files spends a tenth of its time in pathlib otherwise.
    where = "" if to is None else os.path.abspath(os.path.expanduser(to))  # noqa: PTH100, PTH111
    return f"{folder()}{os.sep}receipts{os.sep}{key(identity, where)}.json"


def _read(value: Any) -> Receipt:
    checksums = value["checksums"]
    if not isinstance(checksums, dict):
        raise TypeError
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
    return Receipt(
        path=Path(value["path"]),
        source=value["source"],
        size=numbers[0],
        modified=numbers[1],
        fetched=value["fetched"],
        checksums=checksums,
        inode=numbers[2],
    )
