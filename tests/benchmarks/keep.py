"""`keep=`: what a later session needs for a file that is kept in a folder, beside a plain copy of it and a sync.

python tests/benchmarks/keep.py [MIB]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from colabkit.testing.http import FaultServer

ROUNDS = 5
FETCH = """
import time, colabkit as ck
ck.fetch
begun = time.perf_counter(), time.process_time()
ck.fetch({url!r}, {to!r}, keep={keep!r}, progress=False)
print(time.perf_counter() - begun[0], time.process_time() - begun[1])
"""
COPY = """
import os, shutil, time
begun = time.perf_counter(), time.process_time()
shutil.copyfile({kept!r}, {to!r})
with open({to!r}, "rb") as file:
    os.fsync(file.fileno())
print(time.perf_counter() - begun[0], time.process_time() - begun[1])
"""


def _run(code: str, cache: Path) -> list[float]:
    env = {**os.environ, "COLABKIT_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1] if len(sys.argv) > 1 else 256) << 20
    with tempfile.TemporaryDirectory() as place, FaultServer() as server:
        root = Path(place)
        server.put("big.bin", os.urandom(size))
        how = {"url": server.url("big.bin"), "keep": str(root / "keep")}
        _run(FETCH.format(**how, to=str(root / "first")), root / "cache")
        kept = max((root / "keep").iterdir(), key=lambda path: path.stat().st_size)
        rounds = []
        for number in range(ROUNDS):
            fetched = _run(FETCH.format(**how, to=str(root / "fetched")), root / f"cache{number}")
            copied = _run(COPY.format(kept=str(kept), to=str(root / "copied")), root / "none")
            rounds.append([one / other for one, other in zip(fetched, copied, strict=True)])
            for name in ("fetched", "copied"):
                (root / name).unlink()
        for what, ratios in zip(("wall", "processor"), zip(*rounds, strict=True), strict=True):
            print(f"{what}: {statistics.median(ratios):.2f} of a plain copy ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"served: {sum(seen.sent for seen in server.seen) / size:.2f} of the file, in {ROUNDS + 1} sessions")


if __name__ == "__main__":
    main()
