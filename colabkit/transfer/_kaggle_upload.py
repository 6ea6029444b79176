"""Files on their way to Kaggle: each gets an address of Google's storage, and a token that stands for it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import AccessError, IntegrityError, TransferError
from colabkit.transfer import _gcs_api, _headers
from colabkit.transfer._checksum import promised
from colabkit.transfer._content import FileContent, open_file
from colabkit.transfer._gcs_auth import Caller
from colabkit.transfer._gcs_session import Note, marks_of
from colabkit.transfer._resumable import Session, SessionGoneError
from colabkit.transfer._url import origin
from colabkit.transfer.base import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import requests

    from colabkit._tools.retry import Backoff
    from colabkit.transfer._kaggle_api import KaggleApi
    from colabkit.transfer._many import Watch

    Start = Callable[["Item"], tuple[str, Mapping[str, Any]]]

ALGORITHM = "md5"
_MOST_SESSIONS = 3


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file to send.

    Attributes:
        below: Its path there, with "/" between the parts.
        source: A file, or bytes.
        size: Bytes.
        modified: When it was written, in seconds since 1970.
        marks: What tells this content from another.
    """

    below: str
    source: Path | FileContent
    size: int
    modified: int
    marks: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.below.rpartition("/")[2]


def of_file(path: Path, below: str) -> Item:
    """Make an item of a file."""
    marks = marks_of(path)
    modified = marks["modified"] // 10**9
    return Item(below=below, source=path, size=marks["size"], modified=modified, marks={"path": str(path), **marks})


def of_content(content: FileContent, below: str) -> Item:
    """Make an item of bytes, or of an open file."""
    marks = {"size": content.size, ALGORITHM: content.digits()}
    # The time is the same in each process: it tells nothing that a resumed upload could contradict.
    return Item(below=below, source=content, size=content.size, modified=0, marks=marks)


class Upload:
    """One file on its way.

    Args:
        api: Asks Kaggle.
        start: Says how to ask for an address.
        item: The file.
        shown: Where it goes, for messages.
        watch: Called with (bytes sent, bytes in all).

    Attributes:
        note: The session, for another process; it stays until Kaggle has made something of the file.
    """

    def __init__(self, api: KaggleApi, start: Start, item: Item, shown: str, watch: Watch) -> None:
        self._api = api
        self._start = start
        self._item = item
        self._watch = watch
        self._shown = f"{shown}: {item.below}"
        self.note = Note(str(item.marks.get("path", "")), item.marks, self._shown)

    def run(self) -> str:
        """Send it, and return the token that stands for it.

        Raises:
            IntegrityError: What arrived is not what was sent.
            TransferError: Or one of its kinds; what arrived is kept for the next try.
        """
        source = self._item.source
        if isinstance(source, FileContent):
            return self._send(source)
        content = open_file(source, ALGORITHM)
        try:
            return self._send(content)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("what arrived is kept; run the same again to go on") from None
        finally:
            content.close()

    def _send(self, content: FileContent) -> str:
        for _ in range(_MOST_SESSIONS):
            begun = bool(self.note.session)
            if not begun:
                self.note.keep(*self._begin())
            # Who knows the address may write: Kaggle's own credentials do not go there.
            self._wire = _gcs_api.Api(Caller(), origin(self.note.session))
            try:
                answer = Session(self.note.session, content, self, self._watch).run(begun=begun)
            except SessionGoneError:
                self.note.forget()
                continue
            self._verify(answer, content.digits())
            return self.note.token
        raise TransferError(
            f"{self._shown} cannot be uploaded",
            why=f"the service forgot the upload {_MOST_SESSIONS} times",
            do="run the same again later",
        )

    def _begin(self) -> tuple[str, str]:
        method, body = self._start(self._item)
        value = self._api.call(method, body).value()
        session, token = value.get("createUrl"), value.get("token")
        if not (isinstance(session, str) and session.startswith("https://") and isinstance(token, str) and token):
            raise TransferError(
                f"{self._shown} cannot be uploaded",
                why="Kaggle names no address to send it to" + (f": {said}" if (said := error_of(value)) else ""),
                do="run the same again later",
            )
        return session, token

    def put(self, session: str, headers: Mapping[str, str], body: Any) -> requests.Response:
        """Send a piece, or the question how much has arrived."""
        return self._wire.send("PUT", session, headers, body, self._shown)

    def refused(self, answer: requests.Response) -> Exception:
        """Tell why it is not taken."""
        status = answer.status_code
        why = f"the storage answered {status}"
        if status in _gcs_api.TRANSIENT:
            return TransientError(why, retry_after=_headers.retry_after(answer.headers), crowded=status in (429, 503))
        self.note.forget()
        kind = AccessError if status in (401, 403) else TransferError
        return kind(f"{self._shown} is not taken", why=why, do="run the same again: it begins anew")

    def seal(self) -> dict[str, str]:
        """Send nothing with the end: the checksum is compared afterwards."""
        return {}

    def tries(self) -> Backoff:
        """Return a fresh budget of tries."""
        return self._wire.tries()

    def wait(self, backoff: Backoff, error: TransientError) -> None:
        """Wait before the next try."""
        self._wire.wait(backoff, error, self._shown)

    def _verify(self, answer: requests.Response, sent: str) -> None:
        arrived = _arrived(answer)
        if arrived in ("", sent):
            return
        self.note.forget()
        raise IntegrityError(
            f"{self._shown} did not arrive as it was sent",
            why=f"the checksums differ: {sent} was sent and {arrived} arrived; nothing was made of it",
            do="make sure that nothing writes to the file, then run the same again",
        )


def _arrived(answer: requests.Response) -> str:
    """Return the MD5 of what the storage has, where it tells."""
    told = promised(answer.headers, whole=False)
    if told is not None and told.algorithm == ALGORITHM:
        return told.digits
    try:
        return base64.b64decode(json.loads(answer.content)["md5Hash"], validate=True).hex()
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        return ""


def error_of(value: Mapping[str, Any]) -> str:
    """Return the words of a refusal that comes with 200, as those of Kaggle's interface may; "" for none."""
    code = value.get("code")
    said = value.get("error") or (value.get("message") if isinstance(code, int) and code >= 400 else "")
    return " ".join(str(said).split())[:300] if said else ""
