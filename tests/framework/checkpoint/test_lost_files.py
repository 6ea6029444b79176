"""Claims about files that other callbacks write beside a run, when the run goes on without them."""

from __future__ import annotations

import importlib.util

import pytest

from colabkit.checkpoint.lost_files import is_lost

TRAINS = """
import os, sys
import keras, numpy as np
import colabkit as ck

x = np.random.default_rng(0).random((64, 4), "float32")
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
best = keras.callbacks.ModelCheckpoint(sys.argv[2], monitor="loss", save_best_only=True)
with ck.open_run(sys.argv[1]) as run:
    model.fit(x, x[:, :1], epochs=int(sys.argv[3]), verbose=0, callbacks=[best, run.resume()])
"""


def test_a_best_file_that_is_missing_is_told_once(tmp_path, caplog):
    """Nothing is said where it is there, or where none was written; else its path, and where it would have lasted."""
    (tmp_path / "there.keras").touch()
    assert not is_lost(tmp_path / "there.keras", owner="ModelCheckpoint")
    assert not is_lost("", owner="ModelCheckpoint")
    assert not is_lost(None, owner="the Trainer")
    assert not caplog.records
    assert is_lost(tmp_path / "best.keras", owner="ModelCheckpoint")
    assert is_lost(tmp_path / "best.keras", owner="ModelCheckpoint")
    [record] = caplog.records
    assert str(tmp_path / "best.keras") in record.getMessage()
    assert "Inside run.dir it travels with the run" in record.getMessage()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is missing; pip install keras jax")
def test_keras_best_model_is_looked_for_when_a_run_goes_on(python, tmp_path):
    """It is there: silence. It has stayed behind: told before the training continues."""
    words = [TRAINS, tmp_path / "run", tmp_path / "best.keras"]
    for epochs, missing in ((1, False), (2, False), (3, True)):
        if missing:
            (tmp_path / "best.keras").unlink()
        code, _, err = python(*words, epochs, KERAS_BACKEND="jax")
        assert code == 0, err
        assert ("ModelCheckpoint wrote the best model so far to" in err) is missing
        assert (tmp_path / "best.keras").exists()
