"""HTTP for the engine: one request, its redirects, and every failure turned into words."""

from __future__ import annotations

import contextlib
import http
import select
import socket
import urllib.parse
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from colabkit._version import __version__
from colabkit.errors import (
    AccessError,
    NotFoundError,
    TransferError,
    UnsupportedError,
)
from colabkit.transfer import _headers, _html
from colabkit.transfer._checksum import Checksum, promised
from colabkit.transfer._network import as_given, first_contact, translating
from colabkit.transfer._url import may_keep_secrets, origin, shown
from colabkit.transfer.base import ChangedError, ExpiredError, Target, TransientError

if TYPE_CHECKING:
    import requests

_MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
_CONNECT_AGAIN = 15.0
_GRACE = 0.005
_BLOCK = 256 << 10
_BLOCK_OF_OLD = 64 << 10
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
TRANSIENT = frozenset({408, 421, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})
CROWDED = frozenset({429, 503, 509})
"""The answers that may pass, and those among them that ask for fewer requests."""


@dataclass(kw_only=True)
class Answer:
    """A response whose body is still to be read.

    Attributes:
        partial: It holds the bytes `start` to `stop` of `total`; else it holds the whole file.
        stop: Where the body ends; None when the server does not say.
        total: The size of the file, when it is known.
        encoding: A content coding that is taken off while reading; the length is then unknown.
    """

    partial: bool
    start: int
    stop: int | None
    total: int | None
    validator: _headers.Validator
    name: str
    content_type: str
    encoding: str
    checksum: Checksum | None
    shown: str
    _response: requests.Response = field(repr=False)
    _head: bytes = field(default=b"", repr=False)
    _got: int = 0
    _length: int | None = None
    _decoder: Any = field(default=None, repr=False)

    def peek(self) -> bytes:
        """Return the first bytes without taking them."""
        if not self._head:
            self._head = self.read()
        return self._head

    def read(self, most: int = _BLOCK) -> bytes:
        """Return the next bytes as soon as some are there; b"" at the end.

        Raises:
            TransientError: The connection broke, stalled, or ended early.
        """
        if self._head:
            head, self._head = self._head, b""
            return head
        while True:
            data = self._read_raw(most)
            if self._decoder is None:
                return data
            if plain := self._decode(data):
                return plain
            if not data:
                return b""

    def _read_raw(self, most: int) -> bytes:
        raw = self._response.raw
        read_some = getattr(raw, "read1", None)
        if read_some is None:  # urllib3 1.26 has only read(), which waits for all that it is asked for
            read_some, most = raw.read, min(most, _BLOCK_OF_OLD)
        left = None if self._length is None or self.partial else self._length - self._got
        with translating(self.shown):
            if left == 1 and self._more_than_promised():
                raise TransientError(f"the server sends more than the {self._length:,} bytes that it promised")
            # The last byte is read alone, after a look at what follows it.
            data: bytes = read_some(most if left is None else max(1, min(most, left - 1)), decode_content=False)
        self._got += len(data)
        if not data and self._length is not None and self._got != self._length:
            raise TransientError(f"the connection ended after {self._got:,} of {self._length:,} bytes")
        return data

    def _more_than_promised(self) -> bool:
        """Look for bytes behind the promised end: http.client would drop them and call a cut file whole."""
        stream = getattr(getattr(self._response.raw, "_fp", None), "fp", None)
        if stream is None:
            return False
        if len(stream.peek(2)) > 1:
            return True
        plain = getattr(getattr(stream, "raw", None), "_sock", None)
        if plain is None or hasattr(plain, "pending"):
            return False  # a TLS socket cannot be looked into
        ready, _, _ = select.select([plain], [], [], _GRACE)
        return bool(ready and plain.recv(1, socket.MSG_PEEK))

    def _decode(self, data: bytes) -> bytes:
        try:
            if data:
                # A gzip file may be a chain of members; what follows the last is not ours to judge.
                plain: bytes = self._decoder.decompress(data)
                return plain
            if not self._decoder.eof:
                raise TransientError(f"the {self.encoding} stream ended early")
        except zlib.error as error:
            raise TransientError(f"the {self.encoding} stream is damaged ({error})") from None
        return b""

    def close(self) -> None:
        """End the connection, or give it back when the body was read to its end."""
        done = self._length is not None and self._got >= self._length
        with contextlib.suppress(Exception):
            if done:
                self._response.raw.release_conn()
            else:
                self._response.close()

    def abandon(self) -> None:
        """Wake a thread that waits for this answer; it then fails."""
        with contextlib.suppress(Exception):
            self._response.raw.shutdown()  # urllib3 2.3 and newer; with older ones the thread waits for its timeout


class Client:
    """Sends the requests of one transfer, or of several one after the other.

    Args:
        connections: How many connections may be kept open at once.
    """

    def __init__(self, connections: int = 16) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        self._session = requests.Session()
        self._session.headers.clear()
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._settings: dict[str, Any] = {}
        self._logins: dict[str, Any] = {}

    def has_reached(self, url: str) -> bool:
        """Say whether this host ever answered."""
        return origin(url) in self._settings

    def close(self) -> None:
        """Close what is idle."""
        self._session.close()

    def get(
        self,
        target: Target,
        *,
        first: int | None = None,
        last: int | None = None,
        if_range: str = "",
        read_timeout: float = 30.0,
    ) -> tuple[Answer, Target]:
        """Ask for a file, or for its bytes `first` to `last`, and follow redirects.

        Returns:
            The answer, and the address that gave it with the headers that may be sent there.

        Raises:
            TransientError: Worth another try.
            ExpiredError: Refused with 401 or 403.
            TransferError: It will not work.
        """
        url, headers, body = target.url, dict(target.headers), target.body
        for _ in range(_MAX_REDIRECTS + 1):
            send = {"User-Agent": f"colabkit/{__version__}", "Accept": "*/*", **headers}
            send["Accept-Encoding"] = "gzip" if target.stored else "identity"
            if first is not None:
                send["Range"] = f"bytes={first}-" + ("" if last is None else str(last))
                if if_range:
                    send["If-Range"] = if_range
            response = self.send(url, send, body, read_timeout)
            if response.status_code not in REDIRECTS or "Location" not in response.headers:
                reached = replace(target, url=url, headers=headers, body=body)
                return self._answer(response, reached, ranged=first is not None), reached
            response.close()
            old = url
            url, headers = _redirected(url, response.headers["Location"], headers)
            if response.status_code in (301, 302, 303):
                body = None  # as browsers and curl do: the answer to what was posted lies elsewhere
            elif body is not None and not may_keep_secrets(old, url):
                raise AccessError(
                    f"{shown(old)} wants what was posted sent on to another host",
                    why="it may hold a password",
                    do=f"if you trust that host, use the address {shown(url)} in the command",
                )
        raise TransferError(
            f"{shown(url)} redirects in a circle",
            why=f"more than {_MAX_REDIRECTS} redirects",
            do="open the address in a browser to see what it wants, and use the address of the file itself",
        )

    def send(self, url: str, headers: dict[str, str], body: bytes | None, read_timeout: float) -> requests.Response:
        """Send one request, GET or POST, and return its answer, a redirect included; the body is still to be read.

        Raises:
            TransientError: Worth another try.
            ColabKitError: It will not work.
        """
        import requests
        from requests.cookies import extract_cookies_to_jar

        with translating(shown(url)):
            # A given Authorization wins over ~/.netrc, as it does in curl.
            given = any(name.lower() == "authorization" for name in headers)
            method = "GET" if body is None else "POST"
            request = requests.PreparedRequest()  # not the session's: merging what it does not have costs more
            cookies = self._session.cookies if len(self._session.cookies) else None
            auth = as_given if given else self._login(url)
            request.prepare(method, url, headers, data=body, auth=auth, cookies=cookies)
            settings = self._settings.get(origin(url))
            connect = _CONNECT_AGAIN
            if settings is None:
                settings = self._session.merge_environment_settings(url, {}, True, None, None)
                connect = first_contact(url, settings["proxies"])
            # Not Session.send(): it reads the body of a redirect, however long, and trips over odd Locations.
            adapter = self._session.get_adapter(url)
            response = adapter.send(request, timeout=(connect, read_timeout), **settings)
            extract_cookies_to_jar(self._session.cookies, request, response.raw)  # type: ignore[no-untyped-call]
        self._settings[origin(url)] = settings
        return response

    def _login(self, url: str) -> Any:
        """Return what ~/.netrc has for this host; it is read once."""
        import requests.auth
        import requests.utils

        host = origin(url)
        if host not in self._logins:
            found = requests.utils.get_netrc_auth(url)
            self._logins[host] = requests.auth.HTTPBasicAuth(*found) if found else as_given
        return self._logins[host]

    def _answer(self, response: requests.Response, target: Target, *, ranged: bool) -> Answer:
        url = target.url
        if target.version and response.status_code in (404, 410):
            response.close()
            raise ChangedError  # that version is gone; the source knows whether there is another
        if response.status_code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and ranged:
            return _unsatisfied(response, url)
        if response.status_code not in (200, 206):
            refusal = _refusal(response, url)
            response.close()
            raise refusal
        try:
            return _accepted(response, target, ranged)
        except BaseException:
            response.close()
            raise


def _accepted(response: requests.Response, target: Target, ranged: bool) -> Answer:
    headers, url = response.headers, target.url
    length = _headers.content_length(headers.get("Content-Length"))
    encoding = headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if target.stored:
        encoding = "identity"
    partial = response.status_code == http.HTTPStatus.PARTIAL_CONTENT
    span = _headers.content_range(headers.get("Content-Range")) if partial else None
    if partial and (span is None or not ranged):
        raise TransientError("the server answered with a part that it does not describe")
    if span is not None and length is not None and length != span.stop - span.start:
        raise TransientError("the server's Content-Length and Content-Range contradict each other")
    decoder = None
    if encoding in ("gzip", "x-gzip", "deflate"):
        decoder = zlib.decompressobj(47)
    elif encoding != "identity":
        raise UnsupportedError(
            f"{shown(url)} arrives in the coding {encoding[:40]!r}",
            why="the server compresses on the fly although it was asked not to",
            do="use another address of the file",
        )
    start, stop, total = 0, length, length
    if span is not None:
        start, stop, total = span.start, span.stop, span.total
    elif decoder is not None:
        stop = total = None
    return Answer(
        partial=partial,
        start=start,
        stop=stop,
        total=total,
        validator=_headers.validator(headers),
        name=_headers.disposition_name(headers.get("Content-Disposition")) or _headers.url_name(url),
        content_type=headers.get("Content-Type", ""),
        encoding="" if decoder is None else encoding,
        checksum=promised(headers, whole=not partial) if decoder is None else None,
        shown=shown(url),
        _response=response,
        _length=length if span is None else span.stop - span.start,
        _decoder=decoder,
    )


def _unsatisfied(response: requests.Response, url: str) -> Answer:
    """Turn a 416 into an answer without a body: the file is empty, or shorter than what was asked for."""
    total = _headers.unsatisfied_total(response.headers.get("Content-Range"))
    response.close()
    return Answer(
        partial=True,
        start=0,
        stop=0,
        total=total,
        validator=_headers.validator(response.headers),
        name=_headers.disposition_name(response.headers.get("Content-Disposition")) or _headers.url_name(url),
        content_type="",
        encoding="",
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
            f"{shown(url)} redirects to something that is no web address",
            do="open the address in a browser, and use the address of the file itself",
        )
    if url.startswith("https:") and target.startswith("http:"):
        raise AccessError(
            f"{shown(url)} redirects from https to plain http",
            why="anyone on the way could then replace the file",
            do=f"if you accept that, fetch {shown(target)} directly, with checksum= if you know it",
        )
    target = urllib.parse.urldefrag(target).url
    if not may_keep_secrets(url, target):
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    # Credentials in a Location are the server's idea, not the user's; requests would send them.
    if "@" in parts.netloc:
        target = urllib.parse.urlunsplit(urllib.parse.urlsplit(target)._replace(netloc=parts.netloc.rpartition("@")[2]))
    return target, headers


def _refusal(response: requests.Response, url: str) -> Exception:
    status = response.status_code
    said = _words(response)
    why = f"the server answered {status} {_phrase(status)}" + (f": {said}" if said else "")
    asked = _headers.retry_after(response.headers)
    if status in TRANSIENT:
        return TransientError(why, retry_after=asked, crowded=status in CROWDED)
    # Google's storage says 400 to a signed address whose time is over.
    if status in (401, 403) or (status == http.HTTPStatus.BAD_REQUEST and "ExpiredToken" in said):
        do = "sign in, ask the owner for access, or use an address with a valid key"
        return ExpiredError(AccessError(f"{shown(url)} refuses us", why=why, do=do))
    if status in (404, 410):
        return NotFoundError(f"there is no file at {shown(url)}", why=why, do="check the address in a browser")
    return TransferError(f"cannot fetch {shown(url)}", why=why, do="check the address in a browser")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def _words(response: requests.Response) -> str:
    content_type = response.headers.get("Content-Type", "").lower()
    if not content_type.startswith(("text/", "application/json", "application/xml")):
        return ""
    try:
        body = response.raw.read(65536, decode_content=True)
    except Exception:  # noqa: BLE001 - the words are a courtesy; whatever breaks here hides nothing
        return ""
    return _html.words(body)
