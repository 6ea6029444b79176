"""Claims about splits without a seed: a new process goes on with the samples of the first one, or says why not."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.killed_trainings import train

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is missing; pip install torch==2.13.0"
)
EXACT = (
    "train_and_held_out:4,9",
    "samplers_of_two_data_sets:5",
    "a_loop_over_epochs_alone:2",
    "a_part_to_be_quick:4",
    "two_phases:4",
    "two_phases:8",
)
OTHERS = ("held_out_as_an_array:4", "folds:4", "folds:8")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Train all cases."""
    return train("torch_splits.py", tmp_path_factory.mktemp("runs"), (*EXACT, *OTHERS))


def check(told):
    """See that a killed training is as one that never was, and that it says which samples it goes on with."""
    assert set(told["ends"]) == {-9}
    assert told["result"]["result"] == told["whole"]["result"]
    assert any("goes on with the samples that it was begun with" in line for line in told["result"]["said"])
    others = [line for line in told["result"]["said"] if "another one than" in line]
    assert not any(name in line for line in others for name in ("indices", "chosen", "held_out"))  # they are back
    assert not any("samples" in line for line in told["whole"]["said"])


@pytest.mark.parametrize("case", EXACT)
def test_a_split_without_a_seed_stays_as_it_was(told, case):
    """`random_split`, samplers, a part of the data; what is held out stays held out."""
    check(told[case])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is missing; pip install lightning")
def test_so_does_one_of_a_data_module(tmp_path):
    """In Lightning's `setup`, which draws it once more in each process."""
    check(train("torch_splits.py", tmp_path, ["a_module_of_lightning:3,9"])["a_module_of_lightning:3,9"])


def test_where_something_held_out_has_no_name_the_data_is_refused(told):
    """An array of held out samples cannot be given back: it would be trained on."""
    assert "was trained on other samples" in told["held_out_as_an_array:4"]["result"]


def test_folds_that_are_drawn_anew_are_told(told):
    """The fold that was killed goes on with its samples, the next one has others than without the kill."""
    first, second = told["folds:4"], told["folds:8"]
    assert first["result"]["result"][0] == first["whole"]["result"][0]
    assert any("drawn anew in this process, while earlier ones" in line for line in first["result"]["said"])
    assert second["result"]["result"] == second["whole"]["result"]
