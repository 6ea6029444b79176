"""Claims about a run and its folder, with real second processes, full disks and read-only places."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import struct
import time

import numpy as np
import pytest

from colabkit.checkpoint import open_run
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.format import naming
from colabkit.errors import (
    AddressError,
    CheckpointError,
    CorruptCheckpointError,
    DiskFullError,
    NotWritableError,
    RunBusyError,
    RunMismatchError,
    UnsupportedError,
)

HOLDER = """
import sys
from colabkit import open_run
run = open_run(sys.argv[1])
run.save({"by": "holder"}, step=1)
run.flush()
print("holding", flush=True)
__import__("signal").pause()
"""
SAVER = """
import sys, numpy as np
from colabkit import open_run
run = open_run(sys.argv[1], keep=2)
saved = run.restore()
step = saved.step if saved else 0
assert saved is None or (saved.state["x"] == step).all()
print(step, flush=True)
while True:
    step += 1
    run.save({"x": np.full(50_000, step)}, step=step)
    run.flush()
    if len(sys.argv) > 2 and step == int(sys.argv[2]):
        break
"""


@pytest.mark.parametrize(
    "form",
    ["%Y%m%d-%H%M%S", "%Y-%m-%dT%H:%M:%S.123456", "run_%y%m%d_%H%M", "%b%d_%H-%M-%S_host", "%d.%m.%Y %H:%M", "%s"],
)
def test_a_name_with_the_time_in_it_is_told(tmp_path, caplog, form):
    """Each process would open a run of its own, as of TensorBoard's logs; told of a new one, and of no other name."""
    name = time.strftime(form)
    open_run(tmp_path / name).close()
    assert f"{name} has the time in its name" in caplog.text
    caplog.clear()
    for other in (name, "digits", "2025-12-01", "resnet50-224-1e-3", "run_250101_1200"):
        open_run(tmp_path / other).close()
    assert caplog.text == ""


def damage(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def saved(folder, *steps):
    """Make a run with these steps."""
    run = open_run(folder)
    for step in steps:
        run.save({"step": step}, step=step)
        run.flush()
    run.close()
    return run


def test_a_state_outlives_its_run_object(tmp_path):
    """What was saved is restored by a later run in the same folder; a new run has nothing."""
    with open_run(tmp_path / "run") as run:
        assert run.restore() is None
        assert run.status().saved_step is None
        run.save({"weights": np.arange(3)}, step=7)
    found = open_run(tmp_path / "run").restore()
    assert found.step == 7
    assert found.state["weights"].tolist() == [0, 1, 2]


def test_the_end_of_the_program_writes_what_waits(tmp_path, python):
    """A script that saves and ends without a flush loses nothing."""
    script = 'import sys; from colabkit import open_run; open_run(sys.argv[1]).save({"a": 1}, step=3)'
    assert python(script, tmp_path / "run")[0] == 0
    assert open_run(tmp_path / "run").restore().step == 3


def test_a_damaged_newest_falls_back_and_says_so(tmp_path, caplog):
    """The one before is restored; the message names the file, and how far back it goes."""
    run = saved(tmp_path / "run", 1, 2)
    broken = run.checkpoints()[0].path
    damage(broken)
    with caplog.at_level(logging.WARNING, "colabkit"):
        assert open_run(tmp_path / "run").restore().step == 1
    assert broken.name in caplog.text
    assert "going back to step 1" in caplog.text
    assert broken.exists()


def test_all_damaged_is_an_error_not_a_new_beginning(tmp_path):
    """Where checkpoints are but none is whole, training does not silently begin anew."""
    run = saved(tmp_path / "run", 1, 2)
    for entry in run.checkpoints():
        damage(entry.path)
    with pytest.raises(CheckpointError, match="all 2 are damaged"):
        open_run(tmp_path / "run").restore()


def test_another_kind_of_state_is_refused(tmp_path):
    """`restore` does not hand out the state of a Keras model."""
    run = open_run(tmp_path / "run")
    naming.publish(run.dir / "checkpoints", {}, {"kind": "keras"}, step=1)
    with pytest.raises(RunMismatchError, match="another kind"):
        run.restore()


@pytest.mark.parametrize("meta", [{}, {"step": 1}, {"step": 1, "state": {"$tensor": "missing"}}])
def test_a_forged_state_is_corrupt(tmp_path, meta):
    """A file whose hash is right but whose content is no state of ours is called corrupt."""
    run = open_run(tmp_path / "run")
    naming.publish(run.dir / "checkpoints", {}, {"kind": "state", **meta}, step=1)
    with pytest.raises(CorruptCheckpointError):
        run.restore()


def test_the_file_says_what_it_holds(tmp_path):
    """Step, time and versions can be read from the header with nothing but JSON."""
    (entry,) = saved(tmp_path / "run", 5).checkpoints()
    content = entry.path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    meta = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["colabkit"])
    assert meta["format"] == container.FORMAT
    assert meta["step"] == 5
    assert {"python", "colabkit"} <= meta["versions"].keys()


def test_status_tells_where_it_stands(tmp_path):
    """Step, number of files and bytes are those on disk."""
    run = saved(tmp_path / "run", 1, 2, 3, 4)
    status = run.status()
    assert (status.saved_step, status.checkpoints, status.error) == (4, 3, None)
    assert status.bytes == sum(path.stat().st_size for path in (run.dir / "checkpoints").iterdir())


def test_a_second_process_is_refused_by_name_and_pid(tmp_path, start):
    """Two writers are one too many; after kill -9 of the first the lock is free and its state is there."""
    folder = tmp_path / "digits"
    holder = start(HOLDER, folder)
    assert holder.stdout.readline() == "holding\n"
    run = open_run(folder)
    with pytest.raises(RunBusyError, match=rf"digits is being written by process {holder.pid}\b"):
        run.save({"by": "second"}, step=2)
    assert run.restore().state == {"by": "holder"}
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    run.save({"by": "second"}, step=2)
    run.close()
    assert open_run(folder).restore().state == {"by": "second"}


def test_leftovers_go_with_the_first_save(tmp_path):
    """A half-written file of a killed process is ignored, and removed by the next writer."""
    run = saved(tmp_path / "run", 1)
    half = run.dir / "checkpoints" / ".checkpoint.part-half"
    half.write_bytes(b"half")
    again = open_run(tmp_path / "run")
    assert again.restore().step == 1
    again.save({}, step=2)
    again.close()
    assert not half.exists()


def test_kill_9_while_saving_always_leaves_a_state(tmp_path, start, python):
    """Killed again and again in the middle of writing, the run goes on from where it was, each time."""
    last = 0
    for _ in range(8):
        process = start(SAVER, tmp_path / "run")
        began = int(process.stdout.readline())
        assert began >= last
        while len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) < 2:
            assert process.poll() is None
        process.kill()
        process.wait()
        last = open_run(tmp_path / "run").restore().step
        assert last >= began
    code, out, err = python(SAVER, tmp_path / "run", last + 3)
    assert (code, out) == (0, f"{last}\n"), err
    left = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert len(left) == 2, left


@pytest.mark.parametrize("where", ["", "  ", "drive:runs/x", "ftp://host/x", "gs:", "drive:"])
def test_addresses_that_cannot_be_opened(where):
    """No address, no Drive and no such scheme are told at once."""
    with pytest.raises((AddressError, UnsupportedError)):
        open_run(where)


def test_one_copy_is_too_few(tmp_path):
    """`keep=1` is refused before anything is made."""
    with pytest.raises(AddressError, match="keep=1"):
        open_run(tmp_path / "run", keep=1)
    assert not (tmp_path / "run").exists()


def test_a_path_below_a_file_is_not_writable(tmp_path):
    """A file where a folder is needed is a typed error at open."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotWritableError):
        open_run(tmp_path / "file" / "run")


def test_a_read_only_place_is_told_at_open(mounted):
    """A read-only file system is refused at once, not after the first hour, for root too."""
    with pytest.raises(NotWritableError):
        open_run(mounted("ro,size=64k") / "run")


def fill(folder):
    """Leave no room at all."""
    with open(folder / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_full_disk_is_told_at_open_or_first_save(mounted):
    """Without room for a folder the run does not open; without room for a state the first save tells."""
    with pytest.raises(DiskFullError):
        open_run(mounted("size=64k,nr_inodes=1") / "run")
    folder = mounted("size=64k")
    run = open_run(folder / "run")
    run.save({"x": np.zeros(50_000)}, step=1)
    with pytest.raises(DiskFullError):
        run.flush()
    assert "no room left" in run.status().error
    run.close()


def test_a_disk_that_fills_in_the_middle_stops_nobody(mounted):
    """Saving goes on without raising, `status` tells, and the last state that had room is restored."""
    folder = mounted("size=256k")
    run = open_run(folder / "run")
    run.save({"x": np.zeros(100)}, step=1)
    run.flush()
    fill(folder)
    for step in (2, 3):
        run.save({"x": np.zeros(20_000)}, step=step)
    run.close()
    assert run.status().saved_step == 1
    assert "no room left" in run.status().error
    assert open_run(folder / "run").restore().step == 1
