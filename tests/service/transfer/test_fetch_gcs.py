"""gs:// addresses: the right bytes of one generation, verified, resumable; every refusal typed with its next step."""

import gzip
import hashlib
import os
import signal
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.errors import (
    AddressError,
    ArchiveError,
    BusyError,
    ColabKitError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    TransferError,
)
from colabkit.transfer import fetch, fetch_details
from colabkit.transfer.sources import gcs as _gcs
from colabkit.transfer.sources.registry import open_source
from tests.service.transfer.sidecar import claimed

MIB = 1 << 20
SIZE = 12 * MIB + 345


def names(folder):
    """List what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def test_an_object_comes_whole_with_its_checksum(gcs, blob, tmp_path):
    """Many ranges of one generation, checked by the service's CRC32C."""
    data = blob(SIZE)
    gcs.put("bucket", "data/a.bin", data)
    done = fetch_details("gs://bucket/data/a.bin", f"{tmp_path}/")
    assert (done.path.name, done.path.read_bytes() == data) == ("a.bin", True)
    assert done.checksum.startswith("crc32c:")
    assert {seen.query["generation"] for seen in gcs.seen if seen.on == "download"} == {"1"}
    assert gcs.sent == SIZE


def test_the_second_call_asks_nobody(gcs, tmp_path):
    """What is in the cache needs no request."""
    gcs.put("bucket", "a.bin", b"data")
    assert fetch("gs://bucket/a.bin").read_bytes() == b"data"
    before = len(gcs.seen)
    assert fetch("gs://bucket/a.bin").read_bytes() == b"data"
    assert len(gcs.seen) == before


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("reset", {"at": 9 * MIB}),
        ("truncate", {"at": 9 * MIB}),
        ("status", {"status": 503, "times": 3}),
        ("status", {"status": 429, "headers": {"Retry-After": "1"}}),
        ("stall", {"at": 9 * MIB, "seconds": 20}),
    ],
)
def test_a_passing_fault_of_the_media_costs_little(gcs, blob, tmp_path, kind, options):
    """A broken stream, a 503, a 429 or a stall ends with the right file, and nothing is fetched twice."""
    data = blob(SIZE)
    gcs.put("bucket", "a.bin", data)
    gcs.fail("download", kind, **options)
    assert fetch("gs://bucket/a.bin", tmp_path / "a.bin").read_bytes() == data
    assert gcs.sent <= 1.1 * SIZE
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_a_passing_fault_of_the_metadata_is_survived(gcs, tmp_path, kind):
    """The question for the generation is asked again too."""
    gcs.put("bucket", "a.bin", b"data")
    gcs.fail("metadata", kind, times=2)
    assert fetch("gs://bucket/a.bin", tmp_path / "a.bin").read_bytes() == b"data"


@pytest.mark.parametrize("after", [0, 3])
def test_an_object_that_is_replaced_on_the_way_is_never_spliced(gcs, blob, tmp_path, after):
    """Another writer comes between two ranges: the pinned generation is gone, and the new one comes whole."""
    old, new = blob(SIZE, 1), blob(SIZE, 2)
    gcs.put("bucket", "a.bin", old)
    gcs.fail("download", "replace", data=new, after=after)
    assert fetch("gs://bucket/a.bin", tmp_path / "a.bin").read_bytes() == new


@pytest.mark.parametrize("after", [0, 3])
def test_an_object_that_is_deleted_on_the_way_is_told(gcs, blob, tmp_path, after):
    """No object is left: NotFoundError, and no file."""
    gcs.put("bucket", "a.bin", blob(SIZE))
    gcs.fail("download", "vanish", after=after)
    with pytest.raises(NotFoundError):
        fetch("gs://bucket/a.bin", tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_killed_fetch_goes_on_in_another_process(gcs, blob, tmp_path, command):
    """SIGKILL half way, then the same line: only the rest travels, of the same generation."""
    data = blob(SIZE)
    gcs.put("bucket", "a.bin", data)
    gcs.rate = MIB
    process = command("gs://bucket/a.bin", "--to", tmp_path / "a.bin")
    _kill_after(process, lambda: claimed(tmp_path / ".a.bin.part-fetch.json") > 4 * MIB)
    gcs.rate = 0
    before = gcs.sent
    assert fetch("gs://bucket/a.bin", tmp_path / "a.bin").read_bytes() == data
    assert gcs.sent - before < SIZE - 2 * MIB


def test_a_killed_fetch_of_another_generation_starts_over(gcs, blob, tmp_path, command):
    """The object was replaced between the two calls: the new one comes, whole."""
    gcs.put("bucket", "a.bin", blob(SIZE, 1))
    gcs.rate = MIB
    process = command("gs://bucket/a.bin", "--to", tmp_path / "a.bin")
    _kill_after(process, lambda: gcs.sent > 4 * MIB)
    gcs.rate = 0
    new = blob(SIZE, 2)
    gcs.put("bucket", "a.bin", new)
    assert fetch("gs://bucket/a.bin", tmp_path / "a.bin").read_bytes() == new


def _kill_after(process, due):
    end = time.monotonic() + 30
    while not due() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("composite", [False, True])
def test_a_wrong_byte_is_caught(gcs, blob, tmp_path, composite):
    """A byte that changed on the way is an error, for composite objects too, which have no MD5."""
    gcs.put("bucket", "a.bin", blob(3 * MIB), composite=composite)
    gcs.fail("download", "flip", at=2 * MIB)
    with pytest.raises(IntegrityError, match="the server said crc32c:"):
        fetch("gs://bucket/a.bin", tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_wrong_checksum_is_believed(gcs, tmp_path):
    """A file that is not what the service says it is does not appear."""
    gcs.put("bucket", "a.bin", b"data")
    gcs.fail("metadata", "hash")
    with pytest.raises(IntegrityError):
        fetch("gs://bucket/a.bin", tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_a_generation_that_is_named_is_the_one_that_comes(gcs, tmp_path):
    """#GENERATION is pinned; when it is gone, the newer one is not taken for it."""
    made = gcs.put("bucket", "a.bin", b"old")
    assert fetch(f"gs://bucket/a.bin#{made.generation}", tmp_path / "a").read_bytes() == b"old"
    gcs.put("bucket", "a.bin", b"new")
    with pytest.raises(NotFoundError):
        fetch(f"gs://bucket/a.bin#{made.generation}", tmp_path / "b")


# ---- compressed objects ----


def test_an_object_that_is_stored_compressed_arrives_uncompressed(gcs, blob, tmp_path):
    """Content-Encoding gzip: the stored bytes travel in ranges and are verified, the file is what they hold."""
    plain = blob(4 * MIB)
    gcs.put("bucket", "a.bin", gzip.compress(plain, 1), content_encoding="gzip")
    gcs.fail("download", "reset", at=3 * MIB)
    sha256 = "sha256:" + hashlib.sha256(plain).hexdigest()
    done = fetch_details("gs://bucket/a.bin", tmp_path / "a.bin", checksum=sha256)
    assert (done.path.read_bytes() == plain, done.checksum) == (True, sha256)
    assert gcs.sent <= 1.1 * len(gzip.compress(plain, 1)) + MIB
    with pytest.raises(IntegrityError, match="you said"):
        fetch("gs://bucket/a.bin", tmp_path / "b.bin", checksum="md5:" + "0" * 32)
    assert names(tmp_path) == ["a.bin"]


def test_a_label_that_lies_is_seen_through(gcs, tmp_path):
    """An object that is called gzip and is not comes as it is; one that is and breaks off is an error."""
    gcs.put("bucket", "a.csv", b"7,0,0", content_encoding="gzip")
    assert fetch("gs://bucket/a.csv", tmp_path / "a.csv").read_bytes() == b"7,0,0"
    gcs.put("bucket", "b.csv", gzip.compress(b"7,0,0" * 1000)[:-9], content_encoding="gzip")
    with pytest.raises(ArchiveError):
        fetch("gs://bucket/b.csv", tmp_path / "b.csv")
    assert names(tmp_path) == ["a.csv"]


def test_a_gzip_file_without_that_label_stays_packed(gcs, tmp_path):
    """images.gz is the file."""
    packed = gzip.compress(b"7,0,0")
    gcs.put("bucket", "a.csv.gz", packed)
    assert fetch("gs://bucket/a.csv.gz", tmp_path / "a.csv.gz").read_bytes() == packed


# ---- folders ----


def test_a_prefix_becomes_a_folder(gcs, tmp_path):
    """All objects below come, over several pages of the list, without a question for each."""
    gcs.page_size = 3
    content = {f"set/{number % 3}/{number}.txt": str(number).encode() for number in range(10)}
    for name, data in content.items():
        gcs.put("bucket", f"data/{name}", data)
    gcs.put("bucket", "data/set/", b"")  # what consoles make to show an empty folder
    gcs.put("bucket", "data/settings", b"other")
    folder = fetch("gs://bucket/data/set/", f"{tmp_path}/")
    found = {f"set/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*.txt")}
    assert (folder, found) == (tmp_path / "set", content)
    assert [seen.on for seen in gcs.seen].count("metadata") == 0


def test_a_folder_goes_on_with_the_files_that_are_missing(gcs, blob, tmp_path):
    """One object fails: the others are kept, and the next call fetches that one alone."""
    data = {f"{number}.bin": blob(MIB, number) for number in range(5)}
    for name, content in data.items():
        gcs.put("bucket", f"set/{name}", content)
    gcs.fail("download", "flip", at=5, name="set/3.bin")
    with pytest.raises(IntegrityError):
        fetch("gs://bucket/set/", tmp_path / "set")
    before = gcs.sent
    folder = fetch("gs://bucket/set/", tmp_path / "set")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == data
    assert gcs.sent - before == MIB


def test_hostile_and_colliding_names_stay_below_the_folder(gcs, tmp_path):
    """Objects may be called ../x, hold control characters, or be the folder of another one."""
    for name in ("../../up", "/etc/passwd", "a", "a/b", "bell\x07", "a\\..\\b", ".hidden", "x//y"):
        gcs.put("bucket", f"set/{name}", name.encode())
    folder = fetch("gs://bucket/set/", tmp_path / "in" / "set")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 8
    assert names(tmp_path) == ["in"]
    assert names(tmp_path / "in") == ["set"]
    assert not any(ord(letter) < 32 for path in files for letter in str(path))


def test_wildcards_choose_as_gsutil_does(gcs, tmp_path):
    """* stays within a part, ** does not, ? is one letter, [] a set."""
    for name in ("a1.csv", "a2.csv", "b1.csv", "sub/a1.csv", "a1.txt"):
        gcs.put("bucket", f"data/{name}", b"x")

    def found(pattern):
        folder = fetch(pattern, f"{tmp_path}/{len(list(tmp_path.iterdir()))}/")
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    assert found("gs://bucket/data/*.csv") == ["a1.csv", "a2.csv", "b1.csv"]
    assert found("gs://bucket/data/**.csv") == ["a1.csv", "a2.csv", "b1.csv", "sub/a1.csv"]
    assert found("gs://bucket/data/[!b]?.csv") == ["a1.csv", "a2.csv"]
    with pytest.raises(NotFoundError, match="no object has such a name"):
        found("gs://bucket/data/*.zip")


# ---- refusals ----


def test_a_folder_without_its_slash_is_told(gcs):
    """The next step is in the message."""
    gcs.put("bucket", "data/a.bin", b"x")
    with pytest.raises(NotFoundError, match=r"write it as gs://bucket/data/ to fetch all of it"):
        fetch("gs://bucket/data")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("gs://bucket/none.bin", "there is no object gs://bucket/none.bin"),
        ("gs://nobody/a.bin", "there is no bucket nobody"),
        ("gs://nobody/data/", "there is no bucket nobody"),
        ("gs://bucket/none/", "there is nothing in gs://bucket/none/"),
    ],
)
def test_what_is_not_there_is_named(gcs, source, said):
    """An object, a bucket or a folder that is missing is told apart."""
    gcs.bucket("bucket")
    with pytest.raises(NotFoundError, match=said):
        fetch(source)


@pytest.mark.parametrize(
    "source",
    ["gs:", "gs://", "gs:///a", "gs:/bucket/a", "gs://UPPER/a", "gs://a/b", "gs://bucket/..", "gs://bucket/a\nb"],
)
def test_what_is_no_address_is_refused_before_any_request(gcs, source):
    """Malformed addresses are an AddressError."""
    with pytest.raises(AddressError):
        fetch(source)
    assert gcs.seen == []


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """No text raises anything else than our own error, and what is read can be shown again."""
    try:
        address = _gcs.parse(f"gs://{text}")
    except ColabKitError:
        return
    assert _gcs.parse(str(address)) == address
    _gcs.pattern(address.name).match(address.name)


def test_a_service_that_stays_busy_is_given_up(gcs, tmp_path):
    """503 for ever ends in BusyError; nothing is left behind."""
    gcs.put("bucket", "a.bin", b"x")
    gcs.fail("metadata", "status", times=99)
    with pytest.raises(BusyError, match="tried 7 times"):
        fetch("gs://bucket/a.bin", tmp_path / "a.bin")
    assert names(tmp_path) == []


def test_offline_is_told_without_trying(gcs, tmp_path, monkeypatch):
    """COLABKIT_OFFLINE holds for gs:// too."""
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    with pytest.raises(OfflineError):
        fetch("gs://bucket/a.bin", tmp_path / "a.bin")
    with pytest.raises(OfflineError):
        fetch("gs://bucket/folder/", tmp_path / "folder")
    assert gcs.seen == []


def test_the_browsers_address_of_an_object_is_understood(gcs, tmp_path):
    """storage.cloud.google.com shows a sign-in page; the object behind it is meant."""
    gcs.put("bucket", "a dir/a.bin", b"data")
    url = "https://storage.cloud.google.com/bucket/a%20dir/a.bin?authuser=1"
    assert fetch(url, tmp_path / "a.bin").read_bytes() == b"data"


@pytest.mark.parametrize("name", ["which?.csv", "all*.csv", "run #17", "run#17", "blank ", "a%41.csv", "[1].csv"])
def test_an_object_of_any_name_is_named_by_its_page(gcs, tmp_path, name):
    """What gs:// reads as a pattern, a generation or nothing at all stands for itself there."""
    gcs.put("bucket", name, b"this")
    for other in ("which1.csv", "allof.csv", "run", "run ", "blank", "aA.csv", "1.csv"):
        gcs.put("bucket", other, b"another")
    address = f"https://storage.cloud.google.com/bucket/{urllib.parse.quote(name)}"
    assert fetch(address, tmp_path / "a").read_bytes() == b"this"
    shown = open_source(address).source.shown
    assert open_source(shown).source.address.name == name


def test_a_pattern_that_fits_nothing_says_how_to_name_its_letters(gcs, tmp_path):
    """A name with a question mark is no pattern on its page."""
    gcs.put("bucket", "a.csv", b"1")
    with pytest.raises(NotFoundError, match=r"storage\.cloud\.google\.com(.|\n)*%3F"):
        fetch("gs://bucket/which?.csv", tmp_path / "a")


def test_a_service_that_names_no_address_for_the_bytes(gcs, tmp_path):
    """Google's own emulator tells no mediaLink: the address is made as Google's own client makes it, and pinned."""
    gcs.links = False
    old = gcs.put("bucket", "odd #?.csv", b"7,0,0")
    assert fetch("https://storage.cloud.google.com/bucket/odd%20%23%3F.csv", tmp_path / "a").read_bytes() == b"7,0,0"
    download = next(seen for seen in gcs.seen if seen.on == "download")
    assert download.query["generation"] == str(old.generation)


def test_a_rule_of_the_bucket_is_no_other_writer(gcs, tmp_path):
    """A 412 to a request without a condition, as an organization's rules give it, is told as a refusal."""
    gcs.put("bucket", "a", b"7")
    gcs.fail("metadata", "status", status=412, times=9)
    with pytest.raises(TransferError, match="refuses gs://bucket/a"):
        fetch("gs://bucket/a", tmp_path / "a")
