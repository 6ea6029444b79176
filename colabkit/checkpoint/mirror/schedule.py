"""What a mirror has to do, and when: the state that follows from what waits, what is on its way, and what failed.

The first row that fits is the state; "-" fits both.

| copy waits | on its way | just copied | line taken | files wait | end asked | failed | ask due | state |
|---|---|---|---|---|---|---|---|---|
| no | no | - | - | no | yes | - | - | end |
| no | no | - | - | no | no | - | - | idle |
| - | - | - | - | - | - | yes | - | back off |
| yes | no | - | no | - | - | - | - | copy |
| yes | yes | no | no | - | - | - | - | copy |
| - | yes | - | - | - | - | - | yes | ask |
| - | no | - | - | yes | - | - | - | carry files |
| - | yes | no | - | yes | - | - | - | carry files |
| - | - | - | - | - | - | - | - | wait |

"On its way" is a copy that the storage says has not arrived; "just copied", that it was sent less than two minutes ago,
so that the next one waits for it; "line taken", that a line which nobody can watch is given time; "failed", that the
wait after a failure is not over; "ask due", that it is time to ask the storage again. In end the thread calls what was
to be called once everything is carried; in idle it ends after a few seconds; in back off and in wait it waits.
"""

from __future__ import annotations

import sys
import time
from enum import Enum
from typing import TYPE_CHECKING

from colabkit._internal.display.progress import amount
from colabkit._internal.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint.format import naming

ARRIVAL_TIMEOUT = 120.0
"""Seconds to wait for one copy to arrive before the next is sent behind it."""

_SOON, _LATE = 0.5, 15.0  # seconds between two questions whether a copy has arrived


class MirrorState(Enum):
    """What a mirror does next."""

    IDLE = "idle"
    END = "end"
    BACK_OFF = "back off"
    COPY = "copy"
    ASK = "ask"
    FILES = "carry files"
    WAIT = "wait"


class Schedule:
    """What waits to be carried, and from when on; the mirror's lock guards it.

    Attributes:
        queued: The newest checkpoint that waits to be copied.
        best_due: The best one, while it waits to be copied.
        best: The step of the best one, which is never pruned.
        files_due: The run's other files are to be carried.
        on_its_way: The storage said "no" to a copy.
        unconfirmed: The copies that were not seen to have arrived, and since when they are there.
        on_idle: What is to be called once everything is carried.
        failures: How often something has failed.
    """

    def __init__(self) -> None:
        self.queued: naming.LocalCheckpoint | None = None
        self.best_due: naming.LocalCheckpoint | None = None
        self.best: int | None = None
        self.files_due = False
        self.on_its_way = False
        self.unconfirmed: dict[naming.CheckpointName, float] = {}
        self.on_idle: Callable[[], None] | None = None
        self.failures = 0
        self._backoff = Backoff(tries=sys.maxsize, first=1.0, longest=60.0)
        self._not_before = self._next_copy = self._ask_at = 0.0
        self._ask_every = _SOON

    @property
    def next_copy(self) -> naming.LocalCheckpoint | None:
        """The checkpoint to copy next."""
        return self.queued or self.best_due

    @property
    def waiting(self) -> bool:
        """Whether anything is left to do."""
        return bool(self.next_copy or self.on_its_way or self.files_due)

    def state(self, now: float) -> MirrorState:
        """Say what to do at a time: the table of this module."""
        if not self.waiting:
            return MirrorState.IDLE if self.on_idle is None else MirrorState.END
        if now < self._not_before:
            return MirrorState.BACK_OFF
        arriving = self.on_its_way and now - max(self.unconfirmed.values(), default=0.0) < ARRIVAL_TIMEOUT
        if self.next_copy is not None and not arriving and now >= self._next_copy:
            return MirrorState.COPY
        if self.on_its_way and now >= self._ask_at:
            return MirrorState.ASK
        if self.files_due and not arriving:
            return MirrorState.FILES
        return MirrorState.WAIT

    def pause(self, now: float) -> float:
        """Return the seconds after which to look again."""
        return max(0.05, min(1.0, max(self._not_before, self._ask_at) - now))

    def enqueue(self, entry: naming.LocalCheckpoint, *, best: int | None) -> None:
        """Let a checkpoint wait; one that was saved later replaces one that still waits."""
        self.best = best
        if entry.step == best:
            self.best_due = entry
        self.queued = entry  # of a lower step where the run went back

    def withdraw(self, entry: naming.LocalCheckpoint) -> None:
        """Let a checkpoint wait no more."""
        if self.queued is entry:
            self.queued = None
        if self.best_due is not None and self.best_due.path == entry.path:
            self.best_due = None

    def copied(self, name: naming.CheckpointName) -> None:
        """Note that a checkpoint is in the storage; whether it has arrived is asked at once."""
        self.unconfirmed.setdefault(name, time.monotonic())
        self.on_its_way, self._ask_at = True, 0.0

    def take_line(self, seconds: float) -> None:
        """Give a line that nobody can watch the time that a copy may take, so that no queue builds up in it."""
        self._next_copy = time.monotonic() + seconds

    def note_answer(self, *, on_its_way: bool) -> None:
        """Note an answer of the storage; it is asked ever more seldom."""
        self.on_its_way = on_its_way
        self._ask_every = min(_LATE, self._ask_every * 2) if on_its_way else _SOON
        self._ask_at = time.monotonic() + self._ask_every

    def failed(self) -> None:
        """Note that a try has failed; the next ones come ever more seldom."""
        self.failures += 1
        self._not_before = time.monotonic() + (self._backoff.wait() or 60.0)

    def succeeded(self) -> None:
        """Note that a try went well."""
        self._not_before = 0.0
        self._backoff.renew()

    def hurry(self) -> None:
        """Do everything now, the run's other files too."""
        self._not_before = self._ask_at = self._next_copy = 0.0
        self._ask_every = _SOON
        self.files_due = True

    def pending(self, *, busy: bool) -> str:
        """Say what is not carried or not confirmed yet; empty when there is nothing.

        Args:
            busy: Something is being carried just now.
        """
        if (due := self.next_copy) is not None:
            return f"step {due.step} ({amount(due.size)})"
        if busy:
            return "a copy"
        if self.on_its_way:
            return f"step {max(name.step for name in self.unconfirmed)} (copied, not seen to have arrived)"
        return "files of the run" if self.files_due else ""
