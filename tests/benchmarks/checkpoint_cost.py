"""What checkpointing costs the tutorial's model: the same training with and without `run.resume()`, in pairs.

    python tests/benchmarks/checkpoint_cost.py [PAIRS] [MNIST.npz]

Every training is a process of its own and counts the seconds of `fit` alone, compile included. Without a file the
bundled sample is repeated to 60,000 images, which costs the same time a step.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

ROWS = {"without": None, 'every="60s" (default)': "60s", 'every="2s" (quickstart)': "2s"}

SCRIPT = """
import json, sys, time
import keras, numpy as np
import colabkit as ck
from colabkit.models import datasets, mnist_mlp

every, folder, data = json.loads(sys.argv[1])
digits = datasets.load_mnist(data) if data else datasets.sample()
times = -(-60_000 // len(digits.x_train))
x = np.tile(digits.x_train.astype("float32") / 255, (times, 1, 1))[:60_000]
y = np.tile(digits.y_train, times)[:60_000]
keras.utils.set_random_seed(0)
model = mnist_mlp.build()
callbacks = [ck.open_run(folder, every=every).resume()] if every else []
start = time.perf_counter()
model.fit(x, y, batch_size=32, epochs=5, verbose=0, callbacks=callbacks)
print(time.perf_counter() - start)
"""


def fit_seconds(every: str | None, data: str | None) -> float:
    """Train once in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SCRIPT, json.dumps([every, folder, data])]
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
        )
    return float(done.stdout.split()[-1])


def main(pairs: int = 5, data: str | None = None) -> None:
    """Take the rows in turn and compare within each round."""
    times: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(pairs):
        for name, every in ROWS.items():
            times[name].append(fit_seconds(every, data))
    print(
        f"{pairs} rounds, in turn; seconds of fit\n\n| | median s | ratio to without, median (min-max) |\n|---|---|---|"
    )
    for name, values in times.items():
        ratios = [value / base for value, base in zip(values, times["without"], strict=True)]
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
        print(f"| {name} | {statistics.median(values):.2f} | {spread} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
