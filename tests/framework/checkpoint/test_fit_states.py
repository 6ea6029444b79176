"""The states of a `fit`: the table in the docstring is the table in the code, and nothing else is let through."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import colabkit as ck
from colabkit.checkpoint.keras.fit import states as fit_states
from colabkit.checkpoint.keras.fit.states import TRANSITIONS, FitEvent, FitState, FitStates
from colabkit.checkpoint.mirror import schedule
from colabkit.errors import UnsupportedError


def _documented():
    """Read the table of the docstring: what each event of its head leads to from each state."""
    lines = [line for line in fit_states.__doc__.splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        (FitState(row[0]), FitEvent(event)): FitState(after)
        for row in rows
        for event, after in zip(head[1:], row[1:], strict=True)
        if after != "-"
    }


BEGINS = {
    (FitState.IDLE, FitEvent.BEGIN_NEW): FitState.BETWEEN,
    (FitState.IDLE, FitEvent.BEGIN_BETWEEN): FitState.RESTORED_BETWEEN,
    (FitState.IDLE, FitEvent.BEGIN_WITHIN): FitState.RESTORED_WITHIN,
}


def test_the_table_that_is_told_is_the_one_that_holds():
    """The docstring's table and its sentence on the beginnings are all transitions there are."""
    assert _documented() | BEGINS == TRANSITIONS


@pytest.mark.parametrize(("state", "event"), [*itertools.product(FitState, FitEvent)])
def test_each_pair_leads_to_its_state_or_is_refused(state, event):
    """Each event in each state leads where the table says; where it says nothing the state stays, and it is said."""
    states = FitStates()
    states.now = state
    after = (_documented() | BEGINS).get((state, event))
    if after is None:
        with pytest.raises(UnsupportedError, match=f"{event.value}.*{state.value}"):
            states.move(event)
        assert states.now is state
    else:
        assert states.move(event) is after
        assert states.now is after


@pytest.mark.parametrize("module", [fit_states, schedule])
def test_the_page_on_the_architecture_shows_the_table(module):
    """docs/architecture.md repeats the tables of the fit and of the mirror, word for word."""
    page = Path(__file__).parents[3].joinpath("docs", "architecture.md").read_text(encoding="utf-8")
    table = [line for line in module.__doc__.splitlines() if line.startswith("|")]
    assert "\n".join(table) in page


def test_every_state_is_reached_and_left():
    """No state is unreachable from the beginning, and from each the training can end."""
    reached, new = set(), {FitState.IDLE}
    while new - reached:
        reached |= new
        new = {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(FitState)
    assert {before for before, event in TRANSITIONS if event is FitEvent.TRAIN_ENDS} == set(FitState) - {FitState.IDLE}


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras says so of every tf.data
def test_stopped_behind_the_last_batch_the_data_begins_anew(tmp_path):
    """With `steps_per_epoch` of the whole data set a continued run opens what Keras opens behind the last batch."""
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("it is tf.data; run with KERAS_BACKEND=tensorflow")
    from tensorflow import data

    rows = np.random.default_rng(3).random((24, 4), "float32")

    def fit(folder):
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        batches = data.Dataset.from_tensor_slices((rows, rows.sum(1))).shuffle(24).batch(8)
        with ck.open_run(folder, every="1 steps", keep=99) as run:

            def written(*_, **__):  # else a newer state replaces one that waits
                run.written()

            wait = keras.callbacks.LambdaCallback(on_train_batch_end=written, on_epoch_end=written)
            model.fit(batches, epochs=3, steps_per_epoch=3, verbose=0, callbacks=[wait, run.resume()])
        return model.get_weights()

    whole = fit(tmp_path / "run")
    states = sorted((tmp_path / "run" / "checkpoints").glob("step-*"), key=lambda path: path.stat().st_mtime_ns)
    behind = [number for number, path in enumerate(states) if path.name.startswith("step-000000003-")]
    assert len(behind) == 2  # behind the last batch, and at the end of the epoch
    for path in states[behind[0] + 1 :]:
        path.unlink()
    again = fit(tmp_path / "run")
    assert all(np.array_equal(*pair) for pair in zip(whole, again, strict=True))
