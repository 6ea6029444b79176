"""The jobs of a mirror: copy a checkpoint, ask whether the copies have arrived, carry the run's other files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colabkit._internal.log import notify
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror import remote_store
from colabkit.checkpoint.mirror.remote_copies import RemoteCopies
from colabkit.errors import CheckpointError, CorruptCheckpointError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from colabkit.checkpoint.mirror.artifacts import ArtifactSync
    from colabkit.checkpoint.mirror.lease import Lease
    from colabkit.checkpoint.mirror.schedule import Schedule
    from colabkit.storage import Storage

_FILES_EVERY = 600.0  # seconds between two looks at the run's other files
_MAX_UNCONFIRMED = 8  # copies whose arrival is asked for; where a storage cannot tell they would grow without end


class MirrorJobs:
    """What the thread of a mirror does, one job at a time.

    Args:
        folder: The local folder of checkpoints.
        storage: Where they go.
        run: The run's name.
        keep: How many confirmed ones stay in the storage.
        lease: The right to write there.
        artifacts: The run's other files.
        schedule: What waits.
        changed: The mirror's lock.

    Attributes:
        mirrored_step: The furthest step that was copied, as far as is known.
        confirmed_step: The furthest that would survive the loss of this machine, as the storage says.
        busy_with: The local file that is being carried; it must not be deleted.
        progress_of: Bytes done and bytes in all of the copy that is being made.
    """

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        *,
        run: str,
        keep: int,
        lease: Lease,
        artifacts: ArtifactSync,
        schedule: Schedule,
        changed: threading.Condition,
    ) -> None:
        self._storage = storage
        self._run = run
        self._keep = keep
        self._lease = lease
        self._artifacts = artifacts
        self._schedule = schedule
        self._changed = changed
        self._copies = RemoteCopies(folder, storage, lease, schedule)
        self._files_at = time.monotonic()
        self._notified_cannot_tell = False
        self.mirrored_step: int | None = None
        self.confirmed_step: int | None = None
        self.left_behind: tuple[int, CheckpointError] | None = None  # until a later step is there
        self.busy_with: Path | None = None
        self.progress_of = (0, 0)

    @property
    def sent(self) -> int:
        """Bytes copied so far."""
        return self._copies.sent

    def rest(self) -> None:
        """Note that no job is done any more."""
        self.busy_with, self.progress_of = None, (0, 0)

    def mark_present(self, name: naming.CheckpointName) -> None:
        """Count a checkpoint in the storage as good."""
        with self._changed:
            self.mirrored_step = max(name.step, self.mirrored_step or 0)
            if self.left_behind is not None and self.left_behind[0] <= name.step:
                self.left_behind = None
            self._schedule.copied(name)

    def upload(self) -> None:
        """Copy the checkpoint that waits, see whether it has arrived, and delete what it makes superfluous."""
        entry = self._schedule.next_copy
        if entry is None:
            return
        self.busy_with = entry.path
        self._lease.check()
        names = self._copies.scan()
        try:
            uploaded = self._copies.identify(entry, names)
        except (FileNotFoundError, CorruptCheckpointError) as error:  # trying again would not help
            self._withdraw(entry)
            failure = CheckpointError(f"step {entry.step} cannot be copied", why=str(error))
            if entry.path.is_file():  # a pipe of that name never was a state, and what was deleted is missed by no one
                self.left_behind = entry.step, failure
            raise failure from error
        if not isinstance(uploaded, naming.CheckpointName):
            uploaded = self._copies.copy(entry.path, uploaded, self._progress)
        self._withdraw(entry)
        self.mark_present(uploaded)
        self.confirm()
        self._copies.prune(keep=self._keep, best=self._schedule.best)
        if time.monotonic() - self._files_at > _FILES_EVERY:
            self.upload_artifacts()

    def _withdraw(self, entry: naming.LocalCheckpoint) -> None:
        with self._changed:
            self._schedule.withdraw(entry)

    def _progress(self, done: int, total: int) -> None:
        self.progress_of = (done, total)

    def confirm(self) -> None:
        """Ask the storage which copies have arrived."""
        copies, unconfirmed = self._copies, self._schedule.unconfirmed
        copies.scan_once()
        answers = set()
        for name in sorted(unconfirmed, key=lambda name: -name.step):
            answer = copies.has_arrived(name)
            answers.add(answer)
            if answer == "cannot tell":
                copies.settling.setdefault(name, time.monotonic())
            else:
                copies.settling.pop(name, None)
            if answer == "yes":
                with self._changed:
                    copies.confirmed.add(name)
                    unconfirmed.pop(name, None)
                    self.confirmed_step = max(name.step, self.confirmed_step or 0)
            elif self._storage.entry(f"{remote_store.PREFIX}{name}") is None or len(unconfirmed) > _MAX_UNCONFIRMED:
                unconfirmed.pop(name, None)  # deleted by somebody else, or too old to matter
        if "cannot tell" in answers and not self._notified_cannot_tell:
            self._notified_cannot_tell = True
            text = "%s: %s cannot tell whether copies have arrived; old ones stay until newer ones had time to"
            notify(text, self._run, self._storage.address)
        with self._changed:
            self._schedule.note_answer(on_its_way="no" in answers and bool(unconfirmed))

    def upload_artifacts(self) -> None:
        """Copy the run's other files, those that have changed."""
        self._files_at = time.monotonic()
        self._artifacts.upload(self._lease.check)
        with self._changed:
            self._schedule.files_due = False
