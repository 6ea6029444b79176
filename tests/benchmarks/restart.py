"""Restart and continue under nbclient, many times for each kernel set.

python -m tests.benchmarks.restart [N] [SET …]      the sets are built by tests/support/kernels.py

A round is a notebook whose first cell restarts the kernel in place and whose second follows. It counts when the runner
ended well, the cell ran again in the same process, and the queued cell ran once, after it.
"""

from __future__ import annotations

import statistics
import sys

from tests.support.kernels import SETS, build_command
from tests.support.notebooks import run_notebook

RESTARTS = """
import os, time
import colabkit
print('ran', os.getpid(), time.time())
if 'COLABKIT_RESTARTED' not in os.environ:
    colabkit.detect().restart()
"""
CELLS = [RESTARTS, "print('followed', os.getpid())"]
AGAIN = """
print('again', os.getpid(), time.time())
if os.environ.get('AGAIN') != 'done':
    os.environ['AGAIN'] = 'done'
    colabkit.detect().restart()
"""
"""A cell of the same queue that restarts a second time; it stands on what the first cell imported."""


def twice(kernels):
    """Run a queue with two restarts; return the seconds of the second one, or None if it did not go as it should."""
    ran = run_notebook(kernels, [*CELLS, AGAIN, "print('last', os.getpid())"])
    if ran.code != 0 or len(ran.texts) != 4:
        print(ran.log)
        return None
    marks = [line.split()[1:] for line in ran.texts[2].splitlines() if line.startswith("again ")]
    if len(marks) != 2 or marks[0][0] != marks[1][0] or ran.texts[3] != f"last {marks[0][0]}\n":
        print(ran.texts)
        return None
    return float(marks[1][1]) - float(marks[0][1])


def once(kernels):
    """Run one round; return the seconds from the call to the re-run cell, or None if it did not go as it should."""
    ran = run_notebook(kernels, CELLS)
    if ran.code != 0 or len(ran.texts) != len(CELLS):
        print(ran.log)
        return None
    marks = [line.split()[1:] for line in ran.texts[0].splitlines() if line.startswith("ran ")]
    if len(marks) != 2 or marks[0][0] != marks[1][0] or ran.texts[1] != f"followed {marks[0][0]}\n":
        print(ran.texts)
        return None
    return float(marks[1][1]) - float(marks[0][1])


def main(rounds, names):
    """Print a row for each set."""
    print("target: all of 50, and 20 of 20 with two restarts, under 5 s from the call to the re-run cell\n")
    print("| kernels | went on | median, s | slowest, s | twice in a queue | slowest, s |\n|---|---|---|---|---|---|")
    complete = True
    for name in names:
        kernels = SETS[name]
        if not kernels.is_built:
            sys.exit(f"the kernel set {name} is not built; run: {build_command(name)}")
        took = [seconds for _ in range(rounds) if (seconds := once(kernels)) is not None]
        again = [seconds for _ in range(rounds * 2 // 5) if (seconds := twice(kernels)) is not None]
        complete &= len(took) == rounds and len(again) == rounds * 2 // 5
        middle, worst = (statistics.median(took), max(took)) if took else (float("nan"), float("nan"))
        second = f"{len(again)} of {rounds * 2 // 5} | {max(again, default=float('nan')):.2f}"
        print(f"| {name} | {len(took)} of {rounds} | {middle:.2f} | {worst:.2f} | {second} |", flush=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, sys.argv[2:] or list(SETS)))
