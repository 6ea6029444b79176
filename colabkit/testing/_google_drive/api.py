"""Drive API v3 as fetching and storing need it: questions, lists, uploads in sessions, folders, deletes, revisions."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit.testing._google_drive.query import UnreadableError, read_condition, select_file, select_list
from colabkit.testing.google_drive import DriveSite, FakeDrive, Item, exported, read_query
from colabkit.testing.http import Page, Request, Resource, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNIT = 256 << 10
_FILES, _UPLOADS = "/drive/v3/files", "/upload/drive/v3/files"
_SPAN = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_MOST_AT_ONCE = 5 << 20  # bytes of a multipart upload


@dataclass(kw_only=True)
class _Session:
    value: dict[str, Any]
    file: str
    fields: str
    kept: bytearray = field(default_factory=bytearray)
    made: str = ""


class Interface(DriveSite):
    """The host that answers programs; also the token that a credentials file is good for."""

    def __init__(self, drive: FakeDrive) -> None:
        super().__init__(drive)
        self._sessions: dict[str, _Session] = {}
        self._count = itertools.count(1)

    def forget_sessions(self) -> None:
        """Let all uploads that are under way be forgotten, as Drive does after a week."""
        self._sessions.clear()

    def answer(self, request: Request) -> Resource | Page:
        try:
            return self._answer(request)
        except UnreadableError as error:
            return _refused(
                400, "invalidParameter" if error.parameter == "fields" else "invalid", str(error), error.parameter
            )

    def _answer(self, request: Request) -> Resource | Page:
        path, query = read_query(request)
        if path == "/token":
            return _json({"access_token": self.drive.token, "expires_in": 3600, "token_type": "Bearer"})
        if path == _UPLOADS and request.method == "PUT":
            return self._receive(request, query)
        if request.headers.get("authorization") != f"Bearer {self.drive.token}":
            return _refused(401, "authError", "Invalid Credentials")
        if self.drive.limited > 0:
            self.drive.limited -= 1
            return _refused(403, "userRateLimitExceeded", "User Rate Limit Exceeded")
        if path.startswith(_UPLOADS):
            return self._begin(request, query, path[len(_UPLOADS) + 1 :])
        if path == "/drive/v3/drives":
            shared = [(key, item) for key, item in self.drive.items.items() if item.shared_drive == key]
            drives = [{"kind": "drive#drive", "id": key, "name": item.name} for key, item in shared]
            return _json({"kind": "drive#driveList", "drives": drives})
        if path == f"{_FILES}/generateIds":
            made = [self._new_id() for _ in range(int(query.get("count", "10")))]
            return _json({"kind": "drive#generatedIds", "space": "drive", "ids": made})
        if path == _FILES:
            return self._make(request, query) if request.method == "POST" else self._list(request, query)
        return self._answer_for_file(request, query, path)

    # ---- one file ----

    def _answer_for_file(self, request: Request, query: Mapping[str, str], path: str) -> Resource | Page:
        match = re.fullmatch(r"/drive/v3/files/([-\w]+)(/export|/copy|/revisions/([-\w]+))?", path)
        item = self.drive.items.get(match[1]) if match else None
        if match is None or item is None or not _opens(request, match[1], item):
            return _not_found(match[1] if match else "")
        if match[2] != "/export" and not _is_visible(query, item):  # which knows no such parameter
            return _not_found(match[1])
        if request.method == "DELETE":
            return self._delete_revision(match[1], match[3]) if match[3] else self._delete(match[1])
        if match[2] == "/copy":
            value = json.loads(request.body)
            if (refused := self._refused_place(value)) is not None:
                return refused
            self.drive.put(
                value["name"], item.data, id=value["id"], mime=item.mime, parent=_parent(value), public=False
            )
            return self._file_page(value["id"], query)
        if match[2] == "/export":
            return exported(item, query.get("mimeType", ""))
        if query.get("alt") != "media":
            return self._file_page(match[1], query)
        if item.account_quota:
            return _refused(403, "downloadQuotaExceeded", "The download quota for this file has been exceeded.")
        served = self.drive.files[match[1]]
        served.etag = tag(served.data)
        return served

    def _delete(self, identity: str) -> Page:
        for child in list(self.drive.children(identity)):
            self._delete(child)
        for revision in [key for key in self.drive.revisions if key[0] == identity]:
            del self.drive.revisions[revision]
        del self.drive.items[identity], self.drive.files[identity]
        return Page(status=204)

    def _delete_revision(self, identity: str, revision: str) -> Page:
        item = self.drive.items[identity]
        if revision == item.revision:  # then the one before is what the file has
            before = [key for key in self.drive.revisions if key[0] == identity]
            if not before:
                return _refused(403, "cannotDeleteOnlyRevision", "Cannot delete the only revision.")
            item.revision, item.data = before[-1][1], self.drive.revisions.pop(before[-1])
            self.drive.files[identity].replace(item.data)
            return Page(status=204)
        if self.drive.revisions.pop((identity, revision), None) is None:
            return _refused(404, "notFound", "Revision not found.")
        return Page(status=204)

    def _about(self, identity: str, item: Item) -> dict[str, Any]:
        when = dt.datetime.fromtimestamp(item.modified, dt.UTC)
        about: dict[str, Any] = {
            "kind": "drive#file",
            "id": identity,
            "name": item.name,
            "mimeType": "application/vnd.google-apps.shortcut" if item.target else item.mime,
            "modifiedTime": f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z",
            "parents": [item.parent or "root"],
            "trashed": identity in self.drive.trash,
        }
        if item.shared_drive:
            about["driveId"] = item.shared_drive
        if item.resource_key:
            about["resourceKey"] = item.resource_key
        if item.target:
            target = self.drive.items.get(item.target, Item(name=""))
            key = {"targetResourceKey": target.resource_key} if target.resource_key else {}
            about["shortcutDetails"] = {"targetId": item.target, "targetMimeType": target.mime, **key}
        elif not item.mime.startswith("application/vnd.google-apps."):
            about["size"] = str(len(item.data))
            about["md5Checksum"] = hashlib.md5(item.data, usedforsecurity=False).hexdigest()
            about["headRevisionId"] = item.revision
        return about

    def _file_page(self, identity: str, query: Mapping[str, str]) -> Page:
        """Answer with the fields of a file that were asked for."""
        return _json(select_file(self._about(identity, self.drive.items[identity]), query.get("fields", "")))

    # ---- many ----

    def _list(self, request: Request, query: Mapping[str, str]) -> Page:
        condition = read_condition(query.get("q", ""))
        match = re.match(r"'([-\w]+)' in parents", query.get("q", ""))
        folder = match[1] if match and match[1] != "root" else ""
        parent = self.drive.item(folder) if folder else None
        if folder and (parent is None or not (_opens(request, folder, parent) and _is_visible(query, parent))):
            return _not_found(folder)
        everywhere = query.get("includeItemsFromAllDrives") == "true"
        items = self.drive.children(folder) if match else dict(self.drive.items)
        mine = {key: item for key, item in items.items() if item.shared_drive != key}  # a drive lies in no folder
        files = [self._about(key, item) for key, item in mine.items() if everywhere or not item.shared_drive]
        files = [about for about in files if condition({**about, **({"parents": [match[1]]} if match else {})})]
        if query.get("orderBy") == "modifiedTime desc":
            files.sort(key=lambda about: about["modifiedTime"], reverse=True)
        at, size = int(query.get("pageToken", "0")), min(40, int(query.get("pageSize", "100")))
        value: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False, "files": files[at : at + size]}
        if at + size < len(files):
            value["nextPageToken"] = str(at + size)
        return _json(select_list(value, query.get("fields", "")))

    # ---- new files and new contents ----

    def _new_id(self) -> str:
        return f"1{hashlib.sha256(str(next(self._count)).encode()).hexdigest()[:31]}-"

    def _make(self, request: Request, query: Mapping[str, str]) -> Page:
        """Make a file without content, as folders are."""
        value = json.loads(request.body)
        if (refused := self._refused_place(value)) is not None:
            return refused
        identity = str(value.get("id") or self._new_id())
        self.drive.put(
            str(value["name"]), id=identity, mime=str(value.get("mimeType", "")), parent=_parent(value), public=False
        )
        return self._file_page(identity, query)

    def _refused_place(self, value: dict[str, Any]) -> Page | None:
        if value.get("id") in self.drive.items:
            return _refused(409, "fileIdInUse", "A file already exists with the provided ID.")
        if _parent(value) and _parent(value) not in self.drive.items:
            return _not_found(_parent(value))
        return None

    def _begin(self, request: Request, query: Mapping[str, str], file: str) -> Page:
        """Take an upload in one request, or open a session for it."""
        if file and file not in self.drive.items:
            return _not_found(file)
        if query.get("uploadType") == "multipart":
            boundary = re.search(r"boundary=(\S+)", request.headers.get("content-type", ""))
            parts = request.body.split(f"--{boundary[1] if boundary else ''}".encode())
            if len(parts) != 4 or len(request.body) > _MOST_AT_ONCE:
                return _refused(400, "badRequest", "Malformed multipart body.")
            value, data = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:3])
            return self._maybe_lost(self._complete(json.loads(value), file, data, query.get("fields", "")))
        value = json.loads(request.body)
        if not file and (refused := self._refused_place(value)) is not None:
            return refused
        if self.drive.used + int(request.headers.get("x-upload-content-length", "0")) > self.drive.quota:
            return _full()
        name = hashlib.sha256(f"session {next(self._count)}".encode()).hexdigest()
        self._sessions[name] = _Session(value=value, file=file, fields=query.get("fields", ""))
        place = f"https://www.googleapis.com{_UPLOADS}?uploadType=resumable&upload_id={name}"
        return Page(headers={"Location": place, "X-GUploader-UploadID": name})

    def _receive(self, request: Request, query: Mapping[str, str]) -> Page:
        """Take bytes of a session, or say how many of them are there; the address alone is the right to."""
        session = self._sessions.get(query.get("upload_id", ""))
        span = _SPAN.fullmatch(request.headers.get("content-range", ""))
        if session is None or span is None:
            return _refused(404, "notFound", "No such upload session.")
        if session.made:
            return self._file_page(session.made, {"fields": session.fields})
        body = request.body
        if span[1] is not None:
            if int(span[1]) != len(session.kept):
                return _refused(400, "badRequest", "The bytes do not go on where the last ones ended.")
            cut = self.drive.cuts.pop(0) if self.drive.cuts else None
            is_complete = cut is None and len(body) == int(span[2]) + 1 - int(span[1])
            session.kept += body if is_complete else body[: cut if cut is not None else len(body)]
            if not is_complete:
                del session.kept[len(session.kept) // _UNIT * _UNIT :]
                return _refused(503, "backendError", "Service unavailable.")
        if span[3] != "*" and len(session.kept) == int(span[3]):
            done = self._complete(session.value, session.file, bytes(session.kept), session.fields)
            if done.status == 200:
                session.made = session.file or session.value["id"]
            return self._maybe_lost(done)
        kept = {"Range": f"bytes=0-{len(session.kept) - 1}"} if session.kept else {}
        return Page(status=308, headers=kept)

    def _complete(self, value: dict[str, Any], file: str, data: bytes, fields: str) -> Page:
        if self.drive.used + len(data) > self.drive.quota:
            return _full()
        if not file and (refused := self._refused_place(value)) is not None:
            return refused
        identity = file or str(value.setdefault("id", self._new_id()))
        if file:
            item = self.drive.items[file]
            self.drive.revisions[file, item.revision] = item.data
            item.data = data
            self.drive.files[file].replace(data)
        else:
            self.drive.put(str(value["name"]), data, id=identity, parent=_parent(value), public=False)
            item = self.drive.items[identity]
        item.revision, item.modified = f"rev-{next(self._count)}", time.time()
        return self._file_page(identity, {"fields": fields})

    def _maybe_lost(self, done: Page) -> Page:
        """Lose the answer to an upload that is complete, when that is asked for."""
        if self.drive.lost > 0 and done.status == 200:
            self.drive.lost -= 1
            return _refused(503, "backendError", "Service unavailable.")
        return done


def _opens(request: Request, identity: str, item: Item) -> bool:
    """Say whether a request has the key that an old item needs."""
    keys = request.headers.get("x-goog-drive-resource-keys", "").split(",")
    return not item.resource_key or f"{identity}/{item.resource_key}" in keys


def _is_visible(query: Mapping[str, str], item: Item) -> bool:
    """Say whether a request may see an item: those of shared drives are for programs that say that they know them."""
    return not item.shared_drive or query.get("supportsAllDrives") == "true"


def _not_found(file: str) -> Page:
    return _refused(404, "notFound", f"File not found: {file}.", "fileId")


def _parent(value: Mapping[str, Any]) -> str:
    parent = str((value.get("parents") or ["root"])[0])
    return "" if parent == "root" else parent


def _full() -> Page:
    return _refused(403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.")


def _json(value: Mapping[str, Any], status: int = 200) -> Page:
    return Page(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _refused(status: int, reason: str, message: str, parameter: str = "") -> Page:
    where = {"locationType": "parameter", "location": parameter} if parameter else {}
    error = {"message": message, "domain": "global", "reason": reason, **where}
    return _json({"error": {"code": status, "message": message, "errors": [error]}}, status)
