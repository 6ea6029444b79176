"""Claims about random layers in a pipeline without an end: what was read ahead of one fit is gone for the next."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.20"')

SCRIPT = """
import os, sys
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, numpy as np, tensorflow as tf
import colabkit as ck

class Stop(keras.callbacks.Callback):
    stateless = True
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and sys.argv[1] == "stop":
            run.flush()
            os._exit(9)

x = np.random.default_rng(0).random((24, 4, 4, 3), "float32")
flip = keras.layers.RandomFlip("horizontal")
pictures = tf.data.Dataset.from_tensor_slices((x, x[:, 0, 0, 0])).shuffle(24).batch(8)
pictures = pictures.repeat().map(lambda a, b: (flip(a), b)).prefetch(tf.data.AUTOTUNE)
model = keras.Sequential([keras.layers.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
model.compile("adam", "mse")
run = ck.open_run("runs/pictures", every="1 steps")
for name in ("head", "fine-tune"):
    history = model.fit(
        pictures, epochs=3, steps_per_epoch=3, verbose=0, callbacks=[run.phase(name).resume(), Stop()]
    )
print(len(history.history["loss"]))
"""


def test_a_later_fit_on_what_was_read_ahead_is_told_before_it_begins(tmp_path):
    """How far the reading is ahead depends on the machine: a continued fit leaves its layers at another number."""
    for what, code in (("stop", 9), ("end", 0)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, what], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stderr
    assert "pictures/head: the layers in the tf.data pipeline draw as batches are read ahead" in done.stderr
    assert done.stdout.split() == ["3"]
