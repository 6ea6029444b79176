"""The state of a `fit`, taken and handed to the run: the variables, what the host keeps, and where the training is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit._patches import keras_steps
from colabkit.checkpoint.keras import state
from colabkit.checkpoint.keras.fit.setup import KIND, MODEL_GROUPS, FitSetup, OfCallback
from colabkit.checkpoint.memory_words import telling_lack_of_memory
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.state.pytree import Snapshot

if TYPE_CHECKING:
    import keras
    import numpy as np

    from colabkit.checkpoint.keras.data.validation import Validation
    from colabkit.checkpoint.keras.distributed import Watching
    from colabkit.checkpoint.keras.fit.data import FitData
    from colabkit.checkpoint.keras.fit.progress import LookClock, Progress
    from colabkit.checkpoint.keras.host.host_state import HostState
    from colabkit.checkpoint.run_store import RunStore

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class FitParts:
    """What a state is made of, beside the model's variables.

    Attributes:
        data: The data.
        host: What is kept beside the variables.
        setup: How the training is set up.
        progress: How far it has come.
        clock: Is told of each save.
        validation: Knows which data it is validated on.
    """

    data: FitData
    host: HostState
    setup: FitSetup
    progress: Progress
    clock: LookClock
    validation: Validation


class FitSaver(OfCallback):
    """Saves the states of one `fit`.

    Args:
        callback: The callback that resumes.
        fit: Its running `fit`; None where it was not found.
        run: The run, as this worker sees it.
        parts: What else a state is made of.

    Attributes:
        seconds: How long the training waited for saving.
        end_of_epoch: In the state "epoch end": what its validation and its callbacks may change, as it was before.
    """

    def __init__(
        self,
        callback: keras.callbacks.Callback,
        fit: keras_steps.Fit | None,
        *,
        run: RunStore | Watching,
        parts: FitParts,
    ) -> None:
        super().__init__(callback)
        self._fit = fit
        self._run = run
        self._parts = parts
        self.seconds = 0.0
        self.end_of_epoch: tuple[dict[str, Array], dict[str, Any]] | None = None
        self._no_end_of_epoch: Exception | None = None  # why there is none where there should be one

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to train."""
        over = self._parts.progress.epoch >= self._callback.params["epochs"] or bool(self._model.stop_training)
        return self._parts.progress.step_in_epoch == 0 and over

    def keep_end_of_epoch(self) -> None:
        """Copy after the last step of an epoch what its validation and the callbacks of its end may change."""
        try:
            tensors, states = self._small_parts()
            tensors |= state.capture(self._model, groups=("optimizer",), largest=1)  # callbacks may change its rate
            self.end_of_epoch = {name: tensor.copy() for name, tensor in tensors.items()}, states
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._no_end_of_epoch = MemoryError(str(error))  # a new one: the frames of that one hold memory

    def forget_end_of_epoch(self) -> None:
        """Take what is there now again, as the callbacks of the epoch's end have done what they do."""
        self.end_of_epoch = self._no_end_of_epoch = None

    def save(self, *, wait: bool, ended: bool = False) -> None:
        """Save the state as it is now.

        Args:
            wait: Wait until it is on the disk.
            ended: The training has ended, and the callbacks have done at its end what they do.
        """
        progress, began = self._parts.progress, time.monotonic()
        if self._fit is not None:
            keras_steps.wait_for_callbacks(self._fit)  # what they change is part of the state
        with telling_lack_of_memory(self._run, step=progress.step):
            self._run.submit(self._take(ended=ended))
        self._parts.clock.saved_step = progress.step
        if wait:
            self._run.written()
        self._parts.clock.saved()
        self.seconds += time.monotonic() - began

    def _take(self, *, ended: bool) -> Snapshot:
        if self._no_end_of_epoch is not None:
            raise self._no_end_of_epoch
        progress = self._parts.progress
        small, states = self.end_of_epoch or self._small_parts()
        tensors = state.capture(self._model, groups=MODEL_GROUPS) | small
        states = {**states, "history_typed": self._parts.host.history_typed(tensors)}
        states = {**states, "logs": pytree.flatten(keras_steps.plain_logs(progress.logs), "logs", tensors)}
        return Snapshot(step=progress.step, tensors=tensors, meta={**self._meta(ended=ended), **states})

    def _small_parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Take what is beside the variables of the model, and what of it is no array."""
        tensors, states = self._parts.host.capture(self._parts.data.source, steps=self._parts.progress.step)
        return tensors, states | self._parts.validation.capture(tensors)

    def _meta(self, *, ended: bool) -> dict[str, Any]:
        progress = self._parts.progress
        return {
            "kind": KIND,
            "step": progress.step,
            "epoch": progress.epoch,
            "epoch_step": progress.epoch_step,
            "step_in_epoch": progress.step_in_epoch,
            "steps": self._parts.data.steps,
            "steps_seen": self._parts.data.steps_seen,
            "epochs": int(self._callback.params["epochs"]),  # of NumPy, it is no JSON
            "complete": self.is_complete,
            "stopped": bool(self._model.stop_training),
            "ended": ended,
            "metrics": progress.metrics,
            "best": progress.best,
            "saved_at": time.time(),
            "seconds": progress.time.seconds,
            "history": self._parts.host.history(),
            "data": self._parts.data.identity(),
            **self._parts.setup.meta(),
        }
