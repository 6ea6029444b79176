"""What the Trainer of another library measures: kept in the run's log, and shown live in a notebook."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.policy.time_limit import Forecast
from colabkit.checkpoint.view.training import TrainingView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from colabkit.checkpoint.run_store import RunStore

EVERY = 50  # steps between two records in the middle of an epoch, as `track` has it
_TRAINING = ("train_", "train/")
_VALIDATION = ("eval_", "eval/", "val/", "valid_", "validation_")


class TrainerView(TrainingView):
    """Follows a training that another library's loop does, which names its metrics as that library does.

    Args:
        run: The run.
        epochs: How many there will be; None where that is not known.
        most_steps: The steps of all epochs after which it ends before the last one's end; None for none.
    """

    def __init__(self, run: RunStore, *, epochs: int | None, most_steps: int | None = None) -> None:
        super().__init__(run)
        self._epochs, self._most_steps = epochs, most_steps
        self._forecast = Forecast(run.name, limit=run.limit, lasts=run.is_mirrored)
        self.open_display(epochs=epochs)
        self.status("starting")

    def begin_epoch(self, epoch: int, steps: float | None, *, done: int = 0) -> None:
        """Begin an epoch; the second one has the first one's pace, and may not have the time."""
        epochs = float(self._epochs or 0)
        if self._most_steps is not None:
            epochs = min(epochs or math.inf, self._most_steps / steps) if steps else 0.0
        self._forecast.epoch_ends(epochs - epoch)
        super().begin_epoch(epoch, steps, done=done)
        self._forecast.epoch_begins(whole=not done)

    def step(self, done: int, metrics: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Count a step; of what was measured the names are paired."""
        super().step(done, None if metrics is None else lambda: paired(metrics()))

    def log(self, step: int, values: Mapping[str, Any], *, epoch: int | None = None) -> None:
        """Keep the numbers among what was measured, under the library's names; they are shown paired."""
        if numbers := plain(values):
            self.journal.log(step, epoch, numbers)
            self._measured |= paired(numbers)


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
