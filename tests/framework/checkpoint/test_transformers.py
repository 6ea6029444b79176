"""Claims about trainings of Hugging Face's Trainer that are killed: they end as one that never was, bit for bit.

Everything is made in the test, nothing is downloaded. One process trains all cases, each in a fork that is killed.
"""

from __future__ import annotations

import importlib.util
import signal

import pytest

from tests.support.killed_trainings import same, train

# What was trained beyond the epochs that are asked for stays as it is.
FAST = ("plain:7", "plain:time,time", f"noisy:9/{int(signal.SIGTERM)},one epoch")
SLOW = (
    "accumulation:2,5",
    "noisy:3,8",
    "masked:3,8",
    "workers:4",
    "best:3,6/evaluate,8/save",
    "epochs:1,time,3,time,6/evaluate,7,12/evaluate",
    "max_steps:7,8",
    "stream:3,7",
    "plateau:5",
    "lora:3,8",
    "sft:5",
    "packed:2,5",
    "grouped:3,17",
    f"plain:5/{int(signal.SIGTERM)},8/{int(signal.SIGINT)}",
)
ELSEWHERE = "elsewhere:9"
PACKAGES = ("transformers", "accelerate", "peft", "trl", "datasets")

needs_transformers = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="transformers is missing; pip install torch==2.13.0 transformers accelerate peft trl",
)


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """Train the case of the quick suite."""
    return train("transformers_training.py", tmp_path_factory.mktemp("runs"), FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Train the others."""
    return train("transformers_training.py", tmp_path_factory.mktemp("runs"), [*SLOW, ELSEWHERE])


@needs_transformers
@pytest.mark.parametrize("case", FAST)
def test_a_killed_trainer_ends_as_one_that_never_was(fast, case):
    """Weights, optimizer, logs, the user's callbacks and the random numbers after it are the same."""
    same(fast[case])


@needs_transformers
@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_every_kind_of_training_goes_on(slow, case):
    """With accumulation, random masks, workers, streams, evaluations, the best model, TRL and adapters."""
    same(slow[case])


@needs_transformers
@pytest.mark.slow
def test_a_best_model_that_stayed_on_another_machine_does_not_end_the_training(slow):
    """The Trainer would look for its folder at the end, and fail; it is told, and the last weights are kept."""
    result = slow[ELSEWHERE]["result"]
    assert isinstance(result, dict), slow[ELSEWHERE]
    assert result["step"][0] == 12
    assert result["logs"] == slow[ELSEWHERE]["whole"]["logs"]


@needs_transformers
@pytest.mark.slow
def test_of_a_model_with_adapters_only_these_travel(slow):
    """A checkpoint holds the adapter, twice that in the optimizer, and some kilobytes of random states and settings."""
    told = slow["lora:3,8"]["result"]
    assert told["size"] < 3 * told["adapter"] + 42_000
    assert told["size"] - slow["lora:3,8"]["whole"]["size"] < told["base"] / 4  # after a kill, too
