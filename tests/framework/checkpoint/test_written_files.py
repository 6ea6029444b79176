"""Claims about files of weights that a script writes before it trains, and that a later fit or loop of it loads."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from colabkit.checkpoint.state.written_files import WrittenFiles

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def found():
    """Find the files of the function that calls."""
    files = WrittenFiles()
    files.find(sys._getframe(1))
    return files


def test_a_temporary_file_of_numbers_gets_what_the_run_began_with(tmp_path, monkeypatch):
    """By its variable where its folder is another one in each process; what lies elsewhere is told and stays."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    taken = []
    for process in (b"one", b"other"):
        folder = tmp_path / "temporary" / process.decode()
        folder.mkdir(parents=True)
        paths = {"start": str(folder / "initial.weights.h5")}
        (folder / "initial.weights.h5").write_bytes(process)
        Path("mine.weights.h5").write_bytes(process * 2)
        taken.append(found())
    kept = taken[0].take()
    assert taken[1].give(kept) == (["paths['start'] (initial.weights.h5)"], ["mine.weights.h5"])
    assert (tmp_path / paths["start"]).read_bytes() == b"one"
    assert Path("mine.weights.h5").read_bytes() == b"otherother"
    assert found().give(kept) == ([], ["mine.weights.h5"])


@pytest.mark.parametrize("name", ["start.pt", "start.keras", "start.npz", "start.pkl"])
def test_a_file_that_may_hold_code_is_told_and_never_written(tmp_path, name):
    """What loads it may run what is in it."""
    path = tmp_path / name
    path.write_bytes(b"one")
    kept = found().take()
    path.write_bytes(b"other")
    assert found().give(kept) == ([], [f"path ({name})"])
    assert path.read_bytes() == b"other"


def test_a_saved_model_is_the_same_one_at_another_moment(tmp_path):
    """Keras writes the date into the archive."""
    keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    path, weights = tmp_path / "start.keras", tmp_path / "start.weights.h5"
    takes = []
    for _ in range(2):
        model.save(path)
        model.save_weights(weights)
        takes.append(found().take()["marks"])
    assert takes[0] == takes[1]
    assert takes[0].keys() == {"path", "weights"}
    model.layers[0].kernel.assign(np.ones((2, 1)))
    model.save(path)
    model.save_weights(weights)
    assert all(found().take()["marks"][name] != mark for name, mark in takes[0].items())


def test_what_an_earlier_process_wrote_is_left(tmp_path, monkeypatch):
    """As the best weights of an earlier phase, which are there already."""
    best = tmp_path / "best.weights.h5"
    best.write_bytes(b"best")
    monkeypatch.setattr("colabkit.checkpoint.state.written_files.interpreter_start", lambda: best.stat().st_mtime + 1)
    assert found().is_empty
