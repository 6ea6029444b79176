"""How far a `fit` has come, and when its state is to be saved next."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import notify, warn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.policy import BestMetric, SaveInterval
    from colabkit.checkpoint.policy.save_triggers import SaveTriggers

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
        best: What makes the best state the best so far; None while there is none.
    """

    def __init__(self, run: str, best: BestMetric | None) -> None:
        self._run = run
        self._by = best
        self.epoch = self.step = self.step_in_epoch = self.epoch_step = 0
        self.logs: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}
        self.best: dict[str, Any] | None = None
        self._spent = 0.0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training, earlier processes included."""
        return self._spent + time.monotonic() - self._began

    def start_clock(self) -> None:
        """Count the seconds from now on."""
        self._began = time.monotonic()

    def restore(self, meta: Mapping[str, Any]) -> None:
        """Go on from the counters of a checkpoint."""
        self.epoch, self.step_in_epoch, self.step = meta["epoch"], meta["step_in_epoch"], meta["step"]
        self.epoch_step = int(meta.get("epoch_step") or 0)
        self.metrics = dict(meta.get("metrics") or {})
        self.best = meta.get("best")
        self._spent = meta["seconds"]

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


class SaveClock:
    """Says when to save: by the run's interval, and on occasions that no interval foresees.

    Most steps ask for no more than whether a time and a step have come, so that they cost next to nothing.

    Args:
        run: The run's name, for messages.
        every: How often to save.

    Attributes:
        saved_step: The step of the newest state that was handed on to be written.
        triggers: The other occasions; None until the training has begun.
    """

    def __init__(self, run: str, every: SaveInterval) -> None:
        self._run = run
        self._every = every
        self.saved_step = 0
        self.triggers: SaveTriggers | None = None
        self._saved_at = time.monotonic()
        self._look_at, self._look_at_step = 0.0, 0

    def start(self, triggers: SaveTriggers) -> None:
        """Count the interval from now on."""
        self.triggers = triggers
        self._saved_at = time.monotonic()

    def saved(self) -> None:
        """Count the interval anew: a state was handed on."""
        self._saved_at = time.monotonic()

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

    def due(self, step: int) -> bool:
        """Whether to save after a step; an occasion is told."""
        if self._every.due(seconds=time.monotonic() - self._saved_at, steps=step - self.saved_step):
            return True
        if self.triggers is None or not (why := self.triggers.now(saved_at=self._saved_at)):
            return False
        notify("%s: %s; saving at step %s", self._run, why, step)
        return True
