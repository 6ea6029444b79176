"""What a Trainer measures, in the run's log and live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.transformers import trainer_state
from colabkit.checkpoint.view.trainer import TrainerView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.run_store import RunStore

_BARS = ("ProgressCallback", "NotebookProgressCallback")


class TrainingLog:
    """Follows a training; a bar of the Trainer that says the same as our display rests meanwhile.

    Args:
        trainer: The Trainer.
        run: The run.
        own: The callback that shows it.
    """

    def __init__(self, trainer: Any, run: RunStore, own: Any) -> None:
        self._handler = trainer.callback_handler
        self._accumulated: int = trainer.args.gradient_accumulation_steps
        epochs = trainer_state.known(trainer.state.num_train_epochs)
        self._view = TrainerView(run, epochs=epochs, most_steps=trainer_state.known(trainer.state.max_steps))
        self._epoch = 0
        self._is_over = False  # the epoch, so that what is logged is of all of it
        self._bars: list[Any] = []
        if self._view.shown:
            callbacks = self._handler.callbacks
            later = callbacks[callbacks.index(own) :]  # the others have drawn already, and the list is gone through
            self._bars = [each for each in later if type(each).__name__ in _BARS]
            for bar in self._bars:
                callbacks.remove(bar)

    def go_on(self, step: int, epoch: int) -> None:
        """Forget what was logged after a place, as it is logged again; of step 0 all, the first evaluation too."""
        self._view.journal.go_on(step or -1, epoch)

    def begin_epoch(self, epoch: int, steps: Any, *, done: int) -> None:
        """Begin an epoch of so many steps, or go on in it after `done` batches."""
        self._view.end_epoch()
        self._epoch, self._is_over = epoch, False
        self._view.begin_epoch(epoch, trainer_state.known(steps), done=done // self._accumulated)

    def step(self, done: int) -> None:
        """Count a step, with which so many batches of the epoch are done."""
        self._view.step(done // self._accumulated)

    def epoch_ends(self) -> None:
        """Take note that what is logged from now on is of the whole epoch."""
        self._is_over = True

    def log(self, step: int, logs: Mapping[str, Any]) -> None:
        """Keep what the Trainer logs."""
        self._view.log(step, trainer_state.measured(logs), epoch=self._epoch + 1 if self._is_over else None)

    def close(self, words: str) -> None:
        """End the display, and give the Trainer its bars again.

        Args:
            words: How the training ended, where that was early.
        """
        if self._bars:  # another list: they take no part in the event that is going on
            self._handler.callbacks = [*self._handler.callbacks, *self._bars]
        self._view.end_epoch()
        self._view.close(words)
