"""Claims about where a loop stands: its phases, and the places that its checkpoints name, are those of their tables."""

from __future__ import annotations

import numpy as np
import pytest

import colabkit as ck
from colabkit.checkpoint.loop.training import LoopPhase
from colabkit.errors import CheckpointError


@pytest.fixture
def run(tmp_path):
    """Open a run that saves each step."""
    opened = ck.open_run(tmp_path / "run", every="1 steps", keep=100)
    yield opened
    opened.close()


def make(run):
    """Make a loop of two epochs of three steps."""
    return run.loop([1, 2, 3], epochs=2, state={"total": np.zeros(1)})


def phase(loop):
    """Return what a loop is doing."""
    return loop._training.phase


def newest(run):
    """Return the place of the newest checkpoint."""
    run.flush()
    meta = run.newest("loop").meta
    return {name: meta[name] for name in ("epoch", "step_in_epoch", "ended", "complete")}


def test_a_loop_is_in_step_while_the_user_has_a_batch_and_idle_at_its_end(run):
    """What is logged in a step counts for it; once the loop has ended the run is free for another loop."""
    loop = make(run)
    assert phase(loop) is LoopPhase.IDLE
    assert {phase(loop) for _ in loop} == {LoopPhase.IN_STEP}
    assert phase(loop) is LoopPhase.IDLE
    assert newest(run) == {"epoch": 2, "step_in_epoch": 0, "ended": False, "complete": True}


def test_a_nested_loop_is_between_steps_behind_its_batches_also_after_a_break(run):
    """What follows an inner loop belongs to no step; a break out of it ends no training."""
    loop = make(run)
    behind = []
    for epoch in loop.each_epoch():
        for _ in loop:
            if epoch == 1:
                break
        behind.append((phase(loop), newest(run)))
    ended = {"epoch": 0, "step_in_epoch": 3, "ended": True, "complete": False}
    left = {"epoch": 1, "step_in_epoch": 1, "ended": True, "complete": False}
    assert behind == [(LoopPhase.BETWEEN, ended), (LoopPhase.BETWEEN, left)]
    assert phase(loop) is LoopPhase.IDLE


def test_a_bar_around_a_loop_knows_how_many_batches_come(run):
    """Inside `each_epoch` those of an epoch, whose numbers begin where the user's do; else those of all epochs."""
    loop = make(run)
    assert len(loop) == 6
    assert [(epoch, len(loop), *loop) for epoch in loop.each_epoch(start=1)] == [(1, 3, 1, 2, 3), (2, 3, 1, 2, 3)]
    unknown = run.phase("stream").loop(lambda: iter([1, 2]), epochs=2, state={"total": np.zeros(1)})
    assert unknown
    with pytest.raises(TypeError, match="how many batches"):
        len(unknown)


def test_a_break_or_an_error_leaves_a_single_loop_idle_at_its_place(run):
    """The next loop goes on behind the step that was left; an error in a step leaves that step out."""
    loop = make(run)
    for _ in loop:
        if loop.batch == 1:
            break
    assert phase(loop) is LoopPhase.IDLE
    assert newest(run) == {"epoch": 0, "step_in_epoch": 2, "ended": False, "complete": False}
    again = make(run)

    def fail():
        for _ in again:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert phase(again) is LoopPhase.IDLE
    assert again.resumed_from == {"epoch": 0, "step": 2}
    assert newest(run) == {"epoch": 0, "step_in_epoch": 2, "ended": False, "complete": False}


def test_a_loop_that_runs_is_not_begun_again(run):
    """Two places in one training would mix their states."""
    loop = make(run)
    batches = iter(loop)
    next(batches)
    with pytest.raises(CheckpointError, match="runs already"):
        next(iter(loop))
    batches.close()
