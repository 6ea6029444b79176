"""The mirror: one background thread of low priority that carries checkpoints to a storage and sees them arrive."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import read_note, write_json
from colabkit._internal.display.progress import progress
from colabkit._internal.log import notify, warn
from colabkit._internal.process.threads import start_thread
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror.artifacts import ArtifactSync
from colabkit.checkpoint.mirror.jobs import MirrorJobs
from colabkit.checkpoint.mirror.lease import Lease
from colabkit.checkpoint.mirror.schedule import MirrorState, Schedule
from colabkit.errors import CheckpointError, ColabKitError, RunBusyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit.storage import Storage

AT_EXIT = 120.0
"""Seconds that the end of a program, or `close`, waits for what is still to be carried."""

_SESSION = ".colabkit-session"
_IDLE = 5.0  # seconds after which a thread without work ends
_NICE = 10


class Replicator:
    """Carries the newest checkpoint of a run, then the next newest; what became stale meanwhile is skipped.

    What it does next is the table of `schedule.py`. Nothing that fails here reaches the training: it is told once, kept
    in `error`, and tried again, ever more seldom.

    Args:
        folder: The local folder of checkpoints.
        storage: Where they go.
        run: The run's name.
        keep: How many confirmed ones stay in the storage.
        lease: The right to write there.
        artifacts: The run's other files.

    Attributes:
        error: What failed last; None when the last try went well.
        jobs: What it does, and how far it has come.
    """

    def __init__(
        self, folder: Path, storage: Storage, *, run: str, keep: int, lease: Lease, artifacts: ArtifactSync
    ) -> None:
        self.storage = storage
        self.lease = lease
        self.artifacts = artifacts
        self.error: ColabKitError | None = None
        self._folder = folder
        self._run = run
        self._keep = keep
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._ending = False  # at a job; at the one that was to be called at the end
        self._schedule = Schedule()
        self.jobs = MirrorJobs(
            folder,
            storage,
            run=run,
            keep=keep,
            lease=lease,
            artifacts=artifacts,
            schedule=self._schedule,
            changed=self._changed,
        )

    def for_child(self) -> Replicator:
        """Make the mirror of a forked process: with locks and threads of its own, and nothing to do."""
        artifacts = ArtifactSync(self._folder.parent, self.storage, name=self._run)
        lease = self.lease.for_child()
        return Replicator(self._folder, self.storage, run=self._run, keep=self._keep, lease=lease, artifacts=artifacts)

    # ---- for the training's side ----

    def begin(self, *, restored: int | None = None) -> None:
        """Become the one writer of the storage, and catch up on what an earlier process left to carry.

        Args:
            restored: The step that the run goes on from; what was passed over on the way to it is not carried.

        Raises:
            RunBusyError: Another machine writes there.
        """
        if self.lease.held:
            return
        try:
            self.lease.acquire()
        except RunBusyError:
            raise
        except ColabKitError as error:  # no reason not to train: it is claimed as soon as it answers
            self._fail(error)
        with self._changed:
            if entries := [each for each in naming.entries(self._folder) if restored is None or each.step <= restored]:
                self._schedule.best = best = _best_of(entries[0], self._schedule.best)
                self._schedule.best_due = next((entry for entry in entries if entry.step == best), None)
                self.enqueue(entries[0], best=best)

    def enqueue(self, entry: naming.LocalCheckpoint, *, best: int | None = None) -> None:
        """Hand over a checkpoint that is whole on the local disk; a newer one replaces one that still waits.

        Args:
            entry: The checkpoint.
            best: The step of the best one so far, which is carried in any case, and stays.
        """
        with self._changed:
            self._schedule.enqueue(entry, best=best)
            self._wake()

    def mark_present(self, name: naming.CheckpointName) -> None:
        """Count a checkpoint in the storage as good: it has just been restored from there, or was seen there."""
        self.jobs.mark_present(name)

    @property
    def pending(self) -> str:
        """What is not carried or not confirmed yet, in words; empty when there is nothing."""
        with self._changed:
            return self._schedule.pending(busy=self._busy)

    @property
    def has_work(self) -> bool:
        """Whether anything is to be carried, the run's other files included."""
        return bool(self.pending or self.artifacts.changed())

    def flush(self, timeout: float | None = None, *, raising: bool = True) -> bool:
        """Carry everything now, the run's other files too, and wait until it is there, with a progress bar.

        Args:
            timeout: Seconds to wait at most; without limit when None.
            raising: Raise what fails; else return False.

        Returns:
            Whether all of it is there, as far as the storage can tell.

        Raises:
            CheckpointError: The time ran out.
            ColabKitError: What failed since the call.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            failures = self._schedule.failures
            self._schedule.hurry()
            self._wake()
        with progress(f"{self._run} to {self.storage.address}") as bar:
            while self.pending and self._schedule.failures == failures:
                if until is not None and time.monotonic() > until:
                    break
                if self.jobs.progress_of[1]:
                    bar.update(*self.jobs.progress_of)
                if self._thread is not None and self._thread.is_alive():
                    with self._changed:
                        self._changed.wait(0.1)
                elif (job := self._choose(time.monotonic())) is not None:
                    self._do(job)  # the interpreter is ending, when no thread can be started
                else:
                    time.sleep(0.1)
        left, behind = self.pending, self.jobs.left_behind
        if raising and behind is not None:
            raise behind[1]  # though nothing waits any more
        if raising and self.error is not None and (not left or self._schedule.failures != failures):
            raise self.error
        if not left:
            return behind is None
        if raising:
            raise CheckpointError(
                f"not yet in {self.storage.address} after {timeout:g} s: {left}",
                hint="wait longer, or see run.status(); copying continues in the background",
            )
        return False

    def finish(self, timeout: float = AT_EXIT) -> None:
        """Carry what waits, as far as it can be done in the time, and name the rest."""
        if self.flush(timeout, raising=False):
            return
        if self.jobs.left_behind is not None and not self.pending:
            warn("%s: %s", self._run, self.jobs.left_behind[1])
            return
        why = f" {self.error}" if self.error is not None else ""
        text = "%s: not in %s: %s. It is whole in %s; open the run there again and it is carried.%s"
        warn(text, self._run, self.storage.address, self.pending, self._folder, why)

    def on_idle(self, done: Callable[[], None]) -> None:
        """Call a function once everything is carried, from the background thread; at once when there is nothing."""
        with self._changed:
            self._schedule.on_idle = done
            self._wake()
            if self._thread is not None or self.pending:
                return
            self._schedule.on_idle = None
        done()  # no thread can be started

    def cancel_on_idle(self) -> None:
        """Forget what was to be called once everything is carried; a call that has begun is waited for."""
        with self._changed:
            self._schedule.on_idle = None
            self._changed.wait_for(lambda: not self._ending)

    # ---- the thread ----

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._busy = False  # whoever was busy has died
            self._thread = start_thread(self._work, name="colabkit-mirror")
            if self._thread is None and self.error is None and not sys.is_finalizing():
                self.error = _no_thread(self._run, self.storage.address)
                warn("%s: training goes on. %s", self._run, self.error)
        self._changed.notify_all()

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # on Linux a thread has a priority of its own
            if sys.platform == "linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (job := self._next()) is not None:
            self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except ColabKitError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not vanish with the thread
            self._fail(CheckpointError(f"{self._run} could not be copied", why=repr(error)))
        else:
            self._succeed()
        finally:
            with self._changed:
                self._busy = self._ending = False
                self.jobs.rest()
                self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            idle_since = time.monotonic()
            while True:
                now = time.monotonic()
                job = self._choose(now)
                if job is not None:
                    self._busy = True
                    return job
                state = self._schedule.state(now)
                if state is MirrorState.END:
                    job, self._schedule.on_idle = self._schedule.on_idle, None
                    self._busy = self._ending = True
                    return job
                if state is MirrorState.IDLE and now - idle_since > _IDLE:
                    self._thread = None
                    return None
                self._changed.wait(self._schedule.pause(now))

    def _choose(self, now: float) -> Callable[[], None] | None:
        """Return the job of the state at a time; None where there is only to wait, or to end."""
        return {
            MirrorState.COPY: self.jobs.upload,
            MirrorState.ASK: self.jobs.confirm,
            MirrorState.FILES: self.jobs.upload_artifacts,
        }.get(self._schedule.state(now))

    def _fail(self, error: ColabKitError) -> None:
        first = self.error is None
        with self._changed:
            self.error = error
            self._schedule.failed()
        if first:  # once an outage, not at every try; status() always shows it
            text = "%s: not copied to %s; training goes on, and it is tried again. %s"
            warn(text, self._run, self.storage.address, error)

    def _succeed(self) -> None:
        if self.error is not None:
            notify("%s: %s answers again", self._run, self.storage.address)
        with self._changed:
            self.error = None
            self._schedule.succeeded()


def _best_of(newest: naming.LocalCheckpoint, known: int | None) -> int | None:
    """Read which step was the best so far; what is known, where the checkpoint cannot be read."""
    with contextlib.suppress(ColabKitError, OSError), container.Tensors(newest.path) as content:
        return naming.best_step(content.meta)
    return known


def _no_thread(run: str, address: str) -> CheckpointError:
    return CheckpointError(
        f"{run} is not copied to {address} now",
        why="no thread can be started: memory or the process limit is exhausted",
        hint="nothing, if it passes; run.flush() and run.close() copy without a thread",
    )


def open_mirror(folder: Path, storage: Storage, *, run: str, keep: int) -> Replicator:
    """Make the mirror of a run.

    Args:
        folder: The run's folder.
        storage: Where its copies go.
        run: Its name.
        keep: How many confirmed checkpoints stay there.
    """
    lease = Lease(storage, run=run, session=_session(folder))
    artifacts = ArtifactSync(folder, storage, name=run)
    return Replicator(folder / naming.FOLDER, storage, run=run, keep=keep, lease=lease, artifacts=artifacts)


def _session(folder: Path) -> str:
    """Name this working folder for good; a copy of the folder, on this machine or another, gets a name of its own."""
    path = folder / _SESSION
    with contextlib.suppress(OSError, TypeError, KeyError):
        note = read_note(path)
        if (note["host"], note["inode"]) == (socket.gethostname(), path.parent.stat().st_ino):
            return str(note["session"])
    session = secrets.token_hex(16)
    with contextlib.suppress(ColabKitError):  # without it, an own lock is waited for like anybody else's
        write_json(path, {"session": session, "host": socket.gethostname(), "inode": folder.stat().st_ino})
    return session
