"""A folder of a mounted Google Drive as a storage.

The mount is a cache on this machine's disk that uploads later, in any order, and whose calls fail now and then. So
copies are few and large, a file gets its name when it is complete, "confirmed" is asked of Drive and not of the mount,
and what is deleted or replaced is emptied first: Drive keeps old bytes in a trash that fills the quota.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import writing_to
from colabkit.errors import AddressError, ColabKitError, UnreachableError, UnsupportedError
from colabkit.storage._local import LocalStorage
from colabkit.storage.base import check_name

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress, Stored

_MOUNT = "In a cell, run: import colabkit as ck; ck.drive.mount()"
_ASK_SECONDS = 3.0  # for an answer of the API
_READ_RATE = 100e6  # bytes a second at least that the mount's cache gives, to compute a checksum
_MUTE_SECONDS = 60.0  # before the API is asked again that could not be asked


def open_drive(folder: str) -> DriveStorage:
    """Open a folder of the mounted Drive.

    Raises:
        AddressError: It climbs out of the Drive, or is none.
        UnsupportedError: Drive is not mounted here.
    """
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host != "colab":
        raise UnsupportedError(
            f"drive:{folder} cannot be opened here",
            why=f"this is {runtime.name}, not Google Colab",
            do="use a folder, or gs://BUCKET/FOLDER",
        )
    if runtime.persistent_dir is None:
        raise UnsupportedError(f"drive:{folder} cannot be opened", why="Google Drive is not mounted", do=_MOUNT)
    parts = Path(folder).parts
    if not parts or ".." in parts or Path(folder).is_absolute():
        raise AddressError(f"drive:{folder} is no folder of your Drive", do='write it as "drive:runs/digits"')
    return DriveStorage(runtime.persistent_dir / folder, mount=runtime.persistent_dir, address=f"drive:{folder}")


class DriveStorage(LocalStorage):
    """Objects as the files of a folder of a mounted Drive.

    Args:
        root: The folder; made by the first `put`.
        mount: The folder that is My Drive; it must exist at all times.
        address: How the user writes it.
    """

    lag = 60.0  # seconds; as users report it on a healthy connection
    atomic = False  # two machines may each have their own file of one name

    def __init__(self, root: StrPath, *, mount: StrPath, address: str) -> None:
        super().__init__(root)
        self.address = address
        self._mount = Path(mount)
        self._device = self._mount.stat().st_dev if self._mount.exists() else -1
        self._mute_until = 0.0

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        check_name(name)
        with writing_to(name):
            size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size == 0:
            raise AddressError(
                f"{name} is empty, and a Drive storage keeps no empty files",
                why="a file of 0 bytes is what Drive shows of one that is being deleted or is not there yet",
                do="leave it out",
            )
        return super().put(name, source, only_if=only_if, progress=progress)

    def confirmed(self, name: str) -> Confirmed:
        """Ask Drive itself, by its API; the mount shows a file at once, whether or not it has reached Drive.

        Without credentials that the API takes, the answer is "cannot tell".
        """
        from colabkit import drive

        try:
            stored = self.entry(name)
            if stored is None:
                return "no"
            if time.monotonic() < self._mute_until:
                return "cannot tell"
            found = drive.uploaded(self._path(name), timeout=_ASK_SECONDS + stored.size / _READ_RATE)
        except ColabKitError:
            return "cannot tell"
        if found.state == "unknown":
            self._mute_until = time.monotonic() + _MUTE_SECONDS
            return "cannot tell"
        return "yes" if found else "no"

    def _discard(self, path: Path) -> None:
        os.truncate(path, 0)  # what goes to the trash is what the file held last
        path.unlink()

    def _make_way(self, path: Path) -> None:
        os.truncate(path, 0)

    def _is_visible(self, status: os.stat_result) -> bool:
        return status.st_size > 0

    def _was_whole(self, before: os.stat_result, after: os.stat_result) -> bool:
        # The old file is emptied when it is replaced; who is reading it then gets zeros for the rest.
        return after.st_size == before.st_size > 0

    def _check_alive(self) -> None:
        try:
            alive = self._mount.stat().st_dev == self._device
        except FileNotFoundError:
            alive = False
        if not alive:
            raise UnreachableError(
                f"{self.address} is gone",
                why="Drive is not mounted any more",
                do="in a cell, run: import colabkit as ck; ck.drive.mount(); nothing was written to another place",
            )
