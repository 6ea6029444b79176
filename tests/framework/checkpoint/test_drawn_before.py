"""Claims about scripts that draw at their start without a seed, and use it in a training or in a later one.

After a kill in the first phase a new process draws others: they are put back, or told. One process trains the cases of
a way to train, each in a fork that is killed.
"""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.support.killed_trainings import train

WAYS = {"loop": "torch", "lightning": "lightning", "trainer": "transformers", "fastai": "fastai"}
FAST = {
    "later_model:4/a,4/b": "second",
    "teacher_and_noise:4/a": "basis, noise, teacher",
    "kept_anywhere:4/a": "Project.basis, _private, args.noise, judge.c.b.a.net, model.teacher[0], "
    "nets['x']['y'][0]['z'], second, second.0.hook 0.scale and 2 more",
}
CHANGES = "model: Sequential(power=N) -> Sequential(power=N), model.1: Dropout(p=N) -> Dropout(p=N)"
VALUES = "values_that_code_uses:4/a"
EXACT = {"objects_and_closures:4/a": "critic.judge, self.nets[1], self.rng"}
SAID = {
    "rows_of_a_later_phase:4/a": "order",
    "numbers:4/a": "alpha, sums",
    "frames_and_estimators:4/a": "projection, spread, table",
    "large:4/a": "large",
    "seeded:4/a": "second, weights",  # set by the user, as all that is drawn is the same again
}
KEPT = 'kept as the run has them: %s. Drawn or set otherwise, they make a training of its own: run.phase("NAME")'
ROWS = "rows:4/a"
CHANGING = "target_network:4/a,4/b"
AGAIN = ("a_cell_run_again_after_an_error", "made_anew_in_the_process")


def trained(way, folder, cases):
    """Train cases by one way."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec(WAYS[way]) is None:
        pytest.skip(f"{WAYS[way]} is missing; pip install torch==2.13.0 {WAYS[way]}")
    results = train("torch_phases.py", folder, [f"{way} {case}" for case in cases])
    return dict(zip(cases, results.values(), strict=True))


@pytest.fixture(scope="module", params=WAYS)
def fast(request, tmp_path_factory):
    """Train the cases of the quick suite."""
    return trained(request.param, tmp_path_factory.mktemp("runs"), (*FAST, VALUES))


@pytest.fixture(scope="module", params=WAYS)
def told(request, tmp_path_factory):
    """Train the others."""
    return trained(request.param, tmp_path_factory.mktemp("runs"), (*EXACT, CHANGING, *SAID, ROWS, *AGAIN))


def check(killed, names):
    """See that a killed script ends as one that never was, and says once what it has put back."""
    assert set(killed["ends"]) == {-9}
    assert killed["result"]["result"] == killed["whole"]["result"]
    assert killed["whole"]["said"] == []
    said = [line.partition(": ")[2].replace("model.model", "model") for line in killed["result"]["said"]]
    assert said == [KEPT % names]


@pytest.mark.parametrize("case", FAST)
def test_what_is_drawn_at_the_start_is_that_of_the_run(fast, case):
    """Models of later phases, a teacher, noise and a projection of a loss."""
    check(fast[case], FAST[case])


def test_values_that_code_uses_are_told(fast):
    """Drawn numbers anywhere, tables, how the layers are set."""
    killed = fast[VALUES]
    assert killed["ends"] == [-9]
    assert killed["whole"]["said"] == []
    drawn, changed = killed["result"]["said"]
    assert "run was begun: Settings.margin, scale, settings['weight'], table. Set a seed" in drawn
    changes = changed.partition("in effect from now on: ")[2].replace("model.model", "model")
    assert re.sub(r"[\d.]{3,}", "N", changes) == CHANGES


@pytest.mark.slow
@pytest.mark.parametrize("case", EXACT)
def test_so_is_what_objects_and_closures_hold(told, case):
    """Critics in closures, networks in a list of an object, generators."""
    check(told[case], EXACT[case])


@pytest.mark.slow
def test_what_changes_while_it_trains_goes_on(told):
    """A target network that follows the one that is trained."""
    assert told[CHANGING]["ends"] == [-9, -9]
    assert told[CHANGING]["result"]["result"] == told[CHANGING]["whole"]["result"]


@pytest.mark.slow
@pytest.mark.parametrize("case", SAID)
def test_what_is_not_put_back_is_told_by_name(told, case):
    """Rows of a later phase, what is larger than 64 MiB, and what the user has set, which counts."""
    killed = told[case]
    assert killed["ends"] == [-9]
    lines = [line for line in killed["result"]["said"] if "another one than when the run was begun" in line]
    assert [SAID[case] in line for line in lines] == [True]
    if case.startswith("rows"):  # the parts of a split have their samples back, or are told too
        is_exact = killed["result"]["result"][1:] == killed["whole"]["result"][1:]
        assert is_exact != ("order, rest.indices, train_rows.indices" in lines[0])
    if case.startswith("seeded"):
        assert killed["result"]["result"][0] == 0.5


@pytest.mark.slow
def test_rows_of_the_training_itself_are_given_back_or_refused(told):
    """A split without a seed."""
    assert told[ROWS]["ends"] == [-9]
    refused = isinstance(told[ROWS]["result"], str)
    if refused:
        assert "was trained on other samples" in told[ROWS]["result"]
    else:
        assert told[ROWS]["result"]["result"] == told[ROWS]["whole"]["result"]


@pytest.mark.slow
@pytest.mark.parametrize("case", AGAIN)
def test_in_the_process_that_trains_what_is_made_anew_is_left(told, case):
    """But where a cell is run once more that has failed, and makes all anew."""
    assert told[case]["result"]["result"] is True
