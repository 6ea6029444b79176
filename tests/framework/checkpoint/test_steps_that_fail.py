"""Claims about steps of training that cannot be traced before the first epoch: the user's error, or none at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.20"')

HEAD = """
import os, sys
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, numpy as np, tensorflow as tf
import colabkit as ck
x = np.random.default_rng(0).random((40, 4), "float32")
y = np.zeros(40, "int32")
"""
METRIC = """
def hits(y_true, y_pred):
    return tf.matmul(y_true, y_pred)

model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[hits])
model.fit(x, y, epochs=1, verbose=0, callbacks=[ck.open_run("runs/metric").resume()])
"""
ANNEALED = """
class Scaled(keras.Model):
    def train_step(self, data):
        logs = super().train_step(data)
        return {{**logs, "scaled": logs["loss"] * self.scale}}

class Anneal(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.model.scale = 2.0

class Stop(keras.callbacks.Callback):
    stateless = True
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == int(sys.argv[1]):
            run.flush()
            os._exit(9)

inputs = keras.Input((4,))
model = Scaled(inputs, keras.layers.Dense(1)(inputs))
model.compile("adam", "mse")
run = ck.open_run("runs/annealed")
history = model.fit(x, y, epochs=3, batch_size=8, verbose=0, callbacks=[{callbacks}, Stop()])
print(len(history.history["scaled"]))
"""


def ran(tmp_path, script, *arguments):
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", HEAD + script, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )


def test_a_metric_that_fails_is_the_error_that_is_shown(tmp_path):
    """Not an error of TensorFlow's about a function without results, which a second trace would give."""
    done = ran(tmp_path, METRIC)
    assert "MatMul" in done.stderr.strip().splitlines()[-1]


def test_what_a_later_callback_sets_is_there_in_the_first_step(tmp_path):
    """The step is traced before it is set: the training goes on, and a killed one says what to write."""
    first = ran(tmp_path, ANNEALED.format(callbacks="run.resume(), Anneal()"), "1")
    assert first.returncode == 9, first.stderr
    again = ran(tmp_path, ANNEALED.format(callbacks="run.resume(), Anneal()"), "-1")
    assert "cannot be continued, as its step cannot be made before the first epoch" in again.stderr
    assert "has no attribute 'scale'" in again.stderr
    assert "callbacks=[…, run.resume()]" in again.stderr
    last = ran(tmp_path, ANNEALED.format(callbacks="Anneal(), run.resume()"), "-1")
    assert last.stdout.split() == ["3"], last.stderr
