"""Uploads to Google Cloud Storage: another process can go on with them, and none replaces what it did not see."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import AccessError, AddressError, IntegrityError, TransferError
from colabkit.transfer._content import FileContent
from colabkit.transfer._gcs_api import ConditionError, read_object
from colabkit.transfer._resumable import Session, SessionGoneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from colabkit._tools.retry import Backoff
    from colabkit.transfer._content import Content
    from colabkit.transfer._gcs_api import Api, GcsObject
    from colabkit.transfer._gcs_session import Note
    from colabkit.transfer._many import Watch
    from colabkit.transfer.base import TransientError

ONE_REQUEST = 4 << 20
"""Bytes up to which a file is sent in one request: less to lose than a session would cost."""

_MOST_SESSIONS = 3


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
        self._forget()
        return made

    def _forget(self) -> None:
        if self._note is not None:
            self._note.forget()

    def _at_once(self, content: FileContent) -> GcsObject:
        data = content.whole()
        # The checksum goes along, so that the service itself refuses bytes that changed on the way.
        value = {**self._resource(), "crc32c": _base64(content.digits())}
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
            if found is None or (found.size, found.crc32c) != (len(data), content.digits()):
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
                begun = self._is_ours(session)
                if not begun:
                    session = self._begin()
                    if self._note is not None:
                        self._note.keep(session)
                return self._made(Session(session, self._content, self, self._watch).run(begun=begun))
            except SessionGoneError:
                self._forget()
            except ConditionError:
                self._forget()
                raise
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

    def put(self, session: str, headers: Mapping[str, str], body: Any) -> requests.Response:
        """Send a piece, or the question how much has arrived."""
        return self._api.send("PUT", session, headers, body, self._place.shown)

    def refused(self, answer: requests.Response) -> Exception:
        """Tell why it is not taken."""
        error = self._api.refusal(answer, self._place.bucket, self._place.name)
        if isinstance(error, AddressError):
            return self._corrupted(error)
        if isinstance(error, AccessError):
            self._forget()  # whoever runs it again may have another account
        return error

    def seal(self) -> dict[str, str]:
        """Return the checksum of all, so that the service refuses what differs."""
        return {"x-goog-hash": f"crc32c={_base64(self._content.digits())}"}

    def tries(self) -> Backoff:
        """Return a fresh budget of tries."""
        return self._api.tries()

    def wait(self, backoff: Backoff, error: TransientError) -> None:
        """Wait before the next try."""
        self._api.wait(backoff, error, self._place.shown)

    def _made(self, answer: requests.Response) -> GcsObject:
        try:
            value: Any = json.loads(answer.content)
        except (ValueError, RecursionError):
            value = None
        return read_object(value, self._place.bucket)

    def _verify(self, made: GcsObject) -> None:
        crc32c = self._content.digits()
        size = self._content.size
        if made.crc32c == crc32c and size in (None, made.size):
            return
        self._api.delete(made.bucket, made.name, generation=made.generation)
        raise self._wrong(f"{crc32c} was sent and {made.crc32c} arrived; what arrived was removed")

    def _corrupted(self, error: AddressError) -> TransferError | AddressError:
        """Tell a checksum that does not fit from the other things that a 400 can mean."""
        if "crc32c" in error.why.lower() or "hash" in error.why.lower():
            self._forget()
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


def _base64(digits: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()
