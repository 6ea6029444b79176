"""A folder of a mounted Google Drive as a storage.

The mount is a cache on this machine's disk that uploads later, in any order, and whose calls fail now and then. So
copies are few and large, a file gets its name when it is complete, "confirmed" is asked of Drive and not of the mount,
and what is deleted or replaced is emptied first: Drive keeps old bytes in a trash that fills the quota.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._clients import google_auth
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.display.progress import amount
from colabkit._internal.log import notify
from colabkit.config import environment
from colabkit.errors import ColabKitError, DiskFullError, UnreachableError, UnsupportedError
from colabkit.runtime import my_drive
from colabkit.storage.base import check_name, refuse_empty
from colabkit.storage.local import LocalStorage, is_present, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress, Stored
    from colabkit.storage.gdrive import DriveApiStorage

_ASIDE = f"{TEMP_MARKER}old"
_NEVER_MOUNTED = -1  # in place of a device
_ASK_SECONDS = 3.0  # for an answer of the API
_READ_RATE = 100e6  # bytes a second at least that the mount's cache gives, to compute a checksum
_MUTE_SECONDS = 60.0  # before the API is asked again that could not be asked


def open_drive(folder: str) -> LocalStorage | DriveApiStorage:
    """Open a folder of the user's Drive: of the mount on Colab, by Drive's interface elsewhere.

    Where nobody is signed in, the folder that `colab_shim` gave the notebook for its Drive is taken, and said.

    Raises:
        AddressError: It climbs out of the Drive, or is none.
        UnsupportedError: Drive is not mounted on Colab, or elsewhere no Google account is signed in.
    """
    from colabkit.runtime import detect

    path, runtime = my_drive.place_of(f"drive:{folder}"), detect()
    if runtime.host == "colab":
        mount = runtime.persistent_dir
        if mount is None:
            raise UnsupportedError(
                f"drive:{folder} cannot be opened", why="Google Drive is not mounted", hint=my_drive.MOUNT
            )
        return DriveStorage(mount / path, mount=mount, address=f"drive:{folder}")
    from colabkit._clients import gdrive
    from colabkit.storage.gdrive import DriveApiStorage

    account = gdrive.account(write=True)
    if account is None and my_drive.stand_ins:
        stand_in = my_drive.stand_ins[-1] / path
        notify("drive:%s is the folder %s of this machine: nobody is signed in to Google", folder, stand_in)
        return LocalStorage(stand_in)
    if account is None:
        raise UnsupportedError(
            f"drive:{folder} cannot be opened here",
            why=f"this is {runtime.name}, where Drive is not mounted, and no Google account is signed in",
            hint=f"sign in: {gdrive.SIGN_IN_TO_WRITE}; it needs the package google-auth. "
            "Or use a folder, or gs://BUCKET/FOLDER",
        )
    return DriveApiStorage(check_name(str(path)), account)


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
        self._device = None
        try:
            self._device = self._mount.stat().st_dev
        except FileNotFoundError:
            self._device = _NEVER_MOUNTED
        except OSError:  # it does not answer just now; what device it is shows the first look that succeeds
            pass
        self._mute_until = 0.0
        self._seen: set[str] = set()  # what this process has put or seen

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        check_name(name)
        with map_os_errors(name):
            size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        refuse_empty(name, size)
        self._check_room(name, size)
        stored = super().put(name, source, only_if=only_if, progress=progress)
        self._seen.add(name)
        return stored

    @staticmethod
    def read_key() -> None:
        """Read the key, in the thread of a cell, with which another thread asks Drive itself what has arrived."""
        google_auth.read_secret_here(environment())

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
            status = drive.uploaded(self._content_path(name), timeout=_ASK_SECONDS + stored.size / _READ_RATE)
        except (ColabKitError, OSError):
            return "cannot tell"
        if status.state == "unknown":
            self._mute_until = time.monotonic() + _MUTE_SECONDS
            return "cannot tell"
        return "yes" if status else "no"

    def list(self, prefix: str = "") -> Sequence[Stored]:
        """List the objects; a list without names that are there is tried once more, and never returned."""
        for _ in range(2):
            entries = super().list(prefix)
            expected = {name for name in self._seen if name.startswith(prefix)} - {stored.name for stored in entries}
            lost = {name for name in expected if self.entry(name) is not None}
            self._seen -= expected - lost  # deleted by another machine
            if not lost:
                self._seen.update(stored.name for stored in entries)
                return entries
        raise UnreachableError(
            f"{self.address} lists only a part of what it has",
            why=f"{min(lost)} is there and not in the list",
            hint="wait a minute, or mount Drive again: ck.drive.mount(force_remount=True)",
        )

    def delete(self, name: str) -> None:
        super().delete(name)
        self._seen.discard(name)

    def _content_path(self, name: str) -> Path:
        # One that was set aside and not put back, by a machine that died in between, is what the name has.
        path = self._path(name)
        return aside if not is_present(path) and is_present(aside := _aside(path)) else path

    def _listed_name(self, folder: Path, part: str) -> str | None:
        if part.startswith(".") and part.endswith(_ASIDE) and (name := part[1 : -len(_ASIDE)]):
            return None if is_present(folder / name) else name
        return super()._listed_name(folder, part)

    @contextlib.contextmanager
    def _replacing(self, path: Path) -> Iterator[None]:
        # Not emptied before the new one is there: a mount that fails in between would leave neither.
        aside = _aside(path)
        old = is_present(path)
        if old:
            self._empty(aside)
            try:
                path.rename(aside)
            except FileNotFoundError:  # another writer was here
                old = False
        try:
            yield
        except BaseException:
            if old:
                with contextlib.suppress(OSError):  # then it is found where it is
                    _patiently(lambda: aside.rename(path))
            raise
        with contextlib.suppress(OSError):  # the new one is there; the rest is emptied the next time
            self._empty(aside)

    def _discard(self, path: Path) -> None:
        self._empty(_aside(path))
        self._empty(path)

    @staticmethod
    def _empty(path: Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.truncate(path, 0)  # what goes to the trash is what the file held last
            path.unlink()

    def _is_visible(self, status: os.stat_result) -> bool:
        return status.st_size > 0

    def _is_consistent(self, before: os.stat_result, after: os.stat_result) -> bool:
        # The old file is emptied when it is replaced; who is reading it then gets zeros for the rest.
        return after.st_size == before.st_size > 0

    def _version(self, status: os.stat_result) -> str:
        return f"{status.st_mtime_ns:x}-{status.st_size:x}"  # a mount numbers its files anew when it likes

    def _check_room(self, name: str, size: int) -> None:
        """Refuse what does not fit: the mount would take it, and it would never reach Drive."""
        with translated(name, self.address):
            self._check_alive()
            status = os.statvfs(self._mount)
        quota, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
        if quota and free < size:
            raise DiskFullError(
                f"no room left for {name} in {self.address}",
                why=f"it has {amount(size)}, and Drive reports {amount(free)} free of {amount(quota)}",
                hint="delete files there and empty Drive's trash, which counts as well",
            )

    def _check_alive(self) -> None:
        try:
            device = self._mount.stat().st_dev
        except FileNotFoundError:
            device = _NEVER_MOUNTED
        else:
            # A dead mount that was made anew may have another number; a folder of the machine's disk is no mount.
            if self._device is None or (device != self._device and self._mount.parent.is_mount()):
                self._device = device
        if device == _NEVER_MOUNTED or device != self._device:
            raise UnreachableError(
                f"{self.address} is gone",
                why="Drive is no longer mounted",
                hint=f"{my_drive.MOUNT}; nothing was written to another place",
            )


def _aside(path: Path) -> Path:
    """Name the place of an old version while a new one takes its name."""
    return path.with_name(f".{path.name}{_ASIDE}")


def _patiently(act: Callable[[], object]) -> None:
    """Do it in spite of a mount that fails now and then."""
    for pause in (0.01, 0.1, 1.0):
        try:
            act()
        except OSError:
            time.sleep(pause)
        else:
            return
    act()
