"""Each call of the system that a save or an upload makes fails once: nothing confirmed is lost, no lock stays.

    python tests/benchmarks/failing_calls.py [EIO|ENOSPC|EMFILE|ENOMEM] [SECONDS]

Scenes: a save to the disk; its mirror in a folder, on the FUSE double of Drive where this user may mount one, and on an
emulated Cloud Storage, whose sockets fail. A library that is preloaded (`tests/support/doubles/failing_calls.c`, built
here by gcc) makes call number 1, 2, 3 and so on fail, until a whole save has passed without one that failed. After
each, in the same process, without faults: the run is saved again and closed, and what was confirmed is restored, for a
mirror on another machine. In the last scene `time.time()` jumps by hours and days, both ways, before each save.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "support" / "doubles" / "failing_calls.c"
LONGEST = 10.0
STATE = 40_000


class Faults:
    """Arms the preloaded library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.failing_last.restype = ctypes.c_char_p

    @contextlib.contextmanager
    def at(self, number: int, where: Path, error: int, *, sockets: bool) -> Any:
        """Let call number so-and-so that touches a folder fail; 0 counts alone."""
        self._library.failing_arm(str(where).encode(), number, error, int(sockets))
        try:
            yield
        finally:
            self.last = self._library.failing_last().decode()
            self.count = self._library.failing_count()
            self._library.failing_rest()


def opened(folder: Path, mirror: str | None) -> Any:
    """Open the run; a lease that a fault left is waited for."""
    from colabkit.checkpoint import open_run

    return open_run(folder, mirror=mirror, keep=3)


def saved(run: Any, step: int) -> str:
    """Save and flush; say how that ended."""
    from colabkit.errors import ColabKitError

    try:
        run.save({"x": np.full(STATE, step)}, step=step)
        run.flush()
    except ColabKitError as error:
        return type(error).__name__
    return "ok"


def scene(faults: Faults, place: Path, where: str, mirror: str | None, number: int, error: int) -> tuple[str, str]:
    """Fail one call; return what became of the save, and what is wrong afterwards."""
    from colabkit.errors import ColabKitError

    folder = place / f"run-{number}"
    target = f"{mirror}-{number}" if mirror else None
    run = opened(folder, target)
    saved(run, 1)
    touched = folder if mirror is None else Path(f"{mirror}-{number}") if where != "gs" else Path("/nowhere")
    began = time.monotonic()
    with faults.at(number, touched, error, sockets=where == "gs"):
        ended = saved(run, 2)
        status = run.status()
        sure = (status.confirmed_step if mirror else status.saved_step) or 0
    if sure < (2 if ended == "ok" else 1) and not mirror:
        return ended, f"{ended}, and only step {sure} is said to be saved"
    after = saved(run, 3)
    with contextlib.suppress(ColabKitError):
        run.close()
    if (took := time.monotonic() - began) > LONGEST:
        return ended, f"it took {took:.0f} s"
    other = opened(place / f"other-{number}" if mirror else folder, target)
    found = other.restore()
    other.close()
    if after != "ok":
        return ended, f"the save after it ended with {after}"
    if found is None or found.step < max(sure, 3) or not (found.state["x"] == found.step).all():
        return ended, f"restored {found and found.step}, sure was {sure}"
    for left in (folder, place / f"other-{number}"):
        shutil.rmtree(left, ignore_errors=True)
    return ended, ""


def sweep(name: str, mirror: str | None, place: Path, error: int, seconds: float) -> None:
    """Let each call fail once."""
    faults, number, ends, calls, wrong = Faults(), 0, collections.Counter(), collections.Counter(), []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        number += 1
        try:
            ended, bad = scene(faults, place, name, mirror, number, error)
        except Exception as raised:  # noqa: BLE001 - told
            ended, bad = "raw", repr(raised)
        ends[ended] += 1
        calls[faults.last] += 1
        if bad:
            wrong.append((number, faults.last, ended, bad))
            print("  wrong:", *wrong[-1], flush=True)
        if not faults.last:
            break
    else:
        print("  (not all calls were reached)")
    print(
        f"{name} {errno.errorcode[error]}: {number} calls, {len(wrong)} wrong, {dict(ends)}, {dict(calls)}",
        flush=True,
    )


def moving_clock(place: Path, seconds: float) -> None:
    """Save, mirror and hold a lease while the clock of the wall jumps by hours, both ways."""
    dice, now, until = random.Random(1), time.time, time.monotonic() + seconds
    shift = [0.0]
    time.time = lambda: now() + shift[0]
    wrong, step = [], 0
    run = opened(place / "run", str(place / "mirror"))
    try:
        while time.monotonic() < until:
            shift[0] = dice.choice([0, 3600, -3600, 86400, -86400, 5 * 86400])
            step += 1
            began = time.monotonic()
            ended, status = saved(run, step), run.status()
            if ended != "ok" or status.confirmed_step != step or time.monotonic() - began > LONGEST:
                wrong.append((step, shift[0], ended, status.confirmed_step, time.monotonic() - began))
    finally:
        run.close()
        time.time = now
    other = opened(place / "other", str(place / "mirror"))
    found = other.restore()
    other.close()
    print(f"moving clock: {step} saves, restored {found.step}, {len(wrong)} wrong {wrong[:5]}", flush=True)


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[Path | None]:
    """Mount the double of Drive; None where this user may not."""
    point, state = place / "drive", place / "state"
    state.mkdir()
    (state / "consent").write_text("")
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    env |= {"HOME": str(place), "COLABKIT_DRIVE_STATE": str(state), "COLABKIT_DRIVE_OWNER": str(os.getpid())}
    command = [sys.executable, "-m", "colabkit.testing._drive_mount.daemon", f"--mount_point_path={point}"]
    daemon = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not point.is_mount() and daemon.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    try:
        yield point / "MyDrive" if point.is_mount() else None
    finally:
        subprocess.run(["fusermount", "-uz", str(point)], check=False, capture_output=True)
        daemon.kill()
        daemon.wait()


def main(error: int, seconds: float) -> None:
    """Do all scenes."""
    logging.getLogger("colabkit").setLevel(logging.CRITICAL)  # what is told of each is told by hundreds
    with tempfile.TemporaryDirectory(prefix="failing-") as base:
        place = Path(base)
        (place / "clock").mkdir()
        sweep("disk", None, place / "disk", error, seconds)
        sweep("mirror in a folder", str(place / "mirrors" / "m"), place / "folder", error, seconds)
        with mounted(place) as drive:
            if drive is None:
                print("FUSE: this user may not mount")
            else:
                sweep("mirror on FUSE", str(drive / "m"), place / "fuse", error, seconds)
        code = "import sys; from colabkit.testing.gcs import FakeGCS\nwith FakeGCS() as g:\n g.bucket('runs'); "
        code += "print(g.endpoint, flush=True); sys.stdin.read()"
        env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        server = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        os.environ["STORAGE_EMULATOR_HOST"] = server.stdout.readline().strip()
        try:
            sweep("gs", "gs://runs/m", place / "gs", error, seconds)
        finally:
            server.stdin.close()
            server.wait(20)
        moving_clock(place / "clock", min(20.0, seconds))
        assert threading.active_count() < 50, "threads were left"


if __name__ == "__main__":
    if "failing_calls" not in os.environ.get("LD_PRELOAD", ""):
        built = Path(tempfile.mkdtemp(prefix="failing-"), "failing_calls.so")
        gcc = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-o", str(built), str(SOURCE), "-ldl"]
        subprocess.run(gcc, check=True)
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(built)})  # noqa: S606
    word = sys.argv[1] if sys.argv[1:] else "EIO"
    main(getattr(errno, word), float(sys.argv[2]) if sys.argv[2:] else 200.0)
