"""What the Trainer of another library measures: kept in the run's log, and shown live in a notebook."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from colabkit._internal import log
from colabkit._internal.display.training_display import TrainingDisplay
from colabkit.checkpoint.management.history import saved_words
from colabkit.checkpoint.view.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from colabkit.checkpoint.run_store import RunStore

EVERY = 50  # steps between two records in the middle of an epoch, as `track` has it
_TRAINING = ("train_", "train/")
_VALIDATION = ("eval_", "eval/", "val/", "valid_", "validation_")


class TrainerView:
    """Follows a training that another library's loop does.

    Args:
        run: The run.
        epochs: How many there will be; None where that is not known.
        session_left: Seconds until the session ends at the latest; None where it has no known limit.

    Attributes:
        shown: Whether there is a live display, beside which another progress bar says the same twice.
    """

    def __init__(self, run: RunStore, *, epochs: int | None, session_left: float | None) -> None:
        self._journal = Journal(run.dir)
        self._metrics: dict[str, float] = {}
        self._epoch: int | None = None
        self._display: TrainingDisplay | None = None
        # On a terminal and in a log the library's own bar has the word.
        self.shown = log.in_notebook() and log.is_watched()
        if self.shown:
            self._display = TrainingDisplay(
                run.name, epochs=epochs, saved=lambda: saved_words(run), session_left=session_left
            )
            self._display.status("starting")

    def go_on(self, step: int, epoch: int) -> None:
        """Forget what was logged after a place, as it is logged again."""
        self._journal.go_on(step, epoch)

    def begin_epoch(self, epoch: int, steps: float | None, *, done: int = 0) -> None:
        """Begin an epoch, or go on in its middle.

        Args:
            epoch: Its number, from 0.
            steps: How many it has; None or infinity where that is not known.
            done: How many of them an earlier process has done.
        """
        self._epoch, self._metrics = epoch, {}
        if self._display is not None:
            is_known = steps is not None and math.isfinite(steps)
            self._display.begin_epoch(epoch, int(steps or 0) if is_known else None, done=done)

    def step(self, done: int, metrics: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Count a step.

        Args:
            done: Steps of this epoch that are done.
            metrics: Gives what was measured; only called when it is drawn.
        """
        if self._display is not None:
            self._display.step(done, self._metrics if metrics is None else lambda: paired(metrics()))

    def log(self, step: int, values: Mapping[str, Any], *, epoch: int | None = None) -> None:
        """Keep what was measured at a step; with `epoch`, at the end of that many whole epochs."""
        numbers = plain(values)
        if numbers:
            self._journal.log(step, epoch, numbers)
            self._metrics |= paired(numbers)

    def end_epoch(self) -> None:
        """End the epoch that was begun; twice is harmless."""
        if self._epoch is not None and self._display is not None:
            self._display.end_epoch(self._metrics)
        self._epoch = None

    def close(self, words: str = "") -> None:
        """Close the files, and end the display.

        Args:
            words: How it ended, where that was not by its last epoch.
        """
        self._journal.close()
        if self._display is not None:
            self._display.close(words)


def plain(values: Mapping[str, Any]) -> dict[str, float]:
    """Take the numbers among what was logged, tensors of one element included.

    Example:
        >>> plain({"loss": 0.5, "note": "x"})
        {'loss': 0.5}
    """
    numbers = {}
    for name, value in values.items():
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            numbers[name] = float(value)
    return numbers


def paired(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name metrics so that those of training and of validation are drawn together.

    Example:
        >>> paired({"train_loss": 0.5, "eval_loss": 0.6, "loss_step": 0.1, "lr": 0.01})
        {'loss': 0.5, 'val_loss': 0.6, 'lr': 0.01}
    """
    metrics: dict[str, Any] = {}
    for name, value in values.items():
        short = _without(name, _TRAINING)
        if (of_validation := _without(name, _VALIDATION)) != name:
            short = f"val_{of_validation}"
        base = short.removesuffix("_step").removesuffix("_epoch")
        if base == short or base not in metrics:
            metrics[base] = value
    return metrics


def _without(name: str, prefixes: Iterable[str]) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)
