"""What is tracked, and what a tracker is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Record:
    """The values of one moment.

    Attributes:
        step: Steps trained so far.
        epoch: Epochs trained so far, where one has just ended; None in the middle of one.
        values: Each metric's value.
        time: When it was taken, in seconds since 1970.
    """

    step: int
    epoch: int | None
    values: Mapping[str, float]
    time: float = field(default_factory=time.time)


class Tracker(Protocol):
    """Takes records and keeps them where the next process finds them.

    A killed training goes on from its last checkpoint, and what was logged after that is logged again. So `resume`
    says what still holds; a tracker forgets the rest, or passes over what it has already.
    """

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:
        """Begin, or go on.

        Args:
            kept: What was logged before and still holds, in order; empty at the start.
            epoch: Whole epochs trained so far.
        """

    def log(self, record: Record) -> None:
        """Keep one record; when it returns, a kill does not take it away."""

    def close(self) -> None:
        """Give back what is open; the tracker is not used again."""
