"""The files of the user's Drive in the folder that stands for it: they come as code names them, and go back.

What code needs is read from its text before it runs. A hook on Python's `open` would miss OpenCV, h5py, pyarrow and
`!unzip`, which open files behind Python's back, and `os.path.exists`, of which no hook is told. So a path that is only
known at run time comes with the folder that it is joined to; below My Drive itself that is said instead of fetched.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._engine.fetch_task import FetchTask, Options
from colabkit._engine.parallel import fetch_many
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.display.few import few
from colabkit._internal.display.progress import amount
from colabkit._internal.log import notify, warn
from colabkit.errors import (
    AccessError,
    AddressError,
    ColabKitError,
    DiskFullError,
    IntegrityError,
    NotFoundError,
    StorageError,
)
from colabkit.shims.drive_records import DriveRecords, status_of, version_of
from colabkit.shims.drive_sending import MY_DRIVE, SHARED_DRIVES, DriveSender
from colabkit.shims.drive_tree import DriveTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colabkit._clients.gdrive import DriveAccount
    from colabkit._engine.fetch_task import Fetched
    from colabkit._http.types import RemoteFile
    from colabkit.shims.drive_records import Status
    from colabkit.shims.drive_tree import About

_NOTES = {MY_DRIVE: ".colabkit-drive.json", SHARED_DRIVES: ".colabkit-shared-drives.json"}
_AT_ONCE = 4
_MARGIN = 1 << 28  # bytes that a disk keeps
_NAMED = 3
_OF_ONE_FILE = (AccessError, AddressError, NotFoundError, IntegrityError, StorageError)


class DriveFiles:
    """The files of one folder that stands for My Drive, or for the shared drives; the notebook writes there as well.

    What came and what was sent is noted beside it, so that another process fetches and sends only what is new.

    Args:
        top: The folder.
        account: The account, which may read.
        readonly: Send nothing.
        shared: Whether it stands for the shared drives.
    """

    def __init__(self, top: Path, account: DriveAccount, *, readonly: bool = False, shared: bool = False) -> None:
        self.top = top
        self.readonly = readonly
        self._label = SHARED_DRIVES if shared else MY_DRIVE
        self._above = SHARED_DRIVES if shared else ""
        self._tree = DriveTree(account, shared=shared)
        self._records = DriveRecords(top.with_name(_NOTES[self._label]))
        self._sender = DriveSender(top, self._tree, self._records, self._label)
        self._looked_up: set[str] = set()
        self._failed: dict[str, Status] = {}

    # ---- from Drive ----

    def bring(self, places: Iterable[str]) -> None:
        """Fetch what is at these places of Drive, each once; what cannot be had is said, and the code goes on."""
        missing = []
        self._tree.forget()
        for place in sorted(set(places) - self._looked_up):
            try:
                if not place or (self._label == SHARED_DRIVES and "/" not in place):
                    notify(
                        "%s is named as a whole; of it comes only what cells name by a path in it",
                        f"your shared drive {place}" if place else "your whole Drive",
                    )
                elif not self._bring(place):
                    missing.append(f"{self._above}{place}")
                self._looked_up.add(place)
            except ColabKitError as error:
                warn("%s%s is not here: %s", self._label, place, _in_a_line(error))
        if missing:
            notify("not on your Drive: %s", _listed(missing))

    def _bring(self, place: str) -> bool:
        """Fetch what is new at a place; return whether there is anything."""
        entries = self._lookup(place)
        if not entries:
            return False
        files, folders, left_out = self._tree.walk(place, entries)
        if left_out:
            notify(
                "%s%s: %s", self._label, place, "; ".join(f"{why}: {_listed(names)}" for why, names in left_out.items())
            )
        pending = {path: about for path, about in files.items() if self._is_wanted(path, about)}
        with map_os_errors(self.top):
            size, free = sum(int(about["size"]) for about in pending.values()), shutil.disk_usage(self.top).free
        if size + _MARGIN > free:
            raise DiskFullError(
                f"{amount(size)} do not fit {self.top}",
                why=f"{amount(free)} are free",
                hint="name the files that are needed, one by one, or run it in a folder of a larger disk",
            )
        if len(pending) > 1:
            notify("%s%s: fetching %d files, %s", self._label, place, len(pending), amount(size))
        for folder in folders:
            with map_os_errors(self.top / folder):
                (self.top / folder).mkdir(parents=True, exist_ok=True)
        try:
            plain = Options(use_cache=False, overwrite=True, unpack=False)
            if len(pending) == 1:
                self._fetch(*pending.popitem(), plain)
            elif pending:
                fetch_many(list(pending.items()), plain, lambda item, mine: self._fetch(*item, mine), at_once=_AT_ONCE)
        finally:
            self._records.save()
        return True

    def _fetch(self, path: str, about: About, options: Options) -> Fetched:
        fetched = FetchTask(_Content(self._tree.account, about, f"{self._label}{path}"), self.top / path, options).run()
        self._records.remember(path, status_of(self.top / path), about)
        return fetched

    def _is_wanted(self, path: str, about: About) -> bool:
        """Say whether Drive's file is to come; what was written here is not lost for it."""
        status, record = status_of(self.top / path), self._records.get(path)
        if status is None:
            return True
        if list(status) != record.get("status"):
            return False  # not on Drive yet: `send` compares the two
        return (record.get("id"), record.get("version")) != (about["id"], version_of(about))

    def _lookup(self, place: str) -> list[About]:
        """Return what is at a place; the folders above it are made here where Drive has them."""
        *above, last = place.split("/")
        for end in range(1, len(above) + 1):
            if not self._tree.folders(tuple(above[:end])):
                return []
            folder = self.top.joinpath(*above[:end])
            with map_os_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
        return self._tree.children(self._tree.folders(tuple(above)), last)

    # ---- to Drive ----

    def waiting(self) -> dict[str, Status]:
        """Return the files here that are new or changed since they came or were sent."""
        files = {}
        for folder, _, names in os.walk(self.top) if not self.readonly else ():
            for path in (Path(folder, name) for name in names if not (name.startswith(".") and TEMP_MARKER in name)):
                status, place = status_of(path), path.relative_to(self.top).as_posix()
                if status is not None and list(status) != self._records.get(place).get("status"):
                    files[place] = status
        return dict(sorted(files.items()))

    def send(self, *, again: bool = False) -> ColabKitError | None:
        """Send what is new or changed to the same places of Drive, and say so in one line.

        Args:
            again: Also what has failed before and has not changed since.

        Returns:
            Why files are left; None when all are there.
        """
        waiting = {place: was for place, was in self.waiting().items() if again or self._failed.get(place) != was}
        if not waiting:
            return None
        self._failed.update(waiting)
        self._tree.forget()
        sent: list[str] = []
        error: ColabKitError | None = None
        try:
            for place, status in waiting.items():
                try:
                    display = self._sender.send(place, status)
                except ColabKitError as failure:
                    error = error or failure
                    if not isinstance(failure, _OF_ONE_FILE):
                        break  # Drive does not answer: the others wait for the next time
                else:
                    del self._failed[place]
                    sent += [f"{self._above}{display}"] if display else []
        finally:
            self._records.save()
            if sent:
                notify("on your Drive now: %s", _listed(sent))
            if left := [f"{self._above}{place}" for place in waiting if place in self._failed]:
                warn(
                    "not on your Drive yet: %s (%s); they stay in %s, and drive.flush_and_unmount() or the next "
                    "drive.mount sends them",
                    _listed(left),
                    _in_a_line(error) if error is not None else "interrupted",
                    self.top,
                )
        return error


@dataclass(frozen=True)
class _Content:
    """One version of a file on Drive, for the engine."""

    account: DriveAccount
    about: About
    shown: str

    @property
    def name(self) -> str:
        """Its name on Drive."""
        return str(self.about["name"])

    @property
    def identity(self) -> str:
        """The file, and its version."""
        return f"drive-file\0{self.about['id']}\0{version_of(self.about)}"

    def here(self, *, ask: bool = True) -> None:
        """It is not on this machine."""

    def remote(self) -> RemoteFile:
        """Ask where it can be had, with the hash that Drive knows."""
        return self.account.remote(self.about, "", self.shown)


def _listed(names: Sequence[str]) -> str:
    return few([name if name.isprintable() else repr(name) for name in names], _NAMED)


def _in_a_line(error: ColabKitError) -> str:
    return " ".join(str(error).split())
