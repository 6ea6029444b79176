"""What Cloud Storage adds to the contract: its own refusals, and large uploads that another process goes on with."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from colabkit.errors import AccessError, AddressError, NotFoundError, NotStoredError, OfflineError, UnreachableError
from colabkit.storage import open_storage

MIB = 1 << 20


@pytest.mark.parametrize(
    "where", ["gs:", "gs://", "gs://Bucket", "gs://bucket/a#7", "gs://bucket/a/*", "gs://bucket/../x"]
)
def test_what_is_no_folder_of_a_bucket_is_refused_at_once(gcs, where):
    """Each malformed address is an AddressError, before any request."""
    with pytest.raises(AddressError):
        open_storage(where)
    assert gcs.seen == []


def test_a_bucket_that_is_missing_is_told_by_every_method(gcs, tmp_path):
    """NotFoundError that names the bucket, instead of an empty list or a missing object."""
    storage = open_storage("gs://nobody/runs")
    for call in (storage.list, lambda: storage.read("a"), lambda: storage.entry("a"), lambda: storage.put("a", b"x")):
        with pytest.raises(NotFoundError, match="there is no bucket nobody"):
            call()
    assert storage.confirmed("a") == "cannot tell"


def test_a_refusal_is_an_access_error(gcs):
    """Who may not is told so, and not that the object is missing."""
    gcs.bucket("bucket", forbidden=True)
    with pytest.raises(AccessError):
        open_storage("gs://bucket/runs").read("a")


def test_a_service_that_fails_is_told_soon(gcs, tmp_path):
    """A call forgives two failures; then it is an error that says it may come back."""
    gcs.bucket("bucket")
    gcs.fail("metadata", "reset", times=99)
    begun = time.monotonic()
    with pytest.raises(UnreachableError):
        open_storage("gs://bucket/runs").entry("a")
    assert time.monotonic() - begun < 15
    gcs.close()
    with pytest.raises((OfflineError, UnreachableError)):
        open_storage("gs://bucket/other").entry("a")


def test_other_objects_of_the_bucket_are_passed_over(gcs):
    """Names that no storage may hold, put there by others, are in no list."""
    for name in ("runs/../up", "runs/", "runs/a//b", "runs/line\x07", "runs/fine"):
        gcs.put("bucket", name, b"x")
    assert [stored.name for stored in open_storage("gs://bucket/runs").list()] == ["fine"]


def test_an_object_that_is_replaced_while_it_is_copied_comes_whole(gcs, tmp_path):
    """The newer generation comes, and is the one that is told."""
    gcs.put("bucket", "runs/a", bytes(3 * MIB))
    gcs.fail("download", "replace", data=b"new", after=1)
    stored = open_storage("gs://bucket/runs").get("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stored.size == 3


def test_a_wrong_byte_is_not_read(gcs):
    """A small object is checked too."""
    gcs.put("bucket", "runs/a", b"data")
    gcs.fail("download", "flip", at=1)
    storage = open_storage("gs://bucket/runs")
    with pytest.raises(Exception, match="did not arrive as it is stored"):
        storage.read("a")
    assert storage.read("a") == b"data"
    with pytest.raises(NotStoredError):
        storage.read("b")


def test_a_killed_put_goes_on_in_another_process(gcs, tmp_path):
    """SIGKILL in the middle of a large file: the next put sends the rest."""
    gcs.bucket("bucket")
    gcs.rate = 4 * MIB
    path = tmp_path / "big"
    path.write_bytes(os.urandom(12 * MIB))
    code = (
        "import sys; from colabkit.storage import open_storage; open_storage('gs://bucket/runs').put('a', sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    end = time.monotonic() + 30
    while gcs.received < 6 * MIB and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    gcs.rate = 0
    open_storage("gs://bucket/runs").put("a", path)
    assert gcs.read("bucket", "runs/a") == path.read_bytes()
    assert gcs.received <= 1.1 * 12 * MIB


def test_a_training_keeps_its_random_numbers_while_a_mirror_sends(gcs, tmp_path):
    """The client's boundaries and jitter come from a generator of its own, not from the one that Keras seeds."""
    gcs.put("bucket", "runs/there", b"x")
    storage = open_storage("gs://bucket/runs")
    (tmp_path / "state").write_bytes(b"x" * 4096)
    random.seed(7)
    before = random.getstate()
    storage.put("small", b"7")
    storage.put("file", tmp_path / "state")
    assert storage.read("small") == b"7"
    assert random.getstate() == before
