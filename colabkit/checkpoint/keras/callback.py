"""The callback that makes a Keras `fit` resumable: `model.fit(..., callbacks=[run.resume()])`."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import keras

from colabkit._patches import keras_steps
from colabkit.checkpoint.keras.distributed import WorkerCoordinator
from colabkit.checkpoint.keras.fit import loop as fit_loop
from colabkit.checkpoint.keras.fit.resumed_fit import FitOptions, ResumedFit
from colabkit.checkpoint.policy.save_triggers import SaveTriggers, session_left
from colabkit.checkpoint.policy.signals import StopSignals
from colabkit.checkpoint.policy.time_limit import Forecast
from colabkit.errors import AddressError, UnsupportedError

if TYPE_CHECKING:
    from types import FrameType

    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.time_use import TimeUse


class ResumeCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the training state as it goes, and at the start of `fit` continues from the newest saved state.

    What it does is in `resumed_fit.py`: one `ResumedFit` for each `fit`.

    Args:
        run: The run that keeps the checkpoints.
        seed: Fixes the order of the samples; when None it follows from the state of Python's `random`.
        check_data: Refuse data other than what the run was trained on.
        exact: Refuse data whose order cannot be continued at any step.
        best: By which metric the best state is chosen, which stays however old it is.
        at: "step", or "epoch" to go back to the newest end of an epoch.
        limit: When to save and end before the last epoch; None for never.

    Attributes:
        resumed_from: After the start of `fit`: the `epoch` (from 0) and the `step` in it where the run was continued,
            or None in a new run.
    """

    def __init__(
        self,
        run: RunStore,
        *,
        seed: int | None,
        check_data: bool,
        exact: bool,
        best: BestMetric | None = None,
        at: str = "step",
        limit: TimeLimit | None = None,
    ) -> None:
        super().__init__()
        self._run = run
        self._options = FitOptions(seed=seed, check_data=check_data, exact=exact, best=best, at=at)
        self._signals = StopSignals(self._is_running, limit=limit)
        self._forecast = Forecast(run.name, limit=limit, lasts=run.is_mirrored)
        self._resumed: ResumedFit | None = None
        self.resumed_from: dict[str, int] | None = None

    @property
    def saving(self) -> float:
        """Seconds that the training waited for saving."""
        return self._resumed.saver.seconds if self._resumed is not None else 0.0

    @property
    def time_use(self) -> TimeUse | None:
        """Where the time of the steps went; None before the start of `fit`."""
        return self._resumed.steps_clock.use if self._resumed is not None else None

    @property
    def stopped(self) -> str:
        """Why the fit ended before its last epoch, in words; empty where it did not."""
        return self._resumed.stopping.reason if self._resumed is not None else ""

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        _check_epochs(self.params.get("epochs"))
        workers = WorkerCoordinator(self._run, self.model)
        workers.run.begin_writing()
        try:
            self._resumed = self._begin(keras_steps.running_fit(self.model), workers)
        except BaseException:
            workers.run.close()
            raise
        self._resumed.start_clocks(SaveTriggers(self._run.dir, session_left=session_left()))
        self._signals.install()

    def _begin(self, fit: keras_steps.Fit | None, workers: WorkerCoordinator) -> ResumedFit:
        others = [callback for callback in fit.callbacks.callbacks if callback is not self] if fit is not None else []
        for other in others:
            if isinstance(other, ResumeCallback):
                raise UnsupportedError(
                    "one fit continues one run, and it was given two callbacks that resume",
                    why=f"they are of {self._run.name} and {other._run.name}",
                    hint="keep one of them; run.fit(...) brings its own; mirror= keeps a copy of a run elsewhere",
                )
        resumed = ResumedFit(self, fit, others=others, workers=workers, options=self._options, signals=self._signals)
        self.resumed_from = resumed.begin()
        if fit is not None:
            # Last, so that what the other callbacks change is saved too; first as well, to restore before they see an
            # epoch. A new list, since Keras is going through the old one just now.
            fit.callbacks.callbacks = [_First(resumed), *others, self]
            keras_steps.tell_steps(fit, resumed.step_done, last=True)
            fit_loop.on_step_failure(fit, resumed.failed)
        return resumed

    # Outside a fit that it has seen begin, as in `model.evaluate`, there is nothing to do.

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._resumed is not None:
            self._resumed.epoch_begins(epoch)
            earlier = self.resumed_from or {}
            self._forecast.epoch_begins(whole=not (earlier.get("epoch") == epoch and earlier.get("step")))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._resumed is not None:
            self._resumed.step_begins(batch)

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._resumed is not None:
            self._resumed.validation_begins()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._resumed is not None:
            self._resumed.validation_step_begins()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._resumed is not None:
            self._resumed.epoch_ends(epoch, logs or {})
            if not self._resumed.stopping.reason:
                self._forecast.epoch_ends(int(self.params.get("epochs") or 0) - epoch - 1)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._resumed is not None:
            self._resumed.train_ends()

    def _is_running(self, frame: FrameType | None) -> bool:
        return keras_steps.running_fit(self.model, frame) is not None


class _First(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the `fit` that resumes before the other callbacks are told."""

    def __init__(self, resumed: ResumedFit) -> None:
        super().__init__()
        self._resumed = resumed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._resumed.before_epoch()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._resumed.give_what_is_owed()


def _check_epochs(epochs: Any) -> None:
    """Refuse what Keras would count to only after the run was restored.

    Raises:
        AddressError: It is no whole number.
    """
    try:
        operator.index(epochs)
    except TypeError:
        raise AddressError(
            f"epochs={epochs!r:.50} is not a number of epochs", hint="pass epochs=3, counted for the whole run"
        ) from None
