"""push: whole and verified or not at all, never over what it did not see, and on again in another process."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from colabkit._engine import local
from colabkit._engine.uploads.body import open_file
from colabkit.errors import (
    AddressError,
    BusyError,
    ExistsError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    StorageError,
    TransferError,
)
from colabkit.transfer import push, push_details

MIB = 1 << 20
SIZE = 12 * MIB + 345


class Pipe:
    """A stream that can be read once and cannot be sought."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, size=-1):
        """Give what is next, in odd pieces."""
        return self._file.read(min(size, 300_007) if size >= 0 else size)


@pytest.fixture
def bucket(gcs):
    """Make an empty bucket."""
    return gcs.bucket("bucket")


# ---- one file ----


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 4 * MIB + 1, 8 * MIB, 8 * MIB + 256 * 1024, SIZE])
def test_every_size_arrives_whole(gcs, bucket, blob, tmp_path, size):
    """Empty files and the edges of what a request holds are right too; nothing is left on this side."""
    path = tmp_path / "a.bin"
    path.write_bytes(blob(size))
    assert push(path, "gs://bucket/to/a.bin") == "gs://bucket/to/a.bin"
    assert gcs.read("bucket", "to/a.bin") == path.read_bytes()
    assert gcs.received == size
    assert not list(Path.home().rglob("push/*.json"))


def test_a_target_with_a_slash_takes_the_files_name(gcs, bucket, tmp_path):
    """The same rule as for the places of fetch; the label follows the name."""
    (tmp_path / "a.csv").write_bytes(b"7,0,0")
    assert push(tmp_path / "a.csv", "gs://bucket/to/") == "gs://bucket/to/a.csv"
    assert push(str(tmp_path / "a.csv"), "gs://bucket") == "gs://bucket/a.csv"
    assert bucket.objects["a.csv"].content_type == "text/csv"


@pytest.mark.parametrize("size", [MIB, SIZE])
def test_what_is_there_is_not_sent_again(gcs, bucket, blob, tmp_path, size):
    """The second call finds the same content and sends nothing."""
    (tmp_path / "a.bin").write_bytes(blob(size))
    assert push_details(tmp_path / "a.bin", "gs://bucket/a.bin").sent == 1
    before = gcs.received
    assert push_details(tmp_path / "a.bin", "gs://bucket/a.bin").sent == 0
    assert gcs.received == before


@pytest.mark.parametrize("size", [MIB, SIZE])
def test_other_content_is_replaced_only_when_told(gcs, bucket, blob, tmp_path, size):
    """ExistsError first, the new content with overwrite=True."""
    gcs.put("bucket", "a.bin", b"precious")
    (tmp_path / "a.bin").write_bytes(blob(size))
    with pytest.raises(ExistsError):
        push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == b"precious"
    push(tmp_path / "a.bin", "gs://bucket/a.bin", overwrite=True)
    assert gcs.read("bucket", "a.bin") == blob(size)


@pytest.mark.parametrize(("size", "on"), [(MIB, "insert"), (SIZE, "upload")])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_writes_meanwhile_is_never_replaced(gcs, bucket, blob, tmp_path, size, on, overwrite):
    """Between the look and the last byte someone else writes the object: theirs stays."""
    if overwrite:
        gcs.put("bucket", "a.bin", b"old")
    (tmp_path / "a.bin").write_bytes(blob(size))
    gcs.fail(on, "replace", data=b"theirs")
    with pytest.raises(ExistsError, match="in the meantime"):
        push(tmp_path / "a.bin", "gs://bucket/a.bin", overwrite=overwrite)
    assert gcs.read("bucket", "a.bin") == b"theirs"


@pytest.mark.parametrize(
    ("on", "kind", "options"),
    [
        ("upload", "reset", {"at": 9 * MIB}),
        ("upload", "reset", {"at": 3 * MIB, "times": 3}),
        ("upload", "reset", {"at": SIZE - 5}),
        ("upload", "lose", {"times": 2}),
        ("upload", "status", {"times": 3}),
        ("upload", "status", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("query", "status", {"times": 2}),
        ("start", "status", {"times": 2}),
        ("start", "reset", {}),
    ],
)
def test_a_passing_fault_is_survived_and_little_is_sent_twice(gcs, bucket, blob, tmp_path, on, kind, options):
    """Resets, lost answers, 503 and 429 at each step of a session end with the right object."""
    (tmp_path / "a.bin").write_bytes(blob(SIZE))
    gcs.fail(on, kind, **options)
    if on == "query":
        gcs.fail("upload", "reset", at=9 * MIB)
    push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == blob(SIZE)
    assert gcs.received <= 1.1 * SIZE + (2 * MIB if kind == "reset" else 0)


@pytest.mark.parametrize("kind", ["lose", "status", "reset"])
def test_a_small_file_whose_answer_is_lost_is_there_once(gcs, bucket, tmp_path, kind):
    """The second try meets the first one's object, and knows it by its checksum."""
    gcs.fail("insert", kind)
    assert push(b"7,0,0", "gs://bucket/a.csv") == "gs://bucket/a.csv"
    assert gcs.read("bucket", "a.csv") == b"7,0,0"
    assert gcs.buckets["bucket"].objects["a.csv"].generation == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_is_forgotten_is_begun_again(gcs, bucket, blob, tmp_path, status):
    """The service drops the session half way: another one brings the object."""
    (tmp_path / "a.bin").write_bytes(blob(SIZE))
    gcs.fail("upload", "expire", status=status, after=1)
    push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == blob(SIZE)


@pytest.mark.parametrize(("size", "on", "at"), [(MIB, "insert", 5), (SIZE, "upload", 5), (SIZE, "upload", SIZE - 1)])
def test_a_wrong_byte_never_becomes_an_object(gcs, bucket, blob, tmp_path, size, on, at):
    """What arrives is compared with what was sent, before it appears."""
    (tmp_path / "a.bin").write_bytes(blob(size))
    gcs.fail(on, "flip", at=at)
    with pytest.raises(IntegrityError, match="did not arrive as it was sent"):
        push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert bucket.objects == {}
    push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == blob(size)


@pytest.mark.parametrize(("size", "on"), [(MIB, "insert"), (SIZE, "upload")])
def test_an_answer_with_another_checksum_is_not_taken_for_success(gcs, bucket, blob, tmp_path, size, on):
    """A service that takes the bytes and tells another checksum than ours: the object is removed again."""
    (tmp_path / "a.bin").write_bytes(blob(size))
    gcs.fail(on, "hash", times=9)
    with pytest.raises(IntegrityError, match="was removed"):
        push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert bucket.objects == {}


def test_a_file_that_shrinks_while_it_is_sent_is_told(gcs, bucket, blob, tmp_path):
    """Someone truncates it: StorageError, and no object."""
    path = tmp_path / "a.bin"
    path.write_bytes(blob(SIZE))
    gcs.rate = 8 * MIB

    def shrink(done, total):
        if done >= 2 * MIB and path.stat().st_size == SIZE:
            os.truncate(path, 3 * MIB)

    with pytest.raises(StorageError, match="became shorter"):
        push(path, "gs://bucket/a.bin", progress=shrink)
    assert bucket.objects == {}


def test_a_service_that_stays_busy_is_given_up_and_gone_on_with_later(gcs, bucket, blob, tmp_path):
    """BusyError after a bounded time; the next call sends only the rest."""
    (tmp_path / "a.bin").write_bytes(blob(SIZE))
    gcs.fail("upload", "reset", at=9 * MIB)
    fault = gcs.fail("query", "status", times=999)
    with pytest.raises(BusyError, match="tried 7 times"):
        push(tmp_path / "a.bin", "gs://bucket/a.bin")
    fault.times = 0
    push(tmp_path / "a.bin", "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == blob(SIZE)
    assert gcs.received <= 1.1 * SIZE


# ---- another process ----


def test_a_killed_push_goes_on_in_another_process(gcs, bucket, blob, tmp_path, command):
    """SIGKILL half way, then the same line: what had arrived is not sent again, and nobody else could go on."""
    path = tmp_path / "a.bin"
    path.write_bytes(blob(SIZE))
    gcs.rate = 4 * MIB
    process = command(path, "gs://bucket/a.bin", verb="push", COLABKIT_CACHE=str(tmp_path / "cache"))
    end = time.monotonic() + 30
    while gcs.received < 8 * MIB and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    (note,) = (tmp_path / "cache" / "push").glob("*.json")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert stat.S_IMODE(note.parent.stat().st_mode) == 0o700
    gcs.rate = 0
    again = command(path, "gs://bucket/a.bin", "--json", verb="push", COLABKIT_CACHE=str(tmp_path / "cache"))
    out, err = again.communicate(timeout=30)
    assert json.loads(out)["target"] == "gs://bucket/a.bin", err
    assert gcs.read("bucket", "a.bin") == blob(SIZE)
    assert gcs.received <= 1.1 * SIZE
    assert not note.exists()


@pytest.mark.parametrize("make", [bytes, io.BytesIO])
def test_bytes_and_open_files_go_on_too(gcs, bucket, blob, tmp_path, monkeypatch, make):
    """They have no name, and are known again by their checksum; other bytes begin anew."""
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "cache"))
    gcs.fail("upload", "reset", at=9 * MIB)
    fault = gcs.fail("query", "status", times=999)
    with pytest.raises(TransferError):
        push(make(blob(SIZE)), "gs://bucket/a.bin")
    fault.times = 0
    push(make(blob(SIZE)), "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == blob(SIZE)
    assert gcs.received <= 1.1 * SIZE
    push(make(blob(SIZE, 2)), "gs://bucket/a.bin", overwrite=True)
    assert gcs.read("bucket", "a.bin") == blob(SIZE, 2)
    assert not list((tmp_path / "cache" / "push").glob("*.json"))


@pytest.mark.parametrize("what", ["content", "note", "other service"])
def test_a_session_is_gone_on_with_only_for_the_same_file(gcs, bucket, blob, tmp_path, monkeypatch, what):
    """Another content, a damaged note or one that names another service begins anew, and the result is right."""
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.bin"
    path.write_bytes(blob(SIZE))
    gcs.fail("upload", "reset", at=9 * MIB)
    fault = gcs.fail("query", "status", times=999)
    with pytest.raises(TransferError):
        push(path, "gs://bucket/a.bin")
    fault.times = 0
    (note,) = (tmp_path / "cache" / "push").glob("*.json")
    if what == "content":
        path.write_bytes(blob(SIZE, 2))
    elif what == "note":
        note.write_text(note.read_text()[:-20])
    else:
        note.write_text(note.read_text().replace(gcs.endpoint, "http://127.0.0.1:9"))
    push(path, "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == path.read_bytes()


def test_ctrl_c_keeps_what_arrived(gcs, bucket, blob, tmp_path):
    """SIGINT ends a push soon; the next one goes on."""
    path = tmp_path / "a.bin"
    path.write_bytes(blob(SIZE))
    gcs.rate = 4 * MIB

    def interrupt(done, total):
        if done > 4 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="run it again to resume"):
        push(path, "gs://bucket/a.bin", progress=interrupt)
    gcs.rate = 0
    push(path, "gs://bucket/a.bin")
    assert gcs.received <= 1.25 * SIZE  # what lay in the buffers of the broken connection may come once more


# ---- bytes and streams ----


@pytest.mark.parametrize("size", [0, 5, 8 * MIB, 8 * MIB + 1, SIZE])
@pytest.mark.parametrize("make", [bytes, bytearray, io.BytesIO, Pipe])
def test_bytes_and_streams_arrive_whole(gcs, bucket, blob, size, make):
    """Anything that holds or gives bytes can be pushed."""
    assert push(make(blob(size)), "gs://bucket/a.bin") == "gs://bucket/a.bin"
    assert gcs.read("bucket", "a.bin") == blob(size)


def test_a_file_is_sent_from_where_it_stands(gcs, bucket):
    """As other libraries do, what was read already is not sent."""
    file = io.BytesIO(b"header,body")
    file.read(7)
    push(file, "gs://bucket/a.csv")
    assert gcs.read("bucket", "a.csv") == b"body"


@pytest.mark.parametrize("kind", ["reset", "lose", "status"])
def test_a_stream_survives_a_passing_fault(gcs, bucket, blob, kind):
    """The last pieces of a stream are kept until they have arrived."""
    gcs.fail("upload", kind, at=9 * MIB)
    push(Pipe(blob(SIZE)), "gs://bucket/a.bin")
    assert gcs.read("bucket", "a.bin") == blob(SIZE)


def test_a_stream_whose_session_is_forgotten_is_an_error(gcs, bucket, blob):
    """It cannot be read again, so it is told instead of sent in part."""
    gcs.fail("upload", "expire", status=410, after=1)
    with pytest.raises(StorageError, match="a stream is read only once"):
        push(Pipe(blob(20 * MIB)), "gs://bucket/a.bin")
    assert bucket.objects == {}


def test_a_stream_can_come_from_stdin(gcs, bucket, blob):
    """`tar c data | colabkit push - gs://…` needs no file."""
    words = [sys.executable, "-m", "colabkit", "push", "-", "gs://bucket/a.tar"]
    done = subprocess.run(words, input=blob(SIZE), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"gs://bucket/a.tar\n")
    assert gcs.read("bucket", "a.tar") == blob(SIZE)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (b"x", "gs://bucket/", "bytes have no name"),
        (b"x", "gs://bucket/a#12", "a generation is made by the service"),
        (b"x", "s3://bucket/a", "cannot push to s3:// addresses"),
        (b"x", "gs://Bucket/a", "cannot read the address"),
        (b"x", "gs://bucket/line\nend", "cannot be the name of an object"),
        (b"x", "", "there is no target"),
        (7, "gs://bucket/a", "cannot push a int"),
        (io.StringIO("text"), "gs://bucket/a", "gives text"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_any_request(gcs, bucket, source, target, said):
    """Each is an AddressError that says why."""
    with pytest.raises(AddressError, match=said):
        push(source, target)
    assert gcs.seen == []


def test_a_missing_file_or_bucket_is_told(gcs, tmp_path):
    """NotFoundError names it."""
    with pytest.raises(NotFoundError, match="there is no file at"):
        push(tmp_path / "none", "gs://bucket/a")
    with pytest.raises(NotFoundError, match="there is no bucket bucket"):
        push(b"x", "gs://bucket/a")


# ---- folders ----


def _make(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_folder_becomes_many_objects_and_only_what_differs_is_sent_again(gcs, bucket, tmp_path):
    """A second push sends the one file that changed, and replaces it only when told."""
    files = {f"{number % 3}/{number}.txt": str(number) * 50 for number in range(20)}
    _make(tmp_path / "run", files)
    first = push_details(tmp_path / "run", "gs://bucket/runs/")
    assert (first.target, first.files, first.sent) == ("gs://bucket/runs/run/", 20, 20)
    assert {name: made.data.decode() for name, made in bucket.objects.items()} == {
        f"runs/run/{name}": text for name, text in files.items()
    }
    _make(tmp_path / "run", {"1/1.txt": "changed", "new.txt": "new"})
    with pytest.raises(ExistsError, match="1 of the 21 files"):
        push(tmp_path / "run", "gs://bucket/runs/")
    assert "runs/run/new.txt" not in bucket.objects
    assert push_details(tmp_path / "run", "gs://bucket/runs/run", overwrite=True).sent == 2
    assert bucket.objects["runs/run/1/1.txt"].data == b"changed"


def test_a_folder_goes_on_with_what_is_missing(gcs, bucket, tmp_path):
    """One file is refused: the others arrive, and the next push sends that one alone."""
    _make(tmp_path / "run", {f"{number}.txt": "x" * 1000 for number in range(10)})
    gcs.fail("insert", "flip", name="run/3.txt")
    with pytest.raises(IntegrityError):
        push(tmp_path / "run", "gs://bucket/run")
    assert len(bucket.objects) == 9
    assert push_details(tmp_path / "run", "gs://bucket/run").sent == 1


def test_a_folder_round_trip_is_the_same_folder(gcs, bucket, tmp_path):
    """push, then fetch: the same files, odd names included."""
    from colabkit.transfer import fetch

    files = {"a b.txt": "1", "ü/日本.txt": "2", "50%#.txt": "3", ".hidden": "4"}
    _make(tmp_path / "set", files)
    push(tmp_path / "set", "gs://bucket/set")
    there = fetch("gs://bucket/set/", tmp_path / "back")
    assert {str(path.relative_to(there)): path.read_text() for path in there.rglob("*") if path.is_file()} == files


def test_links_and_pipes_in_a_folder(gcs, bucket, tmp_path, caplog):
    """A link to a file is its content; links to folders and pipes are left out and named; a dead link is an error."""
    _make(tmp_path / "set", {"a.txt": "a"})
    (tmp_path / "set" / "link.txt").symlink_to("a.txt")
    (tmp_path / "set" / "circle").symlink_to(".")
    os.mkfifo(tmp_path / "set" / "pipe")
    push(tmp_path / "set", "gs://bucket/set")
    assert set(bucket.objects) == {"set/a.txt", "set/link.txt"}
    (tmp_path / "set" / "dead").symlink_to("nowhere")
    with pytest.raises(NotFoundError, match="leads nowhere"):
        push(tmp_path / "set", "gs://bucket/set")


def test_names_that_no_object_can_have_are_refused_by_name(gcs, bucket, tmp_path):
    """A line end, or bytes that are no text, in a file's name: AddressError before anything is sent."""
    _make(tmp_path / "one", {"ok.txt": "1", "line\nend.txt": "2"})
    with pytest.raises(AddressError, match=r"line\\nend"):
        push(tmp_path / "one", "gs://bucket/one")
    (tmp_path / "two").mkdir()
    with open(os.fsencode(tmp_path / "two") + b"/\xff.txt", "wb"):
        pass
    with pytest.raises(AddressError, match="is not text"):
        push(tmp_path / "two", "gs://bucket/two")
    assert bucket.objects == {}
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no files"):
        push(tmp_path / "empty", "gs://bucket/empty")


# ---- paths ----


def test_a_path_takes_files_folders_and_streams(blob, tmp_path):
    """The same rules as for gs://, on a disk."""
    (tmp_path / "a.bin").write_bytes(blob(MIB))
    to = tmp_path / "to"
    assert push(tmp_path / "a.bin", f"{to}/") == str(to / "a.bin")
    assert push_details(tmp_path / "a.bin", to / "a.bin").sent == 0
    assert push(Pipe(blob(SIZE)), to / "b.bin") == str(to / "b.bin")
    assert (to / "b.bin").read_bytes() == blob(SIZE)
    with pytest.raises(ExistsError):
        push(tmp_path / "a.bin", to / "b.bin")
    assert push_details(io.BytesIO(blob(SIZE)), to / "b.bin").sent == 0
    push(b"new", to / "b.bin", overwrite=True)
    assert (to / "b.bin").read_bytes() == b"new"
    _make(tmp_path / "set", {"x/1.txt": "1", "2.txt": "2"})
    assert push_details(tmp_path / "set", f"{to}/").sent == 2
    _make(tmp_path / "set", {"2.txt": "other"})
    with pytest.raises(ExistsError, match="1 of the 2 files"):
        push(tmp_path / "set", to / "set")
    assert push_details(tmp_path / "set", to / "set", overwrite=True).sent == 1
    assert (to / "set" / "2.txt").read_text() == "other"
    with pytest.raises(AddressError, match="lies in"):
        push(tmp_path / "set", tmp_path / "set" / "inside")


def test_without_the_package_the_install_line_is_told(gcs, bucket, monkeypatch):
    """google-crc32c is missing: MissingDependencyError with the line that brings it, and nothing was sent."""
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "google-cloud-storage'):
        push(b"x" * 100, "gs://bucket/a")
    assert bucket.objects == {}


def test_a_path_needs_no_package(monkeypatch, tmp_path):
    """Bytes and streams to a path work with what the base installation has."""
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    for source in (b"7,0,0", io.BytesIO(b"7,0,0"), Pipe(b"7,0,0")):
        push(source, tmp_path / "a.csv", overwrite=True)
        assert (tmp_path / "a.csv").read_bytes() == b"7,0,0"


def test_many_pushes_at_once_do_not_disturb_one_another(gcs, bucket, blob, tmp_path):
    """Threads of one program push different files through the shared connection pool."""
    errors = []

    def one(number):
        try:
            push(blob(MIB, number), f"gs://bucket/{number}", progress=False)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(gcs.read("bucket", str(number)) == blob(MIB, number) for number in range(8))


def test_a_link_is_pushed_under_its_own_name(gcs, bucket, tmp_path):
    """As gsutil does it: a link into the Hub's cache leads to a file that is called by its hash."""
    (tmp_path / "e4375d1f").write_bytes(b"w")
    (tmp_path / "model.bin").symlink_to("e4375d1f")
    assert push(tmp_path / "model.bin", "gs://bucket/models/") == "gs://bucket/models/model.bin"


def test_a_stream_that_would_give_nothing_is_refused(gcs, bucket, tmp_path):
    """Just written to and not gone back, closed, or open for writing: each made an empty object."""
    written = io.BytesIO()
    written.write(b"7,0,0")
    closed = io.BytesIO(b"7")
    closed.close()
    with open(tmp_path / "w.csv", "wb") as writing:
        for stream, why in ((written, "at its end"), (closed, "it is closed"), (writing, "for writing only")):
            with pytest.raises(AddressError, match=why):
                push(stream, "gs://bucket/a.csv")
    assert not bucket.objects
    written.seek(0)
    push(written, "gs://bucket/a.csv")
    push(io.BytesIO(), "gs://bucket/empty.csv")
    assert gcs.read("bucket", "a.csv") == b"7,0,0"


def test_a_file_that_is_written_over_while_it_is_read_is_refused(tmp_path):
    """Half of one version and half of another is neither; a log that only grows is whole as far as it goes."""
    path = tmp_path / "a.bin"
    for change, is_refused in (((b"x", 9 * MIB - 1), True), ((b"more", 9 * MIB), False)):
        path.write_bytes(bytes(9 * MIB))
        os.utime(path, (1, 1))

        def write_over(*_, change=change):
            with open(path, "r+b") as file:
                os.pwrite(file.fileno(), *change)

        expected = pytest.raises(StorageError, match="changed while it was read") if is_refused else nullcontext()
        with expected:
            local.copy(path, tmp_path / "copy.bin", SimpleNamespace(update=write_over), overwrite=True)
        path.write_bytes(bytes(9 * MIB))
        os.utime(path, (1, 1))
        content = open_file(path)
        blocks = iter(content.window(0))
        next(blocks)
        write_over()
        with expected:
            assert sum(map(len, blocks)) == 8 * MIB
        content.close()
        assert (tmp_path / "copy.bin").exists() is not is_refused
