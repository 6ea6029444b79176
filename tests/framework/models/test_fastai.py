"""Claims about `ck.train("digits-fastai")`: killed it ends the same, and what it gives can be used, saved and loaded.

One process does all, each training and each loading in a fork of its own: fastai takes long to import.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.errors import UnsafeModelError, UnsupportedError

DOUBLE = Path(__file__).parents[2] / "support" / "doubles" / "fastai_digits.py"

needs_fastai = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastai", "torch", "torchvision")),
    reason='fastai is missing; pip install torch==2.13.0 "fastai>=2.7" "plum-dispatch<2.10"',
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the process has to say."""
    folder = tmp_path_factory.mktemp("digits")
    done = subprocess.run([sys.executable, str(DOUBLE), str(folder)], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"folder": folder}


@needs_fastai
@pytest.mark.slow
def test_a_killed_training_ends_the_same(told):
    """Weights, history, metrics, predictions and the log are those of a training that was never killed."""
    assert told["kill"] == -signal.SIGKILL
    assert told["killed"]["resumed_from"] == {"epoch": 1, "step": 3}
    assert told["killed"] | {"resumed_from": None} == told["whole"]
    assert [step for step, _, _ in told["whole"]["log"]] == [8, 16]
    assert set(told["whole"]["metrics"]) == {"loss", "accuracy"}


@needs_fastai
@pytest.mark.slow
def test_a_bundle_predicts_the_same_in_a_process_that_has_nothing_else(told):
    """Numbers and names are all it holds; a changed byte is named by its member."""
    assert told["bundle"] == [[label, pytest.approx(much, rel=1e-5)] for label, much in told["whole"]["said"]]
    assert told["damaged"].startswith("ModelFileError")
    assert "model.safetensors" in told["damaged"]


@needs_fastai
@pytest.mark.slow
def test_the_pickle_of_fastai_is_loaded_only_when_trusted(told):
    """It can run any code, and does not without being asked to."""
    assert told["pickle"].startswith("UnsafeModelError")
    assert told["trusted"] == list("0123456789")


@needs_fastai
@pytest.mark.slow
def test_the_command_trains_from_a_csv_and_writes_the_submission(told):
    """On stdout is one JSON object and nothing of what fastai prints; an image was drawn beside its probabilities."""
    code, path, first = told["shell"]
    assert code == 0
    assert Path(path).parent == told["folder"] / "shell"
    assert first == "ImageId,Label"
    assert (told["folder"] / "whole" / "said.png").read_bytes().startswith(b"\x89PNG")


def test_a_pickle_is_refused_whatever_is_in_it(tmp_path):
    """The refusal reads nothing of the file, so neither fastai nor torch is needed to be safe."""
    (tmp_path / "learner.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeModelError, match="trusted=True"):
        ck.load_model(tmp_path / "learner.pkl")


def test_a_recipe_that_it_has_not_is_refused(tmp_path):
    """Its one cycle is short already, and no sprint was measured."""
    with pytest.raises(UnsupportedError, match="sprint"):
        ck.train("digits-fastai", run=tmp_path / "run", recipe="sprint")
