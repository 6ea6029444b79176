"""How far a `fit` has come, and when its state is to be saved next."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.checkpoint.policy.save_clock import SaveClock
from colabkit.checkpoint.time_use import TrainingTime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.policy import BestMetric, SaveInterval

_LOOK_EVERY = 0.1  # seconds between two looks at what may call for a save


class Progress:
    """The counters of a `fit`, and what its epochs have measured.

    Args:
        run: The run's name, for messages.
        best: By which metric the best state is chosen; None for no best state.

    Attributes:
        epoch: Epochs that are done.
        step: Steps trained since the run began.
        step_in_epoch: Those of them in the epoch that is being trained.
        epoch_step: `step` at the newest end of an epoch.
        logs: What the last step gave; on JAX it may still be computed.
        metrics: What the last epoch has measured.
        time: Its seconds.
        best: What makes the best state the best so far; None while there is none.
    """

    def __init__(self, run: str, best: BestMetric | None) -> None:
        self._run = run
        self._by = best
        self.epoch = self.step = self.step_in_epoch = self.epoch_step = 0
        self.logs: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}
        self.best: dict[str, Any] | None = None
        self.time = TrainingTime()

    def restore(self, meta: Mapping[str, Any]) -> None:
        """Go on from the counters of a checkpoint."""
        self.epoch, self.step_in_epoch, self.step = meta["epoch"], meta["step_in_epoch"], meta["step"]
        self.epoch_step = int(meta.get("epoch_step") or 0)
        self.metrics = dict(meta.get("metrics") or {})
        self.best = meta.get("best")
        self.time.go_on(meta["seconds"])

    def advance(self, done: int, logs: Any) -> None:
        """Count the steps up to one of the epoch, whose logs these are."""
        self.step += done - self.step_in_epoch
        self.step_in_epoch = done
        self.logs = logs or {}

    def end_epoch(self, epoch: int, logs: Mapping[str, Any]) -> bool:
        """Count an epoch that has ended; says whether its state is the best so far."""
        self.epoch, self.step_in_epoch, self.logs = epoch + 1, 0, {}
        self.epoch_step = self.step
        self.metrics = {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
        by = self._by
        if by is None:
            return False
        if (value := self.metrics.get(by.metric)) is None:
            self._by = None
            measured = ", ".join(self.metrics)
            warn("%s: the best state is not kept: no epoch measures %s, only %s", self._run, by.metric, measured)
            return False
        better = by.judge(value, self.best, step=self.step, epoch=self.epoch)
        self.best = better or self.best
        return better is not None


class LookClock(SaveClock):
    """Says when to save, and until when nothing can be due: most steps ask for no more, so they cost next to nothing.

    Args:
        run: The run's name, for messages.
        every: How often to save.
    """

    def __init__(self, run: str, every: SaveInterval) -> None:
        super().__init__(run, every)
        self.saved_step = 0
        self._look_at, self._look_at_step = 0.0, 0

    def epoch_begins(self) -> None:
        """Look after the first step of an epoch, whatever was planned."""
        self._look_at_step = 0

    def rests(self, done: int) -> bool:
        """Whether nothing can be due yet after so many steps of the epoch."""
        return done < self._look_at_step and time.monotonic() < self._look_at

    def plan_look(self, progress: Progress, *, steps: int | None, together: bool) -> None:
        """Note until when, and before which step of the epoch, nothing is due.

        Args:
            progress: How far the `fit` has come.
            steps: Steps in an epoch; None while nobody can know.
            together: Several workers train, who ask each other at steps that all of them know.
        """
        every = self._every
        self._look_at = time.monotonic() + _LOOK_EVERY
        if every.seconds is not None:
            self._look_at = min(self._look_at, self._saved_at + every.seconds)
        self._look_at_step = sys.maxsize if steps is None else steps
        if every.steps is not None:
            due_in = every.steps - (progress.step - self.saved_step)
            self._look_at_step = min(self._look_at_step, progress.step_in_epoch + due_in)
        if together:
            self._look_at_step = 0
