"""A mirrored training that is killed at random instants, with its machine or without, on what users mirror to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from colabkit.testing import DriveFolder

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "lost_machines.py"


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["drive", "gs"])
def test_what_was_confirmed_is_never_lost(storage):
    """It always starts again, never from before a step that was called safe, and ends as one that was left alone."""
    pytest.importorskip("jax", reason="jax is missing; pip install jax")
    if storage == "drive" and (missing := DriveFolder.missing()):
        pytest.skip(missing)
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, SCRIPT, "4", "0", storage], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {storage} | 4 |" in done.stdout
