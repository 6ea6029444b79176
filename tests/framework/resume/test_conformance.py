"""Claims about trainings as users write them: stopped anywhere and run again they end the same, or it was said.

`runner.py` tells how; `python tests/framework/resume/runner.py` runs all of them, of `KERAS_BACKEND`.
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

RUNNER = Path(__file__).with_name("runner.py")
# A few of each kind; the fifth part of all is in the slow tests.
FEW = {
    "tensorflow": {
        "tf.data cached, shuffled, prefetched": "identical",
        "tf.data with tf.image in a parallel map": "identical",
        "tf.data cached in a file after shuffle": "identical",
        "VAE without call": "identical",
        "VAE, eager, with Python counters": "identical",
        "VAE that draws from tf.random": "said",
        "tf.data with a variable that a callback changes": "identical",
        "texts in pairs, shuffled before cache": "identical",
        "image_dataset_from_directory without a seed, validated on another folder": "identical",
        "tf.data of files in random order, labels by their number": "refused",
        "tf.data of files split without a seed": "refused",
        "a second model and its optimizer, not given to run.loop": "identical",
    },
    "torch": {
        "generator that shuffles later by np.random": "identical",
        "subclassed model, not built": "identical",
        "LambdaCallback that counts in a global": "identical",
        "own callback: an object": "identical",
        "own callback: an iterator": "said",
        "folds in phases": "identical",
        "epoch by epoch in a loop": "identical",
        "PyDataset with whole numbers drawn": "said",
        "validation on a few steps": "identical",
        "PyDataset that shuffles its indexes from the begin": "identical",
        "PyDataset of rows chosen anew": "refused",
        "arrays, validated on rows chosen anew": "said",
        "ensemble made at the start": "identical",
        "Lambda over an array of the notebook": "identical",
    },
    "jax": {
        "generator with an unseeded generator": "identical",
        "a loop of JAX that assigns its state anew, by names alone": "identical",
        "a loop of JAX whose averages are its weights at first": "identical",
        "weights of a file that the script writes first, in each phase": "identical",
    },
}


def verdicts(backend, tmp_path, *options):
    """Run cases in a process of their own; gives the verdict of each."""
    for module in {backend, "tensorflow"}:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is missing; pip install {module}")
    out = tmp_path / "verdicts.json"
    done = subprocess.run(
        [sys.executable, RUNNER, "--out", out, *options],
        env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())


@pytest.mark.parametrize("backend", FEW)
def test_a_stopped_training_ends_the_same_or_says_so(backend, tmp_path):
    """No seed, a second process that is one: unseeded tf.data, augmentation, a VAE, generators, stateful layers."""
    found = verdicts(backend, tmp_path, "--points", "1", "--exactly", *FEW[backend])
    assert {name: each["verdict"] for name, each in found.items()} == FEW[backend], found


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "share"), [("tensorflow", "2/9"), ("jax", "2/6"), ("torch", "2/5")])
def test_a_part_of_all_kinds_of_training(backend, share, tmp_path):
    """Nothing differs in silence, and no case ends with an error that is not ours."""
    found = verdicts(backend, tmp_path, "--points", "1", "--share", share)
    wrong = {name: each for name, each in found.items() if each["verdict"] in ("SILENT", "error")}
    assert wrong == {}
