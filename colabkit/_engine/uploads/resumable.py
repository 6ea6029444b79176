"""Resumable uploads as Google's services take them: another process can go on with one, and what arrived is checked."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from colabkit._engine.uploads.body import UNIT, FileContent
from colabkit._http.types import TransientError
from colabkit.errors import AccessError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import Chunk, UploadBody
    from colabkit._engine.uploads.journal import UploadJournal
    from colabkit._http.service import ApiSession
    from colabkit._internal.retry import Backoff

ONE_REQUEST = 4 << 20
"""Bytes up to which a file is sent in one request: less to lose than a session would cost."""

_MOST_SESSIONS = 3
_KEPT = re.compile(r"bytes=0-(\d{1,18})", re.ASCII)

Made = TypeVar("Made")


class SessionGoneError(Exception):
    """The service has forgotten the upload."""


class ResumableUpload(Generic[Made]):
    """One object on its way. A service's own class says how it is begun, and reads what was made.

    Args:
        service: Sends the requests.
        content: What it is.
        shown: Where it goes, for messages.
        kind: The content type that it gets; "" leaves it to the service.
        watch: Called with (bytes sent, bytes in all or None).
        note: Keeps the session for another process; None keeps it nowhere.
    """

    def __init__(
        self,
        service: ApiSession,
        content: UploadBody,
        *,
        shown: str,
        watch: Watch,
        kind: str = "",
        note: UploadJournal | None = None,
    ) -> None:
        self._service = service
        self._content = content
        self._shown = shown
        self._kind = kind
        self._watch = watch
        self._note = note
        self._token = ""

    def run(self) -> Made:
        """Send it, and return the object that was made and checked.

        Raises:
            IntegrityError: What arrived is not what was sent; it was removed.
            TransferError: Or one of its kinds: what arrived is kept for the next try where a note is.
        """
        content = self._content
        if isinstance(content, FileContent) and content.size <= ONE_REQUEST:
            made = self._at_once(content)
        else:
            made = self._in_session()
        self._verify(made)
        self._forget()
        return made

    def _forget(self) -> None:
        if self._note is not None:
            self._note.forget()

    # ---- what a service adds ----

    def _create(self, way: str, headers: Mapping[str, str], data: bytes) -> requests.Response:
        """Send the first request, the only one for a "multipart" upload, and return the answer of a success."""
        raise NotImplementedError

    def _resource(self) -> dict[str, Any]:
        """Return what the object is called, and the like."""
        raise NotImplementedError

    def _proof(self, content: FileContent) -> dict[str, Any]:  # noqa: ARG002 - for those that have one
        """Return what lets the service itself refuse bytes that changed on the way."""
        return {}

    def _last_headers(self) -> dict[str, str]:
        """Return the same as headers of the last window."""
        return {}

    def _made(self, answer: requests.Response) -> Made:
        """Read the answer of an upload that is complete."""
        raise NotImplementedError

    def _verify(self, made: Made) -> None:
        """Compare what was made with what was sent; remove it if it differs."""
        raise NotImplementedError

    def _refusal(self, answer: requests.Response) -> Exception:
        """Turn an answer that is no success into an error."""
        raise NotImplementedError

    # ---- the protocol ----

    def _at_once(self, content: FileContent) -> Made:
        data = content.whole()
        value = {**self._resource(), **self._proof(content)}
        boundary = uuid.uuid4().hex
        while boundary.encode() in data:
            boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(value)}\r\n"
        head += f"--{boundary}\r\nContent-Type: {self._kind or 'application/octet-stream'}\r\n\r\n"
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        self._watch(0, len(data))
        answer = self._create("multipart", {"Content-Type": f"multipart/related; boundary={boundary}"}, body)
        self._watch(len(data), len(data))
        return self._made(answer)

    def _in_session(self) -> Made:
        for attempt in range(_MOST_SESSIONS):
            session = self._note.session if self._note is not None and attempt == 0 else ""
            try:
                if self._is_ours(session):
                    done, at = self._kept(session)
                else:
                    session, done, at = self._begin(), None, 0
                    if self._note is not None:
                        self._note.keep(session, self._token)
                return done or self._send_all(session, at)
            except SessionGoneError:
                self._forget()
        raise TransferError(
            f"{self._shown} cannot be uploaded",
            why=f"the service forgot the upload {_MOST_SESSIONS} times",
            hint="run it again later",
        )

    def _is_ours(self, session: str) -> bool:
        return session.startswith(f"{self._service.endpoint}/")

    def _begin(self) -> str:
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        if self._kind:
            headers["X-Upload-Content-Type"] = self._kind
        if self._content.size is not None:
            headers["X-Upload-Content-Length"] = str(self._content.size)
        answer = self._create("resumable", headers, json.dumps(self._resource()).encode())
        return self._checked(answer.headers.get("Location", ""))

    def _checked(self, session: str) -> str:
        """Return the address of a session if it is the service's own."""
        if not self._is_ours(session):
            raise TransferError(
                f"{self._shown} cannot be uploaded",
                why="the service gave no upload address of its own",
                hint="check the proxy and the address of the service",
            )
        return session

    def _send_all(self, session: str, at: int) -> Made:
        backoff = self._service.tries()
        self._watch(at, self._content.size)
        while True:
            window = self._content.window(at)
            try:
                done, kept = self._send(session, window)
            except TransientError as error:
                done, kept = self._ask_until_answered(session, error, backoff)
            if done is not None:
                return done
            if kept > at:
                backoff.renew()
            elif kept < at:
                raise SessionGoneError  # it knows less than it has said before: nothing of it can be trusted
            at = kept
            self._watch(at, self._content.size)

    def _send(self, session: str, window: Chunk) -> tuple[Made | None, int]:
        span = f"{window.start}-{window.stop - 1}" if len(window) else "*"
        headers = {"Content-Range": f"bytes {span}/{'*' if window.total is None else window.total}"}
        if not len(window):
            headers["Content-Length"] = "0"
        if window.last and len(window) <= UNIT:
            headers.update(self._last_headers())
        body = _Watched(window, self._watch, self._content.size) if len(window) else None
        try:
            answer = self._service.send("PUT", session, headers, body, self._shown)
        except TransientError:
            if body is not None and body.error is not None:
                raise body.error from None
            raise
        return self._read(answer)

    def _kept(self, session: str) -> tuple[Made | None, int]:
        """Ask how much of it has arrived."""
        backoff = self._service.tries()
        size = self._content.size
        headers = {"Content-Range": f"bytes */{'*' if size is None else size}", "Content-Length": "0"}
        while True:
            try:
                return self._read(self._service.send("PUT", session, headers, None, self._shown))
            except TransientError as error:
                self._service.wait(backoff, error, self._shown)

    def _ask_until_answered(self, session: str, error: TransientError, backoff: Backoff) -> tuple[Made | None, int]:
        self._service.wait(backoff, error, self._shown)
        return self._kept(session)

    def _read(self, answer: requests.Response) -> tuple[Made | None, int]:
        """Read an answer to bytes or to a question: the object that is complete, or how much has arrived."""
        if answer.status_code in (200, 201):
            return self._made(answer), 0
        if answer.status_code == 308:
            text = answer.headers.get("Range", "")
            match = _KEPT.fullmatch(text)
            if text and match is None:
                raise TransientError("the service does not say in a known way how much has arrived")
            return None, int(match[1]) + 1 if match else 0
        error = self._refusal(answer)
        if isinstance(error, NotFoundError) or answer.status_code == 410:
            raise SessionGoneError
        if isinstance(error, AccessError):
            self._forget()  # whoever runs it again may have another account
        raise error


@dataclass
class _Watched:
    """A window that tells how far it is while it is sent, and keeps the error that reading it had.

    An HTTP library takes any OSError of the body for one of the connection.
    """

    window: Chunk
    watch: Watch
    size: int | None
    error: Exception | None = None

    def __len__(self) -> int:
        return len(self.window)

    def __iter__(self) -> Iterator[bytes]:
        at = self.window.start
        try:
            for block in self.window:
                yield block
                at += len(block)
                self.watch(at, self.size)
        except Exception as error:
            self.error = error
            raise
