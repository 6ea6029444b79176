"""A folder of the user's own Drive where it is not mounted, by Drive's interface.

The same names as `_drive` has on the mount: the parts of a name are folders and a file, so that a run begun on Colab
goes on here. A file is there, whole, when its upload is complete. What is replaced is the same file with other content,
whose old revision is removed; what is deleted is deleted past the trash.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._clients.gdrive import FOLDER
from colabkit._clients.gdrive.interface import ENDPOINT
from colabkit._engine.fetch_task import FetchTask, Options
from colabkit._engine.uploads.body import open_bytes, open_file
from colabkit._engine.uploads.gdrive import DriveService, DriveUpload, md5_of
from colabkit._engine.uploads.journal import UploadJournal, file_fingerprint
from colabkit._engine.uploads.resumable import ONE_REQUEST
from colabkit._internal.disk.files import map_os_errors
from colabkit.errors import (
    AddressError,
    BusyError,
    ChangedError,
    ColabKitError,
    IntegrityError,
    NotFoundError,
    TransferError,
)
from colabkit.storage.base import Stored, check_name, is_name, not_stored, refuse_empty, unreachable
from colabkit.storage.local import is_hidden

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator, Mapping, Sequence

    from colabkit._clients.gdrive import DriveAccount
    from colabkit._engine.uploads.body import FileContent
    from colabkit._http.types import RemoteFile
    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress

    About = Mapping[str, Any]

_TRIES = 2
"""Failures that a call forgives; whoever called decides about more."""

_READS = 3  # that may arrive damaged; those of a file that was replaced meanwhile do not count


class DriveApiStorage:
    """Objects as the files of a folder of My Drive, by the interface.

    Args:
        folder: The names of the folders from My Drive down, with "/" between them; made by the first `put`.
        account: The account, with the right to change files.
    """

    lag = 60.0  # seconds; the other machine may have it mounted, and upload late
    atomic = False  # the interface has no conditions, and a folder may hold one name twice

    def __init__(self, folder: str, account: DriveAccount) -> None:
        self.address = f"drive:{folder}"
        self._root = tuple(folder.split("/"))
        self._service = DriveService(account, tries=_TRIES)
        self._folders: dict[tuple[str, ...], Sequence[str]] = {(): ["root"]}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    # ---- the contract ----

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        """Store an object; a large file goes on where another process was killed with it."""
        check_name(name)
        with map_os_errors(name):
            size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        refuse_empty(name, size)

        def watch(done: float, total: float | None) -> None:
            if progress is not None:
                progress(int(done), int(total or size))

        with self._translated(name):
            existing = self._named(name)
            now = _stored(name, existing[0]) if existing else None
            if only_if is not None and (now and now.version) != (None if only_if == "absent" else only_if.version):
                raise ChangedError(
                    f"{name} in {self.address} was written by someone else",
                    why=f"its version is {now.version}" if now else "it is no longer there",
                    hint="look at what is there now, then decide again",
                )
            with contextlib.closing(open_bytes(source) if isinstance(source, bytes) else open_file(Path(source))) as it:
                made = self._upload(name, it, None if isinstance(source, bytes) else Path(source), existing, watch)
            for other in existing[1:]:
                self._service.delete(str(other["id"]), f"{self.address}/{name}")
            if existing and (old := existing[0].get("headRevisionId")):
                with contextlib.suppress(ColabKitError):  # it only takes room, for thirty days at most
                    self._service.delete(str(made["id"]), f"{self.address}/{name}", revision=str(old))
        return _stored(name, made)

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        """Copy an object into a file, over several connections when it is large."""
        with self._translated(name):
            about, left = self._about(name), _READS
            while True:
                size = int(about["size"])

                def show(done: float, total: float | None, size: int = size) -> None:
                    if progress is not None:
                        progress(int(done), int(total or size))

                source = _Content(self._service.account, about, f"{self.address}/{name}")
                options = Options(use_cache=False, overwrite=True, unpack=False, show=show)
                try:
                    FetchTask(source, Path(path), options).run()
                except IntegrityError:
                    before, about = about, self._about(name)
                    left -= _stored(name, about) == _stored(name, before)
                    if not left:
                        raise
                else:
                    return _stored(name, about)

    def read(self, name: str, *, size: int | None = None) -> bytes:
        with self._translated(name):
            about, left = self._about(name), _READS
            while left:
                content = self._service.read(str(about["id"]), f"{self.address}/{name}", size)
                if size is not None or _is_content_of(about, content):
                    return content
                before, about = about, self._about(name)  # tells what was replaced between question and answer
                if _is_content_of(about, content):
                    return content
                left -= _stored(name, about) == _stored(name, before)
        raise IntegrityError(f"{name} in {self.address} did not arrive as it is stored", hint="read it again")

    def entry(self, name: str) -> Stored | None:
        with self._translated(name):
            existing = self._named(check_name(name))
            return _stored(name, existing[0]) if existing else None

    def list(self, prefix: str = "") -> Sequence[Stored]:
        with self._translated(prefix or "the list"):
            newest: dict[str, About] = {}
            above = prefix.rpartition("/")[0]
            todo: builtins.list[tuple[str, Sequence[str]]]
            todo = [(f"{above}/" if above else "", self._identities(tuple(filter(None, above.split("/")))))]
            while todo:
                base, folders = todo.pop()
                inside: dict[str, builtins.list[str]] = {}
                for about in (about for folder in folders for about in self._children(folder)):
                    name = base + str(about.get("name", ""))
                    if about.get("mimeType") == FOLDER and (name.startswith(prefix) or prefix.startswith(f"{name}/")):
                        inside.setdefault(f"{name}/", []).append(str(about["id"]))
                    elif name.startswith(prefix) and _is_ours(name, about) and _is_newer(about, newest.get(name)):
                        newest[name] = about
                todo += inside.items()
            return [_stored(name, newest[name]) for name in sorted(newest)]

    def delete(self, name: str) -> None:
        with self._translated(name):
            for about in self._named(check_name(name), empty=True):
                self._service.delete(str(about["id"]), f"{self.address}/{name}")

    def confirmed(self, name: str) -> Confirmed:
        """Say "yes" for every object that Drive knows: it has stored it before it answered."""
        try:
            return "yes" if self.entry(name) is not None else "no"
        except AddressError:
            raise
        except ColabKitError:
            return "cannot tell"

    def holds(self, name: str, path: Path) -> bool:
        """Say whether an object has the bytes of a local file; Drive's checksum is asked, nothing is fetched."""
        with self._translated(name):
            about = self._about(name)
            if int(about["size"]) != path.stat().st_size:
                return False
            with contextlib.closing(open_file(path)) as content:
                return md5_of(content) == str(about["md5Checksum"])

    # ---- parts ----

    def _upload(
        self, name: str, content: FileContent, path: Path | None, existing: Sequence[About], watch: Any
    ) -> dict[str, Any]:
        *folders, last = name.split("/")
        display = f"{self.address}/{name}"
        file = str(existing[0]["id"]) if existing else ""
        note = None
        if path is not None and content.size > ONE_REQUEST:
            note = UploadJournal(
                str(path.absolute()), {**file_fingerprint(path), "file": file}, f"{ENDPOINT}/{display}"
            )
        begin = functools.partial(
            DriveUpload, self._service, content, md5=md5_of(content), shown=display, watch=watch, note=note
        )
        if file:
            return begin(file=file).run()
        return begin(name=last, parent=self._folder_for(tuple(folders))).run()

    def _about(self, name: str) -> About:
        existing = self._named(check_name(name))
        if not existing:
            raise not_stored(name, self.address)
        return existing[0]

    def _named(self, name: str, *, empty: bool = False) -> Sequence[About]:
        """Return the files that have a name, the newest first: Drive allows one name twice."""
        *folders, last = name.split("/")
        entries = [
            about
            for folder in self._identities(tuple(folders))
            for about in self._children(folder, last)
            if (_is_ours(name, about) or (empty and about.get("size") == "0"))
        ]
        return sorted(entries, key=_age, reverse=True)

    def _identities(self, below: tuple[str, ...]) -> Sequence[str]:
        """Return the folders that a path below ours may mean; empty while there is none."""
        return self._resolved((*self._root, *below))

    def _resolved(self, path: tuple[str, ...]) -> Sequence[str]:
        if path not in self._folders:
            folders = [
                str(about["id"])
                for parent in self._resolved(path[:-1])
                for about in self._children(parent, path[-1])
                if about.get("mimeType") == FOLDER
            ]
            if not folders:
                return []  # it may still come
            self._folders[path] = folders
        return self._folders[path]

    def _children(self, folder: str, name: str = "") -> Sequence[About]:
        """Return what lies in a folder, or what has a name there; a slash in a name is an ordinary letter on Drive."""
        backoff = self._service.tries()
        while True:
            try:
                entries = self._service.account.children(folder, names=[name] if name else ())
                return [
                    about
                    for about in entries
                    if "/" not in str(about.get("name", "/")) and name in ("", about["name"])  # theirs ignores case
                ]
            except BusyError:
                pause = backoff.wait()
                if pause is None:
                    raise
                time.sleep(pause)

    def _folder_for(self, below: tuple[str, ...]) -> str:
        """Return the folder of a path below ours; made where it is missing."""
        path = (*self._root, *below)
        for end in range(1, len(path) + 1):
            part = path[:end]
            if not self._resolved(part):
                display = f"drive:{'/'.join(part)}"
                self._folders[part] = [self._service.make_folder(part[-1], self._folders[part[:-1]][0], display)]
        return self._folders[path][0]

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            self._folders = {(): ["root"]}  # a folder that we knew is gone
            raise not_stored(name, self.address) from error
        except TransferError as error:
            if type(error) is not TransferError:
                raise
            raise unreachable(name, self.address, error) from error


class _Content:
    """One version of a file, for the engine."""

    def __init__(self, account: DriveAccount, about: About, display: str) -> None:
        self._account, self._about = account, about
        self.shown = display
        self.name = str(about.get("name", ""))
        self.identity = f"drive-file\0{about['id']}\0{about.get('headRevisionId', '')}"

    def here(self, *, ask: bool = True) -> None:
        """It is not on this machine."""

    def remote(self) -> RemoteFile:
        return self._account.remote(self._about, "", self.shown)


def _stored(name: str, about: About) -> Stored:
    return Stored(
        name=name,
        size=int(about["size"]),
        modified=_age(about)[0],
        version=f"{about['id']}/{about.get('headRevisionId', '')}/{about.get('modifiedTime', '')}",
    )


def _is_content_of(about: About, content: bytes) -> bool:
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == str(about["md5Checksum"])


def _age(about: About) -> tuple[float, str]:
    try:
        modified = dt.datetime.fromisoformat(str(about.get("modifiedTime", ""))).timestamp()
    except ValueError:
        modified = 0.0
    return modified, str(about.get("id", ""))


def _is_newer(about: About, newest: About | None) -> bool:
    return newest is None or _age(about) > _age(newest)


def _is_ours(name: str, about: About) -> bool:
    """Say whether a storage may hold this; documents, shortcuts and odd names that lie there are passed over."""
    size = str(about.get("size", ""))
    if not size.isdecimal() or int(size) == 0 or not about.get("md5Checksum") or is_hidden(name.rpartition("/")[2]):
        return False  # a file of 0 bytes is what a mount makes of one that it is about to delete
    return is_name(name)
