"""The states of a run of fits, taken and handed to the run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.fastai import state
from colabkit.checkpoint.fastai.fits import KIND
from colabkit.checkpoint.memory_words import telling_lack_of_memory
from colabkit.checkpoint.policy.save_clock import SaveClock
from colabkit.checkpoint.policy.time_limit import Forecast
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.state.pytree import Snapshot
from colabkit.checkpoint.time_use import TrainingTime

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint.fastai.fits import RunFits
    from colabkit.checkpoint.fastai.learner import LearnerState
    from colabkit.checkpoint.run_store import RunStore


@dataclass(kw_only=True)
class FitPlace:
    """How far a fit has come.

    Attributes:
        epoch: Epochs of it that are done.
        step_in_epoch: Steps of the epoch that is trained.
        step: Steps of all fits of the run.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0

    def end_epoch(self, epoch: int) -> None:
        """Count the epoch with that number, from 0, as done."""
        self.epoch, self.step_in_epoch = epoch + 1, 0


class FitSaver:
    """Saves the states of the fits of one run.

    Args:
        run: The run.
        fits: Its fits.

    Attributes:
        place: Where the present fit is.
        clock: Says when to save.
        time: The seconds of training.
    """

    def __init__(self, run: RunStore, fits: RunFits) -> None:
        self.place = FitPlace()
        self.clock = SaveClock(run.name, run.every)
        self.time = TrainingTime()
        self._forecast = Forecast(run.name, limit=run.limit, lasts=run.is_mirrored)
        self._run = run
        self._fits = fits
        self._end_of_epoch: tuple[dict[str, Any], dict[str, Any]] | None = None

    def epoch_begins(self, *, left: int, whole: bool) -> None:
        """Say whether there is time for the epochs that are left, as the one before has told, and measure this one.

        Args:
            left: This one and those after it.
            whole: None of its steps is done.
        """
        self._forecast.epoch_ends(left)
        self._forecast.epoch_begins(whole=whole)

    def save(self, learner: LearnerState, *, wait: bool, complete: bool = False) -> None:
        """Save the state as it is now.

        Args:
            learner: The learner's.
            wait: Wait until it is on the disk.
            complete: Nothing is left of the fit.
        """
        within = self.place.step_in_epoch > 0
        self._submit(
            learner, lambda: learner.take(within_epoch=within, complete=complete), wait=wait, complete=complete
        )

    def keep_end_of_epoch(self, learner: LearnerState) -> None:
        """Keep what the validation and the end of the epoch will change; the weights they leave alone."""
        self._end_of_epoch = None
        with telling_lack_of_memory(self._run, step=self.place.step):
            tensors, rest = learner.take(within_epoch=self.place.step_in_epoch > 0)
            self._end_of_epoch = {name: array.copy() for name, array in tensors.items()}, rest

    def forget_end_of_epoch(self) -> None:
        """Take what is there now again: the end of the epoch has done what it does."""
        self._end_of_epoch = None

    def save_end_of_epoch(self, learner: LearnerState) -> None:
        """Save what was kept, where it is not saved yet."""
        if (kept := self._end_of_epoch) is not None and self.clock.saved_step < self.place.step:
            self._submit(learner, lambda: kept, wait=True, complete=False)

    def _submit(
        self,
        learner: LearnerState,
        take: Callable[[], tuple[dict[str, Any], dict[str, Any]]],
        *,
        wait: bool,
        complete: bool,
    ) -> None:
        step = self.place.step
        with telling_lack_of_memory(self._run, step=step):
            tensors, rest = take()
            tensors = state.capture_model(learner.learn) | tensors
            meta = self._meta(learner, rest, complete=complete) | {"drawn": learner.data_drawn(tensors)}
            self._run.submit(Snapshot(step=step, tensors=tensors, meta=meta))
        self.clock.saved_step = step
        if wait:
            self._run.written()
        self.clock.saved()

    def _meta(self, learner: LearnerState, rest: dict[str, Any], *, complete: bool) -> dict[str, Any]:
        learn, place = learner.learn, self.place
        history = state.history(learn)
        return {
            "kind": KIND,
            "step": place.step,
            "epoch": place.epoch,
            "step_in_epoch": place.step_in_epoch,
            "epochs": learn.n_epoch,
            "fit": len(self._fits.identities) - 1,
            "fits": list(self._fits.identities),
            "complete": complete,
            "metrics": {name: values[-1] for name, values in history["values"].items() if values},
            "saved_at": time.time(),
            "seconds": self.time.seconds,
            "history": history,
            "data": learner.data,
            "layout": state.layout(learn),
            "versions": versions(),
            "state": rest,
        }


def versions() -> dict[str, str]:
    """Name the versions that a state depends on."""
    import fastai
    import fastcore

    return pytree.versions(fastai=fastai.__version__, fastcore=fastcore.__version__)
