"""Kill mirrored trainings at random instants, and lose the machine with them: only what the storage has goes on.

    KERAS_BACKEND=jax python tests/benchmarks/lost_machines.py [KILLS] [SEED] [STORAGE ...]

STORAGE is `drive`, a really mounted folder that uploads late, in no order, with errors of its own, or `gs`, Cloud
Storage on this machine, with requests that break, are refused, or whose answers are lost. A process is killed with
SIGKILL at an instant drawn from the seconds of a whole training: in a step, a save, an upload, a restore. Then, by a
coin, the machine is lost as well: its working folder is deleted, and of the Drive remains what had reached the cloud.

What is counted: trainings that could not start again; that ended with other weights, optimizer or losses than one that
was never killed; and that went on from before a step that the run had called confirmed, or saved where the machine
stayed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
from kills_backends import BATCH, EPOCHS, SAMPLES, start, train, wait, with_callbacks

import colabkit as ck
from colabkit.checkpoint.mirror import lease

STEPS = SAMPLES // BATCH
LIFE = 4.0  # seconds that a training takes at least, as if its steps were those of a larger model
BEAT = 0.2  # seconds between two signs of life of a writer; a lost machine is given up after six times as many
STORAGES = ("drive", "gs")

# Plays the service until its standard input ends; says the environment in which it is found.
SERVER = """
import json, sys
from pathlib import Path
from colabkit.testing import CloudDrive, FakeWeb
from colabkit.testing.gcs import FakeGCS
if sys.argv[1] == "drive":
    with FakeWeb(CloudDrive(shown=Path(sys.argv[2]))) as web:
        print(json.dumps(dict(web.env)), flush=True)
        sys.stdin.read()
else:
    with FakeGCS() as gcs:
        gcs.bucket("bucket")
        gcs.fail_now_and_then(every=9, until=100_000, upload_breaks_at=5_000)
        print(json.dumps({"STORAGE_EMULATOR_HOST": gcs.endpoint}), flush=True)
        sys.stdin.read()
"""


@contextlib.contextmanager
def service(*arguments: object):
    """Play a service in a process of its own; gives the environment in which it is found."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()


class OnDrive:
    """A mounted Drive, whose account Google's interface shows what the cloud has."""

    def __init__(self, base: Path, stack: contextlib.ExitStack, seed: int) -> None:
        from colabkit.testing import DriveFolder
        from colabkit.testing.google_drive import CREDENTIALS

        if missing := DriveFolder.missing():
            raise SystemExit(missing)
        self.drive = stack.enter_context(
            DriveFolder(base / "drive", lag=0.2, latency=0.001, rate=2e6, eio=0.05, seed=seed)
        )
        (base / "credentials.json").write_text(json.dumps(CREDENTIALS))
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(base / "credentials.json")
        os.environ.update(stack.enter_context(service("drive", self.drive.cloud)))

    def mirror(self, name: str):
        """Give the storage of a run."""
        from colabkit.storage.drive import DriveStorage

        DriveStorage.lag = 0.5  # as far as a claim waits for it; the double's own is shorter
        return DriveStorage(self.drive.path / name, mount=self.drive.path, address=f"drive:{name}")

    def lose(self) -> None:
        """Lose the machine: the mount goes with all that was not uploaded."""
        self.drive.new_machine()
        self.drive.mount()


class OnCloudStorage:
    """A bucket, behind a line with faults."""

    def __init__(self, base: Path, stack: contextlib.ExitStack, seed: int) -> None:
        os.environ.update(stack.enter_context(service("gs")))

    def mirror(self, name: str):
        """Give the storage of a run."""
        return f"gs://bucket/{name}"

    def lose(self) -> None:
        """Lose the machine, of which the bucket has nothing."""


class Tell(keras.callbacks.Callback):
    """Writes what is safe at each moment, where a kill cannot take it back, and takes the time of a larger model."""

    stateless = True

    def __init__(self, run: ck.Run, seen: Path) -> None:
        super().__init__()
        self._run, self._seen = run, seen
        self._step = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Tell from where it goes on: the resumed state has the steps of the epoch that are done already."""
        self._step = epoch * STEPS

    def on_train_batch_end(self, batch, logs=None):
        """Tell how far it is and what is safe."""
        time.sleep(LIFE / STEPS / EPOCHS)
        status = self._run.status()
        line = {"at": self._step + batch + 1, "saved": status.saved_step, "confirmed": status.confirmed_step}
        with open(self._seen, "a") as file:
            file.write(json.dumps(line) + "\n")


def once(folder: Path, mirror, seen: Path) -> None:
    """Train with a mirror, in a process that may be killed."""
    lease.Lease.__init__.__kwdefaults__["beat"] = BEAT
    run = ck.open_run(folder, every="3 steps", mirror=mirror)
    train(run, with_callbacks, seen.with_suffix(".ended"), Tell(run, seen))
    run.close()


def lost_steps(seen: Path, safe: dict[str, int]) -> int:
    """Say how many steps that were safe a process did again, and take note of what it called safe itself."""
    lines = [json.loads(line) for line in seen.read_text().splitlines()] if seen.exists() else []
    again = max(0, max(safe.values()) - (lines[0]["at"] - 1)) if lines else 0
    safe.update({what: max([step, *(line[what] or 0 for line in lines)]) for what, step in safe.items()})
    return again


def main(kills: int = 30, seed: int = 0, *storages: str) -> int:
    """Kill that often on each storage; returns 1 on any failure."""
    failures = 0
    print(
        "| storage | kills | machines lost | processes that saw a step confirmed | trainings finished "
        "| could not start again | ended otherwise | went on from before a safe step |"
    )
    print("|---" * 8 + "|")
    for kind in storages or STORAGES:
        draw = random.Random(seed)
        killed = gone = told = finished = failed = different = behind = number = 0
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            base = Path(folder)
            place = {"drive": OnDrive, "gs": OnCloudStorage}[kind](base, stack, seed)

            def begin(name: str, seen: Path, base: Path = base, place=place) -> int:
                return start(lambda: once(base / "here" / name, place.mirror(name), seen), seen.with_suffix(".told"))

            began = time.monotonic()
            assert wait(begin("whole", base / "whole"), 300) == 0, (base / "whole.told").read_text()
            seconds = time.monotonic() - began
            expected = (base / "whole.ended").read_text()
            safe = {"saved": 0, "confirmed": 0}
            while killed < kills or not finished:
                name, seen = f"run{finished + failed}", base / f"seen{number}"
                number += 1
                pid = begin(name, seen)
                status = wait(pid, draw.uniform(0.2, 1.2) * seconds if killed < kills else 300)
                if status is None:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    killed += 1
                behind += lost_steps(seen, safe) > 0
                told += seen.exists() and '"confirmed": null' not in seen.read_text().splitlines()[-1]
                if status is not None:
                    finished += status == 0
                    failed += status != 0
                    if status:
                        words = seen.with_suffix(".told").read_text()
                        print(f"process {number} of {kind}, status {status}:\n{words}", file=sys.stderr, flush=True)
                    different += status == 0 and seen.with_suffix(".ended").read_text() != expected
                    safe = {"saved": 0, "confirmed": 0}
                elif draw.random() < 0.5:
                    gone += 1
                    shutil.rmtree(base / "here")
                    place.lose()
                    safe["saved"] = 0
                if failed > 5:
                    break
        failures += failed + different + behind
        print(f"| {kind} | {killed} | {gone} | {told} | {finished} | {failed} | {different} | {behind} |", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3]), *sys.argv[3:]))
