"""Claims about what a user changes between two runs of a cell: each row of the table in docs/resume.md."""

# ruff: noqa: ARG005, D103
from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')

import numpy as np

import colabkit as ck
from colabkit.errors import ColabKitError, RunMismatchError

# Keras' own callbacks convert the learning rate so.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
DOCS = Path(__file__).parents[3] / "docs" / "resume.md"
DATA = np.random.default_rng(3)
X, Y = DATA.random((48, 6), "float32"), DATA.integers(0, 3, 48)


class Stop(BaseException):
    """Ends a training as a kill does, in one process."""


def build(*, rate=0.01, units=8, optimizer="Adam", activation="relu", drop=0.3, frozen=False, **options):
    import keras

    layers = keras.layers
    hidden = layers.Dense(units, activation, name="hidden", trainable=not frozen)
    model = keras.Sequential([layers.Input((6,)), hidden, layers.Dropout(drop), layers.Dense(3, name="out")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"metrics": ["accuracy"], "loss": loss, **options}
    model.compile(getattr(keras.optimizers, optimizer)(rate), **options)
    return model


def train(folder, model, x=X, y=Y, *, stop=None, callbacks=(), at="step", check_data=True, **options):
    import keras

    class Ends(keras.callbacks.Callback):
        stateless = True
        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.steps += 1
            if self.steps == stop:
                raise Stop

    run = ck.open_run(folder, every="1 steps")
    callback = run.resume(at=at, check_data=check_data)
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, **options}
    try:
        history = model.fit(x, y, callbacks=[*callbacks, callback, Ends()], **options)
    except Stop:
        history = None
    finally:
        run.close()
        callback._signals.restore()
    return history, callback


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped in the second of three epochs, after two of its six steps."""
    import keras

    folder = tmp_path_factory.mktemp("stopped") / "run"
    keras.utils.set_random_seed(1)
    halved = keras.callbacks.LearningRateScheduler(lambda epoch, rate: float(rate) * 0.5)
    train(folder, build(), stop=9, callbacks=[keras.callbacks.EarlyStopping("loss", patience=50), halved])
    return folder


@pytest.fixture
def again(stopped, tmp_path, caplog):
    """Go on with a copy of it, with something changed; gives the history, the callback and what was said."""
    import keras

    logging.getLogger("colabkit").propagate = True
    caplog.set_level(logging.INFO, "colabkit")

    def go(model=None, *, patience=50, **options):
        folder = shutil.copytree(stopped, tmp_path / "run", ignore=shutil.ignore_patterns("lock*"))
        stopping = keras.callbacks.EarlyStopping("loss", patience=patience)
        model = build() if model is None else model
        history, callback = train(folder, model, callbacks=[stopping], **options)
        return history, callback, caplog.text, model

    return go


def rate_of(model):
    return float(model.optimizer.learning_rate.numpy())


def epochs(again):
    history, callback, _, _ = again(epochs=4)
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert len(history.history["loss"]) == 4


def learning_rate(again):
    _, _, said, model = again(build(rate=0.001))
    assert rate_of(model) == pytest.approx(0.001)
    assert "learning_rate: 0.01 -> 0.001" in said


def moved_rate(again):
    _, callback, said, model = again(build())  # `stopped` halved it at the begin of each epoch, here it is not
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert rate_of(model) == pytest.approx(0.01 * 0.5**2)
    assert "learning_rate" not in said


def layer_setting(again):
    _, callback, said, _ = again(build(drop=0.0, activation="tanh"))
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert "rate: 0.3 -> 0" in said
    assert "relu -> tanh" in said


def loss(again):
    import keras

    _, callback, said, _ = again(build(loss=keras.losses.SparseCategoricalCrossentropy(), loss_weights=[0.5]))
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert "loss_weights" in said


def batch_size(again):
    history, callback, said, model = again(batch_size=5)
    assert "batches of 5 instead of 8" in said
    assert callback.resumed_from == {"epoch": 1, "step": 3}  # 7 of the epoch's 10 steps are left for 32 samples
    assert int(model.optimizer.iterations) == 6 + 2 + 7 + 10
    assert history.epoch == [0, 1, 2]


def another_metric(again):
    import keras

    more = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
    history, callback, said, _ = again(build(metrics=["accuracy", more]))
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert "measured from here on only" in said
    assert len(history.history["top2"]) == 2


def metric_less(again):
    history, callback, _, _ = again(build(metrics=[]))
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert len(history.history["loss"]) == 3


def patience(again):
    _, _, said, _ = again(patience=3)
    assert "patience: 50 -> 3" in said


def validation(again, tmp_path, caplog):
    history, callback, said, _ = again(validation_data=(X[:8], Y[:8]))
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert len(history.history["val_loss"]) == 2
    assert "the validation data is other" not in said  # there was none
    train(tmp_path / "run", build(), epochs=4, validation_data=(X[8:16], Y[8:16]))
    assert "the validation data is other than before" in caplog.text


def own_value(again, tmp_path, caplog):
    import keras

    class Halves(keras.callbacks.Callback):
        def __init__(self, factor):
            super().__init__()
            self.factor, self.turns = factor, 0

        def on_epoch_end(self, epoch, logs=None):
            self.turns += 1

    train(tmp_path / "run", build(), callbacks=[Halves(0.5)], epochs=2)
    own = Halves(0.25)
    train(tmp_path / "run", build(), callbacks=[own], epochs=3)
    assert "in effect from now on: Halves.factor: 0.5 -> 0.25" in caplog.text
    assert (own.factor, own.turns) == (0.25, 3)


def weights(again):
    _, callback, said, _ = again(class_weight={0: 1.0, 1: 5.0, 2: 1.0})
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert "the weights of the samples or classes are others, and in effect from now on" in said


def shuffled(again):
    _, callback, said, model = again(shuffle=False)
    assert callback.resumed_from == {"epoch": 1, "step": 2}
    assert "shuffle=False instead of True, from the next epoch on" in said
    assert int(model.optimizer.iterations) == 18


def optimizer(again):
    with pytest.raises(RunMismatchError, match="with the optimizer Adam, and this model has SGD") as caught:
        again(build(optimizer="SGD"))
    assert "run.phase(" in caught.value.hint
    assert 'at="epoch"' in caught.value.hint


def layer(again):
    with pytest.raises(RunMismatchError, match="another model") as caught:
        again(build(units=16))
    assert "hidden/kernel is (6, 8) float32 in the run and (6, 16) float32" in caught.value.why


def frozen_layers(again):
    with pytest.raises(RunMismatchError, match="other layers frozen") as caught:
        again(build(frozen=True))
    assert 'callbacks=[run.phase("fine-tune").resume()]' in caught.value.hint


def data(again):
    with pytest.raises(RunMismatchError, match="trained on other data") as caught:
        again(x=X + 1)
    assert "np.random.default_rng(0)" in caught.value.hint


def kind_of_data(again):
    import tensorflow as tf

    with pytest.raises(RunMismatchError, match="in the middle of an epoch on arrays") as caught:
        again(x=tf.data.Dataset.from_tensor_slices((X, Y)).batch(8), y=None, batch_size=None, shuffle=False)
    assert 'run.resume(at="epoch")' in caught.value.hint


def back_to_an_epoch(again):
    _, callback, _, model = again(at="epoch")
    assert callback.resumed_from == {"epoch": 1, "step": 0}
    assert int(model.optimizer.iterations) == 18


ROWS = {
    "`epochs`": epochs,
    "the learning rate in the code": learning_rate,
    "nothing, and training moved the rate": moved_rate,
    "a dropout's rate, an activation": layer_setting,
    "the loss, its weights": loss,
    "the batch size": batch_size,
    "one metric more": another_metric,
    "one metric less": metric_less,
    "`patience` and the like": patience,
    "validation data": validation,
    "a plain value in your own callback, loss or layer": own_value,
    "the weights of samples or classes": weights,
    "`shuffle=`": shuffled,
    "another optimizer": optimizer,
    "a layer's size, another layer": layer,
    "which layers are frozen": frozen_layers,
    "the data, or the rows that your own dataset has": data,
    "arrays to `tf.data` and the like": kind_of_data,
    '`run.resume(at="epoch")`': back_to_an_epoch,
}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_table_holds(row, again, tmp_path, caplog):
    """Changed settings take effect and are told; what training moved stays; another fit is refused with ways out."""
    ROWS[row](again, *([tmp_path, caplog] if ROWS[row] in (validation, own_value) else []))


def test_rows_of_a_dataset_that_are_chosen_anew_are_refused(tmp_path):
    """As `train_test_split` without a seed does; the same rows in another order go on in the order of before."""
    import keras

    class Rows(keras.utils.PyDataset):
        def __init__(self, ids):
            super().__init__()
            self.ids = ids

        def __len__(self):
            return len(self.ids) // 8

        def __getitem__(self, index):
            at = self.ids[index * 8 : index * 8 + 8]
            return X[at], Y[at]

    first = Rows([*range(40)])
    train(tmp_path / "run", build(), first, None, stop=9, batch_size=None)
    with pytest.raises(RunMismatchError, match="trained on other data") as caught:
        train(tmp_path / "run", build(), Rows([*range(8, 48)]), None, batch_size=None)
    assert "ids of Rows holds something else now" in caught.value.why
    assert "random_state=0" in caught.value.hint
    shuffled = Rows([*range(40)][::-1])
    train(tmp_path / "run", build(), shuffled, None, batch_size=None)
    assert shuffled.ids == first.ids
    other = Rows([*range(8, 48)])
    train(tmp_path / "run", build(), other, None, batch_size=None, check_data=False, epochs=4)
    assert other.ids == [*range(8, 48)]


def test_what_a_callback_drew_before_the_first_step_goes_on(tmp_path):
    """Random generators without a seed and weights of the model before it was restored are others in each process."""
    import keras

    class Draws(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seeds, self.rng = keras.random.SeedGenerator(), np.random.default_rng()

        def on_train_begin(self, logs=None):
            self.slow = self.model.get_weights()

        def of(self):
            return [self.rng.bit_generator.state["state"], self.seeds.state.numpy().tolist(), self.slow[0].tolist()]

    first, second = Draws(), Draws()
    train(tmp_path / "run", build(), callbacks=[first], stop=1)
    begun = first.of()
    train(tmp_path / "run", build(), callbacks=[second], stop=2)
    assert second.of() == begun


def test_an_epoch_has_the_number_that_keras_shows(tmp_path, caplog):
    """Also in a fit that begins at a later one, as fine-tuning does."""
    logging.getLogger("colabkit").propagate = True
    caplog.set_level(logging.INFO, "colabkit")
    train(tmp_path / "run", build(), stop=3, initial_epoch=2, epochs=4)
    train(tmp_path / "run", build(), initial_epoch=2, epochs=4)
    assert "continuing in epoch 3 of 4 after step 2" in caplog.text


def test_the_table_has_these_rows():
    """The table in the docs and the rows that are tested are the same."""
    text = DOCS.read_text().split("## What you change", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (.+?) \| ", text, re.MULTILINE)
    assert [row for row in rows if row not in ("you change", "---")] == list(ROWS)


def test_phases_are_fits_of_their_own(tmp_path, caplog):
    """Freeze, fit, unfreeze, fit: each phase goes on or is done for itself; a finished one gives its weights."""
    import keras

    logging.getLogger("colabkit").propagate = True
    caplog.set_level(logging.INFO, "colabkit")

    def both(epochs):
        run = ck.open_run(tmp_path / "run")
        model = build(frozen=True)
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[run.phase("head").resume()])
        head = model.get_weights()
        model.trainable = True
        model.layers[0].trainable = True
        model.compile(keras.optimizers.SGD(0.1), model.loss)
        model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[run.phase("fine-tune").resume()])
        run.close()
        return head, model.get_weights()

    first = both(1)
    assert "already trained" not in caplog.text
    second = both(2)
    assert "run/head: already trained, 1 epochs" in caplog.text
    assert all(np.array_equal(one, other) for one, other in zip(first[0], second[0], strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(first[1], second[1], strict=True))
    assert sorted(path.name for path in (tmp_path / "run" / "phases").iterdir()) == ["fine-tune", "head"]
    with pytest.raises(ColabKitError, match="cannot be the name of a phase"):
        ck.open_run(tmp_path / "run").phase("a/b")
