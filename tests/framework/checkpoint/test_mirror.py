"""Claims about the mirror: what is saved reaches the storage, survives the machine, and disturbs nobody."""

from __future__ import annotations

import logging
import shutil
import threading
import time

import numpy as np
import pytest

from colabkit.checkpoint import open_run
from colabkit.checkpoint.format import file, naming
from colabkit.checkpoint.mirror import remote_copies, remote_store, schedule
from colabkit.checkpoint.mirror import replicator as mirror
from colabkit.checkpoint.run_lock import LOCKS
from colabkit.errors import AddressError, CheckpointError, NewerFormatError, StorageError, UnreachableError
from colabkit.storage import open_storage
from colabkit.testing.faulty_storage import FaultyStorage


def until(condition, seconds=20.0):
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def state(step, size=1000):
    """Make a state that tells its step."""
    return {"x": np.full(size, step, np.float64)}


def steps(storage):
    """List the steps that the storage has."""
    return [name.step for name, _ in remote_store.listed(storage)]


@pytest.fixture
def storage():
    """Give a storage whose faults can be switched."""
    return FaultyStorage()


@pytest.fixture
def run(tmp_path, storage):
    """Give a mirrored run; closed at the end, so that its lock and its threads go."""
    opened = open_run(tmp_path / "run", mirror=storage)
    yield opened
    storage.offline, storage.fail, storage.delay = False, 0, 0.0
    storage.hold.set()
    storage.arrive()
    opened.close()


def new_machine(folder):
    """Lose the working folder, as a fresh machine has none."""
    LOCKS.pop(folder, None)
    shutil.rmtree(folder)


def save(run, *at):
    """Save states and wait until each is everywhere."""
    for step in at:
        run.save(state(step), step=step)
        run.flush(timeout=30)


def test_a_fresh_machine_goes_on_from_the_mirror(tmp_path, run, storage):
    """With an empty working folder the same address restores the newest state, byte for byte, and keeps it here."""
    save(run, 1, 2)
    before = run.checkpoints()[0].path.read_bytes()
    run.close()
    new_machine(run.dir)
    again = open_run(tmp_path / "run", mirror=storage)
    found = again.restore()
    assert found.step == 2
    assert found.state["x"].tolist() == state(2)["x"].tolist()
    assert again.checkpoints()[0].path.read_bytes() == before
    assert again.status().mirrored_step == 2


def test_status_tells_local_mirrored_and_confirmed_apart(run, storage):
    """A copy that has not arrived is mirrored, not confirmed; when it arrives it is."""
    storage.arrives = "no"
    run.save(state(5), step=5)
    until(lambda: run.status().mirrored_step == 5)
    status = run.status()
    assert (status.saved_step, status.confirmed_step, status.error) == (5, None, None)
    assert status.pending == "step 5 (copied, not seen to have arrived)"
    storage.arrive()
    run.flush(timeout=30)
    assert run.status().confirmed_step == 5
    assert run.status().pending == ""


def test_a_storage_that_cannot_tell_is_never_called_confirmed(run, storage):
    """Where the storage cannot tell, the run goes on, `confirmed_step` stays None, and nothing is deleted there."""
    storage.arrives = "cannot tell"
    save(run, *range(1, 8))
    assert run.status().mirrored_step == 7
    assert run.status().confirmed_step is None
    assert steps(storage) == [7, 6, 5, 4, 3, 2, 1]


def test_copies_nobody_can_confirm_are_pruned_late(run, storage, monkeypatch):
    """Where the storage cannot tell, old copies go once newer ones have had time to arrive, so that it never fills."""
    storage.arrives = "cannot tell"
    save(run, 1, 2, 3, 4)
    assert steps(storage) == [4, 3, 2, 1]
    monkeypatch.setattr(remote_copies, "_SETTLED", -1.0)
    save(run, 5)
    assert steps(storage) == [5, 4, 3]
    storage.arrives = "no"
    run.save(state(6), step=6)
    until(lambda: run.status().mirrored_step == 6)
    assert steps(storage) == [6, 5, 4, 3]


def test_only_the_newest_confirmed_stay(run, storage):
    """After many saves the storage holds `keep` checkpoints, the newest."""
    save(run, *range(1, 8))
    assert steps(storage) == [7, 6, 5]


def test_nothing_is_pruned_before_newer_ones_have_arrived(run, storage, monkeypatch):
    """While new copies are on their way, as many old ones stay as were confirmed; a lost machine finds them."""
    save(run, 1, 2, 3)
    storage.arrives = "no"
    monkeypatch.setattr(schedule, "ARRIVAL_TIMEOUT", 0.0)
    for step in (4, 5, 6, 7):
        run.save(state(step), step=step)
        until(lambda step=step: run.status().mirrored_step == step)
    assert {1, 2, 3} <= set(steps(storage))
    storage.lose_machine()
    assert steps(storage) == [3, 2, 1]


def test_one_travels_at_a_time(run, storage):
    """While a copy has not arrived the next waits: a slow line carries the newest, not a queue of old ones."""
    storage.arrives = "no"
    run.save(state(1), step=1)
    until(lambda: run.status().mirrored_step == 1)
    for step in (2, 3, 4):
        run.save(state(step), step=step)
        run.written()
    assert steps(storage) == [1]
    storage.arrives = "yes"
    storage.arrive()
    run.flush(timeout=30)
    assert steps(storage) == [4, 1]


def test_stale_ones_are_skipped(run, storage):
    """What is saved while an upload is under way is carried newest first, and the ones in between never."""
    run.begin_writing()
    storage.hold.clear()
    storage.started.clear()
    run.save(state(1), step=1)
    run.written()
    until(storage.started.is_set)
    for step in (2, 3, 4):
        run.save(state(step), step=step)
        run.written()
    storage.hold.set()
    run.flush(timeout=30)
    assert steps(storage) == [4, 1]


def test_a_failed_copy_is_told_once_and_made_up_for(run, storage, caplog):
    """An error of the storage reaches no save, is in `status`, is said once, and the state arrives later."""
    run.begin_writing()
    storage.fail = 2
    with caplog.at_level(logging.INFO, "colabkit"):
        run.save(state(1), step=1)
        until(lambda: run.status().error is not None)
        assert "Input/output error" in run.status().error
        until(lambda: run.status().confirmed_step == 1)
    assert run.status().error is None
    assert [record.message for record in caplog.records if "not copied" in record.message] != []
    assert caplog.text.count("not copied") == 1
    assert "answers again" in caplog.text


def test_a_storage_that_vanishes_is_caught_up(run, storage):
    """While the storage is gone training saves on; when it is back the newest state is carried."""
    save(run, 1)
    storage.offline = True
    for step in (2, 3):
        run.save(state(step), step=step)
        run.written()
    until(lambda: run.status().error is not None)
    with pytest.raises(UnreachableError):
        run.flush(timeout=30)
    status = run.status()
    assert (status.saved_step, status.mirrored_step) == (3, 1)
    assert status.pending.startswith("step 3 (")
    storage.offline = False
    run.flush(timeout=30)
    assert run.status().confirmed_step == 3


def test_a_later_process_catches_up(tmp_path, storage, caplog, monkeypatch):
    """What could not be carried is named when the run closes, and carried when it is opened again."""
    monkeypatch.setattr(mirror, "AT_EXIT", 0.5)
    run = open_run(tmp_path / "run", mirror=storage)
    run.begin_writing()
    storage.offline = True
    run.save(state(9), step=9)
    with caplog.at_level(logging.WARNING, "colabkit"):
        run.close()
    assert "not in faulty:: step 9" in caplog.text
    storage.offline = False
    again = open_run(tmp_path / "run", mirror=storage)
    again.flush(timeout=30)
    assert steps(storage) == [9]
    again.close()


def test_an_answer_that_fails_is_asked_for_again(tmp_path, run, storage, monkeypatch):
    """On a fresh machine one error of a mount or a line does not end the program before it has begun."""
    save(run, 1)
    run.close()
    new_machine(run.dir)
    again = open_run(tmp_path / "run", mirror=storage)
    listing, errors = storage.list, [UnreachableError("EIO"), UnreachableError("EIO")]

    def failing(prefix=""):
        if errors:
            raise errors.pop()
        return listing(prefix)

    monkeypatch.setattr(storage, "list", failing)
    assert again.restore().step == 1


def test_no_answer_is_not_an_empty_run(tmp_path, run, storage, monkeypatch):
    """On a fresh machine a storage that does not answer is an error, not a new beginning."""
    monkeypatch.setattr(remote_store, "TRIES", 1)
    save(run, 1)
    run.close()
    new_machine(run.dir)
    again = open_run(tmp_path / "run", mirror=storage)
    storage.offline = True
    with pytest.raises(UnreachableError):
        again.restore()


def test_without_an_answer_the_local_state_is_used_and_said(run, storage, caplog):
    """With a state here and no answer from the mirror, training goes on from here, with a warning."""
    save(run, 1)
    storage.offline = True
    with caplog.at_level(logging.WARNING, "colabkit"):
        assert run.restore().step == 1
    assert "only this machine" in caplog.text


def test_a_second_fit_keeps_the_lock_of_the_first(run, storage, monkeypatch):
    """Begun while copies of the first are on their way, it stays the one writer when they arrive."""
    monkeypatch.setattr(mirror, "_IDLE", 0.0)
    storage.arrives = "no"
    run.save(state(1), step=1)
    run.end_writing()
    run.begin_writing()
    until(lambda: run.status().mirrored_step == 1)
    storage.arrive()
    until(lambda: run._mirror._thread is None)  # it has done all that it had to do
    assert run.status().confirmed_step == 1
    assert (run._lock.held, run._mirror.lease.held) == (True, True)


def test_a_second_fit_waits_for_the_lock_that_is_given_back(run, monkeypatch):
    """Begun while the first gives the lock back, it takes it again, and does not train without."""
    monkeypatch.setattr(mirror, "_IDLE", 0.0)
    begun, go, release = threading.Event(), threading.Event(), run._mirror.lease.release

    def slow():
        begun.set()
        go.wait()
        release()

    run.begin_writing()
    with monkeypatch.context() as patch:
        patch.setattr(run._mirror.lease, "release", slow)
        run.end_writing()
        assert begun.wait(20)
        threading.Timer(0.2, go.set).start()
        run.begin_writing()
        assert go.is_set()
    until(lambda: run._mirror._thread is None)
    assert (run._lock.held, run._mirror.lease.held) == (True, True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[: len(whole) // 2] + b"\1" + whole[len(whole) // 2 + 1 :],
        lambda _: b"",
        lambda _: b"<html>quota exceeded</html>",
        lambda whole: whole[:8] + b"\xff" * 8 + whole[16:],
    ],
    ids=["cut", "flipped", "empty", "foreign", "header"],
)
def test_a_damaged_copy_is_passed_over_by_name(tmp_path, run, storage, caplog, damage):
    """On a fresh machine a damaged newest copy is passed over, aloud, and the one before is restored."""
    save(run, 1, 2)
    run.close()
    name = f"checkpoints/{remote_store.listed(storage)[0][0]}"
    storage.damage(name, damage(storage.read(name)))
    new_machine(run.dir)
    with caplog.at_level(logging.WARNING, "colabkit"):
        assert open_run(tmp_path / "run", mirror=storage).restore().step == 1
    assert f"{name.removeprefix('checkpoints/')} in faulty:" in caplog.text


def test_swapped_copies_are_passed_over(tmp_path, run, storage):
    """A whole file under the name of another state is not believed: its name promises other content."""
    save(run, 1, 2, 3)
    run.close()
    names = [f"checkpoints/{name}" for name, _ in remote_store.listed(storage)]
    third, second = storage.read(names[0]), storage.read(names[1])
    storage.damage(names[0], second)
    storage.damage(names[1], third)
    new_machine(run.dir)
    assert open_run(tmp_path / "run", mirror=storage).restore().step == 1


def test_a_damaged_local_file_is_replaced_by_its_copy(run, storage):
    """With the newest file here damaged, its copy in the mirror is restored: no step is lost."""
    save(run, 1, 2)
    newest = run.checkpoints()[0].path
    newest.write_bytes(newest.read_bytes()[:-5])
    assert run.restore().step == 2
    assert file.verify(newest)["step"] == 2


def damage_before_it_is_carried(run, storage, step=1):
    """Save a step while the storage does not answer, and damage it; then the storage answers."""
    run.begin_writing()
    storage.offline = True
    run.save(state(step), step=step)
    run.written()
    path = run.checkpoints()[0].path
    path.write_bytes(path.read_bytes()[:-5])
    storage.offline = False


def test_a_run_that_goes_back_behind_a_damaged_file_carries_what_comes(tmp_path, run, storage):
    """The newest file here is damaged and was not carried: the next process goes back, and nothing of it is missed."""
    save(run, 1)
    damage_before_it_is_carried(run, storage, step=9)
    LOCKS.pop(run.dir).release()
    again = open_run(run.dir, mirror=storage)
    assert again.restore().step == 1
    again.save(state(2), step=2)
    again.flush(timeout=30)
    assert steps(storage) == [2, 1]
    again.close()


def test_a_damaged_local_file_never_travels(tmp_path, run, storage):
    """A checkpoint that is damaged before it is carried is told and left here."""
    damage_before_it_is_carried(run, storage)
    with pytest.raises(CheckpointError, match="step 1 cannot be copied"):
        run.flush(timeout=30)
    assert steps(storage) == []


def test_a_state_left_behind_is_told_until_a_later_one_is_there(run, storage):
    """Other work of the mirror that succeeds meanwhile does not make it forgotten."""
    damage_before_it_is_carried(run, storage)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="step 1 cannot be copied"):
            run.flush(timeout=30)
        (run.dir / "notes.txt").write_text("carried by itself")
        run._mirror.jobs.upload_artifacts()
        run._mirror._succeed()
    run.save(state(2), step=2)
    run.flush(timeout=30)
    assert steps(storage) == [2]


def test_a_newer_colabkit_is_not_passed_over(tmp_path, run, storage, monkeypatch):
    """A copy that a newer colabkit wrote is refused, not fallen behind."""
    save(run, 1)
    with monkeypatch.context() as patch:
        patch.setattr(file, "FORMAT", file.FORMAT + 1)
        path = naming.publish(tmp_path, {}, {"kind": "state"}, step=2)
    storage.put(f"checkpoints/{path.name}", path)
    with pytest.raises(NewerFormatError):
        run.restore()


def test_other_files_of_the_run_travel_too(tmp_path, run, storage):
    """Plots and models in the run's folder are in the mirror after a flush, and on a fresh machine."""
    (run.dir / "plots").mkdir()
    (run.dir / "plots" / "loss.png").write_bytes(b"png")
    (run.dir / "model.keras").write_bytes(b"model")
    (run.dir / ".hidden").write_bytes(b"mine")
    save(run, 1)
    (run.dir / "model.keras").write_bytes(b"better model")
    run.flush(timeout=30)
    assert storage.read("model.keras") == b"better model"
    sent = [name for name, _ in storage.puts]
    assert sent.count("plots/loss.png") == 1
    assert not any("hidden" in name or name == "lock" for name in sent)
    run.close()
    new_machine(run.dir)
    again = open_run(tmp_path / "run", mirror=storage)
    assert (again.dir / "plots" / "loss.png").read_bytes() == b"png"
    assert (again.dir / "model.keras").read_bytes() == b"better model"


def test_files_of_others_are_not_brought(tmp_path, storage):
    """Where no run lives in a storage, its objects are not ours and stay there."""
    storage.put("thesis.pdf", b"pdf")
    run = open_run(tmp_path / "run", mirror=storage)
    assert [path.name for path in run.dir.iterdir() if not path.name.startswith(".")] == ["checkpoints"]


def test_flush_ends_at_its_timeout(run, storage):
    """A flush that cannot be done in its time says what is missing, and the copy goes on."""
    run.begin_writing()
    storage.hold.clear()
    run.save(state(1), step=1)
    with pytest.raises(CheckpointError, match=r"after 0\.\d+ s: step 1"):
        run.flush(timeout=0.3)
    storage.hold.set()
    run.flush(timeout=30)
    assert run.status().confirmed_step == 1


def test_the_end_of_the_program_carries_what_waits(tmp_path, python):
    """A script that saves and ends without a flush leaves its state, and its other files, in the mirror."""
    script = (
        "import sys; from colabkit import open_run\n"
        "run = open_run(sys.argv[1], mirror=sys.argv[2])\n"
        "run.save({'a': 1}, step=3)\n"
        "(run.dir / 'note.txt').write_text('x')\n"
    )
    code, _, err = python(script, tmp_path / "run", tmp_path / "copies")
    assert code == 0, err
    storage = open_storage(tmp_path / "copies")
    assert [stored.name.partition("-")[0] for stored in storage.list()] == ["checkpoints/step", "note.txt"]


def test_a_copied_mirror_opens_as_a_run(tmp_path):
    """A mirror that was copied to a folder by hand opens there as a run of its own."""
    with open_run(tmp_path / "run", mirror=tmp_path / "copies") as run:
        save(run, 1, 2)
    shutil.copytree(tmp_path / "copies", tmp_path / "by-hand")
    assert open_run(tmp_path / "by-hand").restore().step == 2


def test_a_mirror_of_a_mirror_is_refused(tmp_path):
    """An address that is a storage already takes no `mirror=`."""
    with pytest.raises(AddressError):
        open_run("memory:x/digits", mirror=tmp_path)


def test_a_full_mirror_keeps_what_it_has(tmp_path, mounted):
    """A storage without room: training goes on, status tells, the copy that is there stays, and room heals it."""
    folder = mounted("size=300k")
    run = open_run(tmp_path / "run", mirror=folder / "copies")
    save(run, 1)
    (folder / "ballast").write_bytes(bytes(200_000))
    run.save(state(2, 20_000), step=2)
    with pytest.raises(StorageError, match="no room left"):
        run.flush(timeout=30)
    assert "no room left" in run.status().error
    storage = open_storage(folder / "copies")
    assert steps(storage) == [1]
    (folder / "ballast").unlink()
    run.flush(timeout=30)
    assert steps(storage) == [2, 1]
    run.close()


def test_a_folder_that_was_deleted_ends_no_program_in_an_error(tmp_path, storage, run, caplog):
    """A run that waits for a copy to arrive, and whose folder somebody has deleted, closes with a word."""
    storage.arrives = "no"
    run.save(state(1), step=1)
    until(lambda: run.status().mirrored_step == 1)
    there = open_run(tmp_path / "there", mirror=storage)
    assert there.restore().step == 1
    shutil.rmtree(tmp_path / "there")
    there.close()  # as at the end of the program
    assert "there: nothing more is copied from here" in caplog.text
    storage.arrive()
