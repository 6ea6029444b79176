"""Claims about where the time goes: what waits for data is told from what computes, and what to do is said."""

from __future__ import annotations

import time

from colabkit.checkpoint import open_run, time_use
from colabkit.checkpoint.time_use import StepClock, TimeUse


def test_a_loop_tells_where_its_time_goes(tmp_path, caplog, monkeypatch):
    """After the first epoch one line has the shares; where the data waits, the next one says what to do."""
    for _ in open_run(tmp_path / "earlier").loop([1, 2], epochs=1, state={}):
        pass  # what a process imports for its first loop
    monkeypatch.setattr(time_use, "_TOLD_FROM", 0.0)
    caplog.set_level("INFO", logger="colabkit")
    run, state = open_run(tmp_path / "run"), {"sum": 0}

    def batches():
        for number in range(4):
            time.sleep(0.1)  # of a machine that is busy, computing takes its time, too
            yield number

    loop = run.loop(batches, epochs=2, state=state)
    for number in loop:
        state["sum"] += number
    assert loop.time_use.waits
    assert caplog.text.count("where the time goes: ") == 1
    assert "waiting for data" in caplog.text
    assert "DataLoader(…, num_workers=2" in caplog.text


def test_sampled_waits_stand_for_all_steps():
    """Where some steps only are timed, their mean counts for each; the first step of an epoch is left out."""
    now, saving = [0.0], [0.0]
    clock = StepClock(lambda: saving[0], clock=lambda: now[0])
    clock.epoch_begins()
    for step in range(11):
        now[0] += 100.0 if step == 0 else 1.0
        if step in (0, 5):
            clock.waited(100.0 if step == 0 else 0.5)
        if step == 7:
            saving[0] += 0.1
        clock.stepped()
    assert clock.use == TimeUse(seconds=10.0, waiting=5.0, checkpoints=0.1)
    assert str(clock.use) == "50 % waiting for data, 49 % compute, 1 % checkpoints"


def test_what_cannot_be_told_apart_is_said_to_be_both():
    """Without a timed batch the data is part of the computing, and no advice is given."""
    use = TimeUse(seconds=10.0, waiting=None, checkpoints=0.0)
    assert str(use) == "100 % compute and data, 0 % checkpoints"
    assert not use.waits
