"""A web server on this machine whose files misbehave on request: the faults that real servers show, on purpose."""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import gzip
import hashlib
import http
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)
_BLOCK = 64 << 10

Kind = Literal["reset", "truncate", "stall", "status", "flip", "page", "whole", "length", "gzip", "redirect"]


@dataclass(kw_only=True)
class Fault:
    """One way to misbehave, for so many requests.

    Attributes:
        kind: `reset` and `truncate` end the connection at byte `at` of the file, with an error or in peace;
            `stall` pauses there for `seconds`; `status` answers with `status`; `flip` changes byte `at`; `page`
            answers 200 with `body` as a web page; `whole` ignores ranges; `length` adds `at` to Content-Length;
            `gzip` compresses on the fly; `redirect` sends the client to `location`.
        at: A byte position in the file.
        times: How many requests it strikes; it passes over requests that do not cover `at`.
        seconds: For `stall`; set to 0, it ends those that wait.
        status: For `status` and `redirect`.
        body: For `status` and `page`.
        location: For `redirect`.
        headers: More headers, for `status`.
        after: How many requests are left alone first.
    """

    kind: Kind
    at: int = 0
    times: int = 1
    seconds: float = 0.0
    status: int = 503
    body: bytes = b""
    location: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0


@dataclass(kw_only=True)
class Resource:
    """A file of the server; change its fields at any time.

    Attributes:
        data: The bytes.
        etag: The entity tag with its quotes; None sends none.
        modified: The time of the last change in seconds; None sends none.
        content_type: The label.
        headers: More headers.
        rate: Bytes a second for each connection; 0 is as fast as it goes.
        authorization: The Authorization header that is demanded, or "".
        obey_if_range: Whether an If-Range that does not fit gets the whole file, as it must.
        limit: How many requests are served at once; the others get a 503.
        faults: What goes wrong.
    """

    data: bytes
    etag: str | None = None
    modified: float | None = 1_700_000_000.0
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    rate: float = 0.0
    authorization: str = ""
    obey_if_range: bool = True
    limit: int = 0
    faults: list[Fault] = field(default_factory=list)
    serving: int = 0

    def replace(self, data: bytes) -> None:
        """Put another version in place, as its owner would."""
        self.data, self.etag = data, tag(data)
        if self.modified is not None:
            self.modified += 60


@dataclass(kw_only=True)
class Seen:
    """One request and how it went so far.

    Attributes:
        path: The path with its query.
        headers: The headers of the request, with lower-case names.
        method: The verb.
        body: What was posted.
        status: The answer; 0 until there is one.
        sent: The bytes of the body that were sent.
        over: Whether nothing more is done for it.
    """

    path: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""
    status: int = 0
    sent: int = 0
    over: bool = False


def tag(data: bytes) -> str:
    """Make the entity tag of some bytes.

    Example:
        >>> tag(b"")
        '"e3b0c44298fc"'
    """
    return f'"{hashlib.sha256(data).hexdigest()[:12]}"'


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request that a site is asked to answer.

    Attributes:
        method: The verb.
        path: The path with its query.
        headers: With lower-case names.
        body: What was sent; less than was announced, if the client was gone before its end.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Page:
    """An answer that is not a file: a page, a piece of JSON, a redirect."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Site:
    """What one host serves: files by their paths, and whatever a subclass answers.

    Attributes:
        resources: The files by their paths.
        seen: The requests in the order in which they came; one is there before anything is answered.
        sent: The bytes of bodies that were sent so far.
        handler: Serves one connection, for the servers of `socketserver`.
    """

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.seen: list[Seen] = []
        self.sent = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            site = outer

        self.handler = Handler

    def answer(self, request: Request) -> Resource | Page | None:
        """Choose what to serve; None is a 404. A subclass may make up its answers."""
        return self.resources.get(request.path.lstrip("/").partition("?")[0])

    def take(self, request: Request, blocks: Iterator[bytes]) -> Page | None:  # noqa: ARG002 - for subclasses
        """Answer a PUT while its body comes in blocks; a `ConnectionError` breaks the connection.

        None leaves it to `answer`, which gets the body in one piece.
        """
        return None

    def put(self, name: str, data: bytes, *faults: Fault, **options: Any) -> Resource:
        """Serve a file under a name.

        Args:
            name: The path without the first slash.
            data: The bytes.
            faults: What goes wrong with it.
            options: Fields of `Resource`.
        """
        options.setdefault("etag", tag(data))
        resource = Resource(data=data, faults=list(faults), **options)
        self.resources[name] = resource
        return resource


class FaultServer(Site):
    """Serves files from memory on 127.0.0.1, to be used in a `with` statement.

    Args:
        port: The port; 0 takes a free one.

    Example:
        >>> import urllib.request
        >>> with FaultServer() as server:
        ...     _ = server.put("digits.csv", b"7,0,0")
        ...     urllib.request.urlopen(server.url("digits.csv")).read()
        b'7,0,0'
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self._server = Server(("127.0.0.1", port), self.handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; connections that are open break. Twice is harmless."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.port}/{name}"


class Server(ThreadingHTTPServer):
    """Forgets no connection, so that all of them can be broken at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note that it is open."""
        self._open.add(request)
        with contextlib.suppress(OSError):
            # What is counted as sent should have left: megabytes that wait in the kernel are lost with a reset.
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Note that it is over."""
        self._open.discard(request)
        super().shutdown_request(request)

    def drop_all(self) -> None:
        """Break all connections that are open."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that break a connection are this server's daily bread."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_PATCH(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self._noted() as request:
            self._serve(self.site.answer(self._complete(request)))

    def do_PUT(self) -> None:
        self._chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        self._left = 1 if self._chunked else int(self.headers.get("Content-Length", 0))
        with self._noted() as request:
            try:
                page = self.site.take(request, self._blocks())
                if page is None:
                    self._serve(self.site.answer(self._complete(request)))
                    return
                for _ in self._blocks():
                    pass  # what was not taken must not be read as the next request
                self._plain(page.status, page.body, page.headers)
            except ConnectionError:
                self._reset()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[Request]:
        """Show a request before it is answered: who has the answer finds it there, behind those that came before."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._seen = Seen(path=self.path, headers=headers, method=self.command)
        with self.site.lock:
            self.site.seen.append(self._seen)
        try:
            yield Request(method=self.command, path=self.path, headers=headers, body=b"")
        finally:
            self._seen.over = True

    def _complete(self, request: Request) -> Request:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self._seen.body = b"".join(self._chunks())
        else:
            self._seen.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return dataclasses.replace(request, body=self._seen.body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _blocks(self) -> Iterator[bytes]:
        if self._chunked and self._left:
            self._left = 0
            yield from self._chunks()
        while self._left:
            block = self.rfile.read(min(_BLOCK, self._left))
            if not block:
                raise ConnectionResetError
            self._left -= len(block)
            yield block

    def _reset(self) -> None:
        # With a zero linger time the kernel answers with RST instead of a clean end.
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def _serve(self, resource: Resource | Page | None) -> None:
        if isinstance(resource, Page):
            self._plain(resource.status, resource.body, resource.headers)
            return
        if resource is None:
            self._plain(404, b"<html><title>Not found</title>", {"Content-Type": "text/html"})
            return
        if resource.authorization and self.headers.get("Authorization") != resource.authorization:
            self._plain(401, b"who are you?", {"WWW-Authenticate": "Basic", "Content-Type": "text/plain"})
            return
        with self.site.lock:
            crowded = resource.limit and resource.serving >= resource.limit
            resource.serving += not crowded
        if crowded:
            self._plain(503, b"too many connections", {"Content-Type": "text/plain"})
            return
        try:
            self._serve_file(resource)
        finally:
            with self.site.lock:
                resource.serving -= 1

    def _serve_file(self, resource: Resource) -> None:
        data, etag = resource.data, resource.etag
        span = self._span(resource, len(data))
        start, stop = span or (0, len(data))
        faults = self._due(resource, start, stop)
        if fault := faults.get("status"):
            self._plain(fault.status, fault.body, {"Content-Type": "text/html", **fault.headers})
            return
        if fault := faults.get("redirect"):
            self._plain(fault.status if fault.status != 503 else 302, b"", {"Location": fault.location})
            return
        if fault := faults.get("page"):
            self._plain(200, fault.body, {"Content-Type": "text/html; charset=utf-8"})
            return
        if "whole" in faults or "gzip" in faults:
            span, start, stop = None, 0, len(data)
        if start >= len(data) and span is not None:
            self._plain(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        body = data[start:stop]
        headers = {"Content-Type": resource.content_type, **resource.headers}
        if etag:
            headers["ETag"] = etag
        if resource.modified is not None:
            headers["Last-Modified"] = email.utils.formatdate(resource.modified, usegmt=True)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        if "gzip" in faults:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        if fault := faults.get("flip"):
            at = fault.at - start
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        length = len(body) + (faults["length"].at if "length" in faults else 0)
        self._head(206 if span is not None else 200, {**headers, "Content-Length": str(length)})
        self.close_connection |= "length" in faults
        if self.command == "HEAD":
            return
        self._body(body, start, faults, resource.rate)

    def _span(self, resource: Resource, size: int) -> tuple[int, int] | None:
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None:
            return None
        condition = self.headers.get("If-Range")
        modified = "" if resource.modified is None else email.utils.formatdate(resource.modified, usegmt=True)
        if resource.obey_if_range and condition is not None and condition not in (resource.etag, modified):
            return None
        return int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)

    def _due(self, resource: Resource, start: int, stop: int) -> dict[str, Fault]:
        """Pick the faults that strike this request, one of each kind, and count them down."""
        due: dict[str, Fault] = {}
        placed = ("reset", "truncate", "stall", "flip")
        with self.site.lock:
            for fault in resource.faults:
                if fault.kind in due or fault.times <= 0 or (fault.kind in placed and not start <= fault.at < stop):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                due[fault.kind] = fault
        return due

    def _plain(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if self.command == "HEAD":
            return
        self._count(len(body))
        self.wfile.write(body)

    def _count(self, sent: int) -> None:
        """Count before the bytes are written: who has them finds them counted."""
        self._seen.sent += sent
        with self.site.lock:
            self.site.sent += sent

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self._seen.status = status
        self.send_response(status, http.HTTPStatus(status).phrase)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, body: bytes, start: int, faults: Mapping[str, Fault], rate: float) -> None:
        if self.command == "HEAD":
            return
        at, begun = 0, time.monotonic()
        stops = sorted({faults[kind].at - start for kind in ("reset", "truncate", "stall") if kind in faults})
        if self._strikes(start, faults):
            return
        while at < len(body):
            until = min([at + _BLOCK, len(body), *(stop for stop in stops if stop > at)])
            self._count(until - at)
            self.wfile.write(body[at:until])
            at = until
            if self._strikes(at + start, faults):
                return
            if rate:
                time.sleep(max(0.0, begun + at / rate - time.monotonic()))

    def _strikes(self, at: int, faults: Mapping[str, Fault]) -> bool:
        if (fault := faults.get("stall")) and fault.at == at:
            begun = time.monotonic()
            while (left := begun + fault.seconds - time.monotonic()) > 0:
                time.sleep(min(left, 0.02))
        if (fault := faults.get("reset")) and fault.at == at:
            self._reset()
            return True
        if (fault := faults.get("truncate")) and fault.at == at:
            self.close_connection = True
            return True
        return False
