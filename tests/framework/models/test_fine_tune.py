"""Training in two phases, with class weights and weights of the user's own place."""

from __future__ import annotations

import numpy as np
import pytest

import colabkit as ck
from colabkit.checkpoint.format.file import verify
from colabkit.errors import DataError, NotFoundError, UnsupportedError

keras = pytest.importorskip("keras")
Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def photos(tmp_path):
    """Twelve red pictures and four blue ones."""
    for name, colour, count in (("red", (200, 0, 0), 12), ("blue", (0, 0, 200), 4)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 30), colour).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def small_net(monkeypatch, tmp_path):
    """A network of five layers in MobileNetV2's place; gives a file of its weights."""

    def made(input_shape, include_top, weights):
        assert not include_top
        layers = [keras.layers.Conv2D(4, 8, strides=8), keras.layers.BatchNormalization(), keras.layers.ReLU()]
        model = keras.Sequential([keras.layers.Input(input_shape), *layers])
        model.load_weights(weights)
        return model

    monkeypatch.setattr(keras.applications, "MobileNetV2", made)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 8, strides=8), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    keras.Sequential([keras.layers.Input((96, 96, 3)), *layers]).save_weights(tmp_path / "net.weights.h5")
    return tmp_path / "net.weights.h5"


@pytest.mark.slow
def test_the_head_is_trained_then_the_whole_network(photos, small_net, tmp_path):
    """Ended by time in the first phase, the same call goes on through both; the base changes in the second only."""
    told = {"data": str(photos), "weights": small_net, "class_weight": "balanced", "batch_size": 8, "epochs": 2}
    first = ck.train("image-classifier", run=tmp_path / "run", fine_tune=1, time=0.001, **told)
    assert "its time is over" in first.stopped
    result = ck.train("image-classifier", run=tmp_path / "run", fine_tune=1, **told)
    assert not result.stopped
    assert len(result.history["loss"]) == 3
    whole = ck.train("image-classifier", run=tmp_path / "whole", fine_tune=1, **told)
    for one, other in zip(result.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    head = ck.train("image-classifier", run=tmp_path / "head", **told)
    with_base = [next(layer for layer in each.model.layers if isinstance(layer, keras.Model)) for each in (head, whole)]
    kernels = [base.get_weights()[0] for base in with_base]
    assert not np.array_equal(*kernels)
    newest = ck.open_run(tmp_path / "whole").phase("fine-tune").checkpoints()[0]
    assert verify(newest.path)["complete"]


def test_what_makes_no_sense_is_refused_before_anything_is_read(tmp_path):
    """Class weights of no class, of words, below 0; phases of a model that has none; weights that are not there."""
    for given in ("auto", {}, {0: -1.0}, {"a": 1.0}, [1.0, 2.0]):
        with pytest.raises(DataError, match="class_weight"):
            ck.train("mnist-mlp", data="sample", class_weight=given)
    for argument in ({"fine_tune": 2}, {"weights": "hf:me/weights/net.h5"}):
        with pytest.raises(UnsupportedError, match=r"run\.phase"):
            ck.train("mnist-mlp", data="sample", run=tmp_path / "run", **argument)
    with pytest.raises(DataError, match="fine_tune=0"):
        ck.train("image-classifier", data="photos/", fine_tune=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_weights_that_are_asked_for_are_not_replaced(photos, tmp_path):
    """No small network in silence where the user has named the weights."""
    with pytest.raises(NotFoundError):
        ck.train("image-classifier", data=str(photos), run=tmp_path / "run", weights=tmp_path / "none.h5")
