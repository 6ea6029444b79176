"""Kill a training with Keras' own BackupAndRestore at random moments; count the states that `fit` cannot start from.

    python tests/benchmarks/kills_keras.py [KILLS] [SEED] [--double]

The tutorial's model on the sample that ships with colabkit, saved every 5 steps. Each process is killed with SIGKILL at
a moment within the seconds that its training takes, imports left out. A state that does not start is thrown away, and
the next process begins anew. A training that was killed and came to its end is compared with one that was left alone.

With --double each state is kept twice (`double_checkpoint=True`).
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READY = "ready"


def train(folder: str, *options: str) -> None:
    """Train, and print the hash of the weights."""
    import keras

    from colabkit.models import datasets

    data = datasets.sample()
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(128, "relu")]
    model = keras.Sequential([*layers, keras.layers.Dropout(0.2), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    backup = keras.callbacks.BackupAndRestore(folder, save_freq=5, double_checkpoint="--double" in options)
    print(READY, flush=True)
    model.fit(data.x_train / 255, data.y_train, epochs=3, verbose=0, callbacks=[backup])
    print(hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest())


def start(folder: Path, options: list[str]) -> subprocess.Popen[str]:
    """Train in a process of its own; returns when its training begins."""
    words = [sys.executable, __file__, "train", str(folder), *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == READY
    return process


def main(kills: int = 20, seed: int = 0, *, options: list[str]) -> None:
    """Kill that often, and print a table."""
    draw = random.Random(seed)
    killed = finished = unstartable = different = number = 0
    was_killed = False
    causes = set()
    with tempfile.TemporaryDirectory() as base:
        process = start(Path(base, "whole"), options)
        began = time.monotonic()
        expected = process.communicate()[0].strip()
        seconds = time.monotonic() - began
        while killed < kills:
            process = start(Path(base, str(number)), options)
            try:
                out, err = process.communicate(timeout=draw.uniform(0.1, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
                was_killed = True
                continue
            if process.returncode:
                unstartable += 1
                causes.add(err.strip().splitlines()[-1][:100])
            elif was_killed:
                finished += 1
                different += out.strip() != expected
            number += 1
            was_killed = False
    print(
        "| kills | could not start again | killed runs that finished | of these with other weights |\n|---|---|---|---|"
    )
    print(f"| {killed} | {unstartable} | {finished} | {different} |\n")
    print(*sorted(causes), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(*sys.argv[2:])
    else:
        numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
        main(*numbers, options=[word for word in sys.argv[1:] if word.startswith("--")])
