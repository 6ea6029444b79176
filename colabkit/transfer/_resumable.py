"""A resumable upload: an address that takes one file in pieces, at Cloud Storage and at Kaggle alike.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from colabkit.transfer._content import UNIT
from colabkit.transfer.base import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from colabkit._tools.retry import Backoff
    from colabkit.transfer._content import Content, Window
    from colabkit.transfer._many import Watch

_KEPT = re.compile(r"bytes=0-(\d{1,18})", re.ASCII)


class SessionGoneError(Exception):
    """The service has forgotten the upload."""


class Service(Protocol):
    """Who takes the bytes."""

    def put(self, session: str, headers: Mapping[str, str], body: Any) -> requests.Response:
        """Send one PUT once; a TransientError when no answer came."""

    def refused(self, answer: requests.Response) -> Exception:
        """Turn an answer that is no success into an error."""

    def seal(self) -> Mapping[str, str]:
        """Return what goes with the last bytes."""

    def tries(self) -> Backoff:
        """Return a fresh budget of tries."""

    def wait(self, backoff: Backoff, error: TransientError) -> None:
        """Wait before the next try; a TransferError when there is none."""


class Session:
    """One upload that was begun.

    Args:
        url: Its address, a secret: whoever knows it can write.
        content: What is sent.
        service: Who takes it.
        watch: Called with (bytes sent, bytes in all or None).
    """

    def __init__(self, url: str, content: Content, service: Service, watch: Watch) -> None:
        self._url = url
        self._content = content
        self._service = service
        self._watch = watch

    def run(self, *, begun: bool) -> requests.Response:
        """Send what is missing, and return the answer to the last byte.

        Args:
            begun: Another process may have sent a part, or all.

        Raises:
            SessionGoneError: It has to be begun anew.
            TransferError: Or one of its kinds; what arrived is kept.
        """
        done, at = self._kept() if begun else (None, 0)
        return done or self._send_from(at)

    def _send_from(self, at: int) -> requests.Response:
        backoff = self._service.tries()
        self._watch(at, self._content.size)
        while True:
            window = self._content.window(at)
            try:
                done, kept = self._send(window)
            except TransientError as error:
                self._service.wait(backoff, error)
                done, kept = self._kept()
            if done is not None:
                return done
            if kept > at:
                backoff.renew()
            elif kept < at:
                raise SessionGoneError  # it knows less than it has said before: nothing of it can be trusted
            at = kept
            self._watch(at, self._content.size)

    def _send(self, window: Window) -> tuple[requests.Response | None, int]:
        span = f"{window.start}-{window.stop - 1}" if len(window) else "*"
        headers = {"Content-Range": f"bytes {span}/{'*' if window.total is None else window.total}"}
        if not len(window):
            headers["Content-Length"] = "0"
        if window.last and len(window) <= UNIT:
            headers |= self._service.seal()
        body = _Watched(window, self._watch, self._content.size) if len(window) else None
        try:
            answer = self._service.put(self._url, headers, body)
        except TransientError:
            if body is not None and body.error is not None:
                raise body.error from None
            raise
        return self._read(answer)

    def _kept(self) -> tuple[requests.Response | None, int]:
        """Ask how much of it has arrived."""
        backoff = self._service.tries()
        size = self._content.size
        headers = {"Content-Range": f"bytes */{'*' if size is None else size}", "Content-Length": "0"}
        while True:
            try:
                return self._read(self._service.put(self._url, headers, None))
            except TransientError as error:
                self._service.wait(backoff, error)

    def _read(self, answer: requests.Response) -> tuple[requests.Response | None, int]:
        """Read an answer to bytes or to a question: all of it is there, or how much has arrived."""
        if answer.status_code in (200, 201):
            return answer, 0
        if answer.status_code == 308:
            text = answer.headers.get("Range", "")
            match = _KEPT.fullmatch(text)
            if text and match is None:
                raise TransientError("the service says in no known way how much has arrived")
            return None, int(match[1]) + 1 if match else 0
        if answer.status_code in (404, 410):
            raise SessionGoneError
        raise self._service.refused(answer)


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
