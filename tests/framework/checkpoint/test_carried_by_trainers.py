"""Claims about what code beside Lightning, the Trainer and fastai fills: after a kill it goes on, or it is said.

One process trains all cases of a library, each in a fork of its own, which is really killed.
"""

from __future__ import annotations

import importlib.util
import signal

import pytest

from tests.support.killed_trainings import train

CASES = {
    "lightning": (
        "names_of_lightning:7,10/evaluate",
        "callbacks_of_lightning:7,12",
        "probe_in_a_callback:7",
        "environment_in_a_module:6,11",
        "dataset_changed_in_an_earlier_epoch:17",
        "lightning_between_epochs:7,14",
    ),
    "torch": ("environment_in_a_loop:9,20",),
    "transformers": ("names_of_the_trainer:5,10/evaluate,12", "the_trainer_between_epochs:7,14"),
    "fastai": ("names_of_fastai:3,10/evaluate,12",),
}
TOLD = {
    "told_of_lightning:7": "model.locks is not what it was when the run was killed: it holds what no checkpoint can",
    "large_array_in_a_dataset:7": "dataset.used changes while it trains and is too large to be kept",
}


def _trained(tmp_path_factory, cases):
    return train("torch_trainers.py", tmp_path_factory.mktemp("runs"), cases)


def _needs(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is missing; pip install {library}")


@pytest.fixture(scope="module")
def lightning(tmp_path_factory):
    """Train those of Lightning, and the one of a loop."""
    _needs("lightning")
    return _trained(tmp_path_factory, [*CASES["lightning"], *CASES["torch"], *TOLD])


@pytest.mark.parametrize("case", [*CASES["lightning"], *CASES["torch"]])
def test_what_a_module_and_its_callbacks_fill_goes_on(lightning, case):
    """Global names, attributes of objects and classes, closures, an environment, a replay memory, an optimizer."""
    _same(lightning[case])


@pytest.mark.parametrize("case", TOLD)
def test_what_no_checkpoint_holds_is_told_by_its_name(lightning, case):
    """Locks in a list of the module, and an array beyond what is kept that a dataset writes to in place."""
    told = lightning[case]
    assert set(told["ends"]) == {-signal.SIGKILL}, told
    assert any(TOLD[case] in line for line in told["result"]), told
    assert told["whole"], told


@pytest.mark.slow
@pytest.mark.parametrize("library", ["transformers", "fastai"])
def test_what_functions_and_callbacks_of_others_fill_goes_on(tmp_path_factory, library):
    """What compute_metrics, collators, metrics, losses, subclasses and callbacks fill."""
    _needs(library)
    for told in _trained(tmp_path_factory, CASES[library]).values():
        _same(told)


def _same(told):
    assert set(told["ends"]) == {-signal.SIGKILL}, told
    assert isinstance(told["result"], list), told
    assert told["result"] == told["whole"], told
