"""Changing files on Google Drive by its interface: uploads that another process goes on with, folders, deletes."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit._clients.gdrive import FIELDS, FOLDER, SIGN_IN_TO_WRITE, refusal
from colabkit._clients.gdrive.interface import ENDPOINT
from colabkit._engine.uploads.resumable import ResumableUpload
from colabkit._http import headers as _headers
from colabkit._http.client import CROWDED, TRANSIENT
from colabkit._http.json_api import ApiResponse
from colabkit._http.service import PATIENT, READ, ApiSession
from colabkit._http.types import TransientError
from colabkit.errors import AccessError, DiskFullError, IntegrityError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from colabkit._clients.gdrive import DriveAccount
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import UploadBody
    from colabkit._engine.uploads.journal import UploadJournal

_UPLOAD = "/upload/drive/v3/files"
_IDS = 20
_FULL = frozenset({"storageQuotaExceeded", "teamDriveFileLimitExceeded", "numChildrenInNonRootLimitExceeded"})
_SLOWER = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_NO_SCOPE = frozenset({"insufficientPermissions", "insufficientFilePermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})


class DriveService(ApiSession):
    """The interface with the user's own account.

    Args:
        account: The account, with the right to change files.
        tries: Failures in a row that are forgiven.
    """

    def __init__(self, account: DriveAccount, *, tries: int = PATIENT) -> None:
        super().__init__(ENDPOINT, tries=tries)
        self.account = account
        self._ids: list[str] = []

    def send(
        self, method: str, url: str, headers: Mapping[str, str], data: Any, label: str, *, read: float = READ
    ) -> requests.Response:
        """Send one request once, by google-auth's session; its addresses are the interface's own.

        Raises:
            TransientError: No answer came.
        """
        return self.account.send(method, url, headers, data, label, read=read)

    def call(
        self,
        method: str,
        path: str,
        label: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        also: tuple[int, ...] = (),
    ) -> requests.Response:
        """Send one request, again while it fails in passing, and return the answer of a success, or of `also`.

        Raises:
            TransferError: Or one of its kinds: it is refused, or was tried often enough.
            DiskFullError: The quota of the account is used up.
        """
        backoff = self.tries()
        url = f"{self.endpoint}{path}?{urllib.parse.urlencode({'supportsAllDrives': 'true', **(query or {})})}"
        while True:
            try:
                answer = self.send(method, url, headers or {}, data, label)
                if answer.status_code < HTTPStatus.MULTIPLE_CHOICES or answer.status_code in also:
                    return answer
                raise self.refusal(answer, label)
            except TransientError as error:
                self.wait(backoff, error, label)

    def refusal(self, answer: requests.Response, label: str) -> Exception:
        """Turn an answer that is no success into an error."""
        reply = ApiResponse(status=answer.status_code, headers=answer.headers, body=answer.content, url=answer.url)
        error: Any = reply.value().get("error")
        listed = error.get("errors") if isinstance(error, dict) else None
        reason = str(listed[0].get("reason", "")) if isinstance(listed, list) and listed else ""
        if reply.status in TRANSIENT or reason in _SLOWER:
            return TransientError(
                f"Drive answered {reply.status}" + (f": {reply.words()}" if reply.words() else ""),
                retry_after=_headers.retry_after(answer.headers),
                crowded=reply.status in CROWDED or reason in _SLOWER,
            )
        if reason in _FULL:
            return DiskFullError(
                f"no room left for {label} on that Drive",
                why=reply.words(),
                hint="delete files there and empty Drive's trash, which counts as well",
            )
        if reply.status == HTTPStatus.FORBIDDEN and reason in _NO_SCOPE:
            return AccessError(
                f"the account may not change {label}", why=reply.words() or reason, hint=f"sign in: {SIGN_IN_TO_WRITE}"
            )
        return refusal(reply, f"cannot change {label}")

    def new_id(self, label: str) -> str:
        """Return an id for a new file, so that sending a request again cannot make two."""
        if not self._ids:
            answer = self.call("GET", "/drive/v3/files/generateIds", label, query={"count": str(_IDS)})
            reply: Any = json.loads(answer.content)
            self._ids = [str(one) for one in reply["ids"]]
        return self._ids.pop()

    def about(self, file: str, label: str) -> requests.Response:
        """Ask for what is known of a file."""
        return self.call("GET", f"/drive/v3/files/{_quoted(file)}", label, query={"fields": FIELDS})

    def make_folder(self, name: str, parent: str, label: str) -> str:
        """Make a folder and return its id."""
        made = self.new_id(label)
        data = json.dumps({"id": made, "name": name, "mimeType": FOLDER, "parents": [parent]}).encode()
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        self.call("POST", "/drive/v3/files", label, headers=headers, data=data, also=(HTTPStatus.CONFLICT,))
        return made

    def copy(self, file: str, name: str, label: str, *, resource_key: str = "") -> str:
        """Copy a file to the top of the user's own Drive, and return the id of the copy."""
        made = self.new_id(label)
        data = json.dumps({"id": made, "name": name, "parents": ["root"]}).encode()
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        if resource_key:
            headers["X-Goog-Drive-Resource-Keys"] = f"{file}/{resource_key}"
        path, query = f"/drive/v3/files/{_quoted(file)}/copy", {"supportsAllDrives": "true"}
        self.call("POST", path, label, query=query, headers=headers, data=data, also=(HTTPStatus.CONFLICT,))
        return made

    def delete(self, file: str, label: str, *, revision: str = "") -> None:
        """Delete a file for good, past the trash, or one revision of it; one that is gone counts as deleted."""
        path = f"/drive/v3/files/{_quoted(file)}" + (f"/revisions/{_quoted(revision)}" if revision else "")
        try:
            self.call("DELETE", path, label)
        except NotFoundError:
            return

    def read(self, file: str, label: str, size: int | None = None) -> bytes:
        """Return the bytes of a small file, or its first ones."""
        headers = {} if size is None else {"Range": f"bytes=0-{max(0, size - 1)}"}
        empty = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        path = f"/drive/v3/files/{_quoted(file)}"
        answer = self.call("GET", path, label, query={"alt": "media"}, headers=headers, also=(empty,))
        content: bytes = b"" if answer.status_code == empty else answer.content
        return content if size is None else content[:size]


class DriveUpload(ResumableUpload[dict[str, Any]]):
    """One file on its way to Drive; it is there, whole, when its last byte has arrived.

    Args:
        service: Sends the requests.
        content: What it is.
        md5: The checksum of all of it.
        shown: Where it goes, for messages.
        watch: Called with (bytes sent, bytes in all or None).
        name: The name of a new file.
        parent: The folder of a new file.
        file: The file that gets this content; "" makes a new one.
        note: Keeps the session for another process; None keeps it nowhere.
    """

    def __init__(
        self,
        service: DriveService,
        content: UploadBody,
        *,
        md5: str,
        shown: str,
        watch: Watch,
        name: str = "",
        parent: str = "",
        file: str = "",
        note: UploadJournal | None = None,
    ) -> None:
        super().__init__(service, content, shown=shown, watch=watch, note=note)
        self._drive = service
        self._md5 = md5
        self._new: dict[str, Any] = {} if file else {"id": service.new_id(shown), "name": name, "parents": [parent]}
        self._file = file

    def _create(self, way: str, headers: Mapping[str, str], data: bytes) -> requests.Response:
        path, query = (f"{_UPLOAD}/{_quoted(self._file)}" if self._file else _UPLOAD), {"uploadType": way}
        method = "PATCH" if self._file else "POST"
        query["fields"] = FIELDS
        there = HTTPStatus.CONFLICT  # an earlier try had arrived, and only its answer was lost
        answer = self._drive.call(method, path, self._shown, query=query, headers=headers, data=data, also=(there,))
        return self._drive.about(str(self._new["id"]), self._shown) if answer.status_code == there else answer

    def _resource(self) -> dict[str, Any]:
        return self._new

    def _made(self, answer: requests.Response) -> dict[str, Any]:
        return about_of(answer, self._shown)

    def _verify(self, made: dict[str, Any]) -> None:
        if made.get("md5Checksum") == self._md5:
            return
        # Of a file that was there before, the revision of before is what it has then.
        self._drive.delete(str(made["id"]), self._shown, revision=str(made["headRevisionId"]) if self._file else "")
        raise IntegrityError(
            f"{self._shown} did not arrive as it was sent",
            why=f"the checksums differ: {self._md5} was sent and {made.get('md5Checksum')} arrived; it was removed",
            hint="make sure that nothing writes to the file, then run it again",
        )

    def _refusal(self, answer: requests.Response) -> Exception:
        return self._drive.refusal(answer, self._shown)


def md5_of(content: UploadBody) -> str:
    """Return the checksum of something that can be read again."""
    digest, at = hashlib.md5(usedforsecurity=False), 0
    while True:
        window = content.window(at)
        for block in window:
            digest.update(block)
        if window.last:
            return digest.hexdigest()
        at = window.stop


def about_of(answer: requests.Response, label: str) -> dict[str, Any]:
    """Read what Drive says of a file.

    Raises:
        TransferError: It is nothing that can be read.
    """
    try:
        value: Any = json.loads(answer.content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise TransferError(
            f"Drive's answer about {label} cannot be read",
            why="it names no file",
            hint="check the proxy, and try again",
        )
    return value


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
