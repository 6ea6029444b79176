"""The states of a run, in its folder and in its mirror: written by one process at a time, and read back."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.holder import described
from colabkit._internal.log import notify, warn
from colabkit._internal.process.threads import quietly
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.management.notice import Notice, notice_text
from colabkit.checkpoint.mirror import remote_store
from colabkit.checkpoint.mirror.replicator import open_mirror
from colabkit.checkpoint.policy import set_order
from colabkit.checkpoint.restore_selector import RestoreSelector
from colabkit.checkpoint.run_lock import RunLock, lock_of
from colabkit.checkpoint.state import hardware
from colabkit.checkpoint.status import Status, status_of
from colabkit.checkpoint.writer import Writer
from colabkit.errors import ColabKitError, RunBusyError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.policy import SaveInterval
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.state.pytree import Snapshot
    from colabkit.storage import Storage

_stores: weakref.WeakSet[RunStore] = weakref.WeakSet()


class RunStore:
    """What the callbacks of the trainers need of a run; `Run` adds the verbs of a user.

    Attributes:
        dir: Its folder on this machine; put anything there that belongs to the run. What lies there is copied to the
            mirror too, and brought to a fresh machine.
        name: The last part of its address.
        every: How often to save.
        limit: When its trainings save and end before their last epoch; None for never.
        notice: Sends word of their ends; None where nobody asked for it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        every: SaveInterval,
        keep: int,
        storage: Storage | None = None,
        limit: TimeLimit | None = None,
        notice: Notice | None = None,
    ) -> None:
        self.limit = limit
        self.notice = notice
        self.dir = folder
        self.name = name
        self.every = every
        self._keep = keep
        self._folder = folder / naming.FOLDER
        self._mirror = open_mirror(folder, storage, run=name, keep=keep) if storage is not None else None
        self._reader = RestoreSelector(self._folder, storage, run=name)
        self._writer = Writer(self._folder, keep=keep, mirror=self._mirror)
        self._storage = storage
        self._best: dict[str, Any] | None = None
        self._orders: dict[str, dict[str, list[str]]] | None = None  # what comes out of sets, since the first state
        self._guard = threading.RLock()  # held while the right to write is taken, used or given back
        self._forked = False
        _stores.add(self)
        if self._mirror is not None:
            atexit.register(self.close)

    # ---- for a user ----

    def checkpoints(self) -> list[naming.LocalCheckpoint]:
        """List the checkpoint files, the furthest trained first; whether they are whole is not checked.

        Raises:
            StorageError: The folder cannot be read.
        """
        return naming.entries(self._folder)

    @property
    def is_mirrored(self) -> bool:
        """Whether its states are copied to a storage."""
        return self._storage is not None

    def status(self) -> Status:
        """Say where the run stands."""
        try:
            entries: list[naming.LocalCheckpoint] = self.checkpoints()
            unreadable = None
        except StorageError as error:
            entries, unreadable = [], error
        return status_of(self.dir, entries, writer=self._writer, mirror=self._mirror, unreadable=unreadable)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was saved is on disk, and in the mirror with all files of the run's folder.

        Args:
            timeout: Seconds to wait at most; without limit when None.

        Raises:
            StorageError: The last write failed, or the mirror cannot be written now.
            CheckpointError: The time ran out.
        """
        began = time.monotonic()
        self._writer.flush(timeout)
        if self._mirror is not None:
            was_writing = self._writing
            if not was_writing:
                self.begin_writing()
            try:
                self._mirror.flush(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))
            finally:
                if not was_writing:
                    self._release()

    def close(self) -> None:
        """Write what waits, carry it to the mirror, and let other processes write. The run may be used again.

        What cannot be carried within two minutes is named, and stays here: the same run, opened again, carries it.
        """
        if self._forked:
            return  # what is open is the parent's
        self._writer.wait()
        if self._mirror is not None and (self._writing or self._mirror.has_work):
            try:
                self.begin_writing()
                self._mirror.finish()
            except (RunBusyError, StorageError) as error:  # another process has it, or its folder is gone
                warn("%s: nothing more is copied from here. %s", self.name, error)
        with self._guard:
            self._writer.wait()  # what another thread has saved meanwhile
            self._release()

    # ---- for the callbacks of the trainers ----

    def tell(self, kind: str, how: str, metrics: Mapping[str, Any] | None = None) -> None:
        """Send a notice, where the user asked for one.

        Args:
            kind: "ended", "stopped" or "failed".
            how: In words, behind the run's name.
            metrics: What was measured last.
        """
        if self.notice is not None and not self._forked:  # else the training is the parent's
            self.notice.send(kind, notice_text(self.name, how, metrics))

    def begin_writing(self) -> None:
        """Become the one writer of the run.

        Raises:
            RunBusyError: Another process is.
        """
        if self._mirror is not None:
            self._mirror.cancel_on_idle()  # a fit that has ended gives the lock back when its copies have arrived
        with self._guard:
            self._begin()

    def _begin(self) -> None:
        first, owner = self._lock.take(self)
        if owner is not None:
            who, program = described(owner, where="this host")
            raise RunBusyError(
                f"the run {self.name} is being written by {who}",
                why=f"two writers would mix their states; that process runs: {program}" if program else "",
                hint="wait for it, end it, or open a run under another name",
            )
        self._forked = False
        if first:
            naming.remove_leftovers(self._folder)
        if self._mirror is not None:
            try:
                self._mirror.begin(restored=self._writer.saved_step)
            except RunBusyError:
                self._release()
                raise

    def written(self) -> None:
        """Wait until everything that was saved is on the local disk; the mirror follows in its own time.

        Raises:
            StorageError: The last write failed.
        """
        self._writer.flush()

    def end_writing(self) -> None:
        """Write what waits and let others write; a failed write is told, not raised: the model is in memory."""
        self._writer.wait()
        self._writer.rest()
        if self._writer.error is not None:
            warn("%s: the newest state is not saved. %s", self.name, self._writer.error)
        if self._mirror is None:
            self._release()
        elif self._writing:
            if left := self._mirror.pending:
                notify("%s: on its way to %s: %s", self.name, self._mirror.storage.address, left)
            self._mirror.on_idle(self._release)

    def submit(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to the background thread.

        Raises:
            RunBusyError: Another process writes to this run.
        """
        if not self._writing and self._mirror is not None:
            self._mirror.cancel_on_idle()
        self._orders = set_order.take_and_tell(self.name) if self._orders is None else self._orders
        snapshot = replace(snapshot, meta={**snapshot.meta, **self._orders, hardware.KEY: hardware.take()})
        with self._guard:
            self._begin()
            self._writer.submit(snapshot)

    def not_taken(self, error: Exception, *, step: int) -> None:
        """Tell that a state could not even be taken, for lack of memory; the training goes on, and so do its saves.

        Args:
            error: What was raised.
            step: Steps trained so far.
        """
        quietly(lambda: self._writer.fail_for_memory(error, step=step))

    def newest(self, kind: str, *, between_epochs: bool = False) -> Checkpoint | None:
        """Read the newest checkpoint that is whole, here or in the mirror, and tell which ones were passed over."""
        self._writer.wait()
        if (read := self._reader.newest(kind, between_epochs=between_epochs)) is None:
            return None
        checkpoint, candidate = read
        self._best = checkpoint.meta.get("best")
        self._orders = set_order.kept(checkpoint.meta) or None
        self._writer.accept(candidate.step)
        if self._mirror is not None and candidate.copy is not None:
            self._mirror.mark_present(candidate.copy)
        return checkpoint

    def best_state(self, newest: Checkpoint) -> Checkpoint:
        """Read the best state, whose step the newest one knows."""
        return self._reader.best(newest)

    def forget_after(self, step: int) -> None:
        """Delete the states that were trained further: the run was told to go back."""
        for entry in self.checkpoints():
            if entry.step > step:
                entry.path.unlink(missing_ok=True)
        if self._storage is None:
            return
        try:
            remote_store.delete_after(self._storage, step)
        except ColabKitError as error:
            warn("%s: its mirror still holds states after step %s. %s", self.name, step, error)

    # ---- parts ----

    @property
    def _lock(self) -> RunLock:
        return lock_of(self.dir)

    @property
    def _writing(self) -> bool:
        return self._lock.held_by(self)

    def _release(self) -> None:
        with self._guard:
            if not self._writer.idle:
                return  # another thread has saved since; whoever ends its writing gives the lock back
            self._writer.rest()
            if self._mirror is not None:
                self._mirror.lease.release()
            self._lock.give(self, in_use=_is_writing)

    def _after_fork(self) -> None:
        """Leave the parent's lock, threads and unfinished writes to the parent; only a save of its own changes that."""
        self._forked = True
        self._guard = threading.RLock()
        self._writer.after_fork()
        if self._mirror is not None:
            self._mirror = self._mirror.for_child()
            self._writer.mirror = self._mirror


def _is_writing(store: object) -> bool:
    return isinstance(store, RunStore) and not store._writer.idle  # noqa: SLF001 - the class is ours


def _after_fork() -> None:
    for store in list(_stores):
        store._after_fork()  # noqa: SLF001 - the class is ours


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
