"""A training whose memory runs out in its second epoch, by the error that the backend itself raises; then the rest.

    KERAS_BACKEND=jax python out_of_memory.py FOLDER

Prints one JSON object: how far the weights are from those of whole batches, and what the results and the run say.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import numpy as np

import colabkit as ck

BACKEND = os.environ["KERAS_BACKEND"]
ERRORS = {
    "tensorflow": lambda: importlib.import_module("tensorflow").errors.ResourceExhaustedError(
        None, None, "OOM when allocating tensor with shape[64,4096]"
    ),
    "jax": lambda: importlib.import_module("jax").errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes."
    ),
    "torch": lambda: importlib.import_module("torch").OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB"
    ),
}
random = np.random.default_rng(0)
X, Y = random.normal(size=(150, 8)).astype("float32"), random.integers(0, 3, 150)


def build():
    """Build a small model, compiled as users do it."""
    import keras

    model = keras.Sequential(
        [keras.layers.Input((8,)), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(3)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def main(folder):
    """Train, and tell."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    class RunsOut(keras.callbacks.Callback):
        """Raises in the second step of the second epoch, as often as it is told to."""

        stateless = True
        left = 1

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            if self.epoch == 1 and batch == 1 and RunsOut.left:
                RunsOut.left -= 1
                error = ERRORS[BACKEND]()
                raise error

    whole = ck.train(build, data=(X, Y), run=f"{folder}/whole", epochs=3, batch_size=64)
    halved = ck.train(build, data=(X, Y), run=f"{folder}/halved", epochs=3, batch_size=64, callbacks=[RunsOut()])
    again = ck.train(build, data=(X, Y), run=f"{folder}/halved", epochs=4, batch_size=64)
    auto = ck.train(build, data=(X, Y), run=f"{folder}/auto", epochs=1, batch_size="auto")
    kept = ck.train(
        build, data=(np.r_[X, X, X], np.r_[Y, Y, Y]), run=f"{folder}/auto-more", epochs=1, batch_size="auto"
    )
    RunsOut.left = 1
    words = ""
    model = build()
    try:
        run = ck.open_run(f"{folder}/fit")
        run.fit(model, X, Y, epochs=2, batch_size=64, verbose=0, callbacks=[RunsOut()])
    except MemoryError as error:
        words = str(error)
    pairs = zip(whole.model.get_weights(), halved.model.get_weights(), strict=True)
    told = {
        "furthest": float(max(np.abs(one - other).max() for one, other in pairs)),
        "losses": [whole.history["loss"], halved.history["loss"]],
        "accuracies": [whole.history["accuracy"], halved.history["accuracy"]],
        "parts": [whole.parts, halved.parts, again.parts],
        "resumed": again.resumed_from,
        "auto": [auto.batch_size, kept.batch_size],
        "auto again": ck.train(build, data=(X, Y), run=f"{folder}/auto", epochs=2, batch_size="auto").batch_size,
        "words": words,
        "saved": run.status().saved_step,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
