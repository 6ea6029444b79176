"""What the workers of the training tests run: a small model in a run, its weights saved beside it.

Usage: shared_training.py BACKEND MODEL RUN [--kill RANK,STEP] [--batch N] [--epochs N] [--samples N] [--every INTERVAL]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("backend")
parser.add_argument("model", choices=["mlp", "cnn"])
parser.add_argument("run", type=Path)
parser.add_argument("--kill", default="")
parser.add_argument("--batch", type=int, default=48)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--samples", type=int, default=192)
parser.add_argument("--every", default="1 steps")
args = parser.parse_args()
os.environ.update(KERAS_BACKEND=args.backend, CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3")

import numpy as np  # noqa: E402

import colabkit as ck  # noqa: E402

with ck.strategy() as chosen:
    import keras

    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(0)
    x, y = rng.random((args.samples, 8, 8, 1), "float32"), rng.integers(0, 10, args.samples)
    hidden = (
        [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
        if args.model == "cnn"
        else [keras.layers.Flatten(), keras.layers.Dense(16, activation="relu"), keras.layers.Dropout(0.2)]
    )
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), *hidden, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])

    class Kill(keras.callbacks.Callback):
        """Kills this worker once, at a step."""

        stateless = True  # it counts what this process does
        step = 0

        def on_train_batch_end(self, batch, logs=None):
            """Count the step, leave a mark of it, and die where it was asked for."""
            self.step += 1
            (args.run.parent / f"step{chosen.worker}").write_text(str(self.step))
            if args.kill == f"{chosen.worker},{self.step}" and not (mark := args.run.with_suffix(".killed")).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    run = ck.open_run(args.run, every=args.every)
    history = model.fit(
        x, y, batch_size=args.batch, epochs=args.epochs, verbose=0, callbacks=[run.resume(), Kill()]
    ).history
    weights = np.concatenate([value.ravel() for value in model.get_weights()])
    np.savez(args.run.parent / f"{args.run.name}-{chosen.worker}.npz", weights=weights, loss=history["loss"])
    sys.stdout.write(f"{chosen.name} {chosen.replicas} {chosen.batch_size(8)}\n")
