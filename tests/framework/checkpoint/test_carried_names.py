"""Claims about names that a loop is not given: after a kill they go on exactly, or it is said.

torch takes seconds to import, so one process trains all cases, each in a fork of its own, which is really killed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.support.killed_trainings import DOUBLES, train

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is missing; pip install torch==2.13.0"
)
EXACT = (
    "best_and_patience:3,5/evaluate",
    "epochs_alone:3",
    "functions_with_globals:7",
    "locals_of_a_function:7",
    "a_function_within:4",
    "a_class_that_trains:8",
    "others_that_change:4",
    "times_of_steps:4",
    "modules_functions_and_slots:4,8",
    "classes_of_tensors:4",
    "functions_registered_with_an_object:4,8",
    "a_function_with_a_memory:4,8",
    "methods_in_a_list:4,8",
    "functions_that_are_wrapped:4,8",
    "episodes_of_an_environment:4,8",
    "steps_of_an_environment:5,11",
    "generators_of_a_librarys_object:4,8",
    "samplers_with_a_state:3,6,8/evaluate",
    "samples_drawn_anew_for_each_epoch:3,7",
)
SLOW = (
    "best_and_patience:8,10/evaluate",
    "epochs_alone:2,4",
    "functions_with_globals:3,8",
    "a_while_that_asks:4,6",
    "locals_of_a_function:4,8",
    "a_class_that_trains:3,6",
    "settings_in_a_namespace:4,6",
    "two_networks_and_pictures:4,6",
    "a_memory_to_draw_from:5,9",
    "weights_by_hand:4,6",
)
SAID = {
    "a_sum_with_its_graph:3": "total is not what it was when the run was killed: it is a tensor with the graph",
    "the_weights_themselves:8": "weights is not what it was when the run was killed: it holds tensors of the model",
    "an_emulator:4": "emulator is not what it was when the run was killed: it is a Compress, whose state no checkpoint",
    "an_object_of_the_loops:8": "best is not what it was when the run was killed: it is a Meter",
}
DRAWN = "noise_without_a_seed:4"
AGAIN = {
    "a_cell_run_again": [[1, 2, 3, 4, 5, 6], 21, 20],
    "left_and_gone_on": [[6, 15, 7]],
    "more_epochs": [6, [1, 2, 3, 1, 2, 3]],
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Train all cases."""
    folder = tmp_path_factory.mktemp("runs")
    return train("torch_carried.py", folder, (*EXACT, *SAID, *AGAIN, DRAWN, "more_epochs:4,12"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Train the others."""
    return train("torch_carried.py", tmp_path_factory.mktemp("runs"), SLOW)


def check(told):
    """See that a killed training is as one that never was, that it says so once, and that no alarm comes before."""
    end, whole = told["result"], told["whole"]
    assert set(told["ends"]) == {-9}
    assert end["result"] == whole["result"]
    assert whole["said"] == []
    assert [line.startswith("your loop goes on with what the run has of ") for line in end["said"]] == [True]


@pytest.mark.parametrize("case", EXACT)
def test_what_a_loop_carries_along_goes_on(told, case):
    """The best so far, lists, counts: names of cells, functions, closures, objects of a class; others' averages."""
    check(told[case])


def test_names_in_a_module_are_told_with_it(told):
    """As the program writes them."""
    assert "settings.best, settings.count" in told["modules_functions_and_slots:4,8"]["result"]["said"][0]


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_what_a_loop_carries_along_goes_on_wherever_it_is_killed(slow, case):
    """Within an epoch and between two, twice; also namespaces, memories to draw from, weights by hand."""
    check(slow[case])


@pytest.mark.parametrize("case", SAID)
def test_what_no_checkpoint_holds_is_said_by_name(told, case):
    """In the first process, once it is known, and where a killed run goes on."""
    assert told[case]["ends"] == [-9]
    assert any(SAID[case] in line for line in told[case]["result"]["said"])
    if "killed" in SAID[case]:
        assert any("is not the same after a kill" in line for line in told[case]["whole"]["said"])


def test_noise_that_a_loop_only_reads_is_that_of_the_run(told):
    """A new process draws another, which is replaced and told."""
    assert told[DRAWN]["ends"] == [-9]
    assert told[DRAWN]["result"]["result"] == told[DRAWN]["whole"]["result"]
    assert "kept as the run has them: noise" in told[DRAWN]["result"]["said"][0]


@pytest.mark.parametrize("case", AGAIN)
def test_in_the_same_process_what_was_set_since_is_left(told, case):
    """A cell run once more goes on where it failed; what the program itself sets between two loops counts."""
    assert told[case]["result"]["result"] == AGAIN[case]


def test_what_is_left_is_said(told):
    """What a later cell has set is named."""
    assert "set in this process since, and left so: last" in told["a_cell_run_again"]["result"]["said"]
    killed = told["more_epochs:4,12"]
    assert killed["ends"] == [-9, -9]
    assert killed["result"]["result"][1] == killed["whole"]["result"][1]


def test_they_go_on_without_a_framework(tmp_path):
    """The same with arrays of NumPy, as `.ci/quickstart.sh` sees it on each Python."""
    done = subprocess.run([sys.executable, DOUBLES / "carried_names.py", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
