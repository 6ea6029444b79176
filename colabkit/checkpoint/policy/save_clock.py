"""When the state of a training is to be saved next: by the run's interval, and on occasions no interval foresees."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colabkit._internal.log import notify

if TYPE_CHECKING:
    from colabkit.checkpoint.policy import SaveInterval
    from colabkit.checkpoint.policy.save_triggers import SaveTriggers

NEVER = -1
"""The step that was saved last, where none was."""


class SaveClock:
    """Says when to save, counted from the newest state that was handed on to be written.

    Args:
        run: The run's name, for messages.
        every: How often to save.

    Attributes:
        saved_step: The step of that state; `NEVER` while there is none.
        triggers: The other occasions; None until the training has begun.
    """

    def __init__(self, run: str, every: SaveInterval) -> None:
        self._run = run
        self._every = every
        self.saved_step = NEVER
        self.triggers: SaveTriggers | None = None
        self._saved_at = time.monotonic()

    def start(self, triggers: SaveTriggers) -> None:
        """Count the interval from now on."""
        self.triggers = triggers
        self._saved_at = time.monotonic()

    def saved(self) -> None:
        """Count the interval anew: a state was handed on."""
        self._saved_at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to save after a step; an occasion is told."""
        if self._every.due(seconds=time.monotonic() - self._saved_at, steps=step - self.saved_step):
            return True
        if self.triggers is None or not (why := self.triggers.now(saved_at=self._saved_at)):
            return False
        notify("%s: %s; saving at step %s", self._run, why, step)
        return True
