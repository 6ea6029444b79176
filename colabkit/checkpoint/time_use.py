"""Where the time of a training goes: waiting for data, computing, saving."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._internal.log import notify

if TYPE_CHECKING:
    from collections.abc import Callable

_TOLD_FROM = 5.0  # seconds of steps: shorter epochs have nothing to gain
_WAITS = 0.3  # the share from which it is said what to do
_FILES = (
    'many small files on a mounted Drive are slow: ck.fetch(…, keep="drive:data") brings them to the machine\'s own '
    "disk, from one archive in the Drive"
)
FOR_KERAS = (
    "for tf.data .map(…, num_parallel_calls=tf.data.AUTOTUNE), .cache() behind what is the same each time, and "
    f".prefetch(tf.data.AUTOTUNE) at the end; {_FILES}"
)
FOR_LOADERS = f"DataLoader(…, num_workers=2, persistent_workers=True) reads beside the training; {_FILES}"


@dataclass(frozen=True, kw_only=True)
class TimeUse:
    """Seconds of the steps of a training, without the first of each epoch, which may compile.

    Attributes:
        seconds: In all.
        waiting: Waiting for data; None where it cannot be told from computing.
        checkpoints: Saving.

    Example:
        >>> print(TimeUse(seconds=10.0, waiting=6.2, checkpoints=0.3))
        62 % waiting for data, 35 % compute, 3 % checkpoints
    """

    seconds: float
    waiting: float | None
    checkpoints: float

    def __str__(self) -> str:
        total = max(self.seconds, 1e-9)
        saving = min(1.0, self.checkpoints / total)
        waiting = 0.0 if self.waiting is None else min(1.0 - saving, self.waiting / total)
        shares = [] if self.waiting is None else [f"{waiting:.0%} waiting for data"]
        computing = "compute" if self.waiting is not None else "compute and data"
        shares += [f"{1 - saving - waiting:.0%} {computing}", f"{saving:.0%} checkpoints"]
        return ", ".join(shares).replace("%", " %")

    @property
    def waits(self) -> bool:
        """Whether the data is what to look at."""
        return self.waiting is not None and self.waiting > _WAITS * self.seconds


class TrainingTime:
    """The seconds of a training, those of earlier processes included."""

    def __init__(self) -> None:
        self._before = 0.0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How many there are so far."""
        return self._before + time.monotonic() - self._began

    def start(self) -> None:
        """Count from now on."""
        self._began = time.monotonic()

    def go_on(self, before: float) -> None:
        """Add the seconds of earlier processes."""
        self._before = before


class StepClock:
    """Adds up the seconds of steps and of what they wait for.

    Args:
        saving: Gives the seconds that saving has taken so far.
        clock: Tells the time.

    Attributes:
        steps: Steps that were counted.
    """

    def __init__(self, saving: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._saving = saving
        self._clock = clock
        self._mark: float | None = None
        self._seconds = self._waited = self._saved = self._saving_at = 0.0
        self._samples = 0
        self.steps = 0
        self._told = False

    def epoch_begins(self) -> None:
        """Count the coming step not at all: it may compile, and open the data."""
        self._mark = None

    def waited(self, seconds: float) -> None:
        """Note how long a step waited for its data; not every step need say so."""
        if self._mark is not None:
            self._waited += seconds
            self._samples += 1

    def stepped(self) -> None:
        """Count a step that is done."""
        now = self._clock()
        if self._mark is not None:
            self._seconds += now - self._mark
            self.steps += 1
            saving = self._saving()
            self._saved += saving - self._saving_at
            self._saving_at = saving
        else:
            self._saving_at = self._saving()
        self._mark = now

    @property
    def use(self) -> TimeUse:
        """Where the time has gone so far."""
        waiting = self._waited / self._samples * self.steps if self._samples else None
        return TimeUse(seconds=self._seconds, waiting=waiting, checkpoints=self._saved)

    def tell(self, run: str, advice: str) -> None:
        """Say after the first epoch where the time goes, and what to do where the data waits; once.

        Args:
            run: The run's name.
            advice: What makes data faster here.
        """
        use = self.use
        if self._told or use.seconds < _TOLD_FROM:
            return
        self._told = True
        notify("%s: where the time goes: %s", run, use)
        if use.waits:
            notify("%s: the data is the slowest part. %s", run, advice[0].upper() + advice[1:])
