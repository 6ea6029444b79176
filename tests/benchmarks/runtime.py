"""What looking costs: detect(), strategy(), doctor(), secret(), in a fresh process and again, beside bare Python.

python tests/benchmarks/runtime.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLD = {
    "bare Python": ("pass", None),
    "`import pathlib`": ("import pathlib", None),
    "`detect()`": ("import colabkit; colabkit.detect()", 20),
    "`print(detect())`": ("import colabkit, os; print(colabkit.detect(), file=open(os.devnull, 'w'))", None),
    "`strategy()`, scope entered, no framework imported": ("import colabkit; colabkit.strategy().__enter__()", 50),
    "`secret()` from the environment": ("import colabkit; colabkit.secret('HOME')", None),
    "`doctor()`": ("import colabkit; colabkit.doctor()", 1000),
}

WARM = """
import statistics, time, sys, colabkit
from colabkit.runtime import detect
def ms(work, rounds):
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter(); work(); times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3
rounds = int(sys.argv[1])
import subprocess
smi = lambda: subprocess.run(["nvidia-smi"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
print(ms(detect, rounds * 5), ms(colabkit.doctor, rounds), ms(lambda: detect().accelerators, rounds), ms(smi, rounds))
"""

ANSWER = "Tesla T4, 15360, 550.54.15, 7.5, 3"


def median_ms(command: list[str], rounds: int) -> float:
    """Time a process from outside."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main(rounds: int = 15) -> None:
    """Print the two tables."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    print(f"median of {rounds}\n\n| in a fresh process | ms | beyond bare, ms | target |\n|---|---|---|---|")
    bare = 0.0
    for name, (code, target) in COLD.items():
        median_ms([sys.executable, "-c", code], 2)
        taken = median_ms([sys.executable, "-c", code], rounds)
        bare = bare or taken
        print(f"| {name} | {taken:.1f} | {taken - bare:.1f} | {target or ''} |")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "nvidia-smi")
        program.write_text(f"#!/bin/sh\nsleep 0.05\necho '{ANSWER}'\n")
        program.chmod(0o755)
        env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        command = [sys.executable, "-c", WARM, str(rounds)]
        out = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    detect, doctor, looked, alone = map(float, out.split())
    print("\n| again in the same process | ms | target |\n|---|---|---|")
    print(f"| `detect()` | {detect:.2f} | |")
    print(f"| `doctor()`, with a stand-in nvidia-smi of 50 ms | {doctor:.1f} | 1000 |")
    print(f"| `detect().accelerators`, beyond that nvidia-smi alone ({alone:.1f}) | {looked - alone:.1f} | 5 |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
