"""The address of an upload that is under way, kept where only its owner can read it."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._engine.source import key
from colabkit._internal.disk.files import map_os_errors, write_json
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMAT = 2
_OLDEST = 6 * 86400
"""Seconds after which a session is not gone on with; the services keep them for a week."""


def file_fingerprint(path: Path) -> dict[str, int]:
    """Return what tells a file from its earlier contents without reading it."""
    with map_os_errors(path):
        status = path.stat()
    return {"size": status.st_size, "modified": status.st_mtime_ns, "inode": status.st_ino}


class UploadJournal:
    """A file that holds the session of one upload.

    Whoever knows the address of a session can write the object, so the file is readable by its owner alone and
    disappears when the upload is done.

    Args:
        name: What is sent: the path of a file, or "" for bytes and streams.
        marks: What it is like; what is gone on with must be the same.
        target: Where it goes, with the service's address.

    Attributes:
        session: The address of the upload, or "".
        token: What the service calls the upload when it is complete, or "".
    """

    def __init__(self, name: str, marks: Mapping[str, Any], target: str) -> None:
        self.path = config.cache_dir() / "push" / f"{key(name, target)}.json"
        self._fits = {"format": _FORMAT, **marks}
        self.session, self.token = self._read()

    def keep(self, session: str, token: str = "") -> None:
        """Write the session down; failing to costs a resumption and nothing else."""
        self.session, self.token = session, token
        with contextlib.suppress(ColabKitError), map_os_errors(self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self.path, {**self._fits, "session": session, "token": token}, mode=0o600)

    def forget(self) -> None:
        """Remove what was written down."""
        self.session = self.token = ""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[str, str]:
        try:
            if time.time() - self.path.stat().st_mtime > _OLDEST:
                return "", ""
            value: Any = json.loads(self.path.read_bytes())
            session, token = value.pop("session"), value.pop("token")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return "", ""
        fits = value == self._fits and isinstance(session, str) and isinstance(token, str)
        return (session, token) if fits else ("", "")
