"""A training that is given a time saves, ends in good order, and goes on exactly where the next call finds it."""

from __future__ import annotations

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import DataError
from colabkit.tracking import read_log

keras = pytest.importorskip("keras")

OVER = 0.001  # seconds: over at the first look, which is after a step


def built():
    """Build a small model, with a dropout that draws."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Input((4,)), keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    return model


def fitted(run, time):
    """Fit as a user does, with a callback that counts the epochs that end."""
    x = np.random.default_rng(0).random((64, 4), "float32")
    ended = []
    model, resume = built(), run.resume(seed=3, time=time)
    history = model.fit(
        x,
        x.sum(1),
        epochs=2,
        validation_split=0.25,
        batch_size=24,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: ended.append(epoch)), resume],
    )
    run.close()
    return model, resume, history.history, ended


@pytest.mark.slow
def test_a_fit_ends_after_the_step_and_the_next_call_goes_on(tmp_path):
    """The epoch that was begun is neither validated nor ended; in six calls it ends as one that was never stopped."""
    whole, _, told, _ = fitted(ck.open_run(tmp_path / "whole"), None)
    steps, epochs = [], []
    for _ in range(10):
        model, resume, history, ended = fitted(ck.open_run(tmp_path / "timed"), OVER)
        epochs = ended  # what the list of a callback holds is saved, and goes on with the run
        if not resume.stopped:
            break
        steps.append(ck.open_run(tmp_path / "timed").checkpoints()[0].step)
        assert f"step {steps[-1]}" in resume.stopped
        assert "_should_eval" not in vars(model)
    assert steps == [1, 2, 2, 3, 4]  # the third call ends the epoch whose validation was owed
    assert epochs == [0, 1]
    assert history == told
    for one, other in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("nested", [False, True])
def test_a_loop_of_ones_own_ends_and_goes_on(tmp_path, nested):
    """With one `for` or with two; what is logged after the loop that was ended is not there twice."""

    def trained(where, time):
        run, state = ck.open_run(where, time=time), {"sum": 0, "epochs": 0}
        loop = run.loop([1, 2, 3], epochs=2, state=state)
        if nested:
            for epoch in loop.each_epoch():
                for number in loop:
                    state["sum"] = state["sum"] * 7 + number
                state["epochs"] += 1
                loop.log(sum=state["sum"], at=epoch)
        else:
            for number in loop:
                state["sum"] = state["sum"] * 7 + number
        run.close()
        return state, loop.stopped, [(one.step, one.epoch, one.values) for one in read_log(run)]

    whole = trained(tmp_path / "whole", None)
    ends = [trained(tmp_path / "timed", OVER) for _ in range(6)]
    last = trained(tmp_path / "timed", None)
    assert [bool(stopped) for _, stopped, _ in ends] == [True] * 6
    assert last[0] == whole[0]
    assert not last[1]
    assert [row for row in last[2] if row[1] is not None] == [row for row in whole[2] if row[1] is not None]


@pytest.mark.parametrize("time", ["soon", 0, -5, True, "3 epochs"])
def test_a_time_that_is_none_is_refused_before_anything_is_made(tmp_path, time):
    """The message says how one is written."""
    with pytest.raises(DataError, match="not a length of time"):
        ck.open_run(tmp_path / "run", time=time)
    assert not (tmp_path / "run").exists()


def test_a_fit_that_will_not_finish_says_so(tmp_path, monkeypatch, caplog):
    """After its first epoch, once, and with the way out; the training goes on all the same."""
    monkeypatch.setattr("colabkit.checkpoint.policy.save_triggers.session_left", lambda: 1e-6)
    run = ck.open_run(tmp_path / "run")
    x = np.ones((4, 4), "float32")
    model = built()
    model.fit(x, x.sum(1), epochs=3, batch_size=4, verbose=0, callbacks=[run.resume(seed=3)])
    run.close()
    said = [line for line in caplog.messages if "will not finish" in line]
    assert len(said) == 1
    assert "run: will not finish: 2 more epochs" in said[0]
    assert "mirror=" in said[0]
