"""The files of the user's Drive in the folder that stands for it: they come as code names them, and go back.

What code needs is read from its text before it runs. A hook on Python's `open` would miss OpenCV, h5py, pyarrow and
`!unzip`, which open files behind Python's back, and `os.path.exists`, of which no hook is told. So a path that is only
known at run time comes with the folder that it is joined to; below My Drive itself that is said instead of fetched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from colabkit._clients import gdrive
from colabkit._engine.fetch_task import FetchTask, Options
from colabkit._engine.parallel import fetch_many
from colabkit._engine.uploads.body import open_file
from colabkit._engine.uploads.gdrive import DriveService, DriveUpload, md5_of
from colabkit._engine.uploads.journal import UploadJournal, file_fingerprint
from colabkit._engine.uploads.resumable import ONE_REQUEST
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors, read_note, write_json
from colabkit._internal.display.few import few
from colabkit._internal.display.progress import amount
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.log import notify, warn
from colabkit._internal.retry import Backoff
from colabkit.errors import (
    AccessError,
    AddressError,
    BusyError,
    ColabKitError,
    DiskFullError,
    IntegrityError,
    NotFoundError,
    StorageError,
    TransferError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from colabkit._clients.gdrive import DriveAccount
    from colabkit._engine.fetch_task import Fetched
    from colabkit._http.types import RemoteFile

    About = Mapping[str, Any]
    Status = tuple[int, int]
    """Bytes, and when it was changed."""

_NOTE = ".colabkit-drive.json"
_ROOT: About = {"id": "root", "mimeType": gdrive.FOLDER}
_AT_ONCE = 4
_MARGIN = 1 << 28  # bytes that a disk keeps
_MOST_FILES = 100_000
_NAMED = 3
_OF_ONE_FILE = (AccessError, AddressError, NotFoundError, IntegrityError, StorageError)
_LONGEST_NAME = 236  # there is room for the ending of what is not whole yet


class DriveFiles:
    """The files of one mount point; `MyDrive` in it is written by the notebook as well.

    What came and what was sent is noted beside `MyDrive`, so that another process fetches and sends only what is new.

    Args:
        top: The folder that stands for My Drive.
        account: The account, which may read.
        readonly: Send nothing.
    """

    def __init__(self, top: Path, account: DriveAccount, *, readonly: bool = False) -> None:
        self.top = top
        self._account = account
        self.readonly = readonly
        self._service: DriveService | None = None
        self._note = top.with_name(_NOTE)
        value = read_note(self._note)
        self._records: dict[str, dict[str, Any]] = {
            place: record
            for place, record in (value.items() if isinstance(value, dict) else ())
            if isinstance(record, dict)
        }
        self._looked_up: set[str] = set()
        self._failed: dict[str, Status] = {}
        self._paths: dict[tuple[str, ...], Sequence[About]] = {}

    # ---- from Drive ----

    def bring(self, places: Iterable[str]) -> None:
        """Fetch what is at these places of Drive, each once; what cannot be had is said, and the code goes on."""
        missing = []
        self._paths.clear()
        for place in sorted(set(places) - self._looked_up):
            try:
                if not place:
                    notify("drive: your whole Drive is named; of it comes only what cells name by a path below MyDrive")
                elif not self._bring(place):
                    missing.append(place)
                self._looked_up.add(place)
            except ColabKitError as error:
                warn("drive:%s is not here: %s", place, _in_a_line(error))
        if missing:
            notify("not on your Drive: %s", _listed(missing))

    def _bring(self, place: str) -> bool:
        """Fetch what is new at a place; return whether there is anything."""
        entries = self._lookup(place)
        if not entries:
            return False
        files, folders, left_out = self._tree(place, entries)
        if left_out:
            notify("drive:%s: %s", place, "; ".join(f"{why}: {_listed(names)}" for why, names in left_out.items()))
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
            notify("drive:%s: fetching %d files, %s", place, len(pending), amount(size))
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
            self._save()
        return True

    def _fetch(self, path: str, about: About, options: Options) -> Fetched:
        fetched = FetchTask(_Content(self._account, about, f"drive:{path}"), self.top / path, options).run()
        self._remember(path, _status(self.top / path), about)
        return fetched

    def _is_wanted(self, path: str, about: About) -> bool:
        """Say whether Drive's file is to come; what was written here is not lost for it."""
        status, record = _status(self.top / path), self._records.get(path)
        if status is None:
            return True
        if record is None or list(status) != record.get("status"):
            return False  # not on Drive yet: `send` compares the two
        return (record.get("id"), record.get("version")) != (about["id"], _version(about))

    def _lookup(self, place: str) -> list[About]:
        """Return what is at a place; the folders above it are made here where Drive has them."""
        *above, last = place.split("/")
        for end in range(1, len(above) + 1):
            if not self._folders(tuple(above[:end])):
                return []
            folder = self.top.joinpath(*above[:end])
            with map_os_errors(folder):
                folder.mkdir(exist_ok=True)
        return self._children(self._folders(tuple(above)), last)

    def _folders(self, names: tuple[str, ...], *, make: bool = False) -> Sequence[About]:
        """Return the folders that a path on Drive may mean; none where there is none, unless it is to be made."""
        if names and names not in self._paths:
            above = self._folders(names[:-1], make=make)
            inside = [about for about in self._children(above, names[-1]) if _is_folder(about)]
            if not inside and make:
                made = self._writer().make_folder(names[-1], str(above[0]["id"]), f"drive:{'/'.join(names)}")
                inside = [{"id": made, "mimeType": gdrive.FOLDER}]
            if not inside:
                return []
            self._paths[names] = inside
        return self._paths[names] if names else [_ROOT]

    def _tree(self, place: str, entries: Sequence[About]) -> tuple[dict[str, About], list[str], dict[str, list[str]]]:
        """List what is at a place: files and folders by their paths here, and what is left out, by the reason."""
        files: dict[str, About] = {}
        folders: list[str] = []
        left_out: dict[str, list[str]] = {}
        visited: set[str] = set()
        todo: list[tuple[str, Sequence[About]]] = [(place, entries)]
        while todo:
            path, same = todo.pop()
            inner = [about for about in same if _is_folder(about) and about["id"] not in visited]
            plain = [about for about in same if not _is_folder(about)]
            if len(plain) + bool(inner) > 1:
                left_out.setdefault("of one name, where the newest is taken", []).append(path)
            if inner:
                folders.append(path)
                visited.update(str(about["id"]) for about in inner)  # shortcuts may lead in a circle
                below: dict[str, list[About]] = {}
                for about in self._children(inner):
                    if (name := _local_name(str(about["name"]))) is None:
                        left_out.setdefault("with a name that no file here can have", []).append(str(about["name"]))
                    else:
                        below.setdefault(f"{path}/{name}", []).append(about)
                todo += below.items()
            elif plain and str(plain[0].get("size", "")).isdecimal():
                files[path] = plain[0]
            elif plain:
                left_out.setdefault('Google documents, which ck.fetch("drive:…") exports', []).append(path)
            if len(files) + len(todo) > _MOST_FILES:
                raise TransferError(f"it has more than {_MOST_FILES:,} files", hint="name a folder inside it")
        return files, folders, left_out

    def _children(self, folders: Sequence[About], name: str = "") -> list[About]:
        """Return what lies in folders of one name, or what has a name there, the newest first."""
        entries: list[About] = []
        backoff = Backoff()
        while True:
            try:
                for folder in folders:
                    key = str(folder.get("resourceKey", ""))
                    children = self._account.children(str(folder["id"]), key, names=[name] if name else ())
                    entries += [about for about in children if name in ("", about.get("name"))]  # theirs ignores case
                break
            except BusyError:
                entries.clear()
                pause = backoff.wait()
                if pause is None:
                    raise
                time.sleep(pause)
        followed = [about for about in map(self._followed, entries) if about]
        return sorted(followed, key=lambda about: str(about.get("modifiedTime", "")), reverse=True)

    def _followed(self, about: Mapping[str, Any]) -> About:
        """Return what a shortcut leads to, by the shortcut's name; nothing where that is gone."""
        try:
            return {**self._account.followed(dict(about)), "name": str(about.get("name", ""))}
        except (NotFoundError, AccessError):
            warn("drive: the shortcut %s leads to nothing that this account may open", about.get("name"))
            return {}

    # ---- to Drive ----

    def waiting(self) -> dict[str, Status]:
        """Return the files here that are new or changed since they came or were sent."""
        files = {}
        for folder, _, names in os.walk(self.top) if not self.readonly else ():
            for path in (Path(folder, name) for name in names if not (name.startswith(".") and TEMP_MARKER in name)):
                status, place = _status(path), path.relative_to(self.top).as_posix()
                if status is not None and list(status) != self._records.get(place, {}).get("status"):
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
        self._paths.clear()
        sent: list[str] = []
        error: ColabKitError | None = None
        try:
            for place, status in waiting.items():
                try:
                    display = self._send(place, status)
                except ColabKitError as failure:
                    error = error or failure
                    if not isinstance(failure, _OF_ONE_FILE):
                        break  # Drive does not answer: the others wait for the next time
                else:
                    del self._failed[place]
                    sent += [display] if display else []
        finally:
            self._save()
            if sent:
                notify("on your Drive now: %s", _listed(sent))
            if left := [place for place in waiting if place in self._failed]:
                warn(
                    "not on your Drive yet: %s (%s); they stay in %s, and drive.flush_and_unmount() or the next "
                    "drive.mount sends them",
                    _listed(left),
                    _in_a_line(error) if error is not None else "interrupted",
                    self.top,
                )
        return error

    def _send(self, place: str, status: Status) -> str | None:
        """Send one file; return where it is now, None if it was there already."""
        if not place.isprintable():
            raise AddressError(f"{place!r} is no name for Drive", why="it holds no plain text", hint="rename it")
        above, _, name = place.rpartition("/")
        record = self._records.get(place, {})
        name = str(record.get("name") or name)
        folders = self._folders(tuple(above.split("/")) if above else (), make=True)
        theirs = [about for about in self._children(folders, name) if not _is_folder(about)]
        with map_os_errors(self.top / place), contextlib.closing(open_file(self.top / place)) as content:
            md5 = md5_of(content)
            if same := [about for about in theirs if about.get("md5Checksum") == md5]:
                self._remember(place, status, same[0])
                return None
            base = [about for about in theirs if about["id"] == record.get("id")]
            is_ours = bool(base) and _version(base[0]) == record.get("version")
            display = f"drive:{place}"
            if theirs and not is_ours:
                name = self._free_name(folders, name)
                display = (
                    f"drive:{f'{above}/' if above else ''}{name} (drive:{place} is another one by now; both are kept)"
                )
            file = str(base[0]["id"]) if is_ours else ""
            note = None
            if content.size > ONE_REQUEST:
                marks = {**file_fingerprint(self.top / place), "file": file}
                note = UploadJournal(str((self.top / place).absolute()), marks, f"drive:{place}")
            with open_progress(name[:40]) as bar:
                made = DriveUpload(
                    self._writer(),
                    content,
                    md5=md5,
                    shown=f"drive:{place}",
                    watch=bar.update,
                    note=note,
                    **({"file": file} if file else {"name": name, "parent": str(folders[0]["id"])}),
                ).run()
        self._remember(place, status, {**made, "name": name})
        return display.removeprefix("drive:")

    def _free_name(self, folders: Sequence[About], name: str) -> str:
        stem, ending, number = PurePosixPath(name).stem, PurePosixPath(name).suffix, 2
        while self._children(folders, f"{stem} ({number}){ending}"):
            number += 1
        return f"{stem} ({number}){ending}"

    def _writer(self) -> DriveService:
        if self._service is None:
            account = gdrive.account(write=True)
            if account is None:
                raise AccessError("nobody is signed in to Google any more", hint=f"sign in: {gdrive.SIGN_IN_TO_WRITE}")
            self._service = DriveService(account)
        return self._service

    def _remember(self, path: str, status: Status | None, about: About) -> None:
        self._records[path] = {
            "status": list(status or ()),
            "id": about["id"],
            "version": _version(about),
            "name": about["name"],
        }

    def _save(self) -> None:
        with contextlib.suppress(OSError):  # then the next process compares the checksums
            write_json(self._note, self._records)


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
        return f"drive-file\0{self.about['id']}\0{_version(self.about)}"

    def here(self, *, ask: bool = True) -> None:
        """It is not on this machine."""

    def remote(self) -> RemoteFile:
        """Ask where it can be had, with the hash that Drive knows."""
        return self.account.remote(self.about, "", self.shown)


def _is_folder(about: About) -> bool:
    return about.get("mimeType") == gdrive.FOLDER


def _version(about: About) -> str:
    return str(about.get("headRevisionId") or about.get("modifiedTime", ""))


def _status(path: Path) -> Status | None:
    """Return what tells a file from its earlier contents; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _local_name(name: str) -> str | None:
    """Return the name of a file here; a slash is an ordinary letter on Drive."""
    name = name.replace("/", "_")
    is_plain = name not in ("", ".", "..") and name.isprintable() and TEMP_MARKER not in name
    return name if is_plain and len(name.encode(errors="replace")) <= _LONGEST_NAME else None


def _listed(names: Sequence[str]) -> str:
    return few([name if name.isprintable() else repr(name) for name in names], _NAMED)


def _in_a_line(error: ColabKitError) -> str:
    return " ".join(str(error).split())
