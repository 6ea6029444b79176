"""What checkpointing costs the tutorial's model: the same training with and without `run.resume()`, in turn.

    python tests/benchmarks/checkpoint_cost.py [ROUNDS] [MNIST.npz]

One process, one model a row, warmed up first. Each round trains every row for five epochs, in an order drawn anew, and
counts the whole of `fit`: hashing the data, the first save and all later ones included. Without a file the bundled
sample is repeated to 60,000 images, which costs the same time a step. On a shared machine an epoch may take twice as
long now and then, in any row: each ratio is to the row without of the same round, and the fastest fits stand beside.

Where equal rows differ by more than the rows do, the second table tells more, by a clock around
each method of the callback.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time

PARTS = {
    "begin": "begin",
    "steps": "step_done",
    "ends of epochs": "epoch_ends",
    "end": "train_ends",
}
NOTHING = "a callback of Keras that does nothing at each step"  # Keras waits for every step to call it
ROWS = {"without": None, NOTHING: None, 'every="60s" (default)': "60s", 'every="2s" (quickstart)': "2s"}


def main(rounds: int = 8, data: str | None = None) -> None:
    """Train the rows in turn and print the table."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    import colabkit as ck
    from colabkit.checkpoint.keras.fit.resumed_fit import ResumedFit
    from colabkit.models import datasets, mnist_mlp

    spent = dict.fromkeys(PARTS, 0.0)
    for part, method in PARTS.items():
        setattr(ResumedFit, method, clocked(getattr(ResumedFit, method), spent, part))

    digits = datasets.load_mnist(data) if data else datasets.sample()
    times = -(-60_000 // len(digits.x_train))
    x = np.tile(digits.x_train.astype("float32") / 255, (times, 1, 1))[:60_000]
    y = np.tile(digits.y_train, times)[:60_000]

    class Nothing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    models = {}
    for name in ROWS:
        keras.utils.set_random_seed(0)
        models[name] = mnist_mlp.build()

    def seconds(name: str, epochs: int) -> float:
        every = ROWS[name]
        with tempfile.TemporaryDirectory() as folder:
            callbacks = [ck.open_run(folder, every=every).resume()] if every else [Nothing()] if name == NOTHING else []
            start = time.perf_counter()
            models[name].fit(x, y, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks)
            return time.perf_counter() - start

    for name in ROWS:
        seconds(name, 1)
    found: dict[str, list[float]] = {name: [] for name in ROWS}
    inside: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
    draw = random.Random(0)
    for _ in range(rounds):
        for name in draw.sample(list(ROWS), len(ROWS)):
            spent.update(dict.fromkeys(PARTS, 0.0))
            found[name].append(seconds(name, 5))
            inside[name].append(dict(spent))

    base = found["without"]
    print(f"{rounds} rounds of 5 epochs, each in another order\n")
    print("| | median s | median of the ratios | fastest s | ratio of fastest |\n|---|---|---|---|---|")
    for name, values in found.items():
        median, fastest = statistics.median(values), min(values)
        ratio = statistics.median(value / other for value, other in zip(values, base, strict=True))
        ratios = f"{ratio:.3f} | {fastest:.2f} | {fastest / min(base):.3f}"
        print(f"| {name} | {median:.2f} | {ratios} |")

    print(f"\n| inside the callback, median s | {' | '.join(PARTS)} | of fit |")
    print("|---" * (len(PARTS) + 2) + "|")
    for name in [name for name, every in ROWS.items() if every]:
        parts = [statistics.median(one[part] for one in inside[name]) for part in PARTS]
        share = statistics.median(
            sum(one.values()) / whole for one, whole in zip(inside[name], found[name], strict=True)
        )
        print(f"| {name} | {' | '.join(f'{part:.3f}' for part in parts)} | {share:.2%} |")


def clocked(method, spent, part):
    """Add the seconds of each call to a part of `spent`."""

    def call(*arguments, **named):
        start = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            spent[part] += time.perf_counter() - start

    return call


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
