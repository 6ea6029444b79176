"""What Drive costs, on a double of Colab whose Drive is really mounted: calls that find all well, and the trash.

python tests/benchmarks/drive.py [ROUNDS [OVERWRITES]]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from colabkit.testing import DriveFolder, FakeColab

if TYPE_CHECKING:
    from pathlib import Path

CALLS = """
import contextlib, io, os, statistics, subprocess, time, colabkit as ck
from google.colab import drive
def ms(work, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()): work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), sorted(times)[int(len(times) * 0.9)]
ck.drive.mount(MP)
"""

SIZE = 20_000_000


def calls(rounds: int) -> None:
    """Time calls on a Drive that is mounted and well, and count what they send to the frontend."""
    works = (
        ("`ck.drive.mount()`", "ck.drive.mount(MP)", "5"),
        ("google.colab's `drive.mount()` (the double's)", "drive.mount(MP)", ""),
        ("`ls` of the mount as a process, alone", "subprocess.run(['ls', '-A', MP], capture_output=True)", ""),
        ("`ck.drive.health()`", "ck.drive.health(MP)", ""),
        ("`ck.drive.health(write=False)`", "ck.drive.health(MP, write=False)", ""),
    )
    print(f"Mounted and well, {rounds} calls each\n")
    print("| call | median, ms | 90 of 100 within, ms | target, ms | messages a call |\n|---|---|---|---|---|")
    with FakeColab() as colab:
        colab.run(f"MP = {str(colab.mountpoint)!r}\n{CALLS}")
        for name, code, target in works:
            colab.requests.clear()
            median, most = map(float, colab.run(f"print(*ms(lambda: {code}, {rounds}))", timeout=600).split())
            print(f"| {name} | {median:.1f} | {most:.1f} | {target} | {len(colab.requests) / rounds:g} |")


def _overwrite(path: Path, data: bytes, *, empty_first: bool) -> None:
    new = path.with_name("new.part")
    new.write_bytes(data)
    if empty_first and path.exists():
        os.truncate(path, 0)
    os.replace(new, path)


def trash(overwrites: int) -> None:
    """Replace a file of 20 MB many times and weigh the trash, with the old file emptied first and without."""
    print(f"\n{overwrites} overwrites of a file of 20 MB, each uploaded\n")
    print("| way | trash, MB | target, MB | s |\n|---|---|---|---|")
    for name, empty_first, target in (("write beside and rename", False, ""), ("empty the old one first", True, "1")):
        with tempfile.TemporaryDirectory() as folder, DriveFolder(folder, lag=0.0, rate=1e12, quota=1e12) as drive:
            begun = time.monotonic()
            for number in range(overwrites):
                _overwrite(drive.path / "model.bin", number.to_bytes(4, "big") * (SIZE // 4), empty_first=empty_first)
                drive.settle()
            taken = time.monotonic() - begun
            print(f"| {name} | {drive.trash_bytes / 1e6:.3f} | {target} | {taken:.0f} |")


def main(rounds: int = 50, overwrites: int = 100) -> None:
    """Print the two tables."""
    calls(rounds)
    trash(overwrites)


if __name__ == "__main__":
    if missing := DriveFolder.missing():
        sys.exit(missing)
    main(*map(int, sys.argv[1:]))
