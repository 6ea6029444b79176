"""When to save, and what to keep: decisions only, no files."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable

_EVERY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")
_SECONDS = {"": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60}
_HOURS = {"h": 3600, "hour": 3600, "hours": 3600}


@dataclass(frozen=True, kw_only=True)
class SaveInterval:
    """How often to save; exactly one field is set.

    Attributes:
        seconds: After so many seconds of training.
        steps: After so many steps.
        epochs: At the end of each so-many-th epoch.
    """

    seconds: float | None = None
    steps: int | None = None
    epochs: int | None = None

    def __str__(self) -> str:
        if self.epochs is not None:
            return f"{self.epochs} epochs" if self.epochs != 1 else "epoch"
        return f"{self.steps} steps" if self.steps is not None else f"{self.seconds:g} s"

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


def parse_every(text: str | float | SaveInterval) -> SaveInterval:
    """Read an interval.

    Args:
        text: `"60s"`, `"5 min"`, `"500 steps"`, `"2 epochs"`, or a number of seconds.

    Raises:
        AddressError: It is none of these.

    Example:
        >>> parse_every("90s"), parse_every("500 steps")
        (SaveInterval(seconds=90.0, steps=None, epochs=None), SaveInterval(seconds=None, steps=500, epochs=None))
    """
    if isinstance(text, SaveInterval):
        return text
    match = _EVERY.fullmatch(str(text).lower())
    if match:
        number, unit = float(match[1]), match[2]
        if unit in _SECONDS or unit in _HOURS:
            return SaveInterval(seconds=number * (_SECONDS | _HOURS)[unit])
        if unit in ("step", "steps") and number >= 1:
            return SaveInterval(steps=int(number))
        if unit in ("epoch", "epochs") and number >= 1:
            return SaveInterval(epochs=int(number))
    raise AddressError(
        f"every={text!r} is not an interval",
        why="it takes a time, or a number of steps or epochs, above zero",
        hint='write it as "60s", "5 min", "500 steps" or "2 epochs"',
    )


_LARGER_IS_BETTER = re.compile(
    r"(^|_)(acc|accuracy|auc|precision|recall|sensitivity|specificity|f1|f2|fbeta|iou|dice|r2|score|map|psnr|ssim|bleu)(_|$)"
)
_SMALLER_IS_BETTER = re.compile(
    r"(^|_)(loss|error|err|mse|mae|rmse|mape|msle|kld|perplexity|entropy|crossentropy|divergence|distance)(_|$)"
)


@dataclass(frozen=True, kw_only=True)
class BestMetric:
    """By which metric a state is better than another.

    Attributes:
        metric: Its name in the logs of an epoch, as `val_loss`.
        mode: Whether the smallest or the largest value is the best.
    """

    metric: str
    mode: Literal["min", "max"]

    def better(self, value: float, than: float | None) -> bool:
        """Say whether a value is better than the best so far; nan never is."""
        if math.isnan(value):
            return False
        return than is None or (value < than if self.mode == "min" else value > than)

    def judge(self, value: float, so_far: Any, **where: int) -> dict[str, Any] | None:
        """Return the note of the best state that a checkpoint carries, where this state is better than the best so far.

        Args:
            value: What it reached.
            so_far: The note of the best so far; one by another metric, or none, does not count.
            where: At which `step`, and `epoch`, it is.
        """
        comparable = isinstance(so_far, dict) and (so_far.get("metric"), so_far.get("mode")) == (self.metric, self.mode)
        if not self.better(value, so_far["value"] if comparable else None):
            return None
        return {"metric": self.metric, "mode": self.mode, "value": value, **where}


class BestSoFar:
    """The best state of a run, among those that were judged.

    Args:
        by: By which metric the best is chosen; None for no best state.

    Attributes:
        note: What makes it the best, as a checkpoint carries it; None while there is none.
        is_new: Whether the present state is the best one, and not saved yet.
    """

    def __init__(self, by: BestMetric | None) -> None:
        self._by = by
        self.note: dict[str, Any] | None = None
        self.is_new = False

    @property
    def metric(self) -> str | None:
        """The metric by which it is chosen."""
        return None if self._by is None else self._by.metric

    def judge(self, value: float, *, step: int, epoch: int) -> None:
        """Compare the present state with it.

        Args:
            value: What the metric is.
            step: At how many steps, of all epochs.
            epoch: In which epoch.
        """
        note = None if self._by is None else self._by.judge(value, self.note, step=step, epoch=epoch)
        if note is not None:
            self.note, self.is_new = note, True


def parse_best(text: str | tuple[str, str] | BestMetric) -> BestMetric:
    """Read by which metric the best is chosen.

    Args:
        text: The metric's name, where it tells whether small or large is good; else the name and `"min"` or `"max"`.

    Raises:
        AddressError: It is neither.

    Example:
        >>> parse_best("val_loss"), parse_best(("reward", "max"))
        (BestMetric(metric='val_loss', mode='min'), BestMetric(metric='reward', mode='max'))
    """
    match text:
        case BestMetric():
            return text
        case (str(metric), ("min" | "max") as mode):
            return BestMetric(metric=metric, mode=mode)
        case str() if bool(_LARGER_IS_BETTER.search(text)) != bool(_SMALLER_IS_BETTER.search(text)):
            return BestMetric(metric=text, mode="max" if _LARGER_IS_BETTER.search(text) else "min")
    name = text if isinstance(text, str) else "METRIC"
    raise AddressError(
        f"best={text!r} does not say what is best",
        why="the name does not tell whether small or large values are good" if isinstance(text, str) else "",
        hint=f'write best=("{name}", "min") or best=("{name}", "max")',
    )


def disk_reserve(total: int) -> int:
    """Return the bytes of a disk that checkpoints leave alone: a full disk breaks more than the next checkpoint."""
    return min(1 << 30, total // 50)


def deletable(steps: Iterable[int], *, good: Iterable[int], keep: int, best: int | None = None) -> set[int]:
    """Choose the checkpoints that may be deleted.

    Only what is known to be whole counts as kept, and nothing newer than the oldest kept one is ever chosen: a broken
    file does not push out a good one.

    Args:
        steps: The steps of all checkpoints in the folder.
        good: Those that this process wrote or has verified.
        keep: How many good ones stay.
        best: The step of the best one, which stays however old it is.

    Example:
        >>> sorted(deletable([10, 20, 30, 40, 50], good=[20, 30, 50], keep=2))
        [10, 20]
    """
    kept = sorted(good, reverse=True)[:keep]
    if len(kept) < keep:
        return set()
    return {step for step in steps if step < kept[-1] and step != best}
