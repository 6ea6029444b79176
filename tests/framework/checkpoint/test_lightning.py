"""Claims about fits of Lightning that are killed: they end as one that never was, bit for bit.

One process trains all cases, each in a fork that is killed.
"""

from __future__ import annotations

import importlib.util
import signal

import pytest

from tests.support.killed_trainings import same, train

# What was trained beyond the epochs that are asked for stays as it is, and EarlyStopping's end is an end.
FAST = ("plain:4,7", f"plain:time,two epochs,time,12/{int(signal.SIGTERM)},two epochs", "stopped_early:7")
SLOW = (
    "manual:4,7",
    "accumulation:4,9",
    "draws:7",
    "validation:4,7/validate,8",
    "plateau:5/validate,6",
    "averaged:7",
    "several:4,8,17",
    "stream:7",
    "max_steps:4",
    "workers:6",
    "measured:3,7,10",
    "tuned:4,8",
    "tuned_logged:4,8",
    "unfrozen:4,7,12",
    "loaded_again:4,13,18",
    f"plain:7/{int(signal.SIGTERM)},9/{int(signal.SIGINT)}",
)

needs_lightning = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None,
    reason="Lightning is missing; pip install torch==2.13.0 lightning",
)


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """Train the case of the quick suite."""
    return train("lightning_training.py", tmp_path_factory.mktemp("runs"), FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Train the others."""
    return train("lightning_training.py", tmp_path_factory.mktemp("runs"), SLOW)


@needs_lightning
@pytest.mark.parametrize("case", FAST)
def test_a_killed_fit_ends_as_one_that_never_was(fast, case):
    """Weights, optimizer, metrics, the user's callbacks and the random numbers after it are the same."""
    same(fast[case])


@needs_lightning
@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW)
def test_every_kind_of_training_goes_on(slow, case):
    """By hand, with accumulation, workers, streams, several loaders, averages and validation within an epoch."""
    same(slow[case])
