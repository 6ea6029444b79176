"""Files on their way to Kaggle: each gets an address of Google's storage, and a token that stands for it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit._engine.uploads.journal import file_fingerprint
from colabkit._engine.uploads.resumable import ResumableUpload
from colabkit._http import headers
from colabkit._http.client import CROWDED, TRANSIENT
from colabkit._http.service import ApiSession
from colabkit._http.types import TransientError
from colabkit._internal.disk.checksum import promised
from colabkit.errors import AccessError, IntegrityError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import requests

    from colabkit._clients.kaggle import KaggleApi
    from colabkit._clients.kaggle.requests import KaggleRequest
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import FileContent
    from colabkit._engine.uploads.journal import UploadJournal

    Start = Callable[["Item"], KaggleRequest]

ALGORITHM = "md5"
STORAGE = "https://storage.googleapis.com"
"""Where the addresses lead that Kaggle hands out."""


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
    marks = file_fingerprint(path)
    modified = marks["modified"] // 10**9
    return Item(below=below, source=path, size=marks["size"], modified=modified, marks={"path": str(path), **marks})


def of_content(content: FileContent, below: str) -> Item:
    """Make an item of bytes, or of an open file."""
    marks = {"size": content.size, ALGORITHM: content.digits()}
    # The time is the same in each process: it tells nothing that a resumed upload could contradict.
    return Item(below=below, source=content, size=content.size, modified=0, marks=marks)


class KaggleUpload(ResumableUpload[str]):
    """One file on its way.

    Args:
        api: Asks Kaggle.
        start: Says how to ask for an address.
        item: The file.
        content: Its bytes.
        shown: Where it goes, for messages.
        watch: Called with (bytes sent, bytes in all).
        note: Keeps the session for another process.
    """

    def __init__(
        self,
        api: KaggleApi,
        start: Start,
        item: Item,
        content: FileContent,
        *,
        shown: str,
        watch: Watch,
        note: UploadJournal,
    ) -> None:
        # Who knows the address may write: Kaggle's own credentials do not go there.
        super().__init__(ApiSession(STORAGE), content, shown=shown, watch=watch, note=note)
        self._api = api
        self._start = start
        self._item = item
        self._token = note.token

    def run(self) -> str:
        """Send it, and return the token that stands for it; the note stays until Kaggle has made something of it.

        Raises:
            IntegrityError: What arrived is not what was sent.
            TransferError: Or one of its kinds; what arrived is kept for the next try.
        """
        try:
            self._verify(self._in_session())
        except KeyboardInterrupt:
            raise KeyboardInterrupt("what arrived is kept; run it again to resume") from None
        return self._token

    def _is_ours(self, session: str) -> bool:
        return session.startswith("https://")

    def _begin(self) -> str:
        value = self._api.call(self._start(self._item)).value()
        session, token = value.get("createUrl"), value.get("token")
        if not (isinstance(session, str) and self._is_ours(session) and isinstance(token, str) and token):
            said = error_of(value)
            raise TransferError(
                f"{self._shown} cannot be uploaded",
                why="Kaggle gave no upload address" + (f": {said}" if said else ""),
                hint="run it again later",
            )
        self._token = token
        return session

    def _refusal(self, answer: requests.Response) -> Exception:
        status = answer.status_code
        why = f"the storage answered {status}"
        if status in TRANSIENT:
            return TransientError(why, retry_after=headers.retry_after(answer.headers), crowded=status in CROWDED)
        if status == HTTPStatus.NOT_FOUND:
            return NotFoundError(f"{self._shown} is not known there", why=why)
        self._forget()
        kind = AccessError if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) else TransferError
        return kind(f"{self._shown} is not taken", why=why, hint="run it again: it starts over")

    def _made(self, answer: requests.Response) -> str:
        return _arrived(answer)

    def _verify(self, made: str) -> None:
        sent = self._content.digits()
        if made in ("", sent):
            return
        self._forget()
        raise IntegrityError(
            f"{self._shown} did not arrive as it was sent",
            why=f"the checksums differ: {sent} was sent and {made} arrived; nothing was made of it",
            hint="make sure that nothing writes to the file, then run it again",
        )


def _arrived(answer: requests.Response) -> str:
    """Return the MD5 of what the storage has, where it tells."""
    told = promised(answer.headers, is_complete=False)
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
