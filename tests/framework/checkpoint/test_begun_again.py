"""Claims about a loop around a training: it is refused with the way out, and that way goes on exactly."""

from __future__ import annotations

import importlib.util
from functools import partial

import numpy as np
import pytest

from colabkit import open_run
from colabkit.errors import RunMismatchError
from tests.support.killed_trainings import train

BATCHES = (1.0, 2.0, 3.0)
WAYS = {
    "lightning": ("lightning", "max_epochs=i + 1"),
    "trainer": ("transformers", "num_train_epochs=i + 1"),
    "fastai": ("fastai", "make the callback before the loop"),
}
CELL = """
for batch in run.loop(BATCHES, epochs=2, state=state):
    state["w"] += batch
"""


def trained(run, state, epochs):
    """Train in a function, as people do."""
    for batch in run.loop(BATCHES, epochs=epochs, state=state):
        state["w"] = state["w"] / 2 + batch


@pytest.fixture
def run(tmp_path):
    """Give a run, closed at the end."""
    with open_run(tmp_path / "run") as one:
        yield one


def test_a_loop_around_a_loop_is_refused(run):
    """The first thing that one writes trains one epoch, and would train none after it."""
    state = {"w": np.zeros(2)}

    def directly():
        for _ in range(3):
            for batch in run.loop(BATCHES, state=state):
                state["w"] += batch

    def in_a_function():
        for _ in range(3):
            trained(run, state, 1)

    def with_one_loop():
        loop = run.loop(BATCHES, epochs=2, state=state)
        for _ in range(2):
            for batch in loop:
                state["w"] += batch

    for written in (directly, in_a_function, with_one_loop):
        with pytest.raises(RunMismatchError, match="begun again by a loop around it") as refused:
            written()
        assert "each_epoch()" in str(refused.value)
        assert state["w"][0] == (12 if written is with_one_loop else 6)


def test_one_epoch_more_each_time_is_no_such_loop(run, tmp_path):
    """Counted on, the epochs of an outer loop are trained, and those that the run has are passed over."""
    whole = {"w": np.zeros(2)}
    for epoch in range(4):
        trained(run, whole, epoch + 1)
    other = open_run(tmp_path / "other")
    begun = {"w": np.zeros(2)}
    for epoch in range(2):
        trained(other, begun, epoch + 1)
    other.close()
    again = open_run(tmp_path / "other")
    state = {"w": np.zeros(2)}
    for epoch in range(4):
        trained(again, state, epoch + 1)
    again.close()
    assert (state["w"] == whole["w"]).all()


def test_a_cell_that_is_run_once_more_has_nothing_to_do(run, caplog):
    """So has a program that calls the same function at two places."""
    caplog.set_level("INFO", logger="colabkit")
    state = {"w": np.zeros(2)}
    for _ in range(2):
        exec(compile(CELL, "a cell", "exec"), {"run": run, "state": state, "BATCHES": BATCHES})  # noqa: S102
    trained(run, state, 2)
    trained(run, state, 2)
    list(map(partial(trained, run, state), (2, 2)))  # as a button calls its handler
    assert state["w"][0] == 12
    assert "already trained for 2 epochs" in caplog.text


def test_so_it_is_with_keras(run, tmp_path):
    """The example of a text that is written after each epoch: `fit(…, epochs=1)` forty times."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip('Keras is missing; pip install "keras>=3.11"')
    import keras

    x, y = np.random.default_rng(0).normal(size=(16, 2)), np.ones((16, 1))

    def model():
        keras.utils.set_random_seed(1)
        made = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        made.compile("adam", "mse")
        return made

    def one_by_one(one):
        for _ in range(3):
            one.fit(x, y, epochs=1, verbose=0, callbacks=[run.resume()])

    with pytest.raises(RunMismatchError, match="begun again by a loop around it") as refused:
        one_by_one(model())
    assert "epochs=i + 1" in str(refused.value)

    def counted_on(folder, epochs):
        one = model()
        with open_run(folder) as other:
            for i in range(epochs):
                one.fit(x, y, epochs=i + 1, verbose=0, callbacks=[other.resume()])
        return one.get_weights()

    whole = counted_on(tmp_path / "whole", 4)
    counted_on(tmp_path / "parts", 2)
    assert all(map(np.array_equal, counted_on(tmp_path / "parts", 4), whole))


@pytest.mark.parametrize("way", WAYS)
def test_so_it_is_with_other_trainers(way, tmp_path):
    """In the first process, and in one that comes after a kill in the first round; another Trainer, or the same."""
    package, words = WAYS[way]
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is missing; pip install torch==2.13.0 {package}")
    rates, fits = (f"{way} {case}" for case in ("rates_in_one_run:4/end", "fit_again_and_again"))
    told = train("torch_phases.py", tmp_path, [rates, fits])
    refusals = [told[case][process] for case in (rates, fits) for process in ("whole", "result")]
    assert ["begun again by a loop around it" in each for each in refusals] == [True] * 4
    assert all(words in each and 'run.phase("NAME")' in each for each in refusals)
    assert told[rates]["ends"] == [-9]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_ways_out_go_on_exactly(way, tmp_path):
    """One epoch more in each round by Trainers of their own; with fastai one callback that is made before the loop."""
    package, _ = WAYS[way]
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is missing; pip install torch==2.13.0 {package}")
    cases = [f"{way} epochs_one_by_one:4/end", *([f"{way} one_callback:4/end"] if way == "fastai" else [])]
    for case, told in train("torch_phases.py", tmp_path, cases).items():
        assert told["ends"] == [-9], case
        assert told["result"]["result"] == told["whole"]["result"], case
