"""Loops with names beside them, on any Python and without a framework: killed and run again they must end the same.

The names are read in the code of Python's frames, which is another one in each version: `.ci/quickstart.sh` runs this
on each, and `test_carried_names.py` on its own.

Usage: carried_names.py FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import colabkit as ck

DATA = range(6)
KILLS = (3, 8, 11)
counted = 0


def epochs_and_batches(run, state, step):
    """Go over epochs and batches, with `continue`, `try` and `with` in the middle."""
    best, history, patience = 1e9, [], 0
    loop = run.loop(DATA, epochs=3, state=state)
    for _ in loop.each_epoch():
        total = 0.0
        for _, x in enumerate(loop):
            value = step(x)
            total += value
            state["w"] += value
            history.append(value)
            if value % 4 == 0:
                continue
            if value < best:
                best = value
            else:
                patience += 1
        try:
            mean = total / len(DATA)
        except ZeroDivisionError:
            mean = 0
        with open(os.devnull):
            history.append(("mean", mean, [number for number in range(2)]))  # noqa: C416 - code of its own
    return best, history, patience, total


def in_a_bar(run, state, step):
    """Go through a bar, with a `match` inside."""
    losses, means = {}, {"a": 0.0}
    for x in tqdm(run.loop(DATA, epochs=2, state=state), disable=True):
        value = step(x)
        means["a"] += value
        losses.setdefault(int(value), []).append(means["a"])
        state["w"] *= 0.5
        state["w"] += value
        match x:
            case 3:
                last = x
            case _:
                last = -1
    return losses, means, last


class Trainer:
    """A trainer as people write it, which asks for its batches."""

    def __init__(self):
        self.best = 0.0
        self.log = []

    def fit(self, run, state, step):
        """Train, with a global counter and a moving average."""
        global counted  # noqa: PLW0603 - as people write
        counted, average = 0, None
        batches = iter(run.loop(DATA, epochs=2, state=state))
        while True:
            try:
                x = next(batches)
            except StopIteration:
                break
            value = step(x)
            average = value if average is None else 0.9 * average + 0.1 * value
            counted += 1
            self.best = max(self.best, value * counted)
            self.log.append(self.best)
            state["w"] += average
        return self.best, self.log, counted, average


def in_a_class(run, state, step):
    """Train in a method."""
    return Trainer().fit(run, state, step)


def in_a_closure(run, state, step):
    """Count in a function inside."""
    sums, number = [0.0], 0

    def add(value):
        nonlocal number
        number += 1
        sums[0] += value * number

    for x in run.loop(DATA, epochs=2, state=state):
        add(step(x))
        state["w"] += sums[0]
        first, second = (x, number) if x else (number, x)
    return sums, number, first, second


CELL = """
best, history, total = 0.0, [], 0.0
for x in run.loop(DATA, epochs=2, state=state):
    value = step(x)
    total += value
    history.append(total)
    if total > best:
        best, kept = total, np.copy(state["w"])
    state["w"] += value
result = best, history, total, kept.tolist()
"""


def in_a_cell(run, state, step):
    """Run the text of a cell."""
    names = {"__name__": "__main__", "np": np, "DATA": DATA, "run": run, "state": state, "step": step}
    exec(CELL, names)  # noqa: S102 - as a notebook does
    return names["result"]


def train(case, folder, kill):
    """Train in a process of its own, which dies at a batch; returns what came out, "" where it died."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        run, seen = ck.open_run(folder, every="1 step"), 0

        def step(x):
            nonlocal seen
            seen += 1
            if seen == kill:
                run.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return float(x)

        state = {"w": np.zeros(3)}
        result = case(run, state, step)
        os.write(writing, json.dumps([result, state["w"].tolist()]).encode())
        run.close()
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    return told


def main(folder):
    """Compare each case, killed at each moment, with itself undisturbed."""
    for case in (epochs_and_batches, in_a_bar, in_a_class, in_a_closure, in_a_cell):
        whole = train(case, folder / f"{case.__name__}-whole", 0)
        for kill in KILLS:
            killed = folder / f"{case.__name__}-{kill}"
            assert train(case, killed, kill) == ""
            assert whole
            assert (again := train(case, killed, 0)) == whole, (case.__name__, kill, again, whole)
    sys.stdout.write(f"names beside a loop go on exactly on Python {sys.version.split()[0]}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
