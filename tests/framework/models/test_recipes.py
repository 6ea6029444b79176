"""Claims about the recipes that need no training: what each plans."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest

import colabkit as ck
from colabkit.accelerator.backends import Backends
from colabkit.accelerator.precision import cpu_has_bfloat16
from colabkit.errors import RunMismatchError, UnknownNameError, UnsupportedError
from colabkit.models import MODELS, recipes
from colabkit.models.custom import OwnModel

BOTH = Backends(loaded=None, env={}, installed=("tensorflow", "jax"))


@pytest.fixture
def cpu(monkeypatch):
    """A machine with two backends installed, no accelerator, and nothing loaded; give it others by calling it."""

    def have(found=BOTH):
        monkeypatch.setattr(recipes, "detect_backends", lambda: found)
        monkeypatch.setattr("colabkit.accelerator.backends.detect_backends", lambda: found)
        return found

    bare = type("Bare", (), {"accelerators": (), "cpus": 2.0})
    monkeypatch.setattr("colabkit.accelerator.detect", lambda: bare)
    have()
    return have


def plan(name="mnist-mlp", recipe="same", *, begun=None, **more):
    """Plan with the file of a reference model."""
    module = importlib.import_module(MODELS[name])
    return recipes.plan(name, module, recipe, **{"epochs": None, "batch_size": None, "begun": begun} | more)


def test_same_changes_only_how_it_runs(cpu):
    """The default keeps the tutorial's epochs, batch and learning rate, whatever else it does."""
    for name in ("mnist-mlp", "digits-cnn"):  # the models of Keras
        same, tutorial = plan(name), plan(name, "tutorial")
        for field in ("epochs", "batch_size", "learning_rate", "policy"):
            assert getattr(same, field) == getattr(tutorial, field)
        assert tutorial.steps_per_execution is None
        assert tutorial.changes == ()
        assert same.changes


def test_the_backend_is_the_users_and_one_that_is_faster_is_named(cpu):
    """TensorFlow where nobody chose; what would take half the time is named where it is still free to choose."""

    def chosen(*words, **more):
        return plan(*words, **more).strategy.backend, plan(*words, **more).faster

    assert chosen("mnist-mlp") == ("tensorflow", "jax")
    assert chosen("mnist-mlp", "sprint") == ("tensorflow", "jax")
    assert chosen("mnist-mlp", "tutorial") == ("tensorflow", "")  # to the letter
    assert chosen("digits-cnn") == ("tensorflow", "")
    assert chosen("mnist-mlp", begun="tensorflow") == ("tensorflow", "")
    assert chosen("mnist-mlp", begun="jax") == ("jax", "")
    for found in (replace(BOTH, env={"KERAS_BACKEND": "tensorflow"}), replace(BOTH, loaded="tensorflow")):
        cpu(found)
        assert chosen("mnist-mlp") == ("tensorflow", "")
    cpu(replace(BOTH, installed=("tensorflow",)))
    assert chosen("mnist-mlp") == ("tensorflow", "")


def test_a_run_goes_on_with_the_backend_it_was_begun_with(cpu):
    """Otherwise installing JAX between two calls would change the result of the run."""
    assert plan("mnist-mlp", begun="tensorflow").strategy.backend == "tensorflow"
    cpu(replace(BOTH, installed=("tensorflow",)))
    assert plan("mnist-mlp", begun="jax").strategy.backend == "tensorflow"


def test_the_users_numbers_come_before_the_recipes(cpu):
    """epochs= and batch_size= hold in every recipe."""
    chosen = plan("digits-cnn", "sprint", epochs=7, batch_size=16)
    assert (chosen.epochs, chosen.batch_size) == (7, 16)
    assert "7 epochs with batches of 16" in chosen.changes


def test_a_sprint_says_what_it_changes(cpu):
    """Larger batch and schedule are named."""
    text = "; ".join(plan("digits-cnn", "sprint").changes)
    assert "3 epochs with batches of 125" in text
    assert "cosine" in text


def test_bfloat16_is_read_from_the_flags_of_the_cpu(tmp_path):
    """Only a CPU that says so multiplies bfloat16; an unreadable list says no."""
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n")
    assert cpu_has_bfloat16(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx512f sse\nbugs : amx_bf16\n")
    assert not cpu_has_bfloat16(tmp_path / "cpuinfo")
    assert not cpu_has_bfloat16(tmp_path / "none")


def test_unknown_recipes_and_models_without_a_sprint_are_refused(cpu, tmp_path):
    """The message lists the recipes, and no run is made; a model of one's own has no sprint."""
    with pytest.raises(UnknownNameError, match="same, tutorial, sprint"):
        ck.train("mnist-mlp", run=tmp_path / "run", recipe="marathon")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UnsupportedError, match="sprint"):
        recipes.plan("mine", OwnModel(list), "sprint", epochs=None, batch_size=None, begun=None)


@pytest.mark.parametrize("changed", [{"model": "digits-cnn"}, {"recipe": "sprint"}])
def test_a_run_is_not_continued_as_another_training(tmp_path, changed):
    """A run that was begun with another model or recipe is refused before any data is loaded."""
    (tmp_path / "run").mkdir()
    begun = {"model": "mnist-mlp", "recipe": "same", "backend": "jax"} | changed
    (tmp_path / "run" / "training.json").write_text(json.dumps(begun))
    with pytest.raises(RunMismatchError, match=next(iter(changed.values()))):
        ck.train("mnist-mlp", run=tmp_path / "run")
