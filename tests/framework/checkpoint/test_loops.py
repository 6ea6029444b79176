"""Claims about loops of the user's own that are killed: they end as one that never was, bit for bit.

torch takes seconds to import, so one process trains all cases, each in a fork of its own, which is really killed.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.killed_trainings import DOUBLES, same, train

FAST = (
    "plain:3,7",
    "draws:4/begin,8",
    "workers:3,7",
    "accumulation:7,14",
    "averaged_and_scaled:6",
    "one_cycle:3,9",
    "hidden_state:4",
    "state_of_all_kinds:3,7",
    "stateful_loader:7",
    "each_epoch:5/evaluate,7,10/evaluated,10/evaluate",
    "left_early:3/evaluate,5",
    f"plain:7/{int(signal.SIGTERM)},9/{int(signal.SIGINT)}",
)
NAMES = [
    "prepared",
    "plain",
    "sequential",
    "generator",
    "seeded_generator",
    "draws",
    "workers",
    "persistent",
    "weighted",
    "replacement",
    "distributed",
    "python_sampler",
    "own_sampler",
    "batch_sampler",
    "drop_last",
    "unbatched",
    "stream",
    "stream_workers",
    "stateful_stream",
    "stateful_loader",
    "stateful_map_loader",
    "a_list",
    "a_function",
    "hidden_state",
    "compiled",
    "momentum",
    "lbfgs",
    "bfloat16",
    "sparse",
    "one_cycle",
    "multi_step",
    "restarts",
    "lambda",
    "chain",
    "plateau",
    "step_lr",
    "accumulation",
    "accumulation_dropped_before",
    "never_dropped",
    "zeroed_in_place",
    "averaged_and_scaled",
    "gan",
    "frozen",
    "tied",
    "state_of_all_kinds",
    "evaluated_within",
    "rare",
]
# These write their loop out, and have no place called "begin".
_WRITTEN_OUT = {"accumulation", "accumulation_dropped_before", "zeroed_in_place", "gan"}
SLOW = tuple(
    f"{name}:{'3,5/begin,8' if at % 2 and name not in _WRITTEN_OUT else '1,6,9'}" for at, name in enumerate(NAMES)
)

# A part of what tests/benchmarks/torch_conformance.py runs.
HABITS = (
    "with_a_bar_left_early:5,6/evaluate",
    "epochs_of_my_own:7",
    "phases:3,7",
    "stream_of_the_hub:7",
    "stochastic_averaging:7",
    "recurrent:6",
    "adapters:6",
    "scaled_and_clipped:9",
    "noisy_collate_in_workers:4",
    "drawing_dataset_in_workers:4",
    "containers_of_all_kinds:3,8",
    "best_weights:3,8",
    "layers_that_train_themselves:3,8",
    "random_features:3,8",
    "unfrozen_in_the_second_epoch:4,8,13",
    "step_within_backward:3,8",
    "optimizer_around_another:3,8",
)

needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "torchdata", "accelerate")),
    reason="torch is missing; pip install torch==2.13.0 torchdata accelerate",
)


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """Train the cases of the quick suite."""
    return train("torch_loops.py", tmp_path_factory.mktemp("runs"), FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Train the others, some at a time, so that no test waits for all of them."""

    @functools.cache
    def part(number):
        return train("torch_loops.py", tmp_path_factory.mktemp("runs"), SLOW[number * 6 : number * 6 + 6])

    return lambda case: part(SLOW.index(case) // 6)[case]


@needs_torch
@pytest.mark.parametrize("case", FAST)
def test_a_killed_loop_ends_as_one_that_never_was(fast, case):
    """State, losses, log and the random numbers after it are the same; the later processes begin with other seeds."""
    same(fast[case])


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_every_kind_of_data_and_state_goes_on(slow, case):
    """The same with every loader, sampler, stream, optimizer, scheduler and place of a kill."""
    same(slow(case))


@pytest.fixture(scope="module")
def habits(tmp_path_factory):
    """Train loops as people write them."""
    return train("torch_habits.py", tmp_path_factory.mktemp("runs"), HABITS)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "datasets", "peft")),
    reason="torch is missing; pip install torch==2.13.0 datasets peft",
)
@pytest.mark.slow
@pytest.mark.parametrize("case", HABITS)
def test_what_people_write_around_a_loop_goes_on(habits, case):
    """Bars, epochs of their own, phases, streams of the Hub, averages, hidden states, adapters, scalers, workers."""
    same(habits[case])


@needs_torch
def test_a_signal_loses_no_step(fast):
    """SIGTERM and Ctrl-C in a step let it end and save it."""
    told = fast[FAST[-1]]
    assert told["ends"] == [-signal.SIGTERM, 3]
    assert told["result"]["resumed_from"] == {"epoch": 1, "step": 4}


@needs_torch
@pytest.mark.parametrize(
    ("case", "ends"), [("3 4", [True, 0, 5]), ("4 2", [True, 0, 6]), ("1 8", [True, 0, 6]), ("4 4", [True, 0, 4])]
)
def test_another_number_of_processes_shares_out_what_is_left(said, case, ends):
    """After 24 of 48 samples of a DistributedSampler the others come, each once; 4 times 4 of a batch pass over 8."""
    assert said[f"shared {case}"][0] == f"fine: {ends}"
    count = case.partition(" ")[0]
    assert any(f"{count} instead of 2 processes" in line for line in said[f"shared {case}"][1:])


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Do what is refused or warned of."""
    command = [sys.executable, str(DOUBLES / "torch_refusals.py"), str(tmp_path_factory.mktemp("runs"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


REFUSED = {
    "other width": ("RunMismatchError", "0.weight has the shape (9, 6), in the run (8, 6)"),
    "renamed": ("RunMismatchError", "the run has 0.weight, this model first.weight"),
    "other type": ("RunMismatchError", "float64"),
    "other data": ("RunMismatchError", "samples: 40 -> 32"),
    "other values": ("RunMismatchError", "keeps as tensors.0"),
    "a split drawn anew": ("RunMismatchError", "keeps as indices is not what it was"),
    "an array of rows drawn anew": ("RunMismatchError", "keeps as indices is not what it was"),
    "a sampler drawn anew": ("RunMismatchError", "keeps as sampler.indices"),
    "files drawn anew": ("RunMismatchError", "keeps as files"),
    "rows of a joined dataset": ("RunMismatchError", "keeps as datasets.1.indices"),
    "one more": ("RunMismatchError", "history= is new"),
    "one less": ("RunMismatchError", "not given history="),
    "another optimizer": ("RunMismatchError", "SGD"),
    "world size": ("RunMismatchError", "world size: 2 -> 4"),
    "plain value": ("CheckpointError", "state['best_loss']"),
    "tuple": ("CheckpointError", "state['trees']"),
    "function": ("CheckpointError", "state_dict()"),
    "object": ("CheckpointError", "only a pickle could hold"),
    "no batches": ("DataError", "DataLoader"),
    "epochs": ("AddressError", "epochs=3"),
    "best": ("AddressError", "max"),
    "generator twice": ("DataError", "without the parentheses"),
    "not a number": ("DataError", "not a number"),
    "ends epoch": ("DataError", "each_epoch()"),
    "killed worker": ("DataError", "num_workers"),
    "killed worker again": ("DataError", "num_workers"),
    "other kind": ("RunMismatchError", "run.loop()"),
    "unshared": ("RunMismatchError", "not shared out by a DistributedSampler"),
    "module forgotten": ("CheckpointError", "trains 2 of 4 parameters that are not given"),
    "keys that are objects": ("CheckpointError", "a key of this dict is a Parameter"),
    "array of another shape": ("RunMismatchError", "table= is a ndarray of float64 with the shape (5,)"),
    "an object of a class": ("CheckpointError", "pass vars(meter)"),
    "group added": ("RunMismatchError", "run.phase('fine-tune')"),
    "list drawn anew": ("RunMismatchError", "draw it by random.Random(0)"),
    "waiting gradients": ("RunMismatchError", "gradients of each process wait"),
}
SAID = {
    "other learning rate": "lr: 0.01 -> 0.5",
    "more epochs": "a schedule over them differs",
    "other batch size": "batches of 4 instead of 8",
    "stream": "read again up to its place",
    "persistent": "start anew in each epoch",
    "numbered": "enumerate(loop) begins at 0 again",
    "files in another order": "keeps as files has another order",
    "lazy sampler": "does not give the same order again",
    "optimizer forgotten": "the Adam that steps in the loop is not given to it",
    "group added, first": "another optimizer, or other groups in it",
    "iterator of its own": "a DataLoader that the loop is not given is read in its steps",
    "unseeded data": "does not give the same batches again",
}


@needs_torch
@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_the_way_out(said, case):
    """The error is one of ours, names the value and says what to do."""
    kind, words = REFUSED[case]
    assert said[case][0].startswith(kind)
    assert words in said[case][0]
    assert "What to do" in said[case][0]


@needs_torch
@pytest.mark.parametrize("case", SAID)
def test_what_is_not_exact_is_said_and_the_run_goes_on(said, case):
    """A warning names it."""
    assert said[case][0].startswith("fine")
    assert any(words in line for line in said[case][1:] for words in [SAID[case]]), said[case]


@needs_torch
def test_an_optimizer_of_one_step_belongs_to_nobody(said):
    """One that is made anew for each step, as in meta-learning, has no state that a loop could lose."""
    assert said["optimizer of one step"] == ["fine: 10"]


@needs_torch
@pytest.mark.parametrize("case", ["validation in a step", "both in a function"])
def test_a_loader_that_belongs_to_its_step_or_to_the_loop_is_no_stray_one(said, case):
    """One that is opened and read within a step, as a validation does, and those that the loop itself reads."""
    assert said[case] == ["fine: 10"]


@needs_torch
@pytest.mark.parametrize("case", ["files in another folder", "the same data made twice", "drawn anew, allowed"])
def test_the_same_samples_go_on_without_a_word(said, case):
    """Lists that are equal below their folder are the same data; others are when they are allowed."""
    assert said[case][0] == "fine: 8"
    assert not [line for line in said[case][1:] if "order" in line or "samples" in line]


@needs_torch
def test_errors_breaks_and_other_wrappers_lose_nothing(said):
    """A loop goes on after an error of the user's, a break and torch.compile; the best state comes back."""
    assert said["error"][0] == "RAW ValueError: mine"
    assert said["after an error"][0] == "fine: 5"
    assert said["after a break"] == ["fine: 5", "break: continuing in epoch 1 of 1 after step 2"]
    assert said["compiled"][0] == said["as before"][0] == said["done"][0] == "fine: 10"
    assert said["best state"][0] == "fine: [2.0, 2, 1.0, 2, 1.0]"


def run_double(tmp_path, kind, *kills):
    """Run a loop that is killed at steps, and then to its end; the last one's process."""
    command = [sys.executable, str(DOUBLES / "jax_loops.py"), str(tmp_path), kind]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    for kill in kills:
        done = subprocess.run([*command, str(kill)], capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "package"), [("jax", "jax"), ("tape", "tensorflow"), ("tf.data", "tensorflow")])
def test_a_loop_of_jax_or_keras_goes_on_exactly(tmp_path, kind, package):
    """A pytree in a dict, and a model with a GradientTape on functions and tf.data, each killed twice."""
    pytest.importorskip(package, reason=f"{package} is missing; pip install {package}")
    whole = run_double(tmp_path / "whole", kind)
    killed = run_double(tmp_path / "killed", kind, 4, 9)
    assert whole.returncode == 0, whole.stderr
    assert "RESULT" in whole.stdout
    assert killed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1], killed.stderr


@pytest.mark.slow
def test_jax_arrays_that_are_not_assigned_to_are_noticed(tmp_path):
    """A loop that only binds its own name anew would save the first state for ever."""
    pytest.importorskip("jax", reason="JAX is missing; pip install jax")
    done = run_double(tmp_path, "stale")
    assert done.returncode == 1
    assert "the first step has changed no JAX array" in done.stderr
    assert "state['params']" in done.stderr
