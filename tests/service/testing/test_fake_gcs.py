"""Google's own client works against the emulator unchanged: what it may rely on at the service, it may rely on here."""

import gc
import gzip
import importlib
import io
import random
import warnings

import pytest

MIB = 1 << 20


@pytest.fixture
def client(gcs):
    """Open Google's client, which finds the emulator by the environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of an optional part of its own at import
        storage = importlib.import_module("google.cloud.storage")
    client = storage.Client(project="test-project")
    yield client
    client.close()


@pytest.fixture
def data():
    """Make bytes of several chunks."""
    return random.Random(1).randbytes(9 * MIB + 7)  # noqa: S311 - test data


def test_buckets_and_objects_come_and_go(gcs, client):
    """Create, write, look, list, delete."""
    bucket = client.create_bucket("my-bucket")
    blob = bucket.blob("a/b c.txt")
    blob.metadata = {"run": "7"}
    blob.upload_from_string("line\r\nend", content_type="text/plain", if_generation_match=0)
    found = bucket.get_blob("a/b c.txt")
    assert (found.size, found.content_type, found.metadata) == (9, "text/plain", {"run": "7"})
    assert (found.crc32c, found.md5_hash) == (blob.crc32c, blob.md5_hash)
    assert found.download_as_bytes() == gcs.read("my-bucket", "a/b c.txt") == b"line\r\nend"
    found.delete()
    assert not found.exists()
    assert bucket.get_blob("a/b c.txt") is None


def test_lists_have_pages_prefixes_and_folders(gcs, client):
    """Page tokens, prefixes and delimiters are those of the service."""
    for name in ("a/1", "a/2", "a/sub/3", "b", "c"):
        gcs.put("my-bucket", name, b"x")
    pages = list(client.list_blobs("my-bucket", page_size=2).pages)
    assert [[blob.name for blob in page] for page in pages] == [["a/1", "a/2"], ["a/sub/3", "b"], ["c"]]
    found = client.list_blobs("my-bucket", delimiter="/")
    assert ([blob.name for blob in found], found.prefixes) == (["b", "c"], {"a/"})
    assert [blob.name for blob in client.list_blobs("my-bucket", prefix="a/", delimiter="/")] == ["a/1", "a/2"]


@pytest.mark.parametrize("kind", ["reset", "lose", "status"])
def test_its_resumable_upload_recovers(gcs, client, data, kind):
    """Broken connections, lost answers and 503 in a session are recovered by its own code."""
    blob = client.create_bucket("my-bucket").blob("big", chunk_size=4 * MIB)
    gcs.fail("upload", kind, at=5 * MIB)
    blob.upload_from_file(io.BytesIO(data), size=len(data))
    assert gcs.read("my-bucket", "big") == data
    assert "upload" in {seen.on for seen in gcs.seen}


@pytest.mark.parametrize("kind", ["reset", "truncate", "status"])
def test_its_download_recovers(gcs, client, data, kind):
    """Its retries ask for the rest of the same generation."""
    gcs.put("my-bucket", "big", data)
    gcs.fail("download", kind, at=5 * MIB)
    assert client.bucket("my-bucket").blob("big").download_as_bytes() == data


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_its_ranges_side_by_side(gcs, client, data, tmp_path):
    """transfer_manager asks for pieces of one generation."""
    gcs.put("my-bucket", "big", data)
    manager = importlib.import_module("google.cloud.storage.transfer_manager")
    blob = client.bucket("my-bucket").get_blob("big")
    manager.download_chunks_concurrently(blob, tmp_path / "big", chunk_size=2 * MIB, worker_type="thread")
    assert (tmp_path / "big").read_bytes() == data
    gc.collect()  # its threads leave their sockets open, and that is not for another test to answer for


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_its_uploads_in_parts(gcs, client, data, tmp_path):
    """transfer_manager sends pieces side by side by the XML API, and they become one object."""
    (tmp_path / "big").write_bytes(data)
    gcs.bucket("my-bucket")
    manager = importlib.import_module("google.cloud.storage.transfer_manager")
    blob = client.bucket("my-bucket").blob("to/big file")
    manager.upload_chunks_concurrently(tmp_path / "big", blob, chunk_size=2 * MIB, worker_type="thread")
    assert gcs.read("my-bucket", "to/big file") == data
    assert gcs.parts == {}
    gc.collect()


def test_it_sees_a_flipped_byte(gcs, client, data):
    """The hash of the whole object goes with it."""
    gcs.put("my-bucket", "big", data)
    gcs.fail("download", "flip", at=MIB)
    with pytest.raises(Exception, match="Checksum mismatch"):
        client.bucket("my-bucket").blob("big").download_as_bytes()


def test_conditions_hold(gcs, client):
    """if_generation_match refuses what is another generation, in one request and in a session."""
    gcs.put("my-bucket", "a", b"old")
    exceptions = importlib.import_module("google.api_core.exceptions")
    bucket = client.bucket("my-bucket")
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("a").upload_from_string(b"new", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("a", chunk_size=MIB).upload_from_file(io.BytesIO(bytes(3 * MIB)), if_generation_match=7)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("a").delete(if_generation_match=7)
    assert gcs.read("my-bucket", "a") == b"old"


def test_stored_gzip_is_served_both_ways(gcs, client):
    """Uncompressed on the fly for who takes no gzip, as it is stored for who does."""
    packed = gzip.compress(b"7,0,0" * 100)
    gcs.put("my-bucket", "a.csv", packed, content_encoding="gzip")
    blob = client.bucket("my-bucket").get_blob("a.csv")
    assert blob.download_as_bytes(raw_download=True) == packed
    assert blob.download_as_bytes() == b"7,0,0" * 100


def test_refusals_have_their_numbers(gcs, client):
    """404 for buckets that are not there, 400 where somebody must pay."""
    exceptions = importlib.import_module("google.api_core.exceptions")
    gcs.bucket("costly", requester_pays=True)
    for bucket, kind in (("none", "NotFound"), ("costly", "BadRequest")):
        with pytest.raises(getattr(exceptions, kind)):
            client.bucket(bucket).blob("a").reload()


def test_lists_are_cut_as_the_service_cuts_them(gcs, client):
    """Globs, offsets and chosen fields, by the documentation; the emulator of Google's own reads globs as pathlib."""
    for name in ("a/x.csv", "a/y.csv", "a/deep/z.csv", "b.txt"):
        gcs.put("my-bucket", name, b"x")

    def names(**how):
        return [blob.name for blob in client.list_blobs("my-bucket", **how)]

    assert names(match_glob="a/*.csv") == ["a/x.csv", "a/y.csv"]
    assert names(match_glob="a/**.csv") == ["a/deep/z.csv", "a/x.csv", "a/y.csv"]
    assert names(match_glob="**/{x,z}.csv") == ["a/deep/z.csv", "a/x.csv"]
    assert names(match_glob="a/[!x].csv") == ["a/y.csv"]
    assert names(start_offset="a/x", end_offset="b") == ["a/x.csv", "a/y.csv"]
    (first, *_) = client.list_blobs("my-bucket", fields="items(name,size),nextPageToken")
    assert (first.name, first.size, first.generation) == ("a/deep/z.csv", 1, None)


def test_the_other_conditions_hold(gcs, client):
    """What must not be the same, what counts changes of metadata, a bucket that is there or is not empty."""
    gcs.put("my-bucket", "a", b"old")
    exceptions = importlib.import_module("google.api_core.exceptions")
    blob = client.bucket("my-bucket").blob("a")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"new", if_generation_not_match=1)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"new", if_metageneration_match=7)
    with pytest.raises(exceptions.NotModified):
        blob.reload(if_generation_not_match=1)
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("my-bucket")
    with pytest.raises(exceptions.Conflict):
        client.bucket("my-bucket").delete()
    blob.md5_hash = "AAAAAAAAAAAAAAAAAAAAAA=="
    with pytest.raises(exceptions.BadRequest):
        blob.upload_from_string(b"new", checksum=None)
    assert gcs.read("my-bucket", "a") == b"old"
    assert blob.download_as_bytes(start=-2) == b"ld"
