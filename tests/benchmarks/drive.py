"""What Drive costs and survives, on a double of Colab whose Drive is really mounted.

    python tests/benchmarks/drive.py [calls | trash | tree | faults]...

calls: what calls take that find all well. trash: what 100 overwrites of a file of 20 MB leave there. tree: 5,000 small
files there and back, beside shutil.copytree. faults: seven faults against four verbs of a storage. All, when none is
named; the faults take some minutes, with a stall of 30 s and an outage of 60 s.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.storage import get_tree, put_tree
from colabkit.storage.drive import DriveStorage
from colabkit.testing import DriveFolder, FakeColab
from tests.support.drive_faults import FAULTS, VERBS, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

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


def calls(rounds: int = 50) -> None:
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


def trash(overwrites: int = 100) -> None:
    """Replace a file of 20 MB many times and weigh the trash, plainly and as our storage does it."""
    print(f"\n{overwrites} overwrites of a file of 20 MB, each uploaded\n")
    print("| way | trash, MB | target, MB | s |\n|---|---|---|---|")
    for name, target in (("write beside and rename", ""), ("a storage's `put`", "1")):
        with tempfile.TemporaryDirectory() as folder, DriveFolder(folder, lag=0.0, rate=1e12, quota=1e12) as drive:
            storage = DriveStorage(drive.path, mount=drive.path, address="drive:")
            begun = time.monotonic()
            for number in range(overwrites):
                data = number.to_bytes(4, "big") * (SIZE // 4)
                if target:
                    storage.put("model.bin", data)
                else:
                    (drive.path / "new").write_bytes(data)
                    (drive.path / "new").replace(drive.path / "model.bin")
                drive.settle()
            taken = time.monotonic() - begun
            print(f"| {name} | {drive.trash_bytes / 1e6:.3f} | {target} | {taken:.0f} |", flush=True)


def tree(files: int = 5000, size: int = 2000) -> None:
    """Send many small files to the mount and get them back, as one archive and one by one."""
    print(f"\n{files:,} files of {size:,} bytes to the Drive folder and back\n")
    print("| each call of the mount takes | way | there, s | back, s | ratio |\n|---|---|---|---|---|")
    for latency in (0.0, 0.001):
        with tempfile.TemporaryDirectory() as folder, DriveFolder(Path(folder, "drive"), latency=latency) as drive:
            ours, theirs = _there_and_back(Path(folder), drive, files, size)
        ratio = sum(theirs) / sum(ours)
        print(f"| {latency * 1000:g} ms | `put_tree`, `get_tree` | {ours[0]:.2f} | {ours[1]:.2f} | {ratio:.1f} |")
        print(f"| | `shutil.copytree` | {theirs[0]:.2f} | {theirs[1]:.2f} | 1.0 (target 20) |", flush=True)


def _there_and_back(folder: Path, drive: DriveFolder, files: int, size: int) -> tuple[list[float], list[float]]:
    here = folder / "here"
    for number in range(files):
        (here / f"{number % 50:02}").mkdir(parents=True, exist_ok=True)
        (here / f"{number % 50:02}/{number:05}.bin").write_bytes(os.urandom(size))
    storage = DriveStorage(drive.path / "kept", mount=drive.path, address="drive:kept")
    ours = _seconds(
        lambda: put_tree(storage, "tree.zip", here),
        lambda: get_tree(storage, "tree.zip", folder / "ours"),
    )
    theirs = _seconds(
        lambda: shutil.copytree(here, drive.path / "theirs"),
        lambda: shutil.copytree(drive.path / "theirs", folder / "back"),
    )
    for name in ("ours", "back"):
        subprocess.run(["diff", "-rq", here, folder / name], check=True)
    return ours, theirs


def _seconds(*works: Callable[[], object]) -> list[float]:
    taken = []
    for work in works:
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return taken


def faults() -> None:
    """Try each fault against each verb, and say how it ended and whether anything was lost without a word."""
    print(f"\n| | {' | '.join(VERBS)} |\n|---|{'---|' * len(VERBS)}")
    silent = 0
    for fault in FAULTS:
        cells = []
        for verb in VERBS:
            with tempfile.TemporaryDirectory() as folder, DriveFolder(Path(folder, "drive"), lag=0.0) as drive:
                said, lost = outcome(drive, fault, verb, Path(folder), seconds=60.0 if fault == "offline" else 30.0)
            silent += bool(lost)
            cells.append(f"{said}, LOST: {lost}" if lost else said)
        print(f"| {fault} | {' | '.join(cells)} |", flush=True)
    print(f"\n{len(FAULTS) * len(VERBS)} cells, {silent} with a loss in silence (target 0)")


def main(*wanted: str) -> None:
    """Print the tables that are named."""
    tables = {"calls": calls, "trash": trash, "tree": tree, "faults": faults}
    for name in wanted or tables:
        tables[name]()


if __name__ == "__main__":
    if missing := DriveFolder.missing():
        sys.exit(missing)
    main(*sys.argv[1:])
