"""HTTP for the engine: one request, its redirects, and every failure turned into words."""

from __future__ import annotations

import contextlib
import functools
import http
import select
import socket
import time
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from colabkit._http import coding as _coding
from colabkit._http import error_page
from colabkit._http import headers as _headers
from colabkit._http.errors import map_transport_errors
from colabkit._http.transport import Transport
from colabkit._http.types import ChangedError, ExpiredError, RequestSpec, TransientError
from colabkit._http.url import may_keep_secrets, shown
from colabkit._internal.disk import streams
from colabkit._internal.disk.checksum import Checksum, linked, promised
from colabkit._version import __version__
from colabkit.errors import (
    AccessError,
    NotFoundError,
    TransferError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_REDIRECTS = 10
REDIRECTS = (300, 301, 302, 303, 307, 308)
_GRACE = 0.005
_BLOCK = 256 << 10
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
_ACCEPTED = frozenset({200, 201, 203, 206})
"""203 is what a proxy answers that transforms."""
TRANSIENT = frozenset({202, 408, 421, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})
CROWDED = frozenset({429, 503, 509})
"""The answers that may pass, and those among them that ask for fewer requests."""


@dataclass(kw_only=True)
class Response:
    """A response whose body is still to be read.

    Attributes:
        partial: It holds the bytes `start` to `stop` of `total`; else it holds the whole file.
        stop: Where the body ends; None when the server does not say.
        total: The size of the file, when it is known.
        codings: What the server says the body is compressed with; `decode` takes one off.
        measured: The length was told, and fits the range.
        kept: The server lets an answer to one question be taken for the next (no `no-store`, no `Vary: *`).
        size: What a redirect told of the size of the file that it leads to.
        splits: The server says that it gives parts of this file, or does not say that it gives none.
    """

    partial: bool
    start: int
    stop: int | None
    total: int | None
    name: str
    content_type: str
    codings: tuple[str, ...]
    measured: bool
    splits: bool
    kept: bool
    size: int | None
    checksum: Checksum | None
    shown: str
    _response: Any = field(repr=False)
    _head: bytes = field(default=b"", repr=False)
    _broken: TransientError | None = field(default=None, repr=False)
    _got: int = 0
    _length: int | None = None
    _decoded: Any = field(default=None, repr=False)

    @functools.cached_property
    def validator(self) -> _headers.Validator:
        """What tells this version of the file from others."""
        return _headers.validator(self._response.headers)

    def peek(self) -> bytes:
        """Return the first bytes without taking them."""
        if not self._head:
            self._head = self.read()
        return self._head

    def gather(self, most: int, seconds: float) -> bytes:
        """Return the body without taking it: all of it, or what came before it broke or the time was over."""
        end = time.monotonic() + seconds
        while len(self._head) < most and time.monotonic() < end:
            try:
                data = self._read_raw(_BLOCK)
            except TransientError as error:
                self._broken = error
                break
            if not data:
                break
            self._head = self._head + data if self._head else data
        return self._head

    def read(self, most: int = _BLOCK) -> bytes:
        """Return the next bytes as soon as some are there; b"" at the end.

        Raises:
            TransientError: The connection broke, stalled, or ended early.
        """
        if self._head:
            head, self._head = self._head, b""
            return head
        if self._decoded is None:
            return self._read_raw(most)
        try:
            data: bytes = self._decoded.read(most)
        except streams.StreamError as error:
            raise TransientError(f"the compressed stream is damaged ({error})") from None
        return data

    def decode(self, coding: str) -> None:
        """Take a coding off from here on; the length is then unknown.

        Raises:
            UnsupportedError: Nothing here can do that.
        """
        head, self._head = self.peek(), b""
        body = _Body(self._decoded or _Raw(self._read_raw), head)
        self._decoded = _coding.opened(coding, body, head)
        if self._decoded is None:
            raise UnsupportedError(
                f"{self.shown} arrives with the content coding {coding!r}",
                why="the server compresses although it was asked not to, and nothing here can decode it",
                hint="use another address of the file",
            )
        self.stop = self.total = self.checksum = None

    def _read_raw(self, most: int) -> bytes:
        if self._broken is not None:
            raise self._broken
        left = None if self._length is None or self.partial else self._length - self._got
        if left == 0:
            return b""
        with map_transport_errors(self.shown):
            data: bytes
            if left is None or left > most:
                data = self._response.read1(most)
            else:
                data = self._response.read_beyond(left + 1)
                if len(data) > left or (len(data) == left and self._more_follows()):
                    # A cut file must not pass for a whole one: its last byte is kept back.
                    why = f"the server sends more than the {self._length:,} bytes that it promised"
                    self._broken = TransientError(why)
                    data = data[: left - 1]
                    if not data:
                        raise self._broken
        self._got += len(data)
        if not data and self._length is not None and self._got != self._length:
            raise TransientError(f"the connection ended after {self._got:,} of {self._length:,} bytes")
        return data

    def _more_follows(self) -> bool:
        """Look for bytes behind the promised end: http.client would drop them and call a cut file whole."""
        if (plain := self._response.plain_socket) is None:
            return False  # a TLS socket cannot be looked into
        grace = _GRACE if (self._length or 0) > _BLOCK else 0.0  # a small file came in one piece, and so would these
        ready, _, _ = select.select([plain], [], [], grace)
        return bool(ready and plain.recv(1, socket.MSG_PEEK))

    def close(self) -> None:
        """End the connection, or give it back when the body was read to its end."""
        done = self._length is not None and self._got >= self._length
        with contextlib.suppress(Exception):
            if done:
                self._response.release_conn()
            else:
                self._response.close()

    def hurry(self, seconds: float) -> None:
        """Wait no longer than this for each further piece; the first one may take its time."""
        with contextlib.suppress(Exception):
            self._response.wait_at_most(seconds)

    def abandon(self) -> None:
        """Wake a thread that waits for this answer; it then fails."""
        with contextlib.suppress(Exception):
            self._response.shutdown()


@dataclass(frozen=True)
class _Told:
    """What redirects tell of the file that they lead to."""

    checksum: Checksum | None = None
    size: int | None = None

    @classmethod
    def of(cls, headers: Any) -> _Told:
        return cls(linked(headers), _headers.content_length(headers.get("X-Linked-Size")))


@dataclass
class _Raw:
    """What arrives, with the face of a file."""

    read: Callable[[int], bytes]


@dataclass
class _Body:
    """A body whose first bytes were looked at."""

    rest: Any
    head: bytes

    def read(self, size: int) -> bytes:
        if self.head:
            head, self.head = self.head, b""
            return head
        data: bytes = self.rest.read(size)
        return data


class HTTPClient:
    """Sends the requests of one transfer, or of several one after the other.

    Args:
        connections: How many connections may be kept open at once.
    """

    def __init__(self, connections: int = 16) -> None:
        self._transport = Transport(connections)

    def has_reached(self, url: str) -> bool:
        """Say whether this host ever answered."""
        return self._transport.has_reached(url)

    def close(self) -> None:
        """Close what is idle."""
        self._transport.close()

    def get(
        self,
        target: RequestSpec,
        *,
        first: int | None = None,
        last: int | None = None,
        if_range: str = "",
        read_timeout: float = 30.0,
    ) -> tuple[Response, RequestSpec]:
        """Ask for a file, or for its bytes `first` to `last`, and follow redirects.

        Returns:
            The answer, and the address that gave it with the headers that may be sent there.

        Raises:
            TransientError: Worth another try.
            ExpiredError: Refused with 401 or 403.
            TransferError: It will not work.
        """
        send = {}
        if first is not None:
            send["Range"] = f"bytes={first}-" + ("" if last is None else str(last))
            if if_range:
                send["If-Range"] = if_range
        response, reached, told = self._follow(target, "GET", send, read_timeout)
        return self._answer(response, reached, told, first), reached

    def promise(self, target: RequestSpec) -> tuple[_headers.Validator, Checksum | None]:
        """Ask for the headers alone: the version of the file, and the hash of it that they tell, if any.

        Raises:
            TransientError: No answer came.
            TransferError: It cannot be asked.
        """
        status, headers, redirects = self._head(target, 15.0)
        if status != http.HTTPStatus.OK:
            return _headers.Validator(), None
        return _headers.validator(headers), redirects.checksum or promised(headers, is_complete=True)

    def head(self, target: RequestSpec, *, read_timeout: float = 20.0) -> tuple[int, Mapping[str, str]]:
        """Ask for the headers alone: the status of the answer, and its headers.

        Raises:
            TransientError: No answer came.
            TransferError: It cannot be asked.
        """
        return self._head(target, read_timeout)[:2]

    def _head(self, target: RequestSpec, read_timeout: float) -> tuple[int, Mapping[str, str], _Told]:
        response, _, redirects = self._follow(target, "HEAD", {}, read_timeout)
        with contextlib.suppress(Exception):
            response.release_conn()
        return response.status, response.headers, redirects

    def _follow(
        self, target: RequestSpec, method: str, more: dict[str, str], read_timeout: float
    ) -> tuple[Any, RequestSpec, _Told]:
        """Follow redirects; some of their answers tell the hash of the file that they lead to."""
        url, headers, body, told = target.url, dict(target.headers), target.body, _Told()
        for hop in range(_MAX_REDIRECTS + 1):
            send = {"User-Agent": f"colabkit/{__version__}", "Accept": "*/*", **headers, **more}
            send["Accept-Encoding"] = "gzip" if target.stored else "identity"
            verb = method if body is None else "POST"
            first = not hop or may_keep_secrets(target.url, url)  # another port is somebody else
            response = self._transport.send(verb, url, send, body, read_timeout, first=first)
            if response.status not in REDIRECTS or "Location" not in response.headers:
                if not hop:
                    return response, target, told
                return response, replace(target, url=url, headers=headers, body=body), told
            told = told if told.checksum else _Told.of(response.headers)
            response.close()
            old = url
            url, headers = _redirected(url, response.headers["Location"], headers)
            if response.status in (301, 302, 303):
                body = None  # as browsers and curl do: the answer to what was posted lies elsewhere
            elif body is not None and not may_keep_secrets(old, url):
                raise AccessError(
                    f"{shown(old)} redirects what was posted to another host",
                    why="it may hold a password",
                    hint=f"if you trust that host, use the address {shown(url)} in the command",
                )
        raise TransferError(
            f"{shown(url)} redirects in a loop",
            why=f"more than {_MAX_REDIRECTS} redirects",
            hint="open the address in a browser to see what it wants, and use the address of the file itself",
        )

    def send(self, url: str, headers: dict[str, str], body: bytes | None, read_timeout: float) -> Any:
        """Send one request, GET or POST, and return its answer, a redirect included; the body is still to be read.

        Raises:
            TransientError: Worth another try.
            ColabKitError: It will not work.
        """
        return self._transport.send("GET" if body is None else "POST", url, headers, body, read_timeout, first=True)

    def _answer(self, response: Any, target: RequestSpec, told: _Told, first: int | None) -> Response:
        url = target.url
        if target.version and response.status in (404, 410):
            response.close()
            raise ChangedError  # that version is gone; the source knows whether there is another
        if response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and first is not None:
            total = _headers.unsatisfied_total(response.headers.get("Content-Range"))
            if total is not None and total <= first:
                return _unsatisfied(response, url)
        if response.status not in _ACCEPTED:
            refusal = _refusal(response, url)
            response.close()
            raise refusal
        try:
            return _accepted(response, target, told, first is not None)
        except BaseException:
            response.close()
            raise


def _accepted(response: Any, target: RequestSpec, told: _Told, ranged: bool) -> Response:
    headers, url = response.headers, target.url
    length = _headers.content_length(headers.get("Content-Length"))
    if framing := headers.get("Transfer-Encoding", "").strip().lower():
        length = None  # a length beside it does not count (RFC 9112, 6.3)
        if framing not in ("chunked", "identity"):
            raise UnsupportedError(
                f"{shown(url)} arrives in the transfer coding {framing[:50]!r}",
                why="it was not asked for, and nothing here can undo it",
                hint="use another address of the file, or fetch it without the proxy that does this",
            )
    codings = () if target.stored else _coding.labelled(headers.get("Content-Encoding"))
    partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
    span = _headers.content_range(headers.get("Content-Range"))
    if not partial and span is not None:
        # A part that is called the whole (Google's own emulator does so) would be taken for a file that is cut short.
        partial = ranged and length == span.stop - span.start != span.total
        span = span if partial else None
    if span is not None and not ranged and span.start == 0 and span.stop == span.total:
        partial, span = False, None  # the whole file, called a part of itself
    elif partial and (span is None or not ranged):
        raise TransientError("the server answered with a part that it does not describe")
    if span is not None and length is not None and length != span.stop - span.start:
        raise TransientError("the server's Content-Length and Content-Range contradict each other")
    start, stop, total = 0, length, length
    if span is not None:
        start, stop, total = span.start, span.stop, span.total
    return Response(
        partial=partial,
        start=start,
        stop=stop,
        total=total,
        name=_name(headers, url),
        content_type=headers.get("Content-Type", ""),
        codings=codings,
        measured=length is not None,
        kept="no-store" not in headers.get("Cache-Control", "").lower() and headers.get("Vary", "").strip() != "*",
        size=told.size if not codings else None,
        splits=headers.get("Accept-Ranges", "").strip().lower() != "none",
        checksum=told.checksum or promised(headers, is_complete=not partial),
        shown=shown(url),
        _response=response,
        _length=length if span is None else span.stop - span.start,
    )


def _name(headers: Any, url: str) -> str:
    disposition = headers.get("Content-Disposition")
    return (disposition and _headers.disposition_name(_headers.as_sent(disposition))) or _headers.url_name(url)


def _unsatisfied(response: Any, url: str) -> Response:
    """Turn a 416 into an answer without a body: the file is empty, or shorter than what was asked for."""
    total = _headers.unsatisfied_total(response.headers.get("Content-Range"))
    response.close()
    return Response(
        partial=True,
        start=0,
        stop=0,
        total=total,
        name=_name(response.headers, url),
        content_type="",
        codings=(),
        measured=True,
        size=None,
        splits=True,
        kept=True,
        checksum=None,
        shown=shown(url),
        _response=response,
        _length=0,
    )


def _redirected(url: str, location: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    # Servers send Latin-1 bytes or UTF-8 bytes; http.client reads both as Latin-1.
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    try:
        target = urllib.parse.urljoin(url, location)
        parts = urllib.parse.urlsplit(target)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        known = None
    if not known:
        raise TransferError(
            f"{shown(url)} redirects to something that is not a web address",
            hint="open the address in a browser, and use the address of the file itself",
        )
    if url.startswith("https:") and target.startswith("http:"):
        raise AccessError(
            f"{shown(url)} redirects from https to plain http",
            why="anyone on the way could then replace the file",
            hint=f"if you accept that, fetch {shown(target)} directly, with checksum= if you know it",
        )
    target = urllib.parse.urldefrag(target).url
    if not may_keep_secrets(url, target):
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    # Credentials in a Location are the server's idea, not the user's; requests would send them.
    if "@" in parts.netloc:
        target = urllib.parse.urlunsplit(urllib.parse.urlsplit(target)._replace(netloc=parts.netloc.rpartition("@")[2]))
    return target, headers


def _refusal(response: Any, url: str) -> Exception:
    status = response.status
    said = _words(response)
    why = f"the server answered {status} {_phrase(status)}" + (f": {said}" if said else "")
    asked = _headers.retry_after(response.headers)
    if status in TRANSIENT:
        return TransientError(why, retry_after=asked, crowded=status in CROWDED)
    # Google's storage says 400 to a signed address whose time is over.
    if status in (401, 403) or (status == http.HTTPStatus.BAD_REQUEST and "ExpiredToken" in said):
        do = "sign in, ask the owner for access, or use an address with a valid key"
        return ExpiredError(AccessError(f"{shown(url)} refuses access", why=why, hint=do))
    if status in (404, 410):
        return NotFoundError(f"there is no file at {shown(url)}", why=why, hint="check the address in a browser")
    return TransferError(f"cannot fetch {shown(url)}", why=why, hint="check the address in a browser")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def _words(response: Any) -> str:
    content_type = response.headers.get("Content-Type", "").lower()
    if not content_type.startswith(("text/", "application/json", "application/xml")):
        return ""
    try:
        body = response.read(65536, decode_content=True)
    except Exception:  # noqa: BLE001 - the words are a courtesy; whatever breaks here hides nothing
        return ""
    return error_page.words(body)
