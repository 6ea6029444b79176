"""Restart and continue under nbclient, many times for each kernel set.

python -m tests.benchmarks.restart [N]      the sets are built by tests/kernels.py

A round is a notebook whose first cell restarts the kernel in place and whose second follows. It counts when the runner
ended well, the cell ran again in the same process, and the queued cell ran once, after it.
"""

from __future__ import annotations

import statistics
import sys

from tests.kernels import SETS, build_command
from tests.runtime.notebooks import run_notebook

RESTARTS = """
import os, time
import colabkit
print('ran', os.getpid(), time.time())
if 'COLABKIT_RESTARTED' not in os.environ:
    colabkit.detect().restart()
"""
CELLS = [RESTARTS, "print('followed', os.getpid())"]


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


def main(rounds):
    """Print a row for each set."""
    print("target: all of 50, under 5 s from the call to the re-run cell\n")
    print("| kernels | went on | median, s | slowest, s |\n|---|---|---|---|")
    complete = True
    for name, kernels in SETS.items():
        if not kernels.is_built:
            sys.exit(f"the kernel set {name} is not built; run: {build_command(name)}")
        took = [seconds for _ in range(rounds) if (seconds := once(kernels)) is not None]
        complete &= len(took) == rounds
        middle, worst = (statistics.median(took), max(took)) if took else (float("nan"), float("nan"))
        print(f"| {name} | {len(took)} of {rounds} | {middle:.2f} | {worst:.2f} |", flush=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
