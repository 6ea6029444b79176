"""Kill trainings with SIGKILL at random instants on one backend of Keras; compare with trainings left alone.

    KERAS_BACKEND=jax python tests/benchmarks/kills_backends.py [KILLS] [SEED]

Three models: an MLP, a CNN with BatchNormalization and Dropout, and an MLP with a schedule of the learning rate,
EarlyStopping and ReduceLROnPlateau. Each process is forked from one that has imported Keras and no more, so that a kill
costs the seconds of a training and not those of the imports; it is killed at an instant drawn from the seconds of a
whole one. Weights, optimizer, history and the callbacks' states must be those of the training that was left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import colabkit as ck

with contextlib.suppress(ImportError):  # Keras asks it at the first fit, whatever the backend: seconds in every process
    import tensorflow as tf  # noqa: F401

SAMPLES, BATCH, EPOCHS = 640, 32, 4
Make = Callable[[], tuple[keras.Model, list[keras.callbacks.Callback]]]


def mlp() -> tuple[keras.Model, list[keras.callbacks.Callback]]:
    """Give a small MLP."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(4)]
    return keras.Sequential([keras.layers.Input((8, 8, 1)), *layers]), []


def cnn() -> tuple[keras.Model, list[keras.callbacks.Callback]]:
    """Give a small CNN."""
    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Flatten()]
    model = keras.Sequential([keras.layers.Input((8, 8, 1)), *layers, keras.layers.Dropout(0.2), keras.layers.Dense(4)])
    return model, []


def with_callbacks() -> tuple[keras.Model, list[keras.callbacks.Callback]]:
    """Give the MLP with callbacks that hold a state."""
    return mlp()[0], [
        keras.callbacks.LearningRateScheduler(lambda _, rate: rate * 0.95),
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.2),
        keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=0.1, restore_best_weights=True),
    ]


def train(run: ck.Run, make: Make, ended: Path, *more: keras.callbacks.Callback) -> None:
    """Train, and leave behind what it ended with."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 8, 8, 1)).astype("float32")
    y = (x.sum((1, 2, 3)) > 0).astype("int32") + 2 * (x[:, 0, 0, 0] > 0)
    model, others = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    fit = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0, "validation_data": (x[:100], y[:100])}
    history = model.fit(x, y, callbacks=[*others, *more, run.resume()], **fit)
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    kept = [[getattr(other, name, None) for name in ("best", "wait", "stopped_epoch")] for other in others]
    found = {"hash": digest.hexdigest(), "history": history.history, "callbacks": kept}
    ended.write_text(json.dumps(found, default=float))


def start(work: Callable[[], None], told: Path | None = None) -> int:
    """Do the work in a forked process; gives its id. What it tells goes to a file, where one is named."""
    if (pid := os.fork()) == 0:
        try:
            if told is not None:
                os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            work()
        except BaseException:  # noqa: BLE001 - a forked process must never return
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def wait(pid: int, seconds: float) -> int | None:
    """Wait for a process; gives its exit status, or None when it still runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    return None


def main(kills: int = 30, seed: int = 0) -> int:
    """Kill that often; returns 1 on any failure."""
    draw, failures = random.Random(seed), 0
    print("| backend | model | kills | runs finished | could not start again | ended otherwise |")
    print("|---" * 6 + "|")
    for make in (mlp, cnn, with_callbacks):
        killed = finished = failed = different = 0
        with tempfile.TemporaryDirectory() as base:

            def once(name: str, make: Make = make, base: str = base) -> int:
                folder = Path(base, name)
                return start(lambda: train(ck.open_run(folder, every="3 steps"), make, folder / "ended.json"))

            began = time.monotonic()
            assert wait(once("whole"), 300) == 0
            whole_seconds = time.monotonic() - began
            expected = Path(base, "whole", "ended.json").read_text()
            while killed < kills // 3 or not finished:
                name = f"run{finished + failed}"
                pid = once(name)
                limit = draw.uniform(0.2, 1.0) * whole_seconds if killed < kills // 3 else 300
                status = wait(pid, limit)
                if status is None:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    killed += 1
                elif status:
                    failed += 1
                else:
                    finished += 1
                    different += Path(base, name, "ended.json").read_text() != expected
                if failed > 5:
                    break
        failures += failed + different
        title = make.__name__.replace("_", " ")
        print(f"| {keras.backend.backend()} | {title} | {killed} | {finished} | {failed} | {different} |", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
