"""Killed, stopped or doubled processes: the next run goes on, and a wrong file never appears."""

import json
import os
import signal

import pytest

from colabkit.testing.http import Fault
from colabkit.transfer import fetch
from tests.service.transfer.sidecar import claimed
from tests.support.waiting import wait_until

MIB = 1 << 20
SIZE = 24 * MIB


def kill_midway(server, command, tmp_path, how=signal.SIGKILL, after=9 * MIB):
    """Start a fetch and end it when the sidecar claims that many bytes; return those bytes.

    The end of the file does not come before that, however long the disk lets the sidecar wait.
    """
    resource, stall = server.resources["a.bin"], Fault(kind="stall", at=SIZE - 1000, seconds=60, times=99)
    resource.faults.append(stall)
    process = command(server.url("a.bin"), "--to", tmp_path / "a.bin")
    sidecar = tmp_path / ".a.bin.part-fetch.json"
    wait_until(lambda: claimed(sidecar) >= after)
    process.send_signal(how)
    _, errors = process.communicate(timeout=20)
    resource.faults.remove(stall)
    stall.seconds = 0
    return claimed(sidecar), process.returncode, errors


def test_a_killed_fetch_goes_on_and_hardly_anything_is_sent_twice(server, blob, tmp_path, command):
    """SIGKILL at 9 MiB, run again: the right file, and what was sent in all is at most 1.1 times the file."""
    data = blob(SIZE)
    server.put("a.bin", data, rate=MIB)
    kept, code, _ = kill_midway(server, command, tmp_path)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "a.bin").exists()
    wait_until(lambda: server.resources["a.bin"].serving == 0)
    server.resources["a.bin"].rate = 0
    before = server.sent
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert server.sent - before == SIZE - kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin"]


def test_a_remote_file_that_was_replaced_after_the_kill_is_fetched_anew(server, blob, tmp_path, command):
    """SIGKILL, the owner replaces the file, run again: the new version, no splice of both."""
    new = blob(SIZE, 2)
    resource = server.put("a.bin", blob(SIZE, 1), rate=MIB)
    kill_midway(server, command, tmp_path)
    resource.replace(new)
    resource.rate = 0
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == new


def test_a_replaced_file_is_noticed_even_where_if_range_is_ignored(server, blob, tmp_path, command):
    """A server that answers 206 whatever If-Range says is caught by the tag of its answer."""
    new = blob(SIZE, 2)
    resource = server.put("a.bin", blob(SIZE, 1), rate=MIB)
    kill_midway(server, command, tmp_path)
    resource.replace(new)
    resource.rate, resource.obey_if_range = 0, False
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == new


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(kind="whole", times=999)],
        [Fault(kind="status", status=503, body=b"<html>busy</html>")],
        [Fault(kind="page", body=b"<!doctype html><title>Sign in</title>")],
    ],
    ids=["range-ignored", "503", "page"],
)
def test_a_resume_that_meets_a_fault_ends_with_the_right_file(server, blob, tmp_path, command, faults):
    """What comes instead of the rest is never appended: the file is right, or it is an error and a later run is."""
    from colabkit.errors import WebPageError

    data = blob(SIZE)
    resource = server.put("a.bin", data, rate=MIB)
    kill_midway(server, command, tmp_path)
    resource.rate, resource.faults = 0, faults
    try:
        path = fetch(server.url("a.bin"), tmp_path / "a.bin")
    except WebPageError:
        assert not (tmp_path / "a.bin").exists()
        path = fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert path.read_bytes() == data


def test_ctrl_c_leaves_a_part_and_says_so(server, blob, tmp_path, command):
    """SIGINT ends soon with 130 and how much is kept; no file of the final name appears."""
    data = blob(SIZE)
    resource = server.put("a.bin", data, rate=MIB)
    kept, code, errors = kill_midway(server, command, tmp_path, how=signal.SIGINT)
    assert code == 130
    assert "of 25.2 MB are kept; run it again to resume" in errors
    assert not (tmp_path / "a.bin").exists()
    wait_until(lambda: resource.serving == 0)
    resource.rate = 0
    before = server.sent
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert server.sent - before <= SIZE - kept


def test_two_processes_on_one_destination_fetch_it_once(server, blob, tmp_path, command):
    """The second waits for the first and takes its file; the bytes travel once."""
    data = blob(SIZE)
    server.put("a.bin", data, rate=2 * MIB)
    both = [command(server.url("a.bin"), "--to", tmp_path / "a.bin", "--json") for _ in range(2)]
    outs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(json.loads(out)["from_cache"] for out in outs) == [False, True]
    assert (tmp_path / "a.bin").read_bytes() == data
    assert server.sent <= 1.01 * SIZE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin"]


def test_two_sources_never_share_a_part(server, blob, tmp_path, command):
    """A part that another address left under the same name is not continued with this one."""
    data = blob(SIZE, 2)
    server.put("a.bin", blob(SIZE, 1), rate=MIB)
    server.put("other.bin", data)
    kill_midway(server, command, tmp_path)
    assert fetch(server.url("other.bin"), tmp_path / "a.bin").read_bytes() == data


def test_after_a_crash_of_the_machine_only_flushed_bytes_are_believed(server, blob, tmp_path, command):
    """What a kill left may be gone after a power cut: under another boot only what was flushed counts."""
    data = blob(SIZE)
    resource = server.put("a.bin", data, rate=MIB)
    kill_midway(server, command, tmp_path)
    sidecar = tmp_path / ".a.bin.part-fetch.json"
    claims = json.loads(sidecar.read_bytes())
    flushed = sum(stop - start for start, stop in claims["synced"])
    sidecar.write_text(json.dumps({**claims, "boot": "another"}))
    with (tmp_path / ".a.bin.part-fetch").open("r+b") as part:
        for start, stop in claims["written"]:
            if [start, stop] not in claims["synced"] and not any(a < stop and start < b for a, b in claims["synced"]):
                part.seek(start)
                part.write(bytes(stop - start))
    wait_until(lambda: resource.serving == 0)
    resource.rate = 0
    before = server.sent
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
    assert server.sent - before == SIZE - flushed


def test_a_damaged_sidecar_means_the_beginning(server, blob, tmp_path, command):
    """A sidecar that claims more than is there, or is garbage, is not believed."""
    data = blob(SIZE)
    resource = server.put("a.bin", data, rate=MIB)
    kill_midway(server, command, tmp_path)
    sidecar = tmp_path / ".a.bin.part-fetch.json"
    sidecar.write_text(sidecar.read_text().replace('"size": 25165824', '"size": 25165825'))
    resource.rate = 0
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data


def test_a_link_at_the_name_of_the_part_is_not_followed(server, blob, tmp_path):
    """A link that somebody put at the temporary name cannot make us write elsewhere."""
    from colabkit.errors import StorageError

    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".a.bin.part-fetch").symlink_to(victim)
    server.put("a.bin", blob(MIB))
    with pytest.raises(StorageError):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert victim.read_bytes() == b"precious"


def test_the_file_has_the_mode_that_the_umask_gives(server, tmp_path):
    """A fetched file is readable for whom the user's umask allows, like any other."""
    server.put("a.bin", b"data")
    mask = os.umask(0o027)
    try:
        path = fetch(server.url("a.bin"), tmp_path / "a.bin")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_told_and_the_part_goes_on_later(server, blob, tmp_path, command):
    """ENOSPC on the way is a DiskFullError (exit 12), whatever the check before had seen."""
    import resource as limits

    from colabkit.errors import StorageError

    data = blob(SIZE)
    server.put("a.bin", data)
    old = limits.getrlimit(limits.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits.setrlimit(limits.RLIMIT_FSIZE, (10 * MIB, old[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write|no room"):
            fetch(server.url("a.bin"), tmp_path / "a.bin")
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(server.url("a.bin"), tmp_path / "a.bin").read_bytes() == data
