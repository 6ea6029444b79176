"""One background thread that turns snapshots into files, so that training waits only for the copy in memory."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from colabkit._internal.display.progress import amount
from colabkit._internal.log import warn
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit._internal.process.threads import quietly, start_thread
from colabkit.checkpoint import policy
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.state.buffer_pool import Buffers
from colabkit.errors import CheckpointError, ColabKitError, DiskFullError, StorageError
from colabkit.runtime import resources

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.checkpoint.mirror.replicator import Replicator
    from colabkit.checkpoint.state.pytree import Snapshot

_PAUSE = 1.0  # seconds between two looks at whether the thread still lives
_IDLE = 5.0  # seconds after which a thread without work ends
_FEWEST = 2  # checkpoints that stay however little room there is


class Writer:
    """Writes snapshots in the order they come; a newer one replaces one that still waits, never one being written.

    A write that fails never reaches the training thread: it is told to the user, remembered in `error`, and the next
    snapshot is tried as if nothing had happened. `flush` raises it.

    Args:
        folder: Where the checkpoints go.
        keep: How many good ones stay.
        mirror: Gets each checkpoint once it is on disk.
    """

    def __init__(self, folder: Path, *, keep: int, mirror: Replicator | None = None) -> None:
        self._folder = folder
        self._keep = keep
        self.mirror = mirror
        self._buffers = Buffers()
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._busy = False
        self._thread: threading.Thread | None = None
        self._good: set[int] = set()
        self._best: int | None = None
        self._epoch_end: int | None = None  # the newest state between two epochs, to go back to
        self._warned_low_disk = False
        self._warned_threadless = False
        self.saved_step: int | None = None
        self.error: ColabKitError | None = None
        # At exit what still waits is written; through a weak reference, so that a run nobody holds can go.
        alive = weakref.ref(self)
        atexit.register(lambda: (writer := alive()) and writer.wait(timeout=60))

    def submit(self, snapshot: Snapshot) -> None:
        """Copy a snapshot and return; this is all that the training waits for.

        Where no thread can be started it is written here and now.
        """
        try:
            copied = replace(snapshot, tensors=self._buffers.copy(snapshot.tensors))
            with self._changed:
                self._waiting = copied
                self._changed.notify_all()
            self._run_on()
        except Exception as error:  # noqa: BLE001 - nothing of this may end the training
            failed = error
            quietly(lambda: self.fail_for_memory(failed, snapshot))

    def fail_for_memory(self, error: Exception, snapshot: Snapshot | None = None, *, step: int = 0) -> None:
        """Tell that a state was not saved because of an error that came before it was written."""
        step = step if snapshot is None else snapshot.step
        why = repr(error)
        if is_out_of_memory(error):
            size = f", of {amount(sum(array.nbytes for array in snapshot.tensors.values()))}" if snapshot else ""
            why = f"there is no memory left for a copy of it{size}"
        self._fail(CheckpointError(f"step {step} could not be saved", why=why), step)

    def _run_on(self) -> None:
        """See that somebody writes what waits: the thread, a new one, or the caller."""
        with self._changed:
            if self._waiting is None or (self._thread is not None and self._thread.is_alive()):
                return
            self._busy = False  # whoever was busy has died
            self._thread = start_thread(self._work, name="colabkit-checkpoints")
            if self._thread is not None:
                return
            self._thread = threading.current_thread()
        try:
            if not self._warned_threadless:
                self._warned_threadless = True
                text = "no thread can be started: checkpoints of %s are written while the training waits"
                warn(text, self._folder.parent)
            self._work(patience=0.0)
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None

    def after_fork(self) -> None:
        """Forget the parent's thread and what it writes: they stay with the parent."""
        self._changed = threading.Condition()
        self._buffers = Buffers()
        self._waiting, self._thread, self._busy = None, None, False

    def accept(self, step: int) -> None:
        """Count an existing checkpoint as good: it has just been read and verified."""
        self._good.add(step)
        self.saved_step = step

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to write; returns False when the time ran out."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                left = _PAUSE if until is None else min(_PAUSE, until - time.monotonic())
                if self._changed.wait_for(lambda: self.idle, max(0.0, left)):
                    return True
                thread = self._thread
                if self._busy and thread is not None and not thread.is_alive():
                    self._busy = False  # it died for lack of memory; what it wrote is no checkpoint
                    continue
            if until is not None and time.monotonic() >= until:
                return False
            self._run_on()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return self._waiting is None and not self._busy

    def rest(self) -> None:
        """Give back the memory of the copies: for now no state is saved any more."""
        self._buffers.release()

    def flush(self, timeout: float | None = None) -> None:
        """Wait, then raise what went wrong with the last write.

        Raises:
            StorageError: The last write failed.
            CheckpointError: The time ran out, or the state cannot be saved.
        """
        if not self.wait(timeout):
            raise CheckpointError(
                f"the checkpoint is not on disk after {timeout:g} s",
                hint="wait longer, or check that the disk is healthy",
            )
        if self.error is not None:
            raise self.error

    def _work(self, patience: float = _IDLE) -> None:
        while True:
            with self._changed:
                # An idle thread ends: a notebook that is done with a run keeps nothing alive.
                self._changed.wait_for(lambda: self._waiting is not None, timeout=patience)
                if self._waiting is None:
                    self._thread = None
                    return
                snapshot, self._waiting, self._busy = self._waiting, None, True
            self._finish(snapshot)
            del snapshot

    def _finish(self, snapshot: Snapshot) -> None:
        try:
            self._write(snapshot)
        finally:
            del snapshot
            with self._changed:
                self._busy = False
                self._changed.notify_all()
            quietly(self._buffers.release_if_short)

    def _write(self, snapshot: Snapshot) -> None:
        try:
            self._make_room(sum(array.nbytes for array in snapshot.tensors.values()))
            path = naming.publish(self._folder, snapshot.tensors, snapshot.meta, step=snapshot.step)
        except ColabKitError as error:
            self._fail(error, snapshot.step)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not vanish with the thread
            self._fail(CheckpointError(f"step {snapshot.step} could not be saved", why=repr(error)), snapshot.step)
            return
        self.error = None
        self.accept(snapshot.step)
        self._best = naming.best_step(snapshot.meta)
        self._epoch_end = snapshot.meta.get("epoch_step")
        try:
            if self.mirror is not None:
                self.mirror.enqueue(naming.entry(path), best=self._best)
            self._prune(self._keep)
        except Exception as error:  # noqa: BLE001 - the state is saved; what is left to do is done after the next one
            self.error = StorageError(f"{self._folder} cannot be listed", why=str(error))

    def _make_room(self, size: int) -> None:
        """Leave the last part of a disk alone: delete what may go, and rather not save than fill it.

        Raises:
            DiskFullError: There is no room.
        """
        disk = resources.disk(self._folder)
        if disk is None or disk.free - size >= (spare := policy.disk_reserve(disk.total)):
            self._warned_low_disk = False
            return
        self._prune(_FEWEST)
        disk = resources.disk(self._folder) or disk
        if disk.free - size < spare // 4:
            raise DiskFullError(
                f"no room left to write {self._folder}",
                why=f"a checkpoint has {amount(size)}, and {amount(disk.free)} are free, of which a part is reserved",
                hint="free some space there, or choose another folder",
            )
        if not self._warned_low_disk:
            self._warned_low_disk = True
            text = "%s has only %s left: fewer old checkpoints stay, and none is written once it would fill the disk"
            warn(text, self._folder, amount(disk.free))

    def _fail(self, error: ColabKitError, step: int) -> None:
        first, self.error = self.error is None, error  # before it is told, for which there may be no memory either
        if first:  # once, not at every interval of a long run; status() always shows it
            warn("checkpoint of step %s not saved; training goes on. %s", step, error)

    def _prune(self, keep: int) -> None:
        entries = naming.entries(self._folder)
        old = policy.deletable({entry.step for entry in entries}, good=self._good, keep=keep, best=self._best)
        old.discard(-1 if self._epoch_end is None else self._epoch_end)
        for entry in entries:
            if entry.step in old and (self.mirror is None or entry.path != self.mirror.jobs.busy_with):
                try:
                    entry.path.unlink(missing_ok=True)
                except OSError as error:
                    self.error = StorageError(f"cannot delete the old checkpoint {entry.path}", why=str(error))
        self._good -= old
