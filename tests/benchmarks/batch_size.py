"""`batch_size="auto"` beside every power of two, on the digits CNN; and in a control group with little memory.

    python -m tests.benchmarks.batch_size [BACKEND …] [MEGABYTES …]      the second needs root and control groups

The shipped sample, six times over: 36,000 images. For each backend that is installed the search is timed, and an
epoch of each size after one that compiles. In a group the same training has so much memory, and goes to its end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.small_memory import group

TIMES = 6
BACKENDS = ("tensorflow", "jax", "torch")
SIZES = [1 << power for power in range(4, 12)]
AUTO = """
import json, logging, sys, time
import colabkit as ck
from colabkit.models import batch_size
seconds, find = [], batch_size.find
def timed(*arguments, **named):
    begin = time.perf_counter()
    try:
        return find(*arguments, **named)
    finally:
        seconds.append(time.perf_counter() - begin)
batch_size.find = timed
result = ck.train("digits-cnn", data=sys.argv[1], run=sys.argv[2], batch_size="auto", epochs=1)
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
print(json.dumps([result.batch_size, seconds[0], result.metrics["accuracy"], int(peak) // 1024]))
"""
EACH = """
import json, sys, time
from colabkit.models import digits_cnn
samples = digits_cnn.load(sys.argv[1])
rates = {}
for size in map(int, sys.argv[2:]):
    model, times = digits_cnn.build(), []
    for _ in range(3):
        begin = time.perf_counter()
        model.fit(samples.x_train[:12000], samples.y_train[:12000], batch_size=size, epochs=1, verbose=0)
        times.append(time.perf_counter() - begin)
    rates[size] = 12000 / min(times[1:])
print(json.dumps(rates))
"""


def run(code, backend, *arguments, megabytes=None):
    """Run code on a backend, with so much memory where that is said; return what it prints last."""
    place = None if megabytes is None else group(megabytes)

    def enter():
        if place is not None:
            (place / "cgroup.procs").write_text(str(os.getpid()))

    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=env,
            check=False,
            capture_output=True,
            text=True,
            preexec_fn=enter,
        )
    finally:
        if place is not None:
            place.rmdir()
    if done.returncode:
        return f"ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
    return json.loads(done.stdout.splitlines()[-1])


def main(backends, groups):
    """Print a row for each backend, and one for each group."""
    import numpy as np

    from colabkit.models import datasets

    print("targets: found in under 20 s, and at least half of the best throughput\n")
    print("| backend | memory | auto | found in, s | samples a second | the best | share | accuracy | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    sample = datasets.sample()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        arrays = {"x_train": np.tile(sample.x_train, (TIMES, 1, 1)), "y_train": np.tile(sample.y_train, TIMES)}
        np.savez(path, **arrays, x_test=sample.x_test, y_test=sample.y_test)
        for backend in backends or BACKENDS:
            if importlib.util.find_spec(backend) is None:
                continue
            rates = {int(size): rate for size, rate in run(EACH, backend, path, *SIZES).items()}
            best = max(rates, key=rates.__getitem__)
            for megabytes in (None, *groups):
                ended = run(AUTO, backend, path, Path(folder) / f"{backend}-{megabytes}", megabytes=megabytes)
                if isinstance(ended, str):
                    print(f"| {backend} | {megabytes} | {ended} |", flush=True)
                    continue
                size, seconds, accuracy, peak = ended
                share = f"{rates[size]:,.0f} | {rates[best]:,.0f} ({best}) | {rates[size] / rates[best]:.2f}"
                memory = "all" if megabytes is None else f"{megabytes} MB"
                search = f"{memory} | {size} | {seconds:.1f}"
                print(f"| {backend} | {search} | {share} | {accuracy:.3f} | {peak} |", flush=True)


if __name__ == "__main__":
    main([each for each in sys.argv[1:] if each in BACKENDS], [int(each) for each in sys.argv[1:] if each.isdigit()])
