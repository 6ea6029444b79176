"""Claims about `ck.train` that take a training: killed it ends the same, and what it gives can be used at once.

Each training is a process of its own, on a few images of the sample. It prints one line of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason='TensorFlow is missing; pip install "tensorflow>=2.18"'
)
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason='JAX is missing; pip install "jax"')

TRAIN = """
import hashlib, json, os, signal, sys
import numpy as np, colabkit as ck
from colabkit.models import datasets
options = json.loads(sys.argv[2])
at, own = options.pop("at", None), options.pop("own", False)
digits = datasets.sample()
samples = options.pop("samples", 1290)
x, y = digits.x_train[:samples], digits.y_train[:samples]

def mine():
    import keras
    model = keras.Sequential([keras.layers.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
                              keras.layers.Dropout(0.1), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model

def mine_data():
    return (x.astype("float32"), y), (digits.x_test[:100].astype("float32"), digits.y_test[:100])

run = ck.open_run(sys.argv[1], every="1 steps")
if at:
    from colabkit.checkpoint import run as runs
    submit = runs.Run.submit
    def submit_and_die(self, taken):
        submit(self, taken)
        if taken.step >= at:
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    runs.Run.submit = submit_and_die
given = {"data": mine_data} if own else {"data": ((x, y), (digits.x_test[:100], digits.y_test[:100]))}
result = ck.train(mine if own else options.pop("model"), run=run, epochs=2, **given, **options)
digest = hashlib.sha256()
import keras
for variable in [*result.model.variables, *result.model.optimizer.variables]:
    digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
print(json.dumps({"hash": digest.hexdigest(), "history": result.history, "metrics": result.metrics,
                  "resumed_from": result.resumed_from, "backend": keras.backend.backend(),
                  "steps_per_execution": result.model.steps_per_execution, "name": result.name}))
"""


def train(folder, **options):
    """Train to the end, or to the kill; return the exit code and what it printed."""
    backend = options.pop("backend", "tensorflow")
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if backend is None:
        env.pop("KERAS_BACKEND")
    command = [sys.executable, "-c", TRAIN, str(folder), json.dumps(options)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    lines = done.stdout.splitlines()
    return done.returncode, json.loads(lines[-1]) if lines else None


def killed_and_whole(tmp_path, at, **options):
    """Train without a kill, and killed in the middle of the second epoch; both end the same."""
    _, whole = train(tmp_path / "whole", **options)
    assert train(tmp_path / "killed", at=at, **options) == (-signal.SIGKILL, None)
    _, found = train(tmp_path / "killed", **options)
    assert found["resumed_from"]["epoch"] == 1
    assert found["resumed_from"]["step"] > 0
    for key in ("hash", "history", "metrics"):
        assert found[key] == whole[key]
    return found


@needs_tensorflow
def test_many_steps_at_once_resume_exactly(tmp_path):
    """20 steps an execution, 40 steps an epoch, killed after 20 of the second: the same weights, bit for bit."""
    found = killed_and_whole(tmp_path, 40 + 20, model="mnist-mlp", samples=1280)
    assert found["steps_per_execution"] == 20
    assert found["resumed_from"] == {"epoch": 1, "step": 20}


@pytest.mark.slow
@needs_tensorflow
def test_a_sprint_of_the_cnn_resumes_exactly(tmp_path):
    """Larger batch, cosine and, where the CPU has it, bfloat16: the same weights, bit for bit."""
    found = killed_and_whole(tmp_path, 40 + 32, model="digits-cnn", recipe="sprint", batch_size=32)
    assert found["history"]["accuracy"][-1] > 0.5


@pytest.mark.slow
@needs_jax
@needs_tensorflow
def test_the_backend_that_was_chosen_once_is_kept_and_resumes_exactly(tmp_path):
    """A run begun on JAX goes on there without the variable, and ends with the same weights, bit for bit."""
    _, whole = train(tmp_path / "whole", model="mnist-mlp", backend="jax")
    assert train(tmp_path / "killed", at=41 + 32, model="mnist-mlp", backend="jax") == (-signal.SIGKILL, None)
    _, found = train(tmp_path / "killed", model="mnist-mlp", backend=None)
    assert found["backend"] == "jax"
    assert found["resumed_from"] == {"epoch": 1, "step": 32}
    assert [found[key] for key in ("hash", "history")] == [whole[key] for key in ("hash", "history")]


@pytest.mark.slow
@needs_jax
@needs_tensorflow
@pytest.mark.parametrize(("backend", "samples", "number"), [("tensorflow", 1280, 20), ("jax", 1290, 32)])
def test_many_steps_at_once_compute_what_single_ones_do(tmp_path, backend, samples, number):
    """The tutorial's losses, nearly to the digit; on JAX also with a short last execution and a small last batch."""
    options = {"model": "mnist-mlp", "backend": backend, "samples": samples}
    _, single = train(tmp_path / "single", recipe="tutorial", **options)
    _, many = train(tmp_path / "many", recipe="same", **options)
    assert (single["steps_per_execution"], many["steps_per_execution"]) == (1, number)
    assert many["history"]["loss"] == pytest.approx(single["history"]["loss"], rel=1e-4)


@pytest.mark.slow
@needs_jax
def test_a_model_of_ones_own_gets_the_same(tmp_path):
    """A function that builds and one that gives data: resumable, evaluated, named after the function."""
    found = killed_and_whole(tmp_path, 41 + 20, own=True, backend="jax")
    assert found["name"] == "mine"
    assert found["metrics"]["accuracy"] > 0.3
    assert found["steps_per_execution"] == 1


@needs_tensorflow
def test_the_command_classifies_a_test_csv(tmp_path):
    """`colabkit train --data train.csv --test test.csv` writes the competition's submission.csv, one row an image."""
    rng = np.random.default_rng(0)
    pixels = [f"pixel{number}" for number in range(784)]
    rows = np.column_stack([np.arange(210) % 10, rng.integers(0, 256, (210, 784))]).tolist()
    for name, columns, first in (("train.csv", ["label", *pixels], 0), ("test.csv", pixels, 1)):
        lines = [",".join(columns), *(",".join(map(str, row[first:])) for row in rows)]
        (tmp_path / name).write_text("\n".join(lines))
    command = [sys.executable, "-m", "colabkit", "train", "mnist-mlp", "--json", "--epochs", "1"]
    files = [
        "--data",
        str(tmp_path / "train.csv"),
        "--test",
        str(tmp_path / "test.csv"),
        "--run",
        str(tmp_path / "run"),
    ]
    env = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([*command, *files], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["recipe"] == "same"
    lines = (tmp_path / "run" / "submission.csv").read_text().splitlines()
    assert lines[0] == "ImageId,Label"
    assert [line.split(",")[0] for line in lines[1:]] == [str(number) for number in range(1, 211)]
    assert {line.split(",")[1] for line in lines[1:]} <= set("0123456789")
    assert "200 rows to train on, and 10 drawn from them for the test" in done.stderr
