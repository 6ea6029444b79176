"""The copies of a run's checkpoints in its storage: which are there, have arrived, borrow from others, may go."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import temp_then_rename
from colabkit.checkpoint import policy
from colabkit.checkpoint.format import delta, naming
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.mirror import remote_store
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit.checkpoint.mirror.lease import Lease
    from colabkit.checkpoint.mirror.schedule import Schedule
    from colabkit.storage import Confirmed, Storage

    Progress = Callable[[int, int], None]

RATE = 2e6
"""Bytes a second that an upload nobody can watch is assumed to make."""

_SETTLED = 300.0  # seconds, beyond three times the upload at that rate, after which such a copy counts for pruning


class RemoteCopies:
    """What one process knows of the copies, and how it adds and removes some.

    Args:
        folder: The local folder of checkpoints.
        storage: Where the copies are.
        lease: The right to write there.
        schedule: Is told how long a line is taken that nobody can watch.

    Attributes:
        confirmed: The complete checkpoints and the delta ones that were seen to have arrived.
        settling: The copies of which nobody can tell whether they have arrived, and since when they are there.
        sent: Bytes copied so far.
    """

    def __init__(self, folder: Path, storage: Storage, lease: Lease, schedule: Schedule) -> None:
        self._folder = folder
        self._storage = storage
        self._lease = lease
        self._schedule = schedule
        self.confirmed: set[naming.CheckpointName] = set()
        self.settling: dict[naming.CheckpointName, float] = {}
        self.sent = 0
        self._base: delta.BaseCheckpoint | None = None
        self._scanned = False
        self._borrows: dict[naming.CheckpointName, naming.CheckpointName] = {}  # a delta -> its base, where known

    def scan(self) -> list[naming.CheckpointName]:
        """List what is there; the first time also learn who borrows from whom, and from what we could borrow."""
        names = [name for name, _ in remote_store.listed(self._storage)]
        if not self._scanned:
            for name in names:
                with contextlib.suppress(ColabKitError):
                    if name.is_delta:
                        base = delta.base_of(remote_store.meta(self._storage, name), str(name))
                        self._borrows[name] = base.name
                        if self._base is None and base.name in names:
                            self._base = base
                            self.has_arrived(base.name)
            self._scanned = True
        return names

    def scan_once(self) -> None:
        """Look, unless that was done before."""
        if not self._scanned:
            self.scan()

    def has_arrived(self, name: naming.CheckpointName) -> Confirmed:
        """Ask the storage whether a checkpoint has arrived, with the base that it borrows from."""
        for part in (name, self._borrows.get(name)):
            if part is not None and part not in self.confirmed:
                if (answer := self._storage.confirmed(f"{remote_store.PREFIX}{part}")) != "yes":
                    return answer
                if not part.is_delta:
                    self.confirmed.add(part)
        return "yes"

    def identify(
        self, entry: naming.LocalCheckpoint, names: list[naming.CheckpointName]
    ) -> naming.CheckpointName | delta.BaseCheckpoint:
        """Prove a local checkpoint; returns its name there when it already exists, else what is to be copied.

        Args:
            entry: The checkpoint.
            names: What is there.

        Raises:
            FileNotFoundError: It is not here any more.
            CorruptCheckpointError: It is damaged.
        """
        _, digest = container.verify_details(entry.path)
        name = naming.CheckpointName(step=entry.step, state=digest[:12])
        for other in names:
            if (other.step, other.state) == (name.step, name.state):
                return other
        return delta.tensor_digests(entry.path, digest, name)

    def copy(self, path: Path, full: delta.BaseCheckpoint, progress: Progress) -> naming.CheckpointName:
        """Copy a checkpoint: what differs from the last complete one, where that saves something.

        Args:
            path: The local file.
            full: What is in it.
            progress: Is told of the bytes done, and of all.
        """
        if (base := self._usable_base()) is not None:
            with temp_then_rename(self._folder, "thin") as (file, _):
                if delta.write(file, path, full, base):
                    file.flush()
                    short = naming.CheckpointName(step=full.name.step, state=full.name.state, is_delta=True)
                    self._put(file.name, short, progress)
                    self._borrows[short] = base.name
                    return short
        self._put(path, full.name, progress)
        self._base = full
        return full.name

    def _usable_base(self) -> delta.BaseCheckpoint | None:
        """Return the complete checkpoint to borrow from, if it is still there and not known to be on its way."""
        base = self._base
        if base is None or self._storage.entry(f"{remote_store.PREFIX}{base.name}") is None:
            return None
        return base if self.has_arrived(base.name) != "no" else None

    def _put(self, path: Path | str, name: naming.CheckpointName, progress: Progress) -> None:
        self._lease.check()
        stored = self._storage.put(f"{remote_store.PREFIX}{name}", path, progress=progress)
        self.sent += stored.size
        if self._storage.confirmed(stored.name) == "cannot tell":
            self._schedule.take_line(stored.size / RATE)

    def prune(self, *, keep: int, best: int | None) -> None:
        """Delete the copies that newer ones, seen to have arrived, have made superfluous.

        Args:
            keep: How many confirmed ones stay.
            best: The step of the best one, which stays.
        """
        listed = remote_store.listed(self._storage)
        names = [name for name, _ in listed]
        now = time.monotonic()
        good = {name.step for name in self.confirmed if name in names}
        waited = {name: now - since for name, since in self.settling.items()}
        good |= {name.step for name, stored in listed if name in waited and waited[name] > _settling(stored.size)}
        old = policy.deletable({name.step for name in names}, good=good, keep=keep, best=best)
        borrowers = [name for name in names if name.is_delta and name.step not in old]
        bases = {self._borrows.get(name) for name in borrowers}
        for name in names:
            if name.step not in old or name in bases or (None in bases and not name.is_delta):
                continue
            self._lease.check()
            self._storage.delete(f"{remote_store.PREFIX}{name}")
            self.confirmed.discard(name)
            self.settling.pop(name, None)
            self._borrows.pop(name, None)


def _settling(size: int) -> float:
    """Return the seconds after which a copy that nobody can confirm has had time to arrive."""
    return _SETTLED + 3 * size / RATE
