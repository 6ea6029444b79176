"""Claims about the phases of a run: their states, their files, and the copies of both."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

import colabkit as ck


def test_phases_come_to_a_fresh_machine_with_their_files(tmp_path):
    """From the mirror alone: the state of each phase, the files of the run, and those in the folder of a phase."""
    run = ck.open_run(tmp_path / "one" / "run", mirror=tmp_path / "cloud")
    head, tail = run.phase("head"), run.phase("tail")
    for step in (1, 2, 3):
        head.save({"w": np.full(3, step)}, step=step)
        head.flush()
    tail.save({"w": np.zeros(2)}, step=1)
    (run.dir / "notes.txt").write_text("of the run")
    (head.dir / "rows.csv").write_text("of the head")
    for each in (head, tail, run):
        each.close()
    again = ck.open_run(tmp_path / "two" / "run", mirror=tmp_path / "cloud")
    assert again.phase("head").restore().step == 3
    assert again.phase("tail").restore().step == 1
    assert (again.dir / "notes.txt").read_text() == "of the run"
    assert (again.phase("head").dir / "rows.csv").read_text() == "of the head"
    assert again.restore() is None


WORK = """
import os, signal, sys
import colabkit as ck

folder, mirror, kill_in = sys.argv[1:]
run = ck.open_run(folder, mirror=mirror)
for name in ("head", "tail"):
    phase = run.phase(name)
    saved = phase.restore()
    for step in range(saved.step if saved else 0, 4):
        phase.save({"name": name, "done": step + 1}, step=step + 1)
        phase.flush()
        if name == kill_in and step == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    phase.close()
run.close()
"""


@pytest.mark.parametrize("kill_in", ["head", "tail"])
def test_killed_in_a_phase_the_others_stay(tmp_path, kill_in):
    """SIGKILL in the first or in the second phase: what was done is there, and the other one is as it was."""

    def work(kill_in=""):
        command = [sys.executable, "-c", WORK, str(tmp_path / "run"), str(tmp_path / "cloud"), kill_in]
        return subprocess.run(command, capture_output=True, timeout=120).returncode

    assert work(kill_in) == -signal.SIGKILL
    with ck.open_run(tmp_path / "run") as run:
        there = {name: run.phase(name).restore() for name in ("head", "tail")}
    assert there["head"].step == (2 if kill_in == "head" else 4)
    assert (there["tail"].step if there["tail"] else 0) == (0 if kill_in == "head" else 2)
    assert work() == 0
    with ck.open_run(tmp_path / "run") as run:
        assert [run.phase(name).restore().state for name in ("head", "tail")] == [
            {"name": name, "done": 4} for name in ("head", "tail")
        ]
