"""Makes the runs beside it with an older colabkit, so that a test can hold the newer ones to reading them.

    git archive 300130d colabkit | tar -x -C OLD
    PYTHONPATH=OLD KERAS_BACKEND=tensorflow python make_old_runs.py old-300130d

`loop` is of `run.save`, with its copies in `loop-mirror`; `keras` was killed in the second of three epochs, and
`keras.json` tells how the same training ended that nobody killed.
"""

# ruff: noqa: D103, T201
from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import colabkit as ck

LOSSES = [1.5, 1.25, float("inf")]


def loop(folder):
    run = ck.open_run(folder / "loop", keep=2, mirror=folder / "loop-mirror")
    (run.dir / "notes.txt").write_text("a file of the run\n")
    for step in range(1, 5):
        weights = np.arange(6, dtype="float32").reshape(2, 3) * step
        run.save(
            {"weights": weights, "pair": (step, "text"), "losses": LOSSES, "raw": b"\0\1", "none": None}, step=step
        )
        run.flush()
    run.close()


def fit(run, kill_at=None):
    import keras

    class Kill(keras.callbacks.Callback):
        stateless = True
        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.steps += 1
            if self.steps == kill_at:
                run.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    keras.utils.set_random_seed(4)
    data = np.random.default_rng(3)
    x, y = data.random((48, 6), "float32"), data.integers(0, 3, 48)
    layers = [keras.layers.Input((6,)), keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    stopping = keras.callbacks.EarlyStopping("loss", patience=9)
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, "validation_data": (x[:16], y[:16])}
    history = model.fit(x, y, callbacks=[stopping, run.resume(), Kill()], **options)
    return model, history


def result(model, history):
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    losses = {name: [float(value) for value in values] for name, values in history.history.items()}
    return {"weights": digest.hexdigest(), "history": losses}


def main():
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(exist_ok=True)
    loop(folder)
    if os.fork() == 0:
        fit(ck.open_run(folder / "keras", every="1 steps", keep=2), kill_at=10)
    os.wait()
    whole = ck.open_run(folder / "whole")
    (folder / "keras.json").write_text(json.dumps(result(*fit(whole)), indent=1))
    print(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))


if __name__ == "__main__":
    main()
