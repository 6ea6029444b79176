"""Whether a fit saves now and whether it ends before its last epoch, and how it ends then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.keras.fit import loop as fit_loop
from colabkit.checkpoint.policy.signals import TIME_OVER
from colabkit.checkpoint.policy.stopping import wait_until_written

if TYPE_CHECKING:
    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.distributed import WorkerCoordinator
    from colabkit.checkpoint.keras.fit.progress import LookClock, Progress
    from colabkit.checkpoint.policy.signals import StopSignals


class FitStopping:
    """What the clock, the signals and the other workers say of saving and stopping.

    Args:
        workers: The workers that train, and the run as this one sees it.
        signals: Remember that the training is to stop.
        clock: Says when to save.
        progress: How far the training has come.

    Attributes:
        reason: Why the fit ended before its last epoch, in words; empty where it did not.
    """

    def __init__(self, workers: WorkerCoordinator, signals: StopSignals, clock: LookClock, progress: Progress) -> None:
        self._workers = workers
        self._signals = signals
        self._clock = clock
        self._progress = progress
        self.reason = ""
        self._begun_at = 0  # the step that this process began at

    def begin(self) -> None:
        """Note where this process begins to train."""
        self._begun_at = self._progress.step

    @property
    def is_asked(self) -> bool:
        """Whether a signal has come, or the time is over."""
        return self._signals.received is not None

    @property
    def is_asked_in_time(self) -> bool:
        """As `is_asked`, but for a time that was over before a step was trained: the epoch ends at least."""
        return self.is_asked and not (self.is_time_over and self._progress.step == self._begun_at)

    @property
    def is_time_over(self) -> bool:
        """Whether it is the time that ends the training, and no signal."""
        return self._signals.received == TIME_OVER

    def decide(self, *, ask: bool = False) -> tuple[bool, bool]:
        """Say whether to save and whether to stop; where several workers train, all say the same."""
        due, signal = self._clock.due(self._progress.step), self._signals.received or 0
        due, signal = self._workers.decide(due=due, signal=signal, step=self._progress.step, ask=ask)
        if signal:  # never set to None here: a signal may have come since it was read
            self._signals.received = signal
        return due, signal != 0

    def end(self, model: Any, fit: Fit | None, epochs: fit_loop.EpochCursor | None) -> None:
        """End a fit whose state is saved: it is told, and the signal does what it always does.

        Raises:
            KeyboardInterrupt: For Ctrl-C.
        """
        run = self._workers.run
        self.give_back(model)
        wait_until_written(run)
        run.end_writing()
        step = run.status().saved_step
        self._workers.tell("stopped", f"was stopped at step {step}, which is saved", self._progress.metrics)
        self._signals.deliver(f"{run.name} is saved at step {step}; run it again and it continues there")
        self.reason = f"its time is over at step {self._progress.step}"
        fit_loop.end_early(model, fit, epochs, within=self._progress.step_in_epoch > 0)

    def give_back(self, model: Any) -> None:
        """Give the signals back, and the epoch that this fit was begun at, which a second fit must not see."""
        self._signals.restore()
        model._initial_epoch = None  # set where the fit was continued
