"""Claims about exports: what TensorFlow and TF Lite load gives what the model gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.errors import ExistsError, UnsupportedError
from colabkit.models.saving import export

ROOT = Path(__file__).parents[3]

EXPORT = """
import json, sys, warnings
import numpy as np, keras
import colabkit as ck
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(3, 2, activation="relu"),
                          keras.layers.Flatten(), keras.layers.Dense(3)])
x = np.random.default_rng(0).random((5, 4, 4, 1), "float32")
due = np.asarray(model(x))
ck.export_model(model, "served/1")
ck.export_model(model, "served/1")
ck.export_model(model, "tiny.tflite")
import tensorflow as tf
loaded = tf.saved_model.load("served/1")
served = np.asarray(loaded.serve(x))
warnings.simplefilter("ignore")
lite = tf.lite.Interpreter("tiny.tflite")
(taken,), (given,) = lite.get_input_details(), lite.get_output_details()
lite.resize_tensor_input(taken["index"], x.shape)
lite.allocate_tensors()
lite.set_tensor(taken["index"], x)
lite.invoke()
print(json.dumps([float(abs(found - due).max()) for found in (served, lite.get_tensor(given["index"]))]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_what_is_exported_gives_the_same(tmp_path, backend):
    """A SavedModel folder and a TF Lite file, from either backend; a second replaces the first without a rest."""
    pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.18"')
    pytest.importorskip("jax", reason="JAX is missing; pip install jax")
    env = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", EXPORT]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(json.loads(done.stdout.splitlines()[-1])) < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served", "tiny.tflite"]
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["1"]


class Model:
    """Stands for a model whose layers cannot be exported."""

    name = "odd"

    def export(self, path, *, verbose):
        """Fail as Keras does, with a part written."""
        Path(path).mkdir()
        raise ValueError("no signature\nmore")


@pytest.fixture
def keras(monkeypatch):
    """Keras, on a backend that is said to be TensorFlow."""
    keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.18"')
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    return keras


def test_a_model_that_cannot_be_exported_leaves_nothing(keras, tmp_path):
    """The reason is Keras' own, no part lies about, and a folder of something else is not replaced."""
    with pytest.raises(UnsupportedError, match=r"odd cannot be exported\nWhy: no signature"):
        ck.export_model(Model(), tmp_path / "served")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ExistsError, match="not a SavedModel"):
        ck.export_model(Model(), tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_where_there_is_no_converter_it_is_said(keras, tmp_path, monkeypatch):
    """A TensorFlow without tf.lite, and Keras on torch, name the way out."""
    import tensorflow as tf

    monkeypatch.setattr(tf, "lite", None)
    with pytest.raises(UnsupportedError, match="no converter to TF Lite"):
        export.export_model(Model(), tmp_path / "a.tflite")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UnsupportedError, match=r"as \.keras"):
        export.export_model(Model(), tmp_path / "served")
