"""Claims about the background thread: training never waits for a disk, and never stops because of one."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time

import numpy as np
import pytest

from colabkit.checkpoint.format import file, naming
from colabkit.checkpoint.state import buffer_pool
from colabkit.checkpoint.state.pytree import Snapshot
from colabkit.checkpoint.writer import Writer
from colabkit.errors import CheckpointError, DiskFullError


def snapshot(step, size=1):
    """Make a small state."""
    return Snapshot(step=step, tensors={"x": np.full(size, step)}, meta={"step": step})


@pytest.fixture
def slow_disk(monkeypatch):
    """Hold each write until it is let go; gives the steps whose write began, and the gate."""
    begun, gate, publish = [], threading.Event(), naming.publish

    def held(folder, tensors, meta, *, step):
        begun.append(step)
        assert gate.wait(30)
        return publish(folder, tensors, meta, step=step)

    monkeypatch.setattr(naming, "publish", held)
    yield begun, gate
    gate.set()


def test_a_newer_state_replaces_one_that_waits(tmp_path, slow_disk):
    """With a write under way only the newest of those that wait is written; the one under way is finished."""
    begun, gate = slow_disk
    writer = Writer(tmp_path, keep=3)
    writer.submit(snapshot(1))
    deadline = time.monotonic() + 30
    while not begun and time.monotonic() < deadline:
        time.sleep(0.001)
    for step in (2, 3, 4):
        writer.submit(snapshot(step))
    with pytest.raises(CheckpointError, match=r"0\.01 s"):
        writer.flush(timeout=0.01)
    gate.set()
    writer.flush(timeout=30)
    assert begun == [1, 4]
    assert [entry.step for entry in naming.entries(tmp_path)] == [4, 1]
    assert writer.saved_step == 4


@pytest.mark.parametrize("size", [3, 100_000])
def test_training_that_goes_on_changes_nothing_that_waits(tmp_path, slow_disk, size):
    """An array that changes as soon as `submit` has returned is saved as it was, large or small."""
    _, gate = slow_disk
    writer = Writer(tmp_path, keep=3)
    array = np.zeros(size)
    writer.submit(Snapshot(step=1, tensors={"x": array}, meta={}))
    array += 1
    gate.set()
    writer.flush()
    assert not file.read(naming.entries(tmp_path)[0].path).tensors["x"].any()


def test_a_state_that_does_not_fit_into_memory_is_told(tmp_path, monkeypatch):
    """Without memory for a copy training goes on, the error says so, and the next state is tried."""
    writer = Writer(tmp_path, keep=2)
    with monkeypatch.context() as patch:
        patch.setattr(buffer_pool.Buffers, "copy", lambda *_: (_ for _ in ()).throw(MemoryError()))
        writer.submit(snapshot(1))
        with pytest.raises(CheckpointError, match="no memory"):
            writer.flush()
    writer.submit(snapshot(2))
    writer.flush()
    assert writer.saved_step == 2


def test_only_the_newest_stay(tmp_path):
    """After many saves `keep` files are left, the newest ones."""
    writer = Writer(tmp_path, keep=2)
    for step in range(1, 8):
        writer.submit(snapshot(step))
        writer.flush()
    assert [entry.step for entry in naming.entries(tmp_path)] == [7, 6]


def test_a_file_nobody_vouches_for_pushes_out_no_good_one(tmp_path):
    """A damaged file of a later step does not count among those that are kept, and is not deleted."""
    (tmp_path / "step-000000099-0123456789ab.safetensors").write_bytes(b"damaged")
    writer = Writer(tmp_path, keep=2)
    for step in (1, 2, 3):
        writer.submit(snapshot(step))
        writer.flush()
    assert [entry.step for entry in naming.entries(tmp_path)] == [99, 3, 2]


def test_a_state_that_cannot_be_written_is_told_and_the_next_is_tried(tmp_path, caplog):
    """A failure reaches `flush` and `error`, is said once, and does not end the thread's work."""
    writer = Writer(tmp_path, keep=2)
    with caplog.at_level(logging.WARNING, "colabkit"):
        for step in (1, 2):
            writer.submit(Snapshot(step=step, tensors={"odd": np.array(["text"])}, meta={}))
            with pytest.raises(CheckpointError, match="'odd'"):
                writer.flush()
    assert len(caplog.records) == 1
    assert "training goes on" in caplog.text
    writer.submit(snapshot(3))
    writer.flush()
    assert writer.error is None
    assert writer.saved_step == 3


def test_a_disk_that_fills_up_and_is_emptied(tmp_path, mounted):
    """On a file system that is really full the error is typed, the last good file stays, and room heals it."""
    folder = mounted("size=256k")
    writer = Writer(folder, keep=2)
    writer.submit(snapshot(1))
    writer.flush()
    (folder / "ballast").write_bytes(b"")
    with open(folder / "ballast", "wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(os.urandom(4096)):
            pass
    writer.submit(snapshot(2, size=20_000))
    with pytest.raises(DiskFullError, match="free some space"):
        writer.flush()
    assert [entry.step for entry in naming.entries(folder)] == [1]
    assert {path.name for path in folder.glob(".*")} == set()
    (folder / "ballast").unlink()
    writer.submit(snapshot(3, size=10_000))
    writer.flush()
    assert naming.latest_valid(naming.candidates(folder))[1].step == 3
