"""Servers as they are: what curl and wget fetch from odd ones comes, and what cannot come is told in words."""

import base64
import contextlib
import hashlib
import socket
import socketserver
import threading

import pytest

from colabkit._engine import downloader
from colabkit._http.wire import Answer
from colabkit._internal.retry import Backoff
from colabkit.errors import ExistsError, IntegrityError, NotFoundError, TransferError, WebPageError
from colabkit.testing.http import Fault, FaultServer, Page, Resource
from colabkit.transfer import fetch, fetch_details

MIB = 1 << 20


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait a twentieth of what users wait, in as many tries."""
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(first=0.025, longest=1.0))


class OddServer(FaultServer):
    """A server whose answers to requests with a Range, or to all but the first, are made up."""

    def __init__(self):
        super().__init__()
        self.to_ranges = None
        self.once = False
        self.asked = 0

    def answer(self, request):
        """Answer as told."""
        self.asked += 1
        if self.once and self.asked > 1:
            return Page(status=404, body=b"this link was used", headers={"Content-Type": "text/plain"})
        if "range" in request.headers and self.to_ranges is not None:
            return self.to_ranges
        return super().answer(request)


@pytest.fixture
def odd():
    """Run an odd server."""
    with OddServer() as running:
        yield running


REFUSALS = [
    *(Page(status=status, body=b"no ranges here") for status in (400, 403, 404, 405, 406, 412, 416, 500, 501)),
    *(Page(status=status, body=b"slow down") for status in (429, 503)),
    Page(body=b"<html>sign in</html>", headers={"Content-Type": "text/html"}),
    Page(status=206, body=b"what is this?"),
    Page(status=206, body=b"x" * 10, headers={"Content-Range": f"bytes 0-9/{4 * MIB}"}),
    Page(status=206, body=b"x" * 10, headers={"Content-Type": "multipart/byteranges; boundary=x"}),
    Page(status=206, body=b"x" * 5, headers={"Content-Range": "bytes 0-9/20"}),
]


@pytest.mark.parametrize(
    ("refusal", "how"),
    [
        (page, how)
        for page in REFUSALS
        for how in ("slow", "broken")
        if how == "broken" or page.status in (403, 500, 206)
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one.status}-{len(one.body)}",
)
def test_a_server_that_refuses_any_range_gives_the_file(odd, blob, tmp_path, refusal, how):
    """Asked for more connections or for the rest, it refuses: the file comes without ranges."""
    data = blob(4 * MIB)
    odd.to_ranges = refusal
    faults = [Fault(kind="reset", at=3 * MIB)] if how == "broken" else []
    odd.put("a.bin", data, *faults, rate=4 * MIB if how == "slow" else 0)
    assert fetch(odd.url("a.bin"), tmp_path / "a.bin", progress=False).read_bytes() == data


@pytest.mark.parametrize("connections", [None, 1, 8])
@pytest.mark.parametrize("rate", [0, 4 * MIB])
def test_a_link_that_works_once_is_enough(odd, blob, tmp_path, connections, rate):
    """The first answer is read to its end, whatever becomes of further connections (seahub#677)."""
    data = blob(5 * MIB)
    odd.once = True
    odd.put("a.bin", data, rate=rate)
    assert fetch(odd.url("a.bin"), tmp_path / "a.bin", connections=connections, progress=False).read_bytes() == data


def test_a_link_that_works_once_and_breaks_is_told(odd, blob, tmp_path):
    """When the one answer breaks there is no other way: the server's words are told."""
    odd.once = True
    odd.put("a.bin", blob(5 * MIB), Fault(kind="reset", at=2 * MIB))
    with pytest.raises(NotFoundError, match="this link was used"):
        fetch(odd.url("a.bin"), tmp_path / "a.bin", progress=False)


@pytest.mark.parametrize(
    ("written", "target", "named"),
    [
        ("model.h5", "/1234", "model.h5"),
        ("model.h5", "/objects/ab/cdef0123456789", "model.h5"),
        ("latest", "/data-1.2.csv", "data-1.2.csv"),
        ("get.php", "/files/data.csv", "data.csv"),
        ("data.csv", "/download.aspx?id=3", "data.csv"),
        ("old.csv", "/new.csv", "new.csv"),
    ],
)
def test_a_redirect_to_a_nameless_address_keeps_the_written_name(server, tmp_path, written, target, named):
    """As wget and curl do; a real name at the end of the redirects is a better one than none."""
    server.put(written, b"", Fault(kind="redirect", location=target))
    server.put(target.lstrip("/").partition("?")[0], b"7,0,0")
    assert fetch(server.url(written), f"{tmp_path}/", progress=False).name == named


def test_a_part_that_is_called_the_whole_is_not_the_file(odd, blob, tmp_path, monkeypatch):
    """A server that answers a range with 200, a part and no Content-Range: the whole is asked for without a range.

    No connection stays open behind an answer that was refused, until Python happens to collect it.
    """
    answers, made = [], Answer.__init__
    monkeypatch.setattr(Answer, "__init__", lambda self, *of: (made(self, *of), answers.append(self))[0])
    data = blob(4 * MIB)
    whole = odd.put("a.bin", data, Fault(kind="reset", at=3 * MIB))
    part = Resource(data=data[3 * MIB :], etag=whole.etag, faults=[Fault(kind="whole", times=9)])

    def answer(request, choose=odd.answer):
        return part if "range" in request.headers else choose(request)

    odd.answer = answer
    assert fetch(odd.url("a.bin"), tmp_path / "a.bin", progress=False).read_bytes() == data
    assert [each.isclosed() for each in answers] == [True] * 3


@pytest.mark.parametrize("status", [300, 301, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(server, tmp_path, status):
    """300 with a Location, too, as curl and wget do."""
    server.put("a", b"", Fault(kind="redirect", status=status, location="/b.csv"))
    server.put("b.csv", b"7,0,0")
    assert fetch(server.url("a"), tmp_path / "a.csv", progress=False).read_bytes() == b"7,0,0"


def test_an_archive_behind_a_nameless_address_is_unpacked(server, tmp_path):
    """…/d.tar.gz that leads to a number is an archive all the same."""
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        info = tarfile.TarInfo("a.csv")
        info.size = 5
        packed.addfile(info, io.BytesIO(b"7,0,0"))
    server.put("d.tar.gz", b"", Fault(kind="redirect", location="/1234", times=9))
    server.put("1234", out.getvalue())
    folder = fetch(server.url("d.tar.gz"), f"{tmp_path}/", progress=False)
    assert (folder.name, (folder / "a.csv").read_bytes()) == ("d", b"7,0,0")


def test_a_name_that_is_taken_is_seen_before_the_download(server, blob, tmp_path):
    """The name comes with the headers: nothing is fetched, and no hidden part stays."""
    (tmp_path / "data.bin").write_bytes(b"mine")
    server.put("get", blob(64 * MIB), headers={"Content-Disposition": "attachment; filename=data.bin"})
    with pytest.raises(ExistsError, match=r"data\.bin exists"):
        fetch(server.url("get"), f"{tmp_path}/", progress=False)
    assert server.sent < 16 * MIB
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


@contextlib.contextmanager
def raw_server(*answers):
    """Serve these bytes, one answer a connection, on 127.0.0.1."""
    left = list(answers)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while b"\r\n\r\n" not in (got := self.request.recv(65536)) and got:
                pass
            self.request.sendall(left.pop(0) if len(left) > 1 else left[0])
            with contextlib.suppress(OSError):
                self.request.shutdown(socket.SHUT_WR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/a.csv"
        server.shutdown()


BODY = b"Content-Length: 5\r\n\r\n7,0,0"
ODD_ANSWERS = {
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n" + BODY,
    "processing": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n" + BODY,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + BODY,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-Trace-%d: 1\r\n" % n for n in range(400)) + BODY,
    "many cookies": b"HTTP/1.1 200 OK\r\n" + b"".join(b"Server-%d: 1\r\n  2\r\n" % n for n in range(400)) + BODY,
    "no reason": b"HTTP/1.1 200\r\n" + BODY,
    "old": b"HTTP/1.0 200 OK\r\n\r\n7,0,0",
    "a part that is all": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\n" + BODY,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + BODY,
    "not authoritative": b"HTTP/1.1 203 Non-Authoritative Information\r\n" + BODY,
    "created": b"HTTP/1.1 201 Created\r\n" + BODY,
    "a length beside chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\n7,0,0\r\n0\r\n\r\n",
    "weak tag of a proxy": b'HTTP/1.1 200 OK\r\nETag: W/"x-gzip"\r\nWarning: 214 - "Transformed"\r\n' + BODY,
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_an_odd_answer_is_read_as_curl_reads_it(tmp_path, name):
    """Hints before the answer, hundreds of headers, no reason, no length: the file comes."""
    with raw_server(ODD_ANSWERS[name]) as url:
        assert fetch(url, tmp_path / "a.csv", progress=False).read_bytes() == b"7,0,0"


@pytest.mark.parametrize("line", [b"no colon here", b"X-Blank : 1"])
def test_a_broken_header_does_not_hide_those_behind_it(tmp_path, line):
    """http.client takes all behind such a line for the body; curl and wget read on."""
    answer = b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Disposition: attachment; filename=b.csv\r\n" + BODY
    with raw_server(answer) as url:
        assert fetch(url, f"{tmp_path}/", progress=False).name == "b.csv"


def test_a_transfer_coding_that_was_not_asked_for_is_refused(tmp_path):
    """http.client hands out its chunks as they are: the file would hold their sizes."""
    from colabkit.errors import UnsupportedError

    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\n7,0,0\r\n0\r\n\r\n"
    with raw_server(answer) as url, pytest.raises(UnsupportedError, match="gzip, chunked"):
        fetch(url, f"{tmp_path}/", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_ready_is_waited_for(odd, tmp_path):
    """A 202 says that the server is still making it, as figshare does with a zip."""
    odd.put("a.csv", b"7,0,0", Fault(kind="status", status=202, body=b"preparing", times=2))
    assert fetch(odd.url("a.csv"), tmp_path / "a.csv", progress=False).read_bytes() == b"7,0,0"


class LateServer(FaultServer):
    """A server that packs a file before it answers."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0
        self.closing = threading.Event()

    def answer(self, request):
        """Answer late."""
        self.closing.wait(self.seconds)
        return super().answer(request)


@pytest.mark.parametrize(("seconds", "comes"), [(0.8, True), (60.0, False)])
def test_a_server_that_answers_late_is_waited_for_longer(tmp_path, monkeypatch, caplog, seconds, comes):
    """One that packs the file first, as Dataverse does, needs more than one limit; a dead one is told after three."""
    caplog.set_level("INFO")
    monkeypatch.setattr("colabkit._engine.requester._PATIENCE", 0.3)
    with LateServer() as server:
        server.put("a.csv", b"7,0,0")
        server.seconds = seconds
        if comes:
            assert fetch(server.url("a.csv"), tmp_path / "a.csv", progress=False).read_bytes() == b"7,0,0"
            assert "waiting twice as long" in caplog.text
        else:
            with pytest.raises(TransferError, match=r"tried 3 times[\s\S]*no answer in 1 s"):
                fetch(server.url("a.csv"), tmp_path / "a.csv", progress=False)
        server.closing.set()


def test_headers_without_end_are_refused(tmp_path, monkeypatch):
    """A server that sends headers for ever is given up."""
    with raw_server(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000) as url, pytest.raises(TransferError):
        fetch(url, tmp_path / "a.csv", progress=False)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_wrong_file_of_certificates_is_told_at_once(tmp_path, monkeypatch, variable, text):
    """A variable that names no file, or one without certificates, is named; nothing is tried for half a minute."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    bundle = tmp_path / "company.pem"
    if text is not None:
        bundle.write_text(text)
    monkeypatch.setenv(variable, str(bundle))
    monkeypatch.setattr(downloader, "Backoff", lambda: pytest.fail("it is tried again"), raising=True)
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(tries=1))
    with pytest.raises(TransferError, match=rf"company\.pem\n.*{variable}"):
        fetch("https://127.0.0.1:9/a.csv", tmp_path / "a.csv", progress=False)


def b64(algorithm, data):
    """Return a hash in base64."""
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


DATA = b"7,0,0\n" * 1000
SHA1 = hashlib.sha1(DATA, usedforsecurity=False).hexdigest()
PROMISES = {
    "Content-MD5": ("md5", b64("md5", DATA)),
    "Digest": ("sha256", f"md5={b64('md5', DATA)},SHA-256={b64('sha256', DATA)}"),
    "digest": ("sha1", f"sha={b64('sha1', DATA)}"),
    "Repr-Digest": ("sha256", f"sha-256=:{b64('sha256', DATA)}:"),
    "Content-Digest": ("sha512", f"sha-512=:{b64('sha512', DATA)}:"),
    "x-goog-hash": ("md5", f"crc32c=AAAAAA==,md5={b64('md5', DATA)}"),
    "x-ms-blob-content-md5": ("md5", b64("md5", DATA)),
    "OC-Checksum": ("sha1", f"ADLER32:1 SHA1:{SHA1}"),
    "X-Checksum-Sha256": ("sha256", hashlib.sha256(DATA).hexdigest()),
    "x-amz-checksum-sha256": ("sha256", b64("sha256", DATA)),
    "x-bz-content-sha1": ("sha1", SHA1),
}


@pytest.mark.parametrize("header", PROMISES)
@pytest.mark.parametrize("right", [True, False])
def test_a_hash_that_the_host_tells_is_checked(server, tmp_path, header, right):
    """Each host's own way to tell a hash: the right file is verified by it, a wrong one is an error."""
    algorithm, value = PROMISES[header]
    server.put("a.csv", DATA if right else DATA[:-1] + b"x", headers={header: value})
    if right:
        checksum = f"{algorithm}:{hashlib.new(algorithm, DATA).hexdigest()}"
        assert fetch_details(server.url("a.csv"), tmp_path / "a.csv", progress=False).checksum == checksum
    else:
        with pytest.raises(IntegrityError, match=f"the server said {algorithm}"):
            fetch(server.url("a.csv"), tmp_path / "a.csv", progress=False)


@pytest.mark.parametrize("told", ["tag", "size"])
def test_what_a_redirect_tells_of_the_file_is_checked(server, tmp_path, told):
    """huggingface.co tells the sha256 and the size where it redirects (huggingface_hub#3643)."""
    headers = {"Location": "/blob", "X-Linked-ETag": f'"{hashlib.sha256(DATA).hexdigest()}"'}
    if told == "size":
        headers = {"Location": "/blob", "X-Linked-Size": str(len(DATA))}
    server.put("model.bin", b"", Fault(kind="status", status=302, headers=headers, times=9))
    server.put("blob", DATA)
    fetch(server.url("model.bin"), tmp_path / "model.bin", progress=False)
    server.put("blob", DATA[:-1] + b"x" if told == "tag" else DATA[:-1])
    with pytest.raises(IntegrityError):
        fetch(server.url("model.bin"), tmp_path / "other.bin", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_hash_that_comes_with_the_whole_only_is_asked_for_by_head(odd, blob, tmp_path):
    """A fetch that goes on sees parts alone, whose Content-MD5 is their own: one HEAD tells that of the file."""
    data = blob(4 * MIB)
    right = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    resource = odd.put("a.bin", data, Fault(kind="reset", at=3 * MIB), headers={})

    def answer(request, choose=odd.answer):
        resource.headers = {} if "range" in request.headers else {"Content-MD5": right}
        return choose(request)

    odd.answer = answer
    done = fetch_details(odd.url("a.bin"), tmp_path / "a.bin", progress=False)
    assert done.checksum == f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
    assert [seen.method for seen in odd.seen].count("HEAD") == 1


@pytest.mark.parametrize("place", ["n" * 300, "~nobody-at-all/x.csv"])
def test_a_place_that_cannot_be_is_told_in_words(server, tmp_path, monkeypatch, place):
    """A name of 300 letters and the home of nobody: our own error, before anything is fetched."""
    from colabkit.errors import ColabKitError

    monkeypatch.chdir(tmp_path)
    server.put("a.csv", b"7,0,0")
    with pytest.raises(ColabKitError, match=r"too long|nobody-at-all"):
        fetch(server.url("a.csv"), place, progress=False)
    assert server.seen == []
    assert list(tmp_path.iterdir()) == []


def disposition(value):
    """Return an answer whose name stands in this header."""
    return b"HTTP/1.1 200 OK\r\nContent-Disposition: " + value + b"\r\n" + BODY


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('attachment; filename="café 训练.csv"'.encode(), "café 训练.csv"),
        ("attachment; filename=café.csv".encode("latin-1"), "café.csv"),
        ("attachment; filename=Größe.csv".encode("latin-1"), "Größe.csv"),
        ('attachment; filename="训练 2024.csv"'.encode("gbk"), "训练 2024.csv"),
        (b"attachment; filename*=UTF-8''caf%C3%A9.csv; filename=plain.csv", "café.csv"),
        (b"attachment; filename*=iso-8859-1'en'caf%E9.csv", "café.csv"),
        (b"attachment; filename*=gbk''%D1%B5%C1%B7.csv", "训练.csv"),
        (b"attachment; filename*0*=UTF-8''caf%C3; filename*1*=%A9; filename*2=.csv", "café.csv"),
        (b'attachment; filename*0="long "; filename*1="name.csv"', "long name.csv"),
        (b"attachment; filename==?utf-8?B?Y2Fmw6kuY3N2?=", "café.csv"),
        (b'attachment; filename="=?UTF-8?Q?caf=C3=A9.csv?="', "café.csv"),
        (b'attachment; filename="caf%C3%A9%20x.csv"', "café x.csv"),
        (b"attachment; filename=my file.csv", "my file.csv"),
        (b'attachment; filename="C:\\data\\new\\a.csv"', "a.csv"),
        (b'attachment; filename="a \\"b\\".csv"', "a _b_.csv"),
        (b"attachment; filename*=klingon''x.csv; filename=y.csv", "y.csv"),
    ],
)
def test_a_name_is_read_however_the_server_writes_it(tmp_path, value, name):
    """Raw UTF-8, RFC 5987, RFC 2231, RFC 2047, percent signs, paths of Windows: the name that browsers show."""
    with raw_server(disposition(value)) as url:
        assert fetch(url, f"{tmp_path}/", progress=False).name == name


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_pipe_is_never_replaced(server, tmp_path, overwrite):
    """What is not a file at the place of the file stays what it is, also with overwrite=True."""
    import os
    import stat

    os.mkfifo(tmp_path / "a.csv")
    server.put("a.csv", b"7,0,0")
    for to in (tmp_path / "a.csv", f"{tmp_path}/"):
        with pytest.raises(ExistsError):
            fetch(server.url("a.csv"), to, overwrite=overwrite, progress=False)
    assert stat.S_ISFIFO((tmp_path / "a.csv").stat().st_mode)


ANSWERS = {
    "train.npz": b'{"error": "quota exceeded"}',
    "model.h5": b"<script>location='/login'</script>",
    "table.parquet": b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
    "weights.pt": b"404: Not Found",
    "cat.png": b"Access denied\n",
    "data.zip": b'{"message": "rate limit"}',
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_service_s_words_are_not_taken_for_a_binary_file(server, tmp_path, name):
    """With a 200, as JSON, XML or one line: no array, picture or model begins like that; nothing is left of it."""
    server.put(name, ANSWERS[name])
    with pytest.raises(WebPageError, match=r"got words instead of the file[\s\S]*(says: |without words)"):
        fetch(server.url(name), tmp_path / name, progress=False)
    assert not list(tmp_path.iterdir())
    assert fetch(server.url(name), tmp_path / "words.txt", progress=False).read_bytes() == ANSWERS[name]


def test_what_may_be_the_file_stays(server, tmp_path):
    """Text under a name of text, what has the checksum that was asked for, and bytes of another kind."""
    server.put("a.json", b'{"error": 1}')
    server.put("a.npy", b"\x93NUMPY")
    server.put("a.h5", b"weights")
    server.put("b.h5", ANSWERS["train.npz"])
    for name in ("a.json", "a.npy", "a.h5"):
        fetch(server.url(name), f"{tmp_path}/", progress=False)
    checksum = f"sha256:{hashlib.sha256(ANSWERS['train.npz']).hexdigest()}"
    assert fetch(server.url("b.h5"), tmp_path / "b.h5", checksum=checksum, progress=False).exists()


def test_a_pointer_of_git_lfs_is_told(server, tmp_path, caplog):
    """A raw link to a file in git's large file storage brings three lines of text: they are no weights."""
    caplog.set_level("INFO")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 440449768\n"
    server.put("model.bin", pointer)
    fetch(server.url("model.bin"), tmp_path / "model.bin", progress=False)
    assert "model.bin is not data: it is a git-lfs pointer to a file of 440449768 bytes" in caplog.text


def test_a_part_that_is_called_the_whole_is_read_as_a_part(blob, tmp_path):
    """A 200 whose Content-Range tells of 1 MiB of 3 is not taken for the file (Google's own emulator answers so)."""
    data = blob(3 * MIB + 5)

    class Parts(FaultServer):
        def answer(self, request):
            first, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")
            part = data[int(first) : int(last or len(data)) + 1]
            span = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            return Page(status=200, body=part, headers={"Content-Range": span, "ETag": '"1"'})

    with Parts() as server:
        assert fetch(server.url("a.bin"), tmp_path / "a.bin", connections=1).read_bytes() == data
