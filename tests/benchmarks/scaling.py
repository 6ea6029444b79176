"""What several workers give and survive on one machine.

python tests/benchmarks/scaling.py throughput [BACKEND]    1, 2 and 4 workers beside one process with as many threads
python tests/benchmarks/scaling.py kills [N] [BACKEND]     N kills of a random worker, in one run
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[1] / "support" / "doubles" / "shared_training.py"

MEASURED = """
import os, sys, time
os.environ.update(KERAS_BACKEND=sys.argv[1], CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3")
import numpy as np
import colabkit as ck
with ck.strategy() as chosen:
    import keras
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).random((2048, 28, 28, 1), "float32")
    y = np.random.default_rng(1).integers(0, 10, 2048)
    layers = [keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.MaxPooling2D(),
              keras.layers.Conv2D(64, 3, activation="relu"), keras.layers.MaxPooling2D(),
              keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.layers.Input((28, 28, 1)), *layers])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=128, verbose=0)
    began = time.perf_counter()
    model.fit(x, y, batch_size=128, epochs=3, verbose=0)
    seconds = time.perf_counter() - began
    if chosen.worker == 0:
        print("result", seconds / 48, 4 * model.count_params(), flush=True)
"""


def _launch(count: int, threads: int, script: Path, *words: str, quiet: bool = False) -> subprocess.Popen[str]:
    variables = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"), str(threads))
    command = [sys.executable, "-m", "colabkit", "launch", "--json", "--restarts", "1000", "--local", str(count)]
    return subprocess.Popen(
        [*command, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else subprocess.PIPE,  # nobody reads it while workers are being killed
        text=True,
        env={**os.environ, **variables},
    )


def throughput(backend: str) -> None:
    """Print the time of a step by workers and threads, and what the cost model of docs/scaling.md says."""
    print(f"{backend}, batch 128, {os.cpu_count()} cores\n\n| workers | threads each | ms a step | images/s | to one |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "measured.py"
        script.write_text(MEASURED)
        for total in (1, 2, 4):
            alone = None
            for count in (1, total) if total > 1 else (1,):
                _, err = _launch(count, total // count, script, backend).communicate(timeout=550)
                if (found := re.search(r"result (\S+) (\d+)", err)) is None:
                    sys.exit(err)
                step = float(found[1])
                alone = alone or step
                threads = total // count
                print(
                    f"| {count} | {threads} | {1000 * step:.1f} | {128 / step:,.0f} | {alone / step:.2f} |", flush=True
                )
    print(f"\n{int(found[2]):,} bytes of gradients a step")


def kills(wanted: int, backend: str) -> None:
    """Kill a random worker again and again, and compare the weights with those of a run that was left alone."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("--epochs", str(40 * wanted), "--every", "3 steps")
        whole, broken = Path(folder, "a", "run"), Path(folder, "b", "run")
        for run in (whole, broken):
            run.parent.mkdir()
        running = _launch(2, 1, SCRIPT, backend, "mlp", str(whole), *words)
        running.communicate(timeout=550)
        began, killed = time.monotonic(), 0
        running = _launch(2, 1, SCRIPT, backend, "mlp", str(broken), *words, quiet=True)
        dice = random.Random(5)
        while killed < wanted and running.poll() is None:
            victims = _workers(running.pid)
            marks = [broken.parent / f"step{rank}" for rank in range(2)]
            if len(victims) == 2 and all(mark.exists() for mark in marks):
                time.sleep(dice.uniform(0, 0.3))
                for mark in marks:
                    mark.unlink(missing_ok=True)
                with contextlib.suppress(ProcessLookupError):  # it has just come to its end
                    os.kill(dice.choice(victims), 9)
                    killed += 1
                    print(f"kill {killed}", file=sys.stderr, flush=True)
            time.sleep(0.01)
        out, _ = running.communicate(timeout=550)
        report = json.loads(out)
        files = [np.load(run.parent / "run-0.npz")["weights"] for run in (whole, broken)]
        print(f"{killed} kills, {len(report['failures'])} failures seen, exit code {running.returncode}, ", end="")
        print(f"weights identical: {np.array_equal(*files)}, {time.monotonic() - began:.0f} s")


def _workers(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children]


if __name__ == "__main__":
    arguments = sys.argv[2:]
    if sys.argv[1:2] == ["throughput"]:
        throughput(arguments[0] if arguments else "tensorflow")
    elif sys.argv[1:2] == ["kills"]:
        kills(int(arguments[0]) if arguments else 20, arguments[1] if len(arguments) > 1 else "jax")
    else:
        sys.exit(__doc__)
