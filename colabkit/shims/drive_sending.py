"""A file here that is new or changed goes to its place on Drive, and over nothing that this session has not seen."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from colabkit._clients import gdrive
from colabkit._engine.uploads.body import open_file
from colabkit._engine.uploads.gdrive import DriveService, DriveUpload, md5_of
from colabkit._engine.uploads.journal import UploadJournal, file_fingerprint
from colabkit._engine.uploads.resumable import ONE_REQUEST
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.display.progress import progress as open_progress
from colabkit.errors import AccessError, AddressError
from colabkit.shims.drive_records import version_of
from colabkit.shims.drive_tree import is_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.shims.drive_records import DriveRecords, Status
    from colabkit.shims.drive_tree import About, DriveTree

MY_DRIVE, SHARED_DRIVES = "drive:", "Shareddrives/"
"""What stands before a place in messages."""


class DriveSender:
    """Sends the files below a folder.

    Args:
        top: The folder.
        tree: The folders on Drive that it stands for.
        records: What is known of its files.
        label: What stands before a place in messages.
    """

    def __init__(self, top: Path, tree: DriveTree, records: DriveRecords, label: str) -> None:
        self._top = top
        self._tree = tree
        self._records = records
        self._label = label
        self._service: DriveService | None = None

    def send(self, place: str, status: Status) -> str | None:
        """Send one file; return where it is now, None if it was there already."""
        if not place.isprintable():
            raise AddressError(f"{place!r} is no name for Drive", why="it holds no plain text", hint="rename it")
        above, _, name = place.rpartition("/")
        if self._label != MY_DRIVE and not above:
            raise AddressError(f"{name} lies in no shared drive", hint="move it into one, or below MyDrive")
        record = self._records.get(place)
        name = str(record.get("name") or name)
        folders = self._tree.folders(tuple(above.split("/")) if above else (), self._make_folder)
        theirs = [about for about in self._tree.children(folders, name) if not is_folder(about)]
        with map_os_errors(self._top / place), contextlib.closing(open_file(self._top / place)) as content:
            md5 = md5_of(content)
            if same := [about for about in theirs if about.get("md5Checksum") == md5]:
                self._records.remember(place, status, same[0])
                return None
            base = [about for about in theirs if about["id"] == record.get("id")]
            is_ours = bool(base) and version_of(base[0]) == record.get("version")
            display = place
            if theirs and not is_ours:
                name = self._free_name(folders, name)
                display = (
                    f"{f'{above}/' if above else ''}{name} ({self._label}{place} is another one by now; both are kept)"
                )
            file = str(base[0]["id"]) if is_ours else ""
            note = None
            if content.size > ONE_REQUEST:
                marks = {**file_fingerprint(self._top / place), "file": file}
                note = UploadJournal(str((self._top / place).absolute()), marks, f"{self._label}{place}")
            with open_progress(name[:40]) as bar:
                made = DriveUpload(
                    self._writer(),
                    content,
                    md5=md5,
                    shown=f"{self._label}{place}",
                    watch=bar.update,
                    note=note,
                    **({"file": file} if file else {"name": name, "parent": str(folders[0]["id"])}),
                ).run()
        self._records.remember(place, status, {**made, "name": name})
        return display

    def _make_folder(self, name: str, above: str) -> str:
        return self._writer().make_folder(name, above, f"{self._label}{name}")

    def _free_name(self, folders: Sequence[About], name: str) -> str:
        stem, ending, number = PurePosixPath(name).stem, PurePosixPath(name).suffix, 2
        while self._tree.children(folders, f"{stem} ({number}){ending}"):
            number += 1
        return f"{stem} ({number}){ending}"

    def _writer(self) -> DriveService:
        if self._service is None:
            account = gdrive.account(write=True)
            if account is None:
                raise AccessError("nobody is signed in to Google any more", hint=f"sign in: {gdrive.SIGN_IN_TO_WRITE}")
            self._service = DriveService(account)
        return self._service
