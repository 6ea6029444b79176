"""A Content-Encoding is a claim of the server: the file comes as it was published, whatever the label says."""

import bz2
import gzip
import hashlib
import shutil
import subprocess
import sys
import zlib

import pytest
import zstandard

from colabkit._engine import downloader
from colabkit._internal.retry import Backoff
from colabkit.errors import IntegrityError, TransferError, UnsupportedError
from colabkit.testing.http import Fault
from colabkit.transfer import fetch

PLAIN = b"7,0,0\n" * 4000
GZ = gzip.compress(PLAIN)
MEMBERS = gzip.compress(PLAIN[:9000]) + gzip.compress(PLAIN[9000:20_000]) + gzip.compress(PLAIN[20_000:])
TWICE = gzip.compress(GZ)
RAW_DEFLATE = zlib.compress(PLAIN)[2:-4]

# label, name, body, what is published
CASES = [
    ("gzip", "a.csv", GZ, PLAIN),
    ("gzip", "a.csv", MEMBERS, PLAIN),
    ("gzip", "a.csv", MEMBERS + bytes(512), PLAIN),
    ("x-gzip", "a.csv", MEMBERS, PLAIN),
    ("GZIP", "a", GZ, PLAIN),
    ("gzip", "a.csv", PLAIN, PLAIN),
    ("gzip", "a.csv", b"", b""),
    ("gzip", "a.csv.gz", GZ, GZ),
    ("gzip", "a.csv.gz", MEMBERS, MEMBERS),
    ("gzip", "a.csv.gz", TWICE, GZ),
    ("gzip", "a.csv.gz", PLAIN, PLAIN),
    ("x-gzip", "d.tar.gz", GZ, GZ),
    ("gzip", "d.tgz", GZ, GZ),
    ("gzip", "d.tgz", TWICE, GZ),
    ("aws-chunked, gzip", "a.csv", GZ, PLAIN),
    ("gzip,aws-chunked", "a.csv.gz", GZ, GZ),
    ("deflate", "a.csv", zlib.compress(PLAIN), PLAIN),
    ("deflate", "a.csv", RAW_DEFLATE, PLAIN),
    ("zstd", "a.csv", zstandard.compress(PLAIN), PLAIN),
    ("zstd", "a.csv.zst", zstandard.compress(PLAIN), zstandard.compress(PLAIN)),
    ("zstd", "a.csv", PLAIN, PLAIN),
    ("br", "a.js.br", b"\x0b\x02\x80abc\x03", b"\x0b\x02\x80abc\x03"),
    ("identity", "a.csv", PLAIN, PLAIN),
    ("", "a.csv.gz", GZ, GZ),
    *(
        (label, name, body, body)
        for label in ("utf-8", "aws-chunked", "binary", "application/gzip", "none", "bzip2", "text/csv; charset=utf-8")
        for name, body in (("a.csv", PLAIN), ("a.csv.gz", GZ), ("a.csv.bz2", bz2.compress(PLAIN)))
    ),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait a twentieth of what users wait, in as many tries."""
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(first=0.025, longest=1.0))


def curl(url, *options):
    """Return what curl writes."""
    return subprocess.run(["curl", "-s", *options, url], capture_output=True, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_the_file_comes_as_it_was_published(server, tmp_path, ranges):
    """Label x name x body x ranges: what curl writes, or what curl --compressed writes where that is the file."""
    for number, (label, name, body, published) in enumerate(CASES):
        path = f"{number}/{name}"
        server.put(path, body, headers={"Content-Encoding": label} if label else {})
        if not ranges:
            server.resources[path].faults.append(Fault(kind="whole", times=99))
        found = fetch(server.url(path), tmp_path / path, progress=False).read_bytes()
        assert found == published, (label, name, body[:10])
        if published == body:
            assert found == curl(server.url(path))
        elif body in (GZ, TWICE) and "," not in label:
            assert found == curl(server.url(path), "--compressed")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a"])
@pytest.mark.parametrize("published", [GZ, PLAIN], ids=["packed", "plain"])
@pytest.mark.parametrize("body", [GZ, MEMBERS], ids=["one", "members"])
def test_a_checksum_of_the_publisher_decides(server, tmp_path, name, published, body):
    """The sha256 of the packed file and that of the plain one are both right: it says which file is meant."""
    published = body if published is GZ else PLAIN
    server.put(name, body, headers={"Content-Encoding": "gzip"})
    checksum = f"sha256:{hashlib.sha256(published).hexdigest()}"
    assert fetch(server.url(name), tmp_path / "x", checksum=checksum, progress=False).read_bytes() == published


def test_a_checksum_of_neither_is_refused(server, tmp_path):
    """A checksum that fits neither the packed nor the plain bytes: nothing is kept."""
    server.put("a.csv", GZ, headers={"Content-Encoding": "gzip"})
    with pytest.raises(IntegrityError):
        fetch(server.url("a.csv"), tmp_path / "x", checksum="sha256:" + "0" * 64, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_large_labelled_archive_comes_in_ranges_and_goes_on_after_a_break(server, blob, tmp_path):
    """A .tar.gz that a server labels by its name is fetched like any file, its parts included."""
    data = gzip.compress(blob(5 << 20), 0)
    server.put("d.tar.gz", data, Fault(kind="reset", at=4 << 20), headers={"Content-Encoding": "gzip"})
    assert fetch(server.url("d.tar.gz"), tmp_path / "x.tar.gz", progress=False).read_bytes() == data
    assert server.sent < 1.5 * len(data)


@pytest.mark.parametrize(
    "body",
    [MEMBERS[:-20], MEMBERS[: len(GZ) // 2], zlib.compress(PLAIN)[:-30]],
    ids=["the last member is cut", "the first member is cut", "deflate is cut"],
)
def test_a_damaged_body_is_an_error(server, tmp_path, body):
    """A compressed body that ends early is never the file, however often it is asked for."""
    label = "gzip" if body.startswith(b"\x1f\x8b") else "deflate"
    server.put("a.csv", body, headers={"Content-Encoding": label})
    with pytest.raises(TransferError, match="ended at the same byte"):
        fetch(server.url("a.csv"), tmp_path / "a.csv", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_brotli_that_was_not_asked_for_is_taken_off(server, tmp_path):
    """Where the package brotli is installed, as in Colab; a label that is wrong is passed over."""
    brotli = pytest.importorskip("brotli")
    packed = brotli.compress(PLAIN)
    server.put("a.csv", packed, headers={"Content-Encoding": "br"})
    server.put("b.csv", PLAIN, headers={"Content-Encoding": "br"})
    for name in ("a.csv", "b.csv"):
        assert fetch(server.url(name), tmp_path / name, progress=False).read_bytes() == PLAIN
    server.put("cut.csv", packed[: len(packed) // 2], headers={"Content-Encoding": "br"})
    with pytest.raises(TransferError, match="ends early"):
        fetch(server.url("cut.csv"), tmp_path / "cut.csv", progress=False)
    assert not (tmp_path / "cut.csv").exists()


def test_a_coding_that_nothing_here_undoes_is_refused(server, tmp_path, monkeypatch):
    """Brotli that was not asked for cannot be told from the file, so it is refused in words."""
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, None)
    server.put("a.csv", b"\x0b\x02\x80abc\x03", headers={"Content-Encoding": "br"})
    with pytest.raises(UnsupportedError, match="'br'"):
        fetch(server.url("a.csv"), tmp_path / "a.csv", progress=False)
