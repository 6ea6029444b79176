"""What a fit of Lightning measures, in the run's log and live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.lightning import progress
from colabkit.checkpoint.view.trainer import EVERY, TrainerView

if TYPE_CHECKING:
    from colabkit.checkpoint.run_store import RunStore


class FitView:
    """Follows a fit; a bar of Lightning that says the same as our display rests meanwhile.

    All processes have one, as what an epoch has measured may be added up among them; the chief alone keeps it.

    Args:
        trainer: The Trainer.
        run: The run; None on a process that is not the chief.
    """

    def __init__(self, trainer: Any, run: RunStore | None) -> None:
        self._trainer = trainer
        self._epoch: int | None = None  # the one that was begun, and not ended
        self._view: TrainerView | None = None
        if run is not None:
            epochs = trainer.max_epochs if (trainer.max_epochs or 0) > 0 else None
            steps = trainer.max_steps * trainer.accumulate_grad_batches if trainer.max_steps >= 0 else None
            self._view = TrainerView(run, epochs=epochs, most_steps=steps)
            self._set_bar(enabled=False)

    def go_on(self, step: int, epoch: int) -> None:
        """Forget what was logged after a place, as it is logged again."""
        if self._view is not None:
            self._view.journal.go_on(step, epoch)

    def begin_epoch(self, *, done: int) -> None:
        """Begin the Trainer's current epoch; `done` batches of it an earlier process has trained on."""
        self._epoch = self._trainer.current_epoch
        if self._view is not None:
            self._view.begin_epoch(self._epoch or 0, self._trainer.num_training_batches, done=done)

    def step(self, outputs: Any, *, in_epoch: int, step: int) -> None:
        """Show a step, and log what it measured now and then.

        Args:
            outputs: What its step returned.
            in_epoch: Batches of this epoch that are done.
            step: Batches of all epochs.
        """
        if self._view is None:
            return
        self._view.step(in_epoch, lambda: progress.of_step(self._trainer, outputs))
        if step % EVERY == 0:
            self._view.log(step, progress.of_step(self._trainer, outputs))

    def end_epoch(self, step: int) -> None:
        """Log and show what the epoch that was begun has measured, when all hooks of its end have logged."""
        if self._epoch is not None:
            measured = progress.of_epoch(self._trainer)
            if self._view is not None:
                self._view.log(step, measured, epoch=self._epoch + 1)
                self._view.end_epoch()
        self._epoch = None

    def close(self, words: str) -> None:
        """End the display; the words say how the fit ended, where that was early."""
        if self._view is not None:
            self._set_bar(enabled=True)
            self._view.close(words)

    def _set_bar(self, *, enabled: bool) -> None:
        bar = self._trainer.progress_bar_callback
        if self._view is not None and self._view.shown and bar is not None:
            bar.enable() if enabled else bar.disable()
