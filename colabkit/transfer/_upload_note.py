"""The address of an upload that is under way, kept where only its owner can read it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._tools.files import write_json, writing_to
from colabkit.errors import ColabKitError
from colabkit.transfer.base import key

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = 1


class Note:
    """A file that holds the session of one upload.

    Whoever knows the address of a session can write the object, so the file is readable by its owner alone and
    disappears when the upload is done.

    Args:
        path: The file that is sent; its size and time are noted, as what is gone on with must be the same file.
        target: Where it goes, with the service's address.
        generation: What the session may replace.
    """

    def __init__(self, path: Path, target: str, generation: str) -> None:
        status = path.stat()
        folder = config.cache_dir() / "push"
        self.path = folder / f"{key(str(path.absolute()), target)}.json"
        self._fits = {
            "format": _FORMAT,
            "size": status.st_size,
            "modified": status.st_mtime_ns,
            "inode": status.st_ino,
            "generation": generation,
        }
        self._target = target
        self.session = self._read()

    def keep(self, session: str) -> None:
        """Write the session down; failing to costs a resumption and nothing else."""
        with contextlib.suppress(ColabKitError), writing_to(self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self.path, {**self._fits, "session": session}, mode=0o600)

    def forget(self) -> None:
        """Remove what was written down."""
        self.session = ""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _read(self) -> str:
        try:
            value: Any = json.loads(self.path.read_bytes())
            session = value.pop("session")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return ""
        return session if value == self._fits and isinstance(session, str) else ""
