"""Claims about the lock in the storage: a live writer is never replaced, a dead one always, whatever clocks say."""

from __future__ import annotations

import dataclasses
import json
import threading
import time

import pytest

from colabkit.checkpoint import open_run
from colabkit.checkpoint.mirror import lease
from colabkit.checkpoint.mirror.lease import Lease
from colabkit.errors import RunBusyError
from colabkit.storage import open_storage
from colabkit.testing.faulty_storage import FaultyStorage
from tests.support.waiting import wait_until

BEAT = 0.05  # seconds; silence then lasts 0.3 s


def make_lease(storage, session, **options):
    """Make a lease with a short heartbeat."""
    return Lease(storage, run="digits", session=session, beat=BEAT, **options)


@pytest.fixture
def storage():
    """Give an empty storage."""
    return FaultyStorage()


def until_a_beat_of(holder):
    """Give a rival's way to sleep: until the holder has given another sign of life, however busy the machine is."""

    def sleep(_):
        beats = holder._beats
        wait_until(lambda: holder._beats > beats)

    return sleep


def silence(held):
    """Let the holder die: its heart stops, its lock stays."""
    held._stop.set()


def test_a_live_writer_is_never_replaced(storage):
    """While the holder beats, another session is refused, and told who it is."""
    holder = make_lease(storage, "a")
    holder.acquire()
    for _ in range(3):
        with pytest.raises(RunBusyError, match="digits is being written by process"):
            make_lease(storage, "b", sleep=until_a_beat_of(holder)).acquire()
    holder.check()
    holder.release()


def test_a_lock_that_is_given_back_meanwhile_is_taken(storage, monkeypatch):
    """A cell that is run again opens the run while the one before gives it back: nobody else writes."""
    before = make_lease(storage, "a")
    before.acquire()
    put = storage.put

    def given_back_first(*args, **options):
        monkeypatch.setattr(storage, "put", put)
        before.release()
        return put(*args, **options)

    monkeypatch.setattr(storage, "put", given_back_first)
    again = make_lease(storage, "a")
    again.acquire()
    assert again.held
    assert json.loads(storage.read("lock.json"))["session"] == "a"
    again.release()


def test_a_dead_writer_is_replaced_after_its_silence(storage):
    """A lock that has not changed for the stated time is taken over, not before."""
    dead = make_lease(storage, "a")
    dead.acquire()
    silence(dead)
    began = time.monotonic()
    heir = make_lease(storage, "b")
    heir.acquire()
    assert time.monotonic() - began >= lease.SILENT * BEAT / lease.BEAT
    assert json.loads(storage.read("lock.json"))["session"] == "b"
    heir.release()


def test_a_new_version_of_the_same_words_is_no_sign_of_life(storage, monkeypatch):
    """A mount may give another version to a file that nobody has touched; a dead writer is replaced all the same."""
    dead = make_lease(storage, "a")
    dead.acquire()
    silence(dead)
    entry, seen = storage.entry, []

    def first_of_another_version(name):
        seen.append(name)
        return dataclasses.replace(entry(name), version="renumbered") if len(seen) == 1 else entry(name)

    monkeypatch.setattr(storage, "entry", first_of_another_version)
    heir = make_lease(storage, "b")
    heir.acquire()
    assert json.loads(storage.read("lock.json"))["session"] == "b"
    heir.release()


def test_who_was_replaced_writes_no_more(storage):
    """A holder that was silent too long and comes back finds out before its next write."""
    slept = make_lease(storage, "a")
    slept.acquire()
    silence(slept)
    heir = make_lease(storage, "b")
    heir.acquire()
    slept._last_heartbeat -= 60
    with pytest.raises(RunBusyError):
        slept.check()
    assert not slept.held
    slept.release()
    assert json.loads(storage.read("lock.json"))["session"] == "b"
    heir.release()


def test_a_released_lock_is_free_at_once(storage):
    """Who ends properly keeps nobody waiting."""
    first = make_lease(storage, "a")
    first.acquire()
    first.release()
    assert storage.entry("lock.json") is None
    second = make_lease(storage, "b", sleep=lambda _: pytest.fail("waited"))
    second.acquire()
    second.release()


def test_the_same_folder_takes_its_own_lock_back(storage):
    """After kill -9 the next process in the same working folder waits for nobody: the dead one was its own."""
    dead = make_lease(storage, "a")
    dead.acquire()
    silence(dead)
    again = make_lease(storage, "a", sleep=lambda _: pytest.fail("waited"))
    again.acquire()
    again.release()


def test_the_last_beat_of_a_killed_process_arrives_late(storage, monkeypatch):
    """A sign of life that was under way at the kill, and arrives after the next process has looked, is its own too."""
    dead = make_lease(storage, "a")
    dead.acquire()
    silence(dead)
    read, last = storage.read, {**json.loads(storage.read("lock.json")), "pid": 1, "beats": 7}

    def read_before_it_arrives(name, **options):
        content = read(name, **options)
        monkeypatch.undo()
        storage.put(name, json.dumps(last).encode())
        return content

    monkeypatch.setattr(storage, "read", read_before_it_arrives)
    again = make_lease(storage, "a", sleep=lambda _: pytest.fail("waited"))
    again.acquire()
    assert again.held
    again.check()
    again.release()
    assert storage.entry("lock.json") is None


def test_a_later_process_of_the_folder_has_the_lock_for_good(storage):
    """A holder whose folder has been taken by another process finds out; it does not take the lock back."""
    slept = make_lease(storage, "a")
    slept.acquire()
    silence(slept)
    storage.put("lock.json", json.dumps({**json.loads(storage.read("lock.json")), "pid": 1}).encode())
    slept._last_heartbeat -= 60
    with pytest.raises(RunBusyError):
        slept.check()
    assert not slept.held


@pytest.mark.parametrize("shift", [-1e9, 1e9])
def test_clocks_that_are_wrong_do_no_harm(storage, monkeypatch, shift):
    """With a wall clock years off, back or ahead, a live holder stays and a dead one is replaced."""
    holder = make_lease(storage, "a")
    holder.acquire()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    with pytest.raises(RunBusyError):
        make_lease(storage, "b", sleep=until_a_beat_of(holder)).acquire()
    silence(holder)
    heir = make_lease(storage, "b")
    heir.acquire()
    heir.release()


def test_of_many_only_one_writes(storage):
    """Of eight sessions that find a dead lock at once, one takes it over."""
    dead = make_lease(storage, "dead")
    dead.acquire()
    silence(dead)
    rivals = [make_lease(storage, f"s{number}") for number in range(8)]
    refused = []

    def try_it(rival):
        try:
            rival.acquire()
        except RunBusyError:
            refused.append(rival)

    threads = [threading.Thread(target=try_it, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert [rival.held for rival in rivals].count(True) == 1
    for rival in rivals:
        rival.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"silent_after": "x"}', b'{"silent_after": -5}'])
def test_a_damaged_lock_is_outlived(storage, content):
    """A lock that cannot be read counts as a stranger's: it is waited for, then replaced."""
    storage.put("lock.json", content)
    heir = make_lease(storage, "b")
    heir.acquire()
    assert heir.held
    heir.release()


def test_a_lost_answer_is_not_a_rival(storage):
    """When our own beat arrived but its answer did not, we go on."""
    holder = make_lease(storage, "a")
    holder.acquire()
    with holder._guard:
        storage.put("lock.json", storage.read("lock.json"))  # the same beat, as a version we do not know
        holder._last_heartbeat -= 60
    holder.check()
    assert holder.held
    holder.release()


def test_an_outage_is_outlived(storage):
    """A storage that is gone for a while costs no lock, if nobody took it meanwhile."""
    holder = make_lease(storage, "a")
    holder.acquire()
    storage.offline = True
    time.sleep(3 * BEAT)
    storage.offline = False
    holder._last_heartbeat -= 60
    holder.check()
    holder.release()


def test_two_machines_and_one_mirror(tmp_path, start):
    """A second folder, as on another host, is refused while the first process lives, and goes on after kill -9."""
    script = (
        "import sys; from colabkit import open_run\n"
        "run = open_run(sys.argv[1], mirror=sys.argv[2])\n"
        "run._mirror.lease._heartbeat_every, run._mirror.lease._ttl = 0.1, 1.0\n"
        "run.save({'by': 'first'}, step=1); run.flush(); print('held', flush=True)\n"
        "__import__('signal').pause()\n"
    )
    first = start(script, tmp_path / "one", tmp_path / "copies")
    assert first.stdout.readline() == "held\n"
    second = open_run(tmp_path / "two", mirror=tmp_path / "copies")
    second._mirror.lease._heartbeat_every, second._mirror.lease._ttl = 0.1, 1.0
    with pytest.raises(RunBusyError, match=rf"process {first.pid} "):
        second.save({"by": "second"}, step=2)
    first.kill()
    first.wait()
    assert second.restore().state == {"by": "first"}
    second.save({"by": "second"}, step=2)
    second.close()
    assert {stored.name[12:26] for stored in open_storage(tmp_path / "copies").list("checkpoints/")} == {
        "step-000000001",
        "step-000000002",
    }
