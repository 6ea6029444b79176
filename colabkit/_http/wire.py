"""One HTTP/1.1 exchange over a connection of our own: what goes to a host directly, without a proxy.

`http.client` reads the bodies. Requests are written and headers are read here: servers send more of them, and odder
ones, than `http.client` bears, and a list of small files spends most of its time in either.
"""

from __future__ import annotations

import contextlib
import functools
import http
import http.client
import io
import math
import re
import select
import socket
import time
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from colabkit._http.types import TransientError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_MOST_HEADERS = 2_000
_LONGEST_LINE = 1 << 18
_LONGEST_HEAD = 30.0
"""Seconds that the headers may take in all, beside those that their first byte is waited for."""
_PLAIN_TARGET = re.compile(r"/(?:[A-Za-z0-9\-_~!$&'()*+,;=:@/?]|\.(?!\.?(?:[/?]|$))|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(r"[^:\s][^:\r\n]*")
_VERSION = re.compile(r"HTTP/\d(?:\.\d)?")  # some proxies pass on a 2 or a 3
_LINE_BREAK = re.compile(r"[\r\n\0]")


class Headers(Mapping[str, str]):
    """The headers of an answer, by names of any case; several of one name are one, with commas between them.

    Example:
        >>> headers = Headers([("Vary", "Cookie"), ("vary", "Accept")])
        >>> headers["VARY"], headers.getlist("vary"), "ETag" in headers
        ('Cookie, Accept', ['Cookie', 'Accept'], False)
    """

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str, default: Any = None) -> Any:  # a fifth of Mapping's time
        """Return the value of a header, or what is given for none."""
        values = self._values.get(name.lower())
        return default if values is None else ", ".join(values)

    def getlist(self, name: str) -> list[str]:
        """Return the values of all headers of a name."""
        return self._values.get(name.lower(), [])

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read_header_lines(stream: Any) -> list[bytes]:
    """Read headers up to the blank line, which is the last one returned; lines without a colon are passed over.

    Raises:
        HTTPException: They do not end.
    """
    lines: list[bytes] = []
    while True:
        line = stream.readline(_LONGEST_LINE + 1)
        if line in (b"\r\n", b"\n", b""):
            lines.append(line)
            return lines
        if line[:1] not in b" \t":
            name, colon, value = line.partition(b":")
            if not colon:
                continue  # http.client would take all that follows for the body
            line = name.rstrip(b" \t") + colon + value
        lines.append(line)
        if len(lines) > _MOST_HEADERS or len(line) > _LONGEST_LINE:
            raise http.client.HTTPException("the headers never end")


def read_pairs(stream: Any) -> list[tuple[str, str]]:
    """Read headers up to the blank line; a line that begins with a blank goes on with the one before it.

    Raises:
        HTTPException: They do not end.
    """
    ahead = stream.peek()
    size = ahead.find(b"\n\r\n") + 3
    if size > 2 and b"\n\n" not in ahead[:size] and ahead[0] not in b"\r\n":  # as nearly always: all are here
        lines = stream.read(size).decode("latin-1").split("\n")[:-2]
    else:
        lines = [line.decode("latin-1") for line in read_header_lines(stream)[:-1]]
    pairs: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if line[0] in " \t":
            if pairs:
                pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.strip()}")
        elif colon:
            pairs.append((name.rstrip(" \t"), value.strip()))
    return pairs


def read_status(stream: Any) -> tuple[int, int, str]:
    """Read the first line of an answer: the version as http.client writes it, the status, the reason.

    Raises:
        HTTPException: There is none.
    """
    line = stream.readline(_LONGEST_LINE + 1)
    if not line:
        raise http.client.RemoteDisconnected("the server closed the connection without an answer")
    version, _, rest = line.decode("latin-1").rstrip("\r\n").partition(" ")
    status, _, reason = rest.strip().partition(" ")
    if not (_VERSION.fullmatch(version) and status.isascii() and status.isdigit() and len(status) == 3):
        raise http.client.BadStatusLine(version[:40])
    return 10 if version == "HTTP/1.0" else 11, int(status), reason.strip()


class _Head(socket.SocketIO):
    """What is read from a connection; the headers must end in time, also where each byte of them comes in time."""

    until = math.inf

    def readinto(self, buffer: Any) -> int | None:
        if self.until != math.inf and time.monotonic() > self.until:
            raise TimeoutError("the headers do not end")
        return super().readinto(buffer)


class Answer(http.client.HTTPResponse):
    """An answer whose headers were read; `read1` gives the body as it comes.

    Args:
        wire: The connection it comes over.
        method: What was asked with.
    """

    headers: Headers  # type: ignore[assignment]

    def __init__(self, wire: Wire, method: str) -> None:
        super().__init__(wire, method=method)  # type: ignore[arg-type]  # it asks for `makefile` only
        self._wire = wire
        self._method_name = method
        self._released = False

    def begin(self) -> None:
        """Read the status and the headers; early hints, which http.client takes for the answer, are passed over."""
        stream: Any = self.fp
        stream.raw.until = time.monotonic() + (self._wire.socket.gettimeout() or 0.0) + _LONGEST_HEAD
        self.version, self.status, self.reason = read_status(stream)
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            read_header_lines(stream)
            self.version, self.status, self.reason = read_status(stream)
        headers = self.headers = Headers(read_pairs(stream))
        stream.raw.until = math.inf
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else _told_length(headers)
        if self._method_name == "HEAD" or self.status in (204, 304):
            self.length = 0
        told = headers.get("connection", "").lower()
        self.will_close = "close" in told or (self.version == 10 and "keep-alive" not in told)
        self.will_close = self.will_close or (self.length is None and not self.chunked)

    @property
    def ended(self) -> bool:
        """Whether the body was read to its end."""
        return self.isclosed() or self.length == 0

    def read(self, amt: int | None = None, *, decode_content: bool = False) -> bytes:  # noqa: ARG002 - urllib3's name
        """Return so many bytes, fewer at the end."""
        return super().read(amt)

    def read1(self, n: int = -1, *, decode_content: bool = False) -> bytes:  # noqa: ARG002
        """Return the bytes that are there."""
        return super().read1(n)

    def read_beyond(self, n: int) -> bytes:
        """Return the bytes that are there, those behind the promised end too."""
        stream: Any = self.fp
        data: bytes = b"" if stream is None else stream.read1(n)
        if self.length is not None:
            self.length -= len(data)
        return data

    def release_conn(self) -> None:
        """Give the connection back, if it can be used again."""
        if not self._released:
            self._released = True
            again = self.ended and not self.will_close
            super().close()  # first, as the socket is open as long as it is read from
            self._wire.release(again=again)

    def close(self) -> None:
        """End the connection, unless all was read."""
        self.release_conn()

    def shutdown(self) -> None:
        """Wake a thread that reads; it then fails."""
        with contextlib.suppress(OSError):
            self._wire.socket.shutdown(socket.SHUT_RDWR)

    def wait_at_most(self, seconds: float) -> None:
        """Wait no longer than this for each further piece."""
        self._wire.socket.settimeout(seconds)

    def peek(self, n: int = -1) -> bytes:
        """Return what has come and was not read yet, without waiting where something has."""
        stream: Any = self.fp
        return b"" if stream is None else stream.peek(n)

    @property
    def plain_socket(self) -> socket.socket | None:
        """The socket, where it can be looked into; None for one with TLS."""
        return None if self._wire.secure else self._wire.socket


@functools.lru_cache(maxsize=16)
def _lines_of(headers: tuple[tuple[str, str], ...]) -> str:
    for name, value in headers:
        if not _NAME.fullmatch(name) or _LINE_BREAK.search(value):
            raise ValueError("a header is malformed")
    return "".join(f"{name}: {value}\r\n" for name, value in headers)


def _told_length(headers: Headers) -> int | None:
    values = {part.strip() for part in headers.get("content-length", "").split(",")}
    numbers = [int(value) for value in values if value.isascii() and value.isdigit() and len(value) < 19]
    if len(numbers) > 1:
        raise TransientError("the server gives two lengths for one answer")
    return numbers[0] if numbers else None


class Wire:
    """A connection to one host, which may serve one request after the other.

    Args:
        pool: Where it goes back to.
    """

    def __init__(self, pool: WirePool) -> None:
        self._pool = pool
        self.socket = pool.connect()
        self.secure = pool.context is not None

    def makefile(self, _: str) -> Any:
        """Open what an answer is read from."""
        return io.BufferedReader(_Head(self.socket, "r"))

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Answer:
        """Send a request and read the head of its answer.

        Raises:
            OSError: The connection broke, or nothing came in time.
            HTTPException: What came is no answer.
            ValueError: A header cannot be sent.
        """
        self.socket.settimeout(timeout)
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._pool.host}\r\n{_lines_of(tuple(headers.items()))}"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        self.socket.sendall(f"{head}\r\n".encode("latin-1") + (body or b""))
        answer = Answer(self, method)
        try:
            answer.begin()
        except BaseException:
            super(Answer, answer).close()
            raise
        return answer

    def release(self, *, again: bool) -> None:
        """Keep the connection for the next request, or end it."""
        if not (again and self._pool.keep(self)):
            self.socket.close()

    def is_fresh(self) -> bool:
        """Say whether the host has neither closed it nor sent what nobody asked for."""
        try:
            return not select.select([self.socket], [], [], 0)[0]
        except (OSError, ValueError):  # more descriptors than select can count
            return False


class WirePool:
    """The connections to one host.

    Args:
        url: An address on it.
        context: The certificates that are trusted; None speaks without TLS.
        most: How many that are idle are kept.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None, most: int) -> None:
        parts = urllib.parse.urlsplit(url)
        name = parts.hostname or ""
        self._name = name if name.isascii() else name.encode("idna").decode()
        self._port = parts.port or (443 if context is not None else 80)
        self.context = context
        usual = self._port == (443 if context is not None else 80)
        shown = f"[{self._name}]" if ":" in self._name else self._name
        self.host = shown if usual else f"{shown}:{self._port}"
        self.timeout = 15.0
        self._most = most
        self._idle: list[Wire] = []
        self._closed = False

    def connect(self) -> socket.socket:
        """Open a connection.

        Raises:
            TransientError: None came about.
            SSLError: The host cannot be trusted, or speaks no TLS.
        """
        try:
            plain = socket.create_connection((self._name, self._port), self.timeout)
        except socket.gaierror:
            raise TransientError("the host's name cannot be resolved", unreachable=True) from None
        except TimeoutError:
            raise TransientError("the host does not answer", unreachable=True) from None
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            why = "the host refuses the connection" if refused else "the host cannot be reached"
            raise TransientError(why, unreachable=True, crowded=True) from None
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is None:
                return plain
            return self.context.wrap_socket(plain, server_hostname=self._name.rstrip("."))
        except BaseException:
            plain.close()
            raise

    def keep(self, wire: Wire) -> bool:
        """Take back a connection; False where enough are idle. Where none is needed any more it is closed."""
        if len(self._idle) >= self._most:
            return False
        self._idle.append(wire)
        if self._closed:
            self.close()
        return True

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, connect: float, read: float
    ) -> Answer:
        """Send a request over a connection that is idle, or over a new one.

        Raises:
            As for `Wire.ask` and `connect`.
        """
        self.timeout = connect
        target = target_of(url)
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took the last one
                wire = self._idle.pop()
                if not wire.is_fresh():
                    wire.release(again=False)
                    continue
                try:
                    return wire.ask(method, target, headers, body, read)
                except (ConnectionError, http.client.RemoteDisconnected):
                    wire.release(again=False)
                    if body is not None:
                        raise
                except BaseException:
                    wire.release(again=False)
                    raise
        wire = Wire(self)
        try:
            return wire.ask(method, target, headers, body, read)
        except BaseException:
            wire.release(again=False)
            raise

    def close(self) -> None:
        """Close what is idle, and from now on whatever comes back."""
        self._closed = True
        with contextlib.suppress(IndexError):  # another thread took the last one
            while True:
                self._idle.pop().release(again=False)


def target_of(url: str) -> str:
    """Return what a request line says of an address: its path and query, in letters that may stand there.

    Example:
        >>> target_of("https://example.org?a=1"), target_of("https://example.org/a b/../é.csv")
        ('/?a=1', '/%C3%A9.csv')
    """
    rest = url.partition("://")[2].partition("#")[0]
    at = next((number for number, letter in enumerate(rest) if letter in "/?"), len(rest))
    target = rest[at:] if rest[at : at + 1] == "/" else f"/{rest[at:]}"
    if _PLAIN_TARGET.fullmatch(target):
        return target
    import urllib3.util

    parsed = urllib3.util.parse_url(url)
    return parsed.request_uri
