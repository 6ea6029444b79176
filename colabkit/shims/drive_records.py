"""What came from Drive and what was sent, in a file beside the folder, so that the next process knows it."""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import read_note, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.shims.drive_tree import About

    Status = tuple[int, int]
    """Bytes, and when it was changed."""


class DriveRecords:
    """The versions of files on Drive that the files here are, each with what tells it from a later change here.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        value = read_note(path)
        self._records: dict[str, dict[str, Any]] = {
            place: record
            for place, record in (value.items() if isinstance(value, dict) else ())
            if isinstance(record, dict)
        }

    def get(self, place: str) -> dict[str, Any]:
        """Return the record of a place; empty where there is none."""
        return self._records.get(place, {})

    def remember(self, place: str, status: Status | None, about: About) -> None:
        """Note that a file here is this version on Drive."""
        self._records[place] = {
            "status": list(status or ()),
            "id": about["id"],
            "version": version_of(about),
            "name": about["name"],
        }

    def save(self) -> None:
        """Write them; where that fails, the next process compares checksums."""
        with contextlib.suppress(OSError):
            write_json(self._path, self._records)


def version_of(about: About) -> str:
    """Return what tells the content of a file on Drive from all others that it had."""
    return str(about.get("headRevisionId") or about.get("modifiedTime", ""))


def status_of(path: Path) -> Status | None:
    """Return what tells a file from its earlier contents; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
