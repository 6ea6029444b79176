"""Claims about what `ck.train` takes: validation, patience, a rate, callbacks, a time; and what comes back.

One process, some trainings of a second each on 640 images of the sample.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import safetensors.numpy

import colabkit as ck
from colabkit.errors import DataError, DivergedError
from colabkit.models import datasets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason='needs pip install ".[train]"'),
]


@pytest.fixture(scope="module")
def digits():
    """Some of the sample."""
    found = datasets.sample()
    return (found.x_train[:640], found.y_train[:640]), (found.x_test[:200], found.y_test[:200])


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """The same backend for all."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def weights(result):
    """Its weights as bytes."""
    return [np.asarray(one).tobytes() for one in result.model.get_weights()]


def test_a_training_that_was_given_a_time_goes_on_to_the_same_end(digits, tmp_path):
    """It stops within a step, evaluates, says so, and the same line ends with the weights of one never stopped."""
    arguments = {"data": digits, "epochs": 2, "recipe": "tutorial", "validation": 0.25}
    whole = ck.train("mnist-mlp", run=tmp_path / "whole", **arguments)
    assert whole.stopped == ""
    assert set(whole.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(whole.data.x_train) == 480
    first = ck.train("mnist-mlp", run=tmp_path / "cut", time=0.001, **arguments)
    assert "its time is over in epoch 1 of 2" in first.stopped
    assert first.metrics["loss"] > 0
    second = ck.train("mnist-mlp", run=tmp_path / "cut", **arguments)
    assert second.resumed_from == {"epoch": 0, "step": 1}
    assert weights(second) == weights(whole)
    assert second.history == whole.history


def test_patience_ends_with_the_best_weights_and_functions_are_callbacks(digits, tmp_path):
    """A validation of wrong labels gets worse at once: two epochs later it ends, and says why."""
    (x, y), _ = digits
    seen = []
    result = ck.train(
        "mnist-mlp",
        data=digits,
        run=tmp_path / "run",
        epochs=30,
        patience=2,
        validation=(x[:100], (y[:100] + 1) % 10),
        callbacks=[lambda epoch, logs: seen.append((epoch, logs["val_loss"]))],
    )
    epochs = len(result.history["val_loss"])
    assert 3 <= epochs < 30
    assert "no better val_loss for 2 epochs" in result.stopped
    assert [epoch for epoch, _ in seen] == list(range(epochs))
    best = result.model.evaluate(x[:100] / np.float32(255), (y[:100] + 1) % 10, verbose=0, return_dict=True)["loss"]
    assert best == pytest.approx(min(result.history["val_loss"]), rel=1e-4)


def test_a_loss_that_is_no_number_stops_with_words_and_is_never_saved(digits, tmp_path):
    """The error says where and at which rate, and every checkpoint of the run holds numbers."""
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) in epoch 1, step \d+") as caught:
        ck.train("mnist-mlp", data=digits, run=tmp_path / "run", learning_rate=1e30, recipe="tutorial")
    assert "smaller learning_rate than 1e+30" in caught.value.hint
    for found in ck.open_run(tmp_path / "run").checkpoints():
        arrays = safetensors.numpy.load_file(found.path)
        numbers = [one for name, one in arrays.items() if one.dtype.kind == "f" and not name.startswith("rng/")]
        assert all(np.isfinite(one).all() for one in numbers)


def test_a_result_tells_classes_apart(digits, tmp_path):
    """The confusion matrix counts the test data, the table follows from it, the worst mistake comes first."""
    result = ck.train("mnist-mlp", data=digits, run=tmp_path / "run", epochs=2)
    said = result.probabilities.argmax(-1)
    true = digits[1][1]
    assert result.confusion.sum() == 200
    assert result.confusion[3, 5] == ((true == 3) & (said == 5)).sum()
    assert result.per_class[3].recall == pytest.approx((said[true == 3] == 3).mean())
    worst = result.mistakes(5)
    assert [one.probability for one in worst] == sorted((one.probability for one in worst), reverse=True)
    assert worst[0].label == str(true[worst[0].index])
    result.plot_mistakes(tmp_path / "mistakes.png")
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")
    shown = result._repr_html_()
    assert "Confusion matrix" in shown
    assert "<svg" in shown
    assert len(shown) < 60_000
    with pytest.raises(DataError, match=r"images \* 255"):
        result.classifier.predict(result.data.x_test[:2])
    assert len(result.classifier.predict(np.zeros((2, 28, 28), np.uint8))) == 2


def test_a_rate_is_set_on_a_model_of_ones_own(tmp_path):
    """The function's own rate gives way; an optimizer with a schedule says that it cannot."""
    import keras

    def line(rate=0.5):
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(rate), "mse")
        return model

    x = np.linspace(-1, 1, 64).reshape(-1, 1)
    result = ck.train(line, data=(x, 3 * x), run=tmp_path / "run", epochs=1, learning_rate=0.125)
    assert float(result.model.optimizer.learning_rate.numpy()) == 0.125
    falling = keras.optimizers.schedules.CosineDecay(0.1, 100)
    with pytest.raises(DataError, match="leave learning_rate= out"):
        ck.train(lambda: line(falling), data=(x, 3 * x), run=tmp_path / "other", learning_rate=0.1)
    with pytest.raises(DataError, match="not class numbers"):
        _ = result.confusion
