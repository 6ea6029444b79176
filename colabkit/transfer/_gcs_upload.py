"""Uploads to Google Cloud Storage: another process can go on with them, and none replaces what it did not see."""

from __future__ import annotations

import json
import re
import urllib.parse
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import AccessError, AddressError, IntegrityError, NotFoundError, TransferError
from colabkit.transfer._content import UNIT, FileContent
from colabkit.transfer._gcs_api import ConditionError, read_object
from colabkit.transfer.base import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from colabkit._tools.retry import Backoff
    from colabkit.transfer._content import Content, Window
    from colabkit.transfer._gcs_api import Api, GcsObject
    from colabkit.transfer._gcs_session import Note
    from colabkit.transfer._many import Watch

ONE_REQUEST = 4 << 20
"""Bytes up to which a file is sent in one request: less to lose than a session would cost."""

_MOST_SESSIONS = 3
_KEPT = re.compile(r"bytes=0-(\d{1,18})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an upload goes, and what must be there before.

    Attributes:
        bucket: The bucket.
        name: The object.
        generation: The generation that may be replaced; "0" means that nothing may be there, "" that anything may.
        content_type: The label that it gets.
    """

    bucket: str
    name: str
    generation: str
    content_type: str = ""

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"gs://{self.bucket}/{self.name}"


class _SessionGoneError(Exception):
    """The service has forgotten the upload."""


class Upload:
    """One object on its way.

    Args:
        api: Sends the requests.
        place: Where it goes.
        content: What it is.
        watch: Called with (bytes sent, bytes in all or None).
        note: Keeps the session for another process; None keeps it nowhere.
    """

    def __init__(
        self,
        api: Api,
        place: Place,
        content: Content,
        *,
        watch: Watch,
        note: Note | None = None,
    ) -> None:
        self._api = api
        self._place = place
        self._content = content
        self._watch = watch
        self._note = note
        self._path = f"/upload/storage/v1/b/{urllib.parse.quote(place.bucket, safe='')}/o"
        self._condition = {"ifGenerationMatch": place.generation} if place.generation else {}

    def run(self) -> GcsObject:
        """Send it, and return the object that was made and checked.

        Raises:
            ConditionError: Something else is there.
            IntegrityError: What arrived is not what was sent; it was removed.
            TransferError: Or one of its kinds: what arrived is kept for the next try where a note is.
        """
        content = self._content
        if isinstance(content, FileContent) and content.size <= ONE_REQUEST:
            made = self._at_once(content)
        else:
            made = self._in_session()
        self._verify(made)
        if self._note is not None:
            self._note.forget()
        return made

    def _at_once(self, content: FileContent) -> GcsObject:
        data = content.whole()
        # The checksum goes along, so that the service itself refuses bytes that changed on the way.
        value = {**self._resource(), "crc32c": _base64(content.crc32c())}
        boundary = uuid.uuid4().hex
        while boundary.encode() in data:
            boundary = uuid.uuid4().hex
        kind = self._place.content_type or "application/octet-stream"
        head = f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(value)}\r\n"
        head += f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n"
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        place = self._place
        self._watch(0, len(data))
        try:
            answer = self._api.call(
                "POST",
                self._path,
                place.bucket,
                place.name,
                query={"uploadType": "multipart", **self._condition},
                headers=headers,
                data=body,
            )
        except ConditionError as error:
            found = self._api.find(place.bucket, place.name) if error.perhaps_ours else None
            if found is None or (found.size, found.crc32c) != (len(data), content.crc32c()):
                raise
            return found
        except AddressError as error:
            raise self._corrupted(error) from None
        self._watch(len(data), len(data))
        return self._made(answer)

    def _in_session(self) -> GcsObject:
        for attempt in range(_MOST_SESSIONS):
            session = self._note.session if self._note is not None and attempt == 0 else ""
            try:
                if self._is_ours(session):
                    done, at = self._kept(session)
                else:
                    session, done, at = self._begin(), None, 0
                    if self._note is not None:
                        self._note.keep(session)
                return done or self._send_all(session, at)
            except _SessionGoneError:
                if self._note is not None:
                    self._note.forget()
        raise TransferError(
            f"{self._place.shown} cannot be uploaded",
            why=f"the service forgot the upload {_MOST_SESSIONS} times",
            do="run the same again later",
        )

    def _is_ours(self, session: str) -> bool:
        return session.startswith(f"{self._api.endpoint}/")

    def _begin(self) -> str:
        size, kind = self._content.size, self._place.content_type
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        if kind:
            headers["X-Upload-Content-Type"] = kind
        if size is not None:
            headers["X-Upload-Content-Length"] = str(size)
        answer = self._api.call(
            "POST",
            self._path,
            self._place.bucket,
            self._place.name,
            query={"uploadType": "resumable", **self._condition},
            headers=headers,
            data=json.dumps(self._resource()).encode(),
        )
        session = answer.headers.get("Location", "")
        if not self._is_ours(session):
            raise TransferError(
                f"{self._place.shown} cannot be uploaded",
                why="the service names no address of its own to send the bytes to",
                do="check the proxy and the address of the service",
            )
        return session

    def _send_all(self, session: str, at: int) -> GcsObject:
        backoff = self._api.tries()
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
                raise _SessionGoneError  # it knows less than it has said before: nothing of it can be trusted
            at = kept
            self._watch(at, self._content.size)

    def _send(self, session: str, window: Window) -> tuple[GcsObject | None, int]:
        span = f"{window.start}-{window.stop - 1}" if len(window) else "*"
        headers = {"Content-Range": f"bytes {span}/{'*' if window.total is None else window.total}"}
        if not len(window):
            headers["Content-Length"] = "0"
        if window.last and len(window) <= UNIT:
            headers["x-goog-hash"] = f"crc32c={_base64(self._content.crc32c())}"
        body = _Watched(window, self._watch, self._content.size) if len(window) else None
        try:
            answer = self._api.send("PUT", session, headers, body, self._place.shown)
        except TransientError:
            if body is not None and body.error is not None:
                raise body.error from None
            raise
        return self._read(answer)

    def _kept(self, session: str) -> tuple[GcsObject | None, int]:
        """Ask how much of it has arrived."""
        backoff = self._api.tries()
        size = self._content.size
        headers = {"Content-Range": f"bytes */{'*' if size is None else size}", "Content-Length": "0"}
        while True:
            try:
                return self._read(self._api.send("PUT", session, headers, None, self._place.shown))
            except TransientError as error:
                self._api.wait(backoff, error, self._place.shown)

    def _ask_until_answered(
        self, session: str, error: TransientError, backoff: Backoff
    ) -> tuple[GcsObject | None, int]:
        self._api.wait(backoff, error, self._place.shown)
        return self._kept(session)

    def _read(self, answer: requests.Response) -> tuple[GcsObject | None, int]:
        """Read an answer to bytes or to a question: the object that is complete, or how much has arrived."""
        if answer.status_code in (200, 201):
            return self._made(answer), 0
        if answer.status_code == 308:
            text = answer.headers.get("Range", "")
            match = _KEPT.fullmatch(text)
            if text and match is None:
                raise TransientError("the service says in no known way how much has arrived")
            return None, int(match[1]) + 1 if match else 0
        error = self._api.refusal(answer, self._place.bucket, self._place.name)
        if isinstance(error, NotFoundError) or answer.status_code == 410:
            raise _SessionGoneError
        if isinstance(error, AddressError):
            raise self._corrupted(error)
        if isinstance(error, AccessError) and self._note is not None:
            self._note.forget()  # whoever runs it again may have another account
        raise error

    def _made(self, answer: requests.Response) -> GcsObject:
        try:
            value: Any = json.loads(answer.content)
        except (ValueError, RecursionError):
            value = None
        return read_object(value, self._place.bucket)

    def _verify(self, made: GcsObject) -> None:
        crc32c = self._content.crc32c()
        size = self._content.size
        if made.crc32c == crc32c and size in (None, made.size):
            return
        self._api.delete(made.bucket, made.name, generation=made.generation)
        raise self._wrong(f"{crc32c} was sent and {made.crc32c} arrived; what arrived was removed")

    def _corrupted(self, error: AddressError) -> TransferError | AddressError:
        """Tell a checksum that does not fit from the other things that a 400 can mean."""
        if "crc32c" in error.why.lower() or "hash" in error.why.lower():
            if self._note is not None:
                self._note.forget()
            return self._wrong(error.why)
        return error

    def _wrong(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self._place.shown} did not arrive as it was sent",
            why=f"the checksums differ: {why}",
            do="make sure that nothing writes to the file, then run the same again",
        )

    def _resource(self) -> dict[str, str]:
        kind = self._place.content_type
        return {"name": self._place.name, **({"contentType": kind} if kind else {})}


@dataclass
class _Watched:
    """A window that tells how far it is while it is sent, and keeps the error that reading it had.

    An HTTP library takes any OSError of the body for one of the connection.
    """

    window: Window
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


def _base64(digits: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()
