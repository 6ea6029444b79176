"""Kill a training at random moments, again and again, until it is done; compare it with one that was left alone.

    python tests/benchmarks/kills.py [KILLS] [SEED]

Each round starts `colabkit quickstart` on the bundled sample, saving every 20 steps, and kills it with SIGKILL at a
moment drawn from the seconds that a whole run takes, start-up and imports included. A round that cannot start again, or
a run that ends with other weights, is a failure. When a run is done, the next one begins in a new folder.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "colabkit", "quickstart", "--json", "--every", "20 steps"]


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the quickstart in a folder."""
    env = {**os.environ, "COLABKIT_OFFLINE": "1"}
    command = [*COMMAND, "--where", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def arrays(folder: Path) -> dict[str, bytes]:
    """Read the newest checkpoint: weights, optimizer and metrics."""
    from colabkit.checkpoint.format import naming

    found, _, _ = naming.latest_valid(naming.candidates(folder / "checkpoints"))
    assert found is not None
    return {name: array.tobytes() for name, array in found.tensors.items() if not name.startswith("rng/")}


def main(kills: int = 30, seed: int = 0) -> int:
    """Kill that often; returns 1 on any failure."""
    draw = random.Random(seed)
    killed = finished = failed = different = 0
    with tempfile.TemporaryDirectory() as base:
        began = time.monotonic()
        out, err = start(Path(base, "whole")).communicate()
        whole_seconds = time.monotonic() - began
        expected, accuracy = arrays(Path(base, "whole")), json.loads(out)["test_accuracy"]
        number = 0
        while killed < kills:
            process = start(Path(base, f"run{number}"))
            try:
                out, err = process.communicate(timeout=draw.uniform(0.3, 1.0) * whole_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
                continue
            if process.returncode != 0:
                print(err, file=sys.stderr)
                failed += 1
                break
            finished += 1
            different += arrays(Path(base, f"run{number}")) != expected
            different += json.loads(out)["test_accuracy"] != accuracy
            number += 1
        out, err = start(Path(base, f"run{number}")).communicate()
        finished += 1
        different += arrays(Path(base, f"run{number}")) != expected
    print("| kills | runs finished | could not start again | ended with other weights |\n|---|---|---|---|")
    print(f"| {killed} | {finished} | {failed} | {different} |")
    return int(bool(failed or different))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
