"""The reference models beside the tutorial's own code, and train.csv beside pandas: one machine, one run.

    python tests/benchmarks/models.py mnist.npz train.csv [SEEDS]

`mnist.npz` is the whole of MNIST as `keras.datasets.mnist` has it, `train.csv` the 42,000 rows of Kaggle's
digit-recognizer. Each training is a process of its own; the seconds are those of `fit`, compiling included. The
tutorial and `same` take one seed, `sprint` takes SEEDS (3). pandas must be installed, to read the CSV beside ours.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

TUTORIAL = """
import json, sys, time
import numpy as np, keras
name, path, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
from colabkit.models import digits_cnn, mnist_mlp
module = {"mnist-mlp": mnist_mlp, "digits-cnn": digits_cnn}[name]
samples = module.load(path)
keras.utils.set_random_seed(seed)
model = module.build()
begin = time.perf_counter()
model.fit(samples.x_train, samples.y_train, epochs=module.EPOCHS, verbose=0)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, model.evaluate(samples.x_test, samples.y_test, verbose=0)[1]]))
"""

OURS = """
import json, sys, tempfile
import colabkit as ck
name, path, seed, recipe = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
with tempfile.TemporaryDirectory() as folder:
    result = ck.train(name, data=path, run=folder, seed=seed, recipe=recipe)
print(json.dumps([result.seconds["fit"], result.metrics["accuracy"]]))
"""

TRACKING = """
import json, sys, tempfile, time
import colabkit as ck
from colabkit.tracking import keras as _keras
from colabkit.models.results import plots
spent = [0.0]
def timed(call):
    def wrapped(*arguments, **named):
        begin = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            spent[0] += time.perf_counter() - begin
    return wrapped
for name in [name for name in vars(_keras.TrackCallback) if name.startswith("on_") or name == "_step_done"]:
    setattr(_keras.TrackCallback, name, timed(vars(_keras.TrackCallback)[name]))
import matplotlib.figure  # its import is no plot
with tempfile.TemporaryDirectory() as folder:
    result = ck.train(sys.argv[1], data=sys.argv[2], run=folder)
    tracked = spent[0]
    timed(plots.plot)(result.history, folder + "/training.png")
print(json.dumps([tracked / result.seconds["fit"], spent[0] / result.seconds["fit"]]))
"""

READ = """
import json, resource, sys, time
path, how = sys.argv[1:]
if how == "pandas":
    import pandas
    read = lambda: pandas.read_csv(path)
else:
    from pathlib import Path
    import numpy  # pandas has imported it before its clock starts, too
    from colabkit.models.datasets import read_train_csv
    from colabkit.models.readers import binary_cache as _cache
    from colabkit.models.readers import csv as _csv
    read = lambda: read_train_csv(Path(path))
    if how == "used":  # what is mapped is read when it is used
        read = lambda: numpy.array(read_train_csv(Path(path))[0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.perf_counter()
read()
seconds = time.perf_counter() - begin
print(json.dumps([seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""


def run(script: str, *arguments: object, **environment: str) -> tuple[float, float]:
    """Run a script; return the two numbers that it prints."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    first, second = json.loads(done.stdout.splitlines()[-1])
    return first, second


def trainings(name: str, path: str, seeds: int) -> None:
    """Print the table of one model."""
    print(f"\n| {name} | fit s | ratio to the tutorial | test accuracy |\n|---|---|---|---|")
    whole, accuracy = run(TUTORIAL, name, path, 0, KERAS_BACKEND="tensorflow")
    print(f"| the tutorial's code, TensorFlow | {whole:.1f} | 1.00 | {accuracy:.4f} |")
    for recipe, backend in [(r, b) for r in ("same", "sprint") for b in ("tensorflow", "jax")]:
        if name == "digits-cnn" and backend == "jax":
            continue  # convolutions are slower there on a CPU
        count = seeds if recipe == "sprint" else 1
        found = [run(OURS, name, path, seed, recipe, KERAS_BACKEND=backend) for seed in range(count)]
        seconds = statistics.median(one for one, _ in found)
        accuracies = ", ".join(f"{one:.4f}" for _, one in found)
        print(f"| `{recipe}`, {backend} | {seconds:.1f} | {seconds / whole:.2f} | {accuracies} |", flush=True)


def tracking(name: str, path: str) -> None:
    """Print which part of the seconds of `fit` goes into the log, TensorBoard's files and the plot of a training.

    Reading the metrics waits for the steps that compute them, so what is counted is an upper bound.
    """
    print(f"\n| {name}, `same` | of the seconds of fit |\n|---|---|")
    logs, all_of_it = run(TRACKING, name, path)
    print(f"| the log and TensorBoard's files | {logs:.2%} |\n| with the plot | {all_of_it:.2%} |", flush=True)


def reading(path: str) -> None:
    """Print the table of the CSV, best of three in turn."""
    found: dict[str, list[tuple[float, float]]] = {"pandas": [], "first": [], "copy": [], "used": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            found["pandas"].append(run(READ, path, "pandas"))
            found["first"].append(run(READ, path, "ours", COLABKIT_CACHE=cache))
            found["copy"].append(run(READ, path, "ours", COLABKIT_CACHE=cache))
            found["used"].append(run(READ, path, "used", COLABKIT_CACHE=cache))
    print(
        "\n| train.csv to arrays | s | times as fast as pandas | peak memory, MB | of pandas |\n|---|---|---|---|---|"
    )
    base, memory = (min(values) for values in zip(*found["pandas"], strict=True))
    titles = {
        "pandas": "pandas.read_csv",
        "first": "ours, the first time (copy written)",
        "copy": "ours, from the copy",
        "used": "ours, from the copy, all of it read into memory",
    }
    for key, title in titles.items():
        seconds, most = (min(values) for values in zip(*found[key], strict=True))
        print(f"| {title} | {seconds:.4f} | {base / seconds:.1f} | {most:.0f} | {most / memory:.2f} |", flush=True)


if __name__ == "__main__":
    mnist, csv = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    print("load average at the start:", os.getloadavg()[0])
    reading(csv)
    tracking("mnist-mlp", mnist)
    tracking("digits-cnn", csv)
    trainings("mnist-mlp", mnist, count)
    trainings("digits-cnn", csv, count)
    print("load average at the end:", os.getloadavg()[0])
