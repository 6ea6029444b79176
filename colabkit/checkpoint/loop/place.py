"""How far a loop has come.

| place                         | `epoch`, `step_in_epoch` | a new process                                    |
|-------------------------------|--------------------------|--------------------------------------------------|
| between two steps of epoch e  | e, steps done            | reads up to there, restores the random states    |
| after the last one, in nested | e, all steps, `is_read`  | gives no batch, runs what follows the inner loop |
| between two epochs            | e + 1, 0                 | begins epoch e + 1                               |
| at the end                    | epochs, 0, complete      | restores, gives no batch                         |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class LoopPlace:
    """The place of a loop in its epochs, as in the table above.

    Args:
        epochs: How many epochs there are.

    Attributes:
        epochs: As given.
        epoch: The current epoch, from 0; `epochs` at the end.
        step: Steps that are done, over all epochs and processes.
        step_in_epoch: Those of them in the current epoch.
        is_read: Whether the batches of the current epoch are over, by a break perhaps, and what follows them is not.

    Example:
        >>> place = LoopPlace(2)
        >>> place.count_step()
        >>> place.step, place.is_within
        (1, True)
        >>> place.next_epoch()
        >>> place.epoch, place.step, place.is_within
        (1, 1, False)
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.epoch = self.step = self.step_in_epoch = 0
        self.is_read = False

    @property
    def is_within(self) -> bool:
        """Whether the current epoch was begun."""
        return self.step_in_epoch > 0 or self.is_read

    @property
    def is_at_end(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch >= self.epochs

    def count_step(self) -> None:
        """Count a step that is done."""
        self.step += 1
        self.step_in_epoch += 1

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch += 1
        self.step_in_epoch, self.is_read = 0, False

    def restore(self, meta: Mapping[str, Any]) -> None:
        """Go to the place of a checkpoint."""
        self.epoch, self.step_in_epoch, self.step = meta["epoch"], meta["step_in_epoch"], meta["step"]
        self.is_read = meta.get("ended", False)

    def meta(self) -> dict[str, Any]:
        """Describe it for a checkpoint, which names the step itself."""
        return {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "ended": self.is_read,
            "epochs": self.epochs,
        }
