"""One background thread that turns snapshots into files, so that training waits only for the copy in memory."""

from __future__ import annotations

import atexit
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from colabkit._tools.log import warn
from colabkit._tools.progress import amount
from colabkit.checkpoint import manifest, policy
from colabkit.checkpoint.buffers import Buffers
from colabkit.errors import CheckpointError, ColabKitError, DiskFullError, StorageError
from colabkit.runtime import resources

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.checkpoint.mirror import Mirror
    from colabkit.checkpoint.snapshot import Snapshot

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

    def __init__(self, folder: Path, *, keep: int, mirror: Mirror | None = None) -> None:
        self._folder = folder
        self._keep = keep
        self._mirror = mirror
        self._buffers = Buffers()
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._busy = False
        self._thread: threading.Thread | None = None
        self._good: set[int] = set()
        self._best: int | None = None
        self._told_low = False
        self.saved_step: int | None = None
        self.error: ColabKitError | None = None
        # At exit what still waits is written; through a weak reference, so that a run nobody holds can go.
        alive = weakref.ref(self)
        atexit.register(lambda: (writer := alive()) and writer.wait(timeout=60))

    def submit(self, snapshot: Snapshot) -> None:
        """Copy a snapshot and return; this is all that the training waits for."""
        try:
            copied = replace(snapshot, tensors=self._buffers.copy(snapshot.tensors))
        except MemoryError:
            size = amount(sum(array.nbytes for array in snapshot.tensors.values()))
            why = f"there is no memory left for a copy of it, of {size}"
            self._fail(CheckpointError(f"step {snapshot.step} could not be saved", why=why), snapshot.step)
            return
        with self._changed:
            self._waiting = copied
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="colabkit-checkpoints", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def accept(self, step: int) -> None:
        """Count an existing checkpoint as good: it has just been read and verified."""
        self._good.add(step)
        self.saved_step = step

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to write; returns False when the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting is None and not self._busy, timeout)

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
                do="wait longer, or check that the disk is healthy",
            )
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        while True:
            with self._changed:
                # An idle thread ends: a notebook that is done with a run keeps nothing alive.
                self._changed.wait_for(lambda: self._waiting is not None, timeout=5)
                if self._waiting is None:
                    self._thread = None
                    return
                snapshot, self._waiting, self._busy = self._waiting, None, True
            try:
                self._write(snapshot)
            finally:
                del snapshot
                self._buffers.release_if_short()
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _write(self, snapshot: Snapshot) -> None:
        try:
            self._make_room(sum(array.nbytes for array in snapshot.tensors.values()))
            path = manifest.publish(self._folder, snapshot.tensors, snapshot.meta, step=snapshot.step)
        except ColabKitError as error:
            self._fail(error, snapshot.step)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not vanish with the thread
            self._fail(CheckpointError(f"step {snapshot.step} could not be saved", why=repr(error)), snapshot.step)
            return
        self.error = None
        self.accept(snapshot.step)
        self._best = manifest.best_step(snapshot.meta)
        if self._mirror is not None:
            self._mirror.offer(manifest.entry(path), best=self._best)
        self._prune(self._keep)

    def _make_room(self, size: int) -> None:
        """Leave the last part of a disk alone: delete what may go, and rather not save than fill it.

        Raises:
            DiskFullError: There is no room.
        """
        disk = resources.disk(self._folder)
        if disk is None or disk.free - size >= (spare := policy.reserve(disk.total)):
            self._told_low = False
            return
        self._prune(_FEWEST)
        disk = resources.disk(self._folder) or disk
        if disk.free - size < spare // 4:
            raise DiskFullError(
                f"no room left to write {self._folder}",
                why=f"a checkpoint has {amount(size)}, and {amount(disk.free)} are free, of which a part is left alone",
                do="free some space there, or choose another folder",
            )
        if not self._told_low:
            self._told_low = True
            text = "%s has only %s left: fewer old checkpoints stay, and none is written once it would fill the disk"
            warn(text, self._folder, amount(disk.free))

    def _fail(self, error: ColabKitError, step: int) -> None:
        if self.error is None:  # once, not at every interval of a long run; status() always shows it
            warn("checkpoint of step %s not saved; training goes on. %s", step, error)
        self.error = error

    def _prune(self, keep: int) -> None:
        found = manifest.entries(self._folder)
        old = policy.superseded({entry.step for entry in found}, good=self._good, keep=keep, best=self._best)
        for entry in found:
            if entry.step in old and (self._mirror is None or entry.path != self._mirror.busy_with):
                try:
                    entry.path.unlink(missing_ok=True)
                except OSError as error:
                    self.error = StorageError(f"cannot delete the old checkpoint {entry.path}", why=str(error))
        self._good -= old
