"""What starting costs: `import colabkit` and the quick commands, beside a bare interpreter, in one run.

python tests/benchmarks/startup.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROWS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import colabkit": [sys.executable, "-c", "import colabkit"],
    "colabkit --help": [sys.executable, "-m", "colabkit", "--help"],
    "colabkit detect --json": [sys.executable, "-m", "colabkit", "detect", "--json"],
}


def seconds(command: list[str]) -> float:
    """Time one process from outside."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(rounds: int = 21) -> None:
    """Go through the rows in turn, so that a machine that slows down slows all of them."""
    for command in ROWS.values():
        seconds(command)
    times: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(rounds):
        for name, command in ROWS.items():
            times[name].append(seconds(command))
    bare = statistics.median(times["python -c pass"])
    print(f"median of {rounds}, in turn\n\n| | ms | beyond bare, ms | ratio to bare |\n|---|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| `{name}` | {median * 1e3:.1f} | {(median - bare) * 1e3:.1f} | {median / bare:.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
