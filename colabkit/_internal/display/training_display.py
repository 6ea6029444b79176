"""One live display of a training, for any loop: a table by epoch, curves, what is left, what is saved.

In a notebook it is one output area, in a terminal a table with two lines below it that are drawn again, in a log plain
lines. A loop tells what happens and asks nothing; drawing is cheap and rare enough to stand beside steps of a
millisecond.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Self

from colabkit._internal.display import live, training_views
from colabkit._internal.display.training_progress import TrainingProgress, duration
from colabkit._internal.log import in_notebook, notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REDRAW = {"notebook": 0.5, "terminal": 0.1}
_LINE_EVERY = 10.0  # seconds between two lines of a log in the middle of an epoch
_STATUS_EVERY = 2.0  # seconds between two questions for what is saved


class TrainingDisplay:
    """Shows a training; what it knows of it is in a `TrainingProgress`, what that looks like in `training_views`.

    Args:
        title: What is trained.
        epochs: How many there will be; None where that is not known.
        saved: Tells in words what is saved; asked now and then, "" for nothing.
        session_left: Seconds until the session ends at the latest; None where it has no known limit.
        show: False is silent.
        clock: Tells the time in seconds.

    Example:
        >>> with TrainingDisplay("digits", epochs=2, show=False) as display:
        ...     for epoch in range(2):
        ...         display.begin_epoch(epoch, steps=100)
        ...         for step in range(100):
        ...             display.step(step + 1, {"loss": 0.5})
        ...         display.end_epoch({"loss": 0.4, "val_loss": 0.45})
        >>> display.history
        {'loss': [0.4, 0.4], 'val_loss': [0.45, 0.45]}
    """

    def __init__(
        self,
        title: str,
        *,
        epochs: int | None = None,
        saved: Callable[[], str] | None = None,
        session_left: float | None = None,
        show: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.saved = saved
        self._progress = TrainingProgress(title, epochs, clock)
        self._clock = clock
        self._show = show
        self._block = live.open_block() if show else None
        kind = "notebook" if isinstance(self._block, live.NotebookBlock) else "terminal"
        self._every = _REDRAW[kind] if self._block is not None else _LINE_EVERY
        self._drawn_at = -math.inf
        self._ends_at = None if session_left is None else clock() + session_left
        self._status = self._saved_words = ""
        self._saved_at = -math.inf
        self._columns: tuple[str, ...] = ()
        self._curves = ""
        self._closed = False

    @property
    def history(self) -> dict[str, list[float]]:
        """What each epoch measured, by name."""
        return self._progress.history

    # ---- what a loop tells ----

    def status(self, words: str) -> None:
        """Say what is going on while no step is counted, such as "compiling"."""
        self._status = words
        if self._block is None and self._show and words:
            notify("%s: %s", self._progress.title, words)
        self._draw()

    def earlier(self, history: Mapping[str, list[float]]) -> None:
        """Take over the epochs of an earlier process."""
        self._progress.history = {name: [float(value) for value in values] for name, values in history.items()}

    def begin_epoch(self, epoch: int, steps: int | None = None, *, done: int = 0) -> None:
        """Begin an epoch.

        Args:
            epoch: Its number, from 0.
            steps: How many steps it has, where that is known.
            done: How many of them an earlier process has done.
        """
        self._progress.begin_epoch(epoch, steps, done)
        if self._block is None:
            self._drawn_at = self._clock()
        else:
            self._draw()

    def step(self, step: int, metrics: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Count a step.

        Args:
            step: How many are done in this epoch.
            metrics: What was measured so far in it, or a function that gives it; only asked when it is drawn.
        """
        now = self._clock()
        if self._progress.count(step, metrics, now):
            self._status = ""
        if now - self._drawn_at >= self._every:
            self._draw()

    def end_epoch(self, metrics: Mapping[str, Any]) -> None:
        """End an epoch with what it measured."""
        progress = self._progress
        values, seconds = progress.end_epoch(metrics)
        self._saved_at = -math.inf
        if isinstance(self._block, live.TerminalBlock):
            names = training_views.columns(values, progress.epochs, self._block.width)
            head = [] if names == self._columns else [training_views.table_head(names, progress.epochs, self._block)]
            self._columns = names
            self._block.keep(*head, training_views.table_line(progress, names, values, seconds))
        elif isinstance(self._block, live.NotebookBlock):
            from colabkit._internal.display.curves import curve

            self._curves = curve(self.history)
        elif self._show:
            measured = ", ".join(f"{name} {value:.4f}" for name, value in sorted(values.items(), reverse=True))
            notify("epoch %s of %s: %s (%.1f s)", progress.epoch + 1, progress.epochs or "?", measured, seconds)
        self._draw()

    def close(self, words: str = "") -> None:
        """End the display; twice is harmless.

        Args:
            words: How it ended; the time it took when empty.
        """
        if self._closed:
            return
        self._closed, self._status, self._saved_at = True, words, -math.inf
        if isinstance(self._block, live.TerminalBlock):
            self._block.close()
        elif isinstance(self._block, live.NotebookBlock):
            self._draw()
        elif self._show and in_notebook() and self._progress.rows:
            from colabkit._internal.display.curves import curve

            self._curves = curve(self.history)  # a notebook that nobody watches gets the whole once, at its end
            self._draw_notebook(live.NotebookBlock())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close("" if kind is None else "stopped" if issubclass(kind, KeyboardInterrupt) else "failed")

    # ---- what is shown of it ----

    def _draw(self) -> None:
        self._drawn_at = now = self._clock()
        if self.saved is not None and now - self._saved_at >= _STATUS_EVERY:
            self._saved_at, self._saved_words = now, self.saved()
        progress = self._progress
        if isinstance(self._block, live.NotebookBlock):
            self._draw_notebook(self._block)
        elif isinstance(self._block, live.TerminalBlock) and self._status:
            self._block.draw([self._headline()[: self._block.width]])
        elif isinstance(self._block, live.TerminalBlock):
            self._block.draw(training_views.live_lines(progress, self._below(), self._block))
        elif self._show and progress.step > progress.first_step and progress.step != progress.steps:
            notify("%s", progress.words())

    def _draw_notebook(self, block: live.NotebookBlock) -> None:
        headline, below = self._headline(), self._below()
        bar = "" if self._closed else "waits" if self._status else "counts"
        markup = training_views.html(self._progress, headline, below, self._curves, bar=bar)
        block.draw(markup, training_views.plain(self._progress, headline, below))

    def _headline(self) -> str:
        progress = self._progress
        if self._closed:
            how = self._status or f"{len(progress.rows)} epochs in {duration(progress.seconds)}"
            return f"{progress.title}: {how}"
        return f"{progress.title}: {f'{self._status} …' if self._status else progress.words()}"

    def _below(self) -> list[str]:
        """Say what is left in all, what is saved, and how long the session lasts."""
        left = None if self._closed else self._progress.left()
        session = None if self._ends_at is None or self._closed else max(0.0, self._ends_at - self._clock())
        return [
            f"{duration(left)} left in all" if left is not None and (self._progress.epochs or 0) > 1 else "",
            self._saved_words,
            f"the session ends in {duration(session)}" if session is not None else "",
        ]
