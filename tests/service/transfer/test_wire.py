"""Direct connections: certificates are checked, connections are used again, and nothing odd goes onto the wire."""

import contextlib
import socket
import ssl
import threading
import time

import pytest
import trustme
import urllib3

from colabkit._http import transport, wire
from colabkit._http.client import HTTPClient
from colabkit._http.types import RequestSpec, TransientError
from colabkit._http.wire import target_of
from colabkit.errors import TransferError
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n7,0,0"


@contextlib.contextmanager
def host(answer, context=None):
    """Serve on 127.0.0.1: `answer(number of the connection, request)` gives bytes, or None to hang up."""
    seen = []
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(number, plain):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(plain)
            line = stack.enter_context(context.wrap_socket(plain, server_side=True)) if context else plain
            while request := line.recv(65536):
                seen.append((number, request))
                if (reply := answer(number, request)) is None:
                    return
                line.sendall(reply)

    def serve():
        number = 0
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listening.accept()
                threading.Thread(target=talk, args=(number, plain), daemon=True).start()
                number += 1

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{listening.getsockname()[1]}", seen
    finally:
        listening.close()


@pytest.mark.parametrize(
    ("names", "known", "right"),
    [(["127.0.0.1"], True, True), (["files.example"], True, False), (["127.0.0.1"], False, False)],
    ids=["trusted", "another host's", "a stranger's"],
)
def test_a_certificate_is_checked_on_a_direct_connection(tmp_path, monkeypatch, names, known, right):
    """The authority must be known and the name must be the host's, as for every browser."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    (authority if known else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with host(lambda *_: ANSWER, context) as (url, seen):
        if right:
            assert fetch(f"{url}/a.csv", tmp_path / "a.csv", progress=False).read_bytes() == b"7,0,0"
        else:
            with pytest.raises(TransferError, match="certificate is not trusted"):
                fetch(f"{url}/a.csv", tmp_path / "a.csv", progress=False)
            assert seen == []


def test_a_host_without_tls_is_told(tmp_path):
    """https:// to a port that speaks plain http: it is said, and not tried for half a minute."""
    plain = host(lambda *_: b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with plain as (url, _), pytest.raises(TransferError, match="speaks no TLS"):
        fetch(url.replace("http:", "https:") + "/a.csv", tmp_path / "a.csv", progress=False)


def body_of(client, url, **more):
    """Ask for a file and read it."""
    answer, _ = client.get(RequestSpec(url=f"{url}/a.csv", **{"headers": {}, **more}))
    found = b""
    while data := answer.read():
        found += data
    answer.close()
    return found


def test_one_connection_serves_one_request_after_the_other(tmp_path):
    """Three files over one connection; with `Connection: close` each has its own."""
    for reply, connections in ((ANSWER, 1), (ANSWER.replace(b"\r\nC", b"\r\nConnection: close\r\nC"), 3)):
        with host(lambda _number, _request, reply=reply: reply) as (url, seen):
            client = HTTPClient(4)
            assert [body_of(client, url) for _ in range(3)] == [b"7,0,0"] * 3
            client.close()
        assert len({number for number, _ in seen}) == connections


def test_a_connection_that_comes_back_behind_the_end_is_closed():
    """A thread may read an answer to its end when the client was closed: its connection is not kept for anybody."""
    with host(lambda *_: ANSWER) as (url, _):
        client = HTTPClient(4)
        answer, _ = client.get(RequestSpec(url=f"{url}/a.csv", headers={}))
        client.close()
        assert b"".join(iter(answer.read, b"")) == b"7,0,0"
        answer.close()
        assert answer._response._wire.socket.fileno() == -1


def bytes_before_it_breaks(response):
    """Read an answer until it breaks; return how much came and why."""
    got = 0
    try:
        while data := response.read():
            got += len(data)
    except TransientError as error:
        return got, error.why
    return got, ""


@pytest.mark.parametrize("size", [1, 5, 30_000, 300_000])
@pytest.mark.parametrize("gathered", [True, False])
@pytest.mark.parametrize("proxied", [True, False])
def test_an_answer_that_is_longer_than_it_says_is_never_whole(size, gathered, proxied, monkeypatch):
    """A server that tells too small a length has cut the file: its last byte is kept back, the connection not used."""
    told = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    with host(lambda *_: told + b"7" * (size + 1)) as (url, seen):
        if proxied:
            monkeypatch.setenv("HTTP_PROXY", url)
            monkeypatch.setenv("http_proxy", url)
        asked = "http://files.example/a.csv" if proxied else f"{url}/a.csv"
        client = HTTPClient()
        for _ in range(2):
            response, _ = client.get(RequestSpec(url=asked, headers={}))
            if gathered:
                response.gather(size, 5.0)
            why = f"the server sends more than the {size:,} bytes that it promised"
            assert bytes_before_it_breaks(response) == (size - 1, why)
            response.close()
        assert [number for number, _ in seen] == [0, 1] or proxied


def test_a_connection_that_was_closed_meanwhile_is_replaced_at_once_but_nothing_is_posted_twice():
    """The host hangs up on the second request of a connection: a question is asked again, an order is not."""
    asked = {}

    def answer(number, _request):
        asked[number] = asked.get(number, 0) + 1
        return ANSWER if asked[number] == 1 else None

    with host(answer) as (url, seen):
        client = HTTPClient(4)
        assert [body_of(client, url) for _ in range(2)] == [b"7,0,0"] * 2
        assert [number for number, _ in seen] == [0, 0, 1]
        with pytest.raises(TransientError):
            body_of(client, url, body=b"order=1")
        assert [number for number, _ in seen] == [0, 0, 1, 1]
        client.close()


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace(b"HTTP/1.1 200 OK", b"HTTP/2 200"),
        ANSWER.replace(b"200 OK\r\n", b"200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n"),
    ],
    ids=["a proxy passes on the version of its own side", "a header of 100 KB"],
)
def test_answers_that_curl_bears_are_read(tmp_path, answer):
    """What curl reads is read here too."""
    with host(lambda *_: answer) as (url, _):
        assert fetch(f"{url}/a.csv", tmp_path / "a.csv", progress=False).read_bytes() == b"7,0,0"


@pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-B: 2"}, {"X-A\r\nX-B": "1"}, {"X A:": "1"}, {"X-A": "1\0"}])
def test_a_header_cannot_bring_another_one(headers):
    """A line break in a pasted header is refused, and nothing is sent."""
    with host(lambda *_: ANSWER) as (url, seen):
        client = HTTPClient(1)
        with pytest.raises(TransferError, match="malformed"):
            body_of(client, url, headers=headers)
        client.close()
        assert seen == []


_PATHS = [
    *("", "?a=1", "/", "/a%20b.csv", "/a b.csv", "/é.csv", "/100%.csv", "/a/../b", "/a/./b", "/.git", "/..a", "/a//b"),
    *("/a?b=c d", "/a?b=é", "/a?b=../c", "/a|b", "/a[1].csv", "/a{b}", "/a^b", '/a"b', "/a\\b", "/a;b=1", "/a%zz"),
]


@pytest.mark.parametrize(
    "path",
    _PATHS,
)
def test_a_request_line_says_what_urllib3_says(path):
    """The short way gives what the library gives, so that a path means the same with a proxy and without."""
    url = f"http://example.org{path}"
    assert target_of(url) == (urllib3.util.parse_url(url).request_uri)


def test_the_private_parts_of_urllib3_that_are_used_with_a_proxy_are_there(tmp_path, monkeypatch):
    """When this fails, urllib3 has changed: see `_ProxyAnswer`, whose methods then do nothing."""
    from colabkit.testing.http import Site

    class Files:
        site = Site()
        sites = {"files.example": site}  # noqa: RUF012

    Files.site.put("a.csv", b"7,0,0")
    with FakeWeb(Files()) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        carrier = transport.Transport(1)
        answer = carrier.send("GET", "https://files.example/a.csv", {}, None, 5.0, first=True)
        assert isinstance(answer, transport._ProxyAnswer)
        for name in answer.PRIVATE:
            assert getattr(answer._answer, name) is not None, name
        answer.wait_at_most(3.0)
        assert answer._answer._connection.sock.gettimeout() == 3.0
        assert answer.peek(1)
        assert answer.plain_socket is None  # TLS
        assert answer.read() == b"7,0,0"
        answer.close()
        carrier.close()


def test_headers_that_drip_end_in_time(monkeypatch):
    """A server that sends one byte now and then is given up, though each of them comes in time."""
    monkeypatch.setattr(wire, "_LONGEST_HEAD", 0.3)
    listening = socket.create_server(("127.0.0.1", 0))

    def drip():
        with contextlib.suppress(OSError):
            line, _ = listening.accept()
            with line:
                line.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while True:
                    line.sendall(b"a")
                    time.sleep(0.02)

    threading.Thread(target=drip, daemon=True).start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/a"
    begun = time.monotonic()
    with listening, pytest.raises(TransientError, match="stopped sending"):
        HTTPClient().get(RequestSpec(url=url, headers={}), read_timeout=0.5)
    assert time.monotonic() - begun < 10
