"""Each call of the system that a save or an upload makes fails once with EIO, and the clock jumps by hours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "failing_calls.py"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed: apt install gcc")
def test_no_failing_call_loses_what_was_confirmed_or_leaves_a_lock():
    """To the disk, a folder, a FUSE mount and a Cloud Storage: the next save works, and another machine restores."""
    done = subprocess.run([sys.executable, str(SCRIPT), "EIO", "4"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "disk EIO" in done.stdout
    assert "gs EIO" in done.stdout
    scenes = re.findall(r"(\d+) wrong", done.stdout)
    assert scenes, done.stdout
    assert set(scenes) == {"0"}, done.stdout
