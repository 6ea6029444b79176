"""Run the doubles of killed trainings, and compare what they tell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

DOUBLES = Path(__file__).parent / "doubles"
_ENDS = {-signal.SIGKILL, -signal.SIGTERM, 3}  # 3: Ctrl-C; Lightning ends by SystemExit at SIGTERM too


def train(double, folder, cases):
    """Train cases; what each printed."""
    command = [sys.executable, str(DOUBLES / double), str(folder), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    return dict(zip(cases, map(json.loads, done.stdout.splitlines()), strict=True))


def same(told):
    """Compare a killed training with one that was not, and the same again where it was run once more."""
    assert told["ends"], told
    assert set(told["ends"]) <= _ENDS, told
    assert isinstance(told["result"], dict), told
    assert told["result"]["resumed_from"] is not None
    other = {"resumed_from": None, "size": 0}
    for result in (told["result"], told.get("again", told["result"])):
        assert result | other == told["whole"] | other, told
