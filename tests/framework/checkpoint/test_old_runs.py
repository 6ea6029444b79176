"""Claims about runs that an older colabkit has written: `data/make_old_runs.py` made them with commit 300130d."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import colabkit as ck

DATA = Path(__file__).parent / "data"
OLD = DATA / "old-300130d"


@pytest.fixture
def old(tmp_path):
    """Give a copy of the old runs."""
    return shutil.copytree(OLD, tmp_path / "old")


def holds_the_last_state(run):
    """Compare what comes back with what was saved."""
    saved = run.restore()
    assert saved.step == 4
    assert np.array_equal(saved.state["weights"], np.arange(6, dtype="float32").reshape(2, 3) * 4)
    assert saved.state["pair"] == (4, "text")
    assert saved.state["losses"] == [1.5, 1.25, float("inf")]
    assert (saved.state["raw"], saved.state["none"]) == (b"\0\1", None)


def test_an_old_state_of_a_loop_is_read_and_gone_on_with(old):
    """All kinds of values come back, and the next states lie beside the old ones."""
    run = ck.open_run(old / "loop")
    holds_the_last_state(run)
    run.save({"weights": np.zeros(2)}, step=5)
    run.close()
    assert ck.open_run(old / "loop").restore().step == 5


def test_a_fresh_machine_begins_from_an_old_mirror(old, tmp_path):
    """The state and the file beside it come from the copies alone."""
    run = ck.open_run(tmp_path / "fresh" / "loop", mirror=old / "loop-mirror")
    holds_the_last_state(run)
    assert (run.dir / "notes.txt").read_text() == "a file of the run\n"
    run.close()


def test_a_training_that_an_old_version_began_ends_as_it_would_have(old):
    """It was killed after 9 of 18 steps; the new version goes on there, and ends with the losses of the whole one."""
    pytest.importorskip("tensorflow", reason="TensorFlow is missing; pip install tensorflow")
    sys.path.insert(0, str(DATA))
    import make_old_runs

    run = ck.open_run(old / "keras")
    assert run.checkpoints()[0].step == 9
    _, history = make_old_runs.fit(run)
    whole = json.loads((OLD / "keras.json").read_text())["history"]
    assert history.history.keys() == whole.keys()
    for name, values in whole.items():
        assert history.history[name] == pytest.approx(values, rel=1e-3), name  # the processor may be another
