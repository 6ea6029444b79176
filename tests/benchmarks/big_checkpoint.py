"""What a save of a large model costs: how long training waits, until it is durable, and what a restore takes.

    python tests/benchmarks/big_checkpoint.py [MEGABYTES] [ROUNDS]

A dense Keras model with Adam on the TensorFlow backend whose state has about so many megabytes; the published figures
are for 1200, and 48, when none are given, end within a minute on two cores. Before each save every variable is written
anew, as a step does it. Each row saves as its callback does at the end of an epoch, in turn with the others and with
two floors: a plain copy of the same bytes into memory that is ready, and a raw write of them with fsync. The fastest of
the rounds counts. Of the rows only colabkit's waits for fsync. OrbaxCheckpoint needs the package orbax-checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

OURS, COPY, WRITE = "colabkit run.resume()", "plain copy", "raw write + fsync"


class Floors:
    """What no save can be faster than."""

    def __init__(self, variables, folder):
        import numpy as np

        self._arrays = [variable.numpy() for variable in variables]
        self._ready = [np.ones_like(array) for array in self._arrays]
        self._path = folder / "raw"
        self.size = sum(array.nbytes for array in self._arrays)

    def copy(self):
        """Copy all into memory that is ready."""
        import numpy as np

        for to, of in zip(self._ready, self._arrays, strict=True):
            np.copyto(to, of)

    def write(self):
        """Write all, and wait for the disk."""
        with open(self._path, "wb", buffering=0) as file:
            file.writelines(array.data.cast("B") for array in self._arrays)
            os.fsync(file.fileno())


def main(megabytes: int = 48, rounds: int = 3) -> None:
    """Measure all rows in turn and print two tables."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    logging.getLogger("colabkit").setLevel(logging.ERROR)
    model = build(megabytes)
    variables = [*model.variables, *model.optimizer.variables]
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".big-checkpoint-") as name:
        folder = Path(name)
        floors = Floors(variables, folder)
        rows = {
            COPY: (lambda _: floors.copy(), lambda: None),
            WRITE: (lambda _: floors.write(), lambda: None),
            OURS: ours(model, folder),
            **peers(model, variables, folder),
        }
        found = {row: [] for row in rows}
        for number in range(rounds + 1):  # the first warms up
            for row, (save, wait) in rows.items():
                for variable in variables:
                    variable.assign_add(variable.value)
                os.sync()  # what the row before has left to the system to write
                start = time.perf_counter()
                save(number)
                blocked = time.perf_counter() - start
                wait()
                if number:
                    found[row].append((blocked, time.perf_counter() - start))
        report(floors.size, rounds, found)
        print(restore(folder / "ours", model, rounds))


def build(megabytes):
    """Build a model whose variables and Adam moments have about so many megabytes."""
    import keras
    import numpy as np

    width = int((megabytes * 1e6 / 4 / 3 / 4) ** 0.5)
    model = keras.Sequential([keras.layers.Input((width,)), *(keras.layers.Dense(width) for _ in range(4))])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, width), "float32"), np.ones((2, width), "float32"))
    return model


def ours(model, folder):
    """Save with the callback of a run."""
    import colabkit as ck

    run = ck.open_run(folder / "ours", keep=2)
    callback = run.resume()
    callback.set_params({"epochs": 1 << 20, "steps": 1})
    callback.set_model(model)
    callback.on_train_begin()

    def save(number):
        callback.on_epoch_begin(number)
        callback.on_epoch_end(number)

    return save, run.flush


def peers(model, variables, folder):
    """Save with what Keras, Orbax and TensorFlow bring."""
    import keras
    import tensorflow as tf

    made = {
        "keras ModelCheckpoint": keras.callbacks.ModelCheckpoint(folder / "model.keras", save_freq="epoch"),
        "keras BackupAndRestore": keras.callbacks.BackupAndRestore(folder / "backup"),
    }
    try:
        made["keras OrbaxCheckpoint"] = keras.callbacks.OrbaxCheckpoint(str(folder / "orbax"))
    except ImportError:
        print("OrbaxCheckpoint is left out: pip install orbax-checkpoint\n", file=sys.stderr)
    rows = {}
    for name, callback in made.items():
        callback.set_model(model)
        # Its own savers do their work before they return; only Orbax has something to wait for.
        waiting = getattr(callback, "wait_until_finished", lambda: None)
        rows[name] = (lambda number, callback=callback: callback.on_epoch_end(number, {}), waiting)
    checkpoint = tf.train.Checkpoint(variables=[variable.value for variable in variables])
    manager = tf.train.CheckpointManager(checkpoint, folder / "tf", max_to_keep=2)
    rows["tf.train.CheckpointManager"] = (lambda _: manager.save(), lambda: None)
    return rows


def report(size, rounds, found):
    """Print the table of saves."""
    best = {row: [min(column) * 1e3 for column in zip(*times, strict=True)] for row, times in found.items()}
    copy, write = best[COPY][0], best[WRITE][1]
    print(f"{size / 1e6:.0f} MB, fastest of {rounds} rounds, in turn\n")
    print("| | training waits, ms | in plain copies | until it is saved, ms | in raw writes |\n|---|---|---|---|---|")
    for row, (blocked, saved) in best.items():
        print(f"| {row} | {blocked:.1f} | {blocked / copy:.2f} | {saved:.0f} | {saved / write:.2f} |")
    others = {row: blocked for row, (blocked, _) in best.items() if row not in (OURS, COPY, WRITE)}
    fastest = min(others, key=others.get)
    print(f"\n{fastest} makes training wait {others[fastest] / best[OURS][0]:.1f} times as long as {OURS}.")


def restore(folder, model, rounds):
    """Measure a restore beside reading the same file with hashing, both from the cache of the file system."""
    from colabkit.checkpoint.format import naming
    from colabkit.checkpoint.keras import state

    reads, restores, applies = [], [], []
    for _ in range(rounds + 1):
        path = naming.entries(folder / naming.FOLDER)[0].path
        start = time.perf_counter()
        with open(path, "rb") as file:
            hashlib.file_digest(file, "sha256")
        reads.append(time.perf_counter() - start)
        start = time.perf_counter()
        found, _, _ = naming.latest_valid(naming.candidates(folder / naming.FOLDER))
        restores.append(time.perf_counter() - start)
        state.apply(model, found.tensors, groups=("model/", "optimizer/"))
        applies.append(time.perf_counter() - start)
    read, restored, applied = (min(times) * 1e3 for times in (reads, restores, applies))
    text = (
        "\nReading the file with hashing takes {:.0f} ms; a proven restore {:.2f} times as long, into the model {:.2f}."
    )
    return text.format(read, restored / read, applied / read)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
