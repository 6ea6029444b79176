"""When to save, and what to keep: decisions only, no files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable

_EVERY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")
_SECONDS = {"": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60}
_HOURS = {"h": 3600, "hour": 3600, "hours": 3600}


@dataclass(frozen=True, kw_only=True)
class Every:
    """How often to save; exactly one field is set.

    Attributes:
        seconds: After so many seconds of training.
        steps: After so many steps.
        epochs: At the end of each so-many-th epoch.
    """

    seconds: float | None = None
    steps: int | None = None
    epochs: int | None = None

    def due(self, *, seconds: float, steps: int) -> bool:
        """Say whether to save now, in the middle of an epoch.

        Args:
            seconds: Since the last save.
            steps: Since the last save.
        """
        if self.seconds is not None:
            return seconds >= self.seconds
        return self.steps is not None and steps >= self.steps

    def due_at_epoch(self, epochs_done: int) -> bool:
        """Say whether to save at the end of an epoch: always, unless every n-th was asked for."""
        return self.epochs is None or epochs_done % self.epochs == 0


def parse_every(text: str | float | Every) -> Every:
    """Read an interval.

    Args:
        text: `"60s"`, `"5 min"`, `"500 steps"`, `"2 epochs"`, or a number of seconds.

    Raises:
        AddressError: It is none of these.

    Example:
        >>> parse_every("90s"), parse_every("500 steps")
        (Every(seconds=90.0, steps=None, epochs=None), Every(seconds=None, steps=500, epochs=None))
    """
    if isinstance(text, Every):
        return text
    match = _EVERY.fullmatch(str(text).lower())
    if match:
        number, unit = float(match[1]), match[2]
        if unit in _SECONDS or unit in _HOURS:
            return Every(seconds=number * (_SECONDS | _HOURS)[unit])
        if unit in ("step", "steps") and number >= 1:
            return Every(steps=int(number))
        if unit in ("epoch", "epochs") and number >= 1:
            return Every(epochs=int(number))
    raise AddressError(f"every={text!r} is no interval", do='write it as "60s", "5 min", "500 steps" or "2 epochs"')


def superseded(steps: Iterable[int], *, good: Iterable[int], keep: int) -> set[int]:
    """Choose the checkpoints that may be deleted.

    Only what is known to be whole counts as kept, and nothing newer than the oldest kept one is ever chosen: a broken
    file does not push out a good one.

    Args:
        steps: The steps of all checkpoints in the folder.
        good: Those that this process wrote or has verified.
        keep: How many good ones stay.

    Example:
        >>> sorted(superseded([10, 20, 30, 40, 50], good=[20, 30, 50], keep=2))
        [10, 20]
    """
    kept = sorted(good, reverse=True)[:keep]
    if len(kept) < keep:
        return set()
    return {step for step in steps if step < kept[-1]}
