"""What a training measures: kept in the run's log, none twice and none missing, and shown live in a notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from colabkit._internal import log
from colabkit._internal.display.training_display import TrainingDisplay
from colabkit.checkpoint.management.history import saved_words
from colabkit.checkpoint.policy.save_triggers import session_left
from colabkit.checkpoint.view.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.checkpoint.run_store import RunStore


class TrainingView:
    """Follows a training: its metrics go to the journal, and to the display where one is open.

    Args:
        run: The run.

    Attributes:
        journal: The run's log.
    """

    def __init__(self, run: RunStore) -> None:
        self.journal = Journal(run.dir)
        self._run = run
        self._display: TrainingDisplay | None = None
        self._epoch: int | None = None  # the one that was begun, and not ended
        self._measured: dict[str, Any] = {}  # in this epoch, each metric by its newest value

    @property
    def shown(self) -> bool:
        """Whether there is a live display, beside which another progress bar says the same twice."""
        return self._display is not None

    def open_display(self, *, epochs: int | None) -> None:
        """Show the training in a notebook; on a terminal and in a log other bars, and prints, have the word.

        Args:
            epochs: How many there will be; None where that is not known.
        """
        if log.in_notebook() and log.is_watched():
            self._display = TrainingDisplay(
                self._run.name,
                epochs=epochs,
                saved=lambda: saved_words(self._run),
                session_left=session_left(),
            )

    def status(self, words: str) -> None:
        """Say what is going on while no step is counted."""
        if self._display is not None:
            self._display.status(words)

    def begin_epoch(self, epoch: int, steps: float | None, *, done: int = 0) -> None:
        """Begin an epoch, or go on in its middle.

        Args:
            epoch: Its number, from 0.
            steps: How many it has; None or infinity where that is not known.
            done: How many of them an earlier process has done.
        """
        self._epoch, self._measured = epoch, {}
        if self._display is not None:
            is_known = steps is not None and math.isfinite(steps)
            self._display.begin_epoch(epoch, int(steps or 0) if is_known else None, done=done)

    def step(self, done: int, metrics: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Count a step.

        Args:
            done: Steps of this epoch that are done.
            metrics: Gives what was measured; only called when it is drawn. Without it what was logged is drawn.
        """
        if self._display is not None:
            self._display.step(done, self._measured if metrics is None else metrics)

    def log(self, step: int, values: dict[str, float], *, epoch: int | None = None) -> None:
        """Keep what was measured at a step; with `epoch`, at the end of that many whole epochs."""
        self.journal.log(step, epoch, values)
        self._measured |= values

    def end_epoch(self) -> None:
        """End the epoch that was begun; twice is harmless."""
        if self._epoch is not None and self._display is not None:
            self._display.end_epoch(self._measured)
        self._epoch = None

    def close(self, words: str = "") -> None:
        """Close the files, and end the display, which says for the last time what is saved.

        Args:
            words: How it ended, where that was not by its last epoch.
        """
        self.journal.close()
        if self._display is not None:
            self._display.close(words)
