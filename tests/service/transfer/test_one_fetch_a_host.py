"""Workers of one host that want the same at the same time: one of them fetches, the others wait and take it.

Each worker says whether it fetched. The requests are counted by name, not in all: a machine that stands still for
longer than an answer is waited for has the one that fetches ask again, as it should.
"""

import io
import json
import zipfile
from pathlib import Path

import pytest

from colabkit.testing.gcs import FakeGCS
from colabkit.testing.http import Fault
from tests.support.waiting import wait_until

WORKERS = 4


def _ended_well(workers):
    """Wait for all, and return what they say."""
    ended = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * WORKERS, ended
    told = [json.loads(out) for out, _ in ended]
    assert sorted(one["from_cache"] for one in told) == [False] + [True] * (WORKERS - 1), ended
    assert len({Path(one["path"]).resolve() for one in told}) == 1
    return told


def _zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("a.csv", b"7,0,0")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.bin", []),
        pytest.param("a.bin", ["--to", "here/x.bin"], marks=pytest.mark.slow),
        pytest.param("a.bin", ["--to", "here/"], marks=pytest.mark.slow),
        pytest.param("a.zip", ["--to", "here/"], marks=pytest.mark.slow),
    ],
    ids=["cache", "file", "folder", "archive"],
)
def test_a_file_or_an_archive_comes_once(server, command, blob, tmp_path, monkeypatch, place, name):
    """Four processes at once, into the cache, a folder or a file: the server is asked once, and all have it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    server.put(name, _zip() if name == "a.zip" else blob(100_000), Fault(kind="stall", at=100, seconds=1.5))
    _ended_well([command(server.url(name), *place, "--json") for _ in range(WORKERS)])
    assert {seen.path for seen in server.seen} == {f"/{name}"}


@pytest.mark.slow
def test_a_folder_goes_on_after_a_kill_where_it_was(command, tmp_path):
    """SIGKILL in the middle of 200 objects: the second call asks only for those that had not come."""
    with FakeGCS() as gcs:
        for number in range(200):
            gcs.put("bucket", f"data/{number}.csv", b"7,0,0")
        gcs.fail("download", "stall", at=1, seconds=60.0, after=100, times=16)
        words = ("gs://bucket/data/", "--to", tmp_path / "here")
        killed = command(*words, STORAGE_EMULATOR_HOST=gcs.endpoint)
        wait_until(lambda: sum(one.on == "download" for one in gcs.seen) >= 100, seconds=60)
        killed.kill()
        killed.wait()
        again = command(*words, STORAGE_EMULATOR_HOST=gcs.endpoint)
        gcs.faults.clear()
        out, error = again.communicate(timeout=120)
        assert again.returncode == 0, (out, error)
        assert sum(one.on == "download" for one in gcs.seen) <= 200 + 2 * 16
    assert len(list((tmp_path / "here").iterdir())) == 200


@pytest.mark.slow
def test_a_folder_comes_once(command, tmp_path):
    """A prefix of a bucket: each object is sent once, whoever asks."""
    with FakeGCS() as gcs:
        for number in range(20):
            gcs.put("bucket", f"data/{number}.csv", b"7,0,0")
        gcs.fail("download", "stall", at=1, seconds=1.5)
        env = {"STORAGE_EMULATOR_HOST": gcs.endpoint}
        words = ("gs://bucket/data/", "--to", tmp_path / "here", "--json")
        _ended_well([command(*words, **env) for _ in range(WORKERS)])
        assert {one.name for one in gcs.seen if one.on == "download"} == {f"data/{number}.csv" for number in range(20)}
    assert len(list((tmp_path / "here").iterdir())) == 20
