"""Claims about what a continued training shares with one that was left alone: everything, on every backend.

The trainings are in `tests/support/doubles/trainings.py`; each backend runs its own in one process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "support" / "doubles" / "trainings.py"


@pytest.fixture(autouse=True, scope="module")
def compiled_anew(compiled_once):
    """Compile in each process, as users do: this is the test of what is the same then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        yield


FAST = {
    "tensorflow": ["in the validation", "callbacks with a state", "tf.data", "pydataset"],
    "jax": ["with the end of an epoch owed", "callbacks with a state"],
    "torch": ["arrays", "with the end of an epoch owed", "callbacks with a state"],
}
SLOW = {
    "tensorflow": [
        "arrays",
        "with the end of an epoch owed",
        "class weights",
        "sample weights, validation split",
        "several steps an execution",
        "jit",
        "float16 with loss scaling",
        "bfloat16",
        "schedule",
        "frozen layers",
        "averaged weights",
        "two optimizers",
        "pydataset with workers",
        "pydataset without an end",
        "tf.data repeated",
        "tf.data cut",
        "tf.data of unknown length",
        "generator",
    ],
    "jax": [
        "in the validation",
        "sample weights, validation split",
        "several steps an execution",
        "float16 with loss scaling",
        "averaged weights",
        "pydataset",
        "tf.data",
        "generator",
    ],
    "torch": [  # Keras itself has no steps_per_execution there
        "in the validation",
        "sample weights, validation split",
        "float16 with loss scaling",
        "averaged weights",
        "two optimizers",
        "pydataset with workers",
        "tf.data",
        "generator",
    ],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run the trainings of a backend once; gives what each found, by its name."""
    found = {}

    def train(backend, names):
        key = (backend, tuple(names))
        if key not in found:
            if importlib.util.find_spec(backend) is None:
                pytest.skip(f"{backend} is missing; pip install {backend}")
            done = subprocess.run(
                [sys.executable, SCRIPT, tmp_path_factory.mktemp(backend), *names],
                env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=500,
            )
            assert done.returncode == 0, done.stderr
            found[key] = {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}
        return found[key]

    return train


def same(found):
    """Hold that nothing differs, and that the training was continued at all."""
    assert "error" not in found, found["error"]
    assert found["differs"] == {}
    assert found["resumed"]


@pytest.mark.parametrize(("backend", "name"), [(backend, name) for backend in FAST for name in FAST[backend]])
def test_a_continued_training_ends_the_same(trained, backend, name):
    """Weights, optimizer, history, draws, the callbacks' states and calls, the log file: none of them differs."""
    same(trained(backend, FAST[backend])[name])


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "name"), [(backend, name) for backend in SLOW for name in SLOW[backend]])
def test_a_continued_training_ends_the_same_in_other_ways(trained, backend, name):
    """Weights on samples, mixed precision, several optimizers, frozen layers, streams of data: none differs."""
    same(trained(backend, SLOW[backend])[name])


def test_the_end_of_an_epoch_is_a_state(trained):
    """Interrupted after the last step it is continued there: validation and the callbacks of the end still come."""
    found = trained("jax", FAST["jax"])["with the end of an epoch owed"]
    assert found["resumed"]["step"] == 10
