"""How far a training is: what its loop told, and what follows from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class TrainingProgress:
    """Counts epochs and steps, and says from their times what is left; it draws nothing.

    Args:
        title: What is trained.
        epochs: How many there will be; None where that is not known.
        clock: Tells the time in seconds.

    Attributes:
        history: What each epoch measured, by name; NaN where an epoch did not measure it.
        rows: The epochs that ended here: their number from 0, and their seconds.
        epoch: The number of the running epoch, from 0.
        step: How many of its steps are done.
        first_step: Where this process took it up.
        steps: How many it has, where that is known.
    """

    def __init__(self, title: str, epochs: int | None, clock: Callable[[], float]) -> None:
        self.title = title
        self.epochs = epochs
        self.history: dict[str, list[float]] = {}
        self.rows: list[tuple[int, float]] = []
        self.epoch = self.step = self.first_step = 0
        self.steps: int | None = None
        self._clock = clock
        self._begun = self._epoch_begun = self._first_step_at = clock()
        self._counting = False
        self._metrics: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = {}

    def begin_epoch(self, epoch: int, steps: int | None, done: int) -> None:
        """Begin an epoch, of which an earlier process may have done some steps."""
        self.epoch, self.steps, self.step, self.first_step = epoch, steps, done, done
        self._epoch_begun = self._first_step_at = self._clock()
        self._metrics, self._counting = {}, False

    def count(self, step: int, metrics: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None, now: float) -> bool:
        """Count a step; return whether it is the first of this epoch here."""
        is_first = not self._counting
        if is_first:  # it compiles: it says nothing about the next ones
            self._counting, self.first_step, self._first_step_at = True, step, now
        # Keras counts on to the end of an execution of several steps, which may be beyond that of the epoch.
        self.step = step if self.steps is None else min(step, self.steps)
        if metrics is not None:
            self._metrics = metrics
        return is_first

    def end_epoch(self, metrics: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        """End an epoch; return what it measured, and its seconds."""
        seconds = self._clock() - self._epoch_begun
        values = {name: float(value) for name, value in metrics.items() if _is_number(value)}
        self.rows.append((self.epoch, seconds))
        for name, value in values.items():
            column = self.history.setdefault(name, [])
            column += [math.nan] * (self.epoch - len(column))
            del column[self.epoch :]
            column.append(value)
        self._metrics = values
        return values, seconds

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._begun

    @property
    def share(self) -> float | None:
        """How much of the epoch is done, from 0 to 1, where that is known."""
        return min(1.0, self.step / self.steps) if self.steps else None

    @property
    def rate(self) -> float:
        """Steps a second in this epoch."""
        return (self.step - self.first_step) / max(self._clock() - self._first_step_at, 1e-9)

    def epoch_left(self) -> float | None:
        """Return the seconds that the epoch still takes, where that can be told."""
        rate = self.rate
        return (self.steps - self.step) / rate if self.steps and rate > 0 else None

    def left(self) -> float | None:
        """Return the seconds that the training still takes, where that can be told."""
        if self.epochs is None:
            return None
        rest = self.epoch_left()
        durations = [seconds for _, seconds in self.rows[-3:]]
        rate = self.rate
        an_epoch = min(durations) if durations else self.steps / rate if self.steps and rate > 0 else None
        if an_epoch is None:
            return None
        if self.rows and self.rows[-1][0] == self.epoch:
            rest = 0.0
        return (rest if rest is not None else an_epoch) + an_epoch * (self.epochs - self.epoch - 1)

    def words(self) -> str:
        """Say in one line how far the epoch is."""
        words = f"epoch {self.epoch + 1}" + (f" of {self.epochs}" if self.epochs else "")
        words += f": step {self.step}" + (f" of {self.steps}" if self.steps else "")
        words += "".join(f", {name} {value:.4f}" for name, value in self._measured())
        left = self.epoch_left()
        return words + (f", {duration(left)} left" if left is not None else "")

    def _measured(self) -> list[tuple[str, float]]:
        metrics = self._metrics() if callable(self._metrics) else self._metrics
        numbers = [(name, float(value)) for name, value in metrics.items() if _is_number(value)]
        return sorted(numbers, key=lambda pair: (pair[0] != "loss", pair[0]))[:3]


def duration(seconds: float) -> str:
    """Write a time as people say it.

    Example:
        >>> duration(0.42), duration(42.4), duration(75), duration(4000)
        ('0.4 s', '42 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def _is_number(value: Any) -> bool:
    try:
        return (getattr(value, "ndim", 0) == 0 and float(value) == float(value)) or math.isnan(float(value))
    except (TypeError, ValueError):
        return False
