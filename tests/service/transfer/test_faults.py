"""Each fault ends with the right file or a typed error; never with junk or a wrong file at the final name."""

import gzip
import itertools
import sys
import time

import pytest

from colabkit._engine import downloader
from colabkit._internal.retry import Backoff
from colabkit.errors import (
    AccessError,
    BusyError,
    DiskFullError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    TransferError,
    UnsupportedError,
    WebPageError,
)
from colabkit.testing.http import Fault
from colabkit.transfer import fetch, fetch_details

MIB = 1 << 20
SIZE = 12 * MIB + 345


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait a twentieth of what users wait, in as many tries."""
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(first=0.025, longest=1.0))


def names(folder):
    """List what a folder holds."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(kind="reset", at=9 * MIB)],
        [Fault(kind="reset", at=500_000)],
        [Fault(kind="truncate", at=9 * MIB)],
        [Fault(kind="truncate", at=3)],
        [Fault(kind="status", status=503)],
        [Fault(kind="status", status=503, times=3, after=2)],
        [Fault(kind="status", status=429, headers={"Retry-After": "1"})],
        [Fault(kind="reset", at=at * MIB) for at in range(1, 12)],
    ],
    ids=lambda faults: f"{len(faults)}-{faults[0].kind}-{faults[0].at}-{faults[0].status}",
)
def test_a_passing_fault_costs_little_and_ends_with_the_right_file(server, blob, tmp_path, faults):
    """A reset, a cut, a 503 or a 429 is survived, and what had arrived is not fetched again."""
    data = blob(SIZE)
    server.put("a.bin", data, *faults)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert server.sent <= 1.1 * SIZE + 64 * 1024
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_a_server_without_ranges_is_started_over(server, blob, tmp_path, kind):
    """Where no part can be asked for, a broken connection means the beginning again, not a splice."""
    data = blob(SIZE)
    server.put("a.bin", data, Fault(kind="whole", times=99), Fault(kind=kind, at=9 * MIB))
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data


def test_a_file_without_a_validator_is_never_fetched_in_parts(server, blob, tmp_path):
    """Without ETag and date nothing would tell two versions apart, so one stream takes it all, broken or not."""
    data = blob(3 * MIB)
    server.put("a.bin", data, Fault(kind="truncate", at=MIB), etag=None, modified=None)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert [seen.status for seen in server.seen] == [200, 200]


def test_weak_tags_are_not_trusted(server, blob, tmp_path):
    """A weak ETag says nothing about bytes; a date beside it is used instead, without one no parts are."""
    server.put("a.bin", blob(3 * MIB), Fault(kind="truncate", at=MIB), etag='W/"1"', modified=None)
    fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert [seen.status for seen in server.seen] == [200, 200]


@pytest.mark.parametrize("how", ["break", "helper"])
def test_a_file_that_is_replaced_on_the_way_is_never_spliced(server, blob, tmp_path, monkeypatch, how):
    """The owner replaces the file while it comes: the next range shows it, and the new version comes, whole."""
    old, new = blob(SIZE, 1), blob(SIZE, 2)
    resource = server.put("a.bin", old, rate=4 * MIB if how == "helper" else 0)
    if how == "break":
        resource.faults.append(Fault(kind="reset", at=5 * MIB))
    asked, choose = itertools.count(1), server.answer

    def answer(request):
        if next(asked) == 2:
            resource.replace(new)
            resource.rate = 0
        return choose(request)

    monkeypatch.setattr(server, "answer", answer)
    path = fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert next(asked) > 2
    assert path.read_bytes() == new


def test_a_wrong_byte_is_caught_by_the_servers_own_hash(server, blob, tmp_path):
    """A flipped byte on the way is an error when the server told a hash, and nothing is left behind."""
    import base64
    import hashlib

    data = blob(2 * MIB)
    promise = "crc32c=AAAAAA==,md5=" + base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    server.put("a.bin", data, Fault(kind="flip", at=MIB + 7), headers={"x-goog-hash": promise})
    with pytest.raises(IntegrityError, match="the server said md5:"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_wrong_byte_is_caught_by_the_users_checksum(server, blob, tmp_path):
    """The same with checksum=; run again, the right file comes."""
    import hashlib

    data = blob(SIZE)
    server.put("a.bin", data, Fault(kind="flip", at=9 * MIB))
    checksum = "sha256:" + hashlib.sha256(data).hexdigest()
    with pytest.raises(IntegrityError, match="you said"):  # a second connection might bring that byte as it is
        fetch(server.url("a.bin"), tmp_path / "a.bin", checksum=checksum, connections=1)
    assert names(tmp_path) == []
    done = fetch_details(server.url("a.bin"), tmp_path / "a.bin", checksum=checksum)
    assert (done.path.read_bytes() == data, done.checksum, done.from_cache) == (True, checksum, False)


def test_a_web_page_instead_of_the_file_is_an_error_in_the_pages_words(server, blob, tmp_path):
    """A 200 with HTML, as Drive's quota page is, does not become data.zip."""
    page = b"<!DOCTYPE html><html><title>Quota exceeded</title><body><p>Too many users have viewed this file.</body>"
    server.put("data.zip", blob(MIB), Fault(kind="page", body=page))
    with pytest.raises(WebPageError, match=r"Quota exceeded\. Too many users") as caught:
        fetch(server.url("data.zip"), tmp_path / "data.zip")
    assert caught.value.exit_code == 26
    assert names(tmp_path) == []


def test_a_page_that_is_asked_for_is_a_file(server, tmp_path):
    """Who names a page gets the page."""
    page = b"<html><title>hello</title></html>"
    server.put("index.html", page, content_type="text/html")
    server.put("about", page, content_type="text/html")
    assert fetch(server.url("index.html"), tmp_path / "").read_bytes() == page
    assert fetch(server.url("about"), tmp_path / "about.html").read_bytes() == page


def test_a_csv_that_is_labelled_html_is_a_file(server, tmp_path):
    """The label alone is not believed: many scripts send data as text/html."""
    server.put("export.php", b"id,label\n1,7\n", content_type="text/html")
    assert fetch(server.url("export.php"), tmp_path / "a.csv").read_bytes() == b"id,label\n1,7\n"


def test_gzip_on_the_fly_is_taken_off(server, blob, tmp_path):
    """A server that compresses although asked not to still gives the right file, whole."""
    data = blob(MIB) * 3
    server.put("a.csv", data, Fault(kind="gzip", times=9))
    assert fetch(server.url("a.csv"), tmp_path / "a.csv").read_bytes() == data


def test_gzip_on_the_fly_that_ends_early_is_tried_again(server, blob, tmp_path):
    """A cut compressed stream has no length to compare with; its own end mark is missed."""
    data = blob(MIB)
    server.put("a.csv", data, Fault(kind="gzip", times=9), Fault(kind="truncate", at=5000))
    assert fetch(server.url("a.csv"), tmp_path / "a.csv").read_bytes() == data


def test_a_stored_gzip_file_stays_as_it_is(server, tmp_path):
    """images.gz is the file; only a Content-Encoding is taken off."""
    packed = gzip.compress(b"7,0,0")
    server.put("a.csv.gz", packed)
    assert fetch(server.url("a.csv.gz"), tmp_path / "a.csv.gz").read_bytes() == packed


def test_an_unknown_coding_is_refused(server, tmp_path, monkeypatch):
    """Brotli that nobody asked for cannot be taken off without its package, and is not passed on as the file."""
    for name in ("brotli", "brotlicffi"):
        monkeypatch.setitem(sys.modules, name, None)
    server.put("a.csv", b"xx", headers={"Content-Encoding": "br"})
    with pytest.raises(UnsupportedError, match="'br'"):
        fetch(server.url("a.csv"), tmp_path / "a.csv")
    assert names(tmp_path) == []


@pytest.mark.parametrize("more", [5, 5 * MIB])
def test_a_length_that_promises_too_much_is_an_error(server, blob, tmp_path, more):
    """A body that always ends before its Content-Length is never taken for the file; two downloads show it.

    Over one connection: on a busy machine the first download may be slow enough that helpers are asked for.
    """
    server.put("a.bin", blob(MIB), Fault(kind="whole", times=99), Fault(kind="length", at=more, times=99))
    with pytest.raises(TransferError, match="same byte"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", connections=1)
    assert len(server.seen) == 2
    assert names(tmp_path) == []


@pytest.mark.parametrize("less", [1, 5, MIB])
def test_a_length_that_promises_too_little_is_an_error(server, blob, tmp_path, less):
    """A body that goes on behind its Content-Length was cut short; curl and wget take it for whole."""
    server.put("a.bin", blob(3 * MIB), Fault(kind="whole", times=99), Fault(kind="length", at=-less, times=99))
    with pytest.raises(TransferError, match="sends more than"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", connections=1)
    assert len(server.seen) == 2
    assert names(tmp_path) == []


def test_a_length_that_contradicts_the_range_is_not_believed(server, blob, tmp_path):
    """A 206 whose Content-Length is not that of its Content-Range is malformed; a later good one is used."""
    data = blob(4 * MIB)
    server.put("a.bin", data, Fault(kind="length", at=-5, times=2))
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data


def test_a_stall_is_noticed_and_only_that_part_is_fetched_again(server, blob, tmp_path):
    """A server that stops sending for 40 s costs ten, as a part can be asked for again."""
    data = blob(SIZE)
    server.put("a.bin", data, Fault(kind="stall", at=9 * MIB, seconds=40))
    begun = time.monotonic()
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFoundError), (410, NotFoundError), (401, AccessError), (403, AccessError), (418, TransferError)],
)
def test_refusals_are_typed_and_in_the_servers_words(server, tmp_path, status, kind):
    """Each refusal has its class, its code and what the server said; nothing is left behind."""
    server.put("a.bin", b"x", Fault(kind="status", status=status, body=b"<p>ask <b>Ada</b> first"))
    with pytest.raises(kind, match=f"answered {status} .*ask Ada first"):
        fetch(server.url("a.bin"), tmp_path / "new" / "a.bin")
    assert names(tmp_path / "new") == []


def test_a_server_that_stays_busy_is_given_up_after_a_bounded_time(server, tmp_path):
    """503 for ever ends with BusyError after seven tries; an hour of Retry-After ends it at once."""
    server.put("a.bin", b"x", Fault(kind="status", status=503, times=99))
    with pytest.raises(BusyError, match="tried 7 times"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert len(server.seen) == 7
    server.put("b.bin", b"x", Fault(kind="status", status=429, times=99, headers={"Retry-After": "3600"}))
    with pytest.raises(BusyError, match="wait about 3600 s"):
        fetch(server.url("b.bin"), tmp_path / "b.bin")


def test_a_retry_date_is_read_by_the_servers_clock(server, blob, tmp_path):
    """With our clock years off, "retry at 12:00:01" is still one second."""
    late = {"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
    server.put("a.bin", b"data", Fault(kind="status", status=503, headers=late))
    begun = time.monotonic()
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == b"data"
    assert time.monotonic() - begun < 5


def test_a_server_that_limits_connections_gets_fewer(server, blob, tmp_path):
    """With two connections allowed the others step back instead of using up the tries."""
    data = blob(SIZE)
    server.put("a.bin", data, limit=2, rate=8 * MIB)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data


def test_more_connections_come_where_each_brings_its_share(server, blob, tmp_path):
    """A server that gives every connection the same rate is asked over more than 16, and over 24 at most."""
    data = blob(40 * MIB)
    resource = server.put("a.bin", data, rate=MIB)
    seen = []
    path = fetch(server.url("a.bin"), tmp_path / "a.bin", progress=lambda *_: seen.append(resource.serving))
    assert path.read_bytes() == data
    assert 16 < max(seen) <= 24


def test_a_signed_address_that_expires_on_the_way_is_asked_for_anew(server, blob, tmp_path):
    """The redirect's target refuses after a while; the first address is asked for a new one."""
    data = blob(SIZE)
    expired = Fault(kind="status", status=403, times=2, after=1)
    server.put("signed", data, expired, Fault(kind="reset", at=5 * MIB), rate=8 * MIB)
    server.put("a.bin", b"", Fault(kind="redirect", location="/signed?key=1", times=99))
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert expired.times == 0


def test_an_access_that_is_withdrawn_on_the_way_is_an_error(server, blob, tmp_path):
    """When the connection breaks and a new address does not help either, it is an AccessError and no endless loop."""
    refused = Fault(kind="status", status=403, times=999, after=1)
    server.put("a.bin", blob(SIZE), refused, Fault(kind="reset", at=5 * MIB))
    with pytest.raises(AccessError, match="403"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert "a.bin" not in names(tmp_path)


def test_no_room_is_known_before_the_first_byte(server, tmp_path, monkeypatch):
    """A file that cannot fit is refused with both numbers, and nothing is left behind."""
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * MIB))
    server.put("a.bin", bytes(4 * MIB))
    with pytest.raises(DiskFullError, match=r"4\.2 MB are needed and 2\.1 MB are free"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert "a.bin" not in names(tmp_path)
    assert server.sent <= MIB


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1])
def test_every_size_comes_whole(server, blob, tmp_path, size):
    """Empty files and the edges of a piece are right too."""
    data = blob(size)
    server.put("a.bin", data)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data


def test_nobody_at_the_port_is_offline_soon(server, tmp_path):
    """A refused connection is told within seconds, as OfflineError."""
    url = server.url("a.bin")
    server.close()
    begun = time.monotonic()
    with pytest.raises(OfflineError, match="refuses the connection"):
        fetch(url, tmp_path / "a.bin")
    assert time.monotonic() - begun < 5


def test_an_unknown_host_is_offline_at_once(tmp_path):
    """No name, no retries."""
    begun = time.monotonic()
    with pytest.raises(OfflineError, match=r"cannot find the host nobody\.invalid"):
        fetch("https://nobody.invalid/a.bin", tmp_path / "a.bin")
    assert time.monotonic() - begun < 6
    assert names(tmp_path) == []


def test_a_server_that_dies_for_good_leaves_a_part_that_goes_on_later(server, blob, tmp_path):
    """The network goes away half way: OfflineError or TransferError, and the next run fetches only the rest."""
    from colabkit.testing.http import FaultServer

    data = blob(SIZE)
    server.put("a.bin", data, rate=MIB)

    def close_late(done, total):
        if done > 3 * MIB:
            server.close()

    with pytest.raises(TransferError):
        fetch(server.url("a.bin"), tmp_path / "a.bin", connections=4, progress=close_late)
    assert "a.bin" not in names(tmp_path)
    again = FaultServer(port=server.port)
    with again:
        again.put("a.bin", data)
        assert fetch(again.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
        assert again.sent < SIZE - 2 * MIB


def test_without_threads_all_arrives_over_one_connection(server, blob, tmp_path, monkeypatch):
    """Where the system gives no thread, a file and a list are fetched by the caller's own."""
    import threading

    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("colabkit"):
            raise RuntimeError("can't start new thread")
        start(thread)

    data = blob(9 * MIB)
    server.put("a.bin", data)
    server.put("b.bin", b"b")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    path, _ = fetch([server.url("b.bin"), server.url("a.bin")], tmp_path / "list")
    assert path.read_bytes() == b"b"
