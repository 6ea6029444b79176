"""One live display of a training, for any loop: a table by epoch, curves, what is left, what is saved.

In a notebook it is one output area, in a terminal a table with two lines below it that are drawn again, in a log plain
lines. A loop tells what happens and asks nothing; drawing is cheap and rare enough to stand beside steps of a
millisecond.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Self

from colabkit._internal.display import live
from colabkit._internal.log import in_notebook, notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REDRAW = {"notebook": 0.5, "terminal": 0.1}
_LINE_EVERY = 10.0  # seconds between two lines of a log in the middle of an epoch
_STATUS_EVERY = 2.0  # seconds between two questions for what is saved
_ROWS = 12  # epochs of a notebook's table; of the rest the curves tell


class TrainingDisplay:
    """Shows a training.

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
        self.title = title
        self.epochs = epochs
        self.history: dict[str, list[float]] = {}
        self.saved = saved
        self._clock = clock
        self._show = show
        self._block = live.open_block() if show else None
        kind = "notebook" if isinstance(self._block, live.NotebookBlock) else "terminal"
        self._every = _REDRAW[kind] if self._block is not None else _LINE_EVERY
        self._begun = self._epoch_begun = self._first_step_at = clock()
        self._drawn_at = -math.inf
        self._ends_at = None if session_left is None else clock() + session_left
        self._status = self._saved_words = ""
        self._saved_at = -math.inf
        self._rows: list[tuple[int, float]] = []  # epoch from 0, seconds
        self._epoch = 0
        self._step = self._first_step = 0
        self._counting = False
        self._steps: int | None = None
        self._metrics: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = {}
        self._columns: tuple[str, ...] = ()
        self._curves = ""
        self._closed = False

    # ---- what a loop tells ----

    def status(self, words: str) -> None:
        """Say what is going on while no step is counted, such as "compiling"."""
        self._status = words
        if self._block is None and self._show and words:
            notify("%s: %s", self.title, words)
        self._draw()

    def earlier(self, history: Mapping[str, list[float]]) -> None:
        """Take over the epochs of an earlier process."""
        self.history = {name: [float(value) for value in values] for name, values in history.items()}

    def begin_epoch(self, epoch: int, steps: int | None = None, *, done: int = 0) -> None:
        """Begin an epoch.

        Args:
            epoch: Its number, from 0.
            steps: How many steps it has, where that is known.
            done: How many of them an earlier process has done.
        """
        self._epoch, self._steps, self._step, self._first_step = epoch, steps, done, done
        self._epoch_begun = self._first_step_at = self._clock()
        self._metrics, self._counting = {}, False
        if self._block is None:
            self._drawn_at = self._epoch_begun
        else:
            self._draw()

    def step(self, step: int, metrics: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Count a step.

        Args:
            step: How many are done in this epoch.
            metrics: What was measured so far in it, or a function that gives it; only asked when it is drawn.
        """
        now = self._clock()
        if not self._counting:  # the first one compiles: it says nothing about the next ones
            self._counting, self._first_step, self._first_step_at, self._status = True, step, now, ""
        # Keras counts on to the end of an execution of several steps, which may be beyond that of the epoch.
        self._step = step if self._steps is None else min(step, self._steps)
        if metrics is not None:
            self._metrics = metrics
        if now - self._drawn_at >= self._every:
            self._draw()

    def end_epoch(self, metrics: Mapping[str, Any]) -> None:
        """End an epoch with what it measured."""
        seconds = self._clock() - self._epoch_begun
        values = {name: float(value) for name, value in metrics.items() if _is_number(value)}
        self._rows.append((self._epoch, seconds))
        for name, value in values.items():
            column = self.history.setdefault(name, [])
            column += [math.nan] * (self._epoch - len(column))
            del column[self._epoch :]
            column.append(value)
        self._metrics, self._saved_at = values, -math.inf
        if isinstance(self._block, live.TerminalBlock):
            self._block.keep(*self._table_lines(self._block, values, seconds))
        elif isinstance(self._block, live.NotebookBlock):
            from colabkit._internal.display.curves import curve

            self._curves = curve(self.history)
        elif self._show:
            measured = ", ".join(f"{name} {value:.4f}" for name, value in sorted(values.items(), reverse=True))
            notify("epoch %s of %s: %s (%.1f s)", self._epoch + 1, self.epochs or "?", measured, seconds)
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
        elif self._show and in_notebook() and self._rows:
            from colabkit._internal.display.curves import curve

            self._curves = curve(self.history)  # a notebook that nobody watches gets the whole once, at its end
            live.NotebookBlock().draw(self._html(), self._plain())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close("" if kind is None else "stopped" if issubclass(kind, KeyboardInterrupt) else "failed")

    # ---- what is shown of it ----

    def _draw(self) -> None:
        self._drawn_at = now = self._clock()
        if self.saved is not None and now - self._saved_at >= _STATUS_EVERY:
            self._saved_at, self._saved_words = now, self.saved()
        if isinstance(self._block, live.NotebookBlock):
            self._block.draw(self._html(), self._plain())
        elif isinstance(self._block, live.TerminalBlock):
            self._block.draw(self._live_lines(self._block))
        elif self._show and self._step > self._first_step and self._step != self._steps:
            notify("%s", self._progress_words())

    def _rate(self) -> float:
        return (self._step - self._first_step) / max(self._clock() - self._first_step_at, 1e-9)

    def _epoch_left(self) -> float | None:
        rate = self._rate()
        return (self._steps - self._step) / rate if self._steps and rate > 0 else None

    def _left(self) -> float | None:
        """Seconds that the training still takes."""
        if self.epochs is None:
            return None
        rest = self._epoch_left()
        durations = [seconds for _, seconds in self._rows[-3:]]
        rate = self._rate()
        an_epoch = min(durations) if durations else self._steps / rate if self._steps and rate > 0 else None
        if an_epoch is None:
            return None
        if self._rows and self._rows[-1][0] == self._epoch:
            rest = 0.0
        return (rest if rest is not None else an_epoch) + an_epoch * (self.epochs - self._epoch - 1)

    def _share(self) -> float | None:
        if not self._steps:
            return None
        return min(1.0, self._step / self._steps)

    def _progress_words(self) -> str:
        words = f"epoch {self._epoch + 1}" + (f" of {self.epochs}" if self.epochs else "")
        words += f": step {self._step}" + (f" of {self._steps}" if self._steps else "")
        words += "".join(f", {name} {value:.4f}" for name, value in self._measured())
        left = self._epoch_left()
        return words + (f", {duration(left)} left" if left is not None else "")

    def _measured(self) -> list[tuple[str, float]]:
        metrics = self._metrics() if callable(self._metrics) else self._metrics
        numbers = [(name, float(value)) for name, value in metrics.items() if _is_number(value)]
        return sorted(numbers, key=lambda pair: (pair[0] != "loss", pair[0]))[:3]

    def _below(self) -> list[str]:
        """Say what is left in all, what is saved, and how long the session lasts."""
        left = None if self._closed else self._left()
        session = None if self._ends_at is None or self._closed else max(0.0, self._ends_at - self._clock())
        return [
            f"{duration(left)} left in all" if left is not None and (self.epochs or 0) > 1 else "",
            self._saved_words,
            f"the session ends in {duration(session)}" if session is not None else "",
        ]

    def _live_lines(self, block: live.TerminalBlock) -> list[str]:
        width = block.width
        if self._status:
            return [f"{self.title}: {self._status} …"[:width]]
        share = self._share()
        words = self._progress_words()
        bar = ""
        if share is not None:
            full, empty = ("━", "─") if block.unicode else ("#", "-")
            size = max(10, min(width - len(words) - 6, 30))  # a narrow terminal cuts the words rather than the bar
            bar = full * round(size * share) + empty * (size - round(size * share)) + f" {share:4.0%} "
        lines = [(bar + words)[:width]]
        if below := " · ".join(filter(None, self._below())):
            below = below if block.unicode else below.replace("·", "|")
            lines.append(f"\x1b[2m{below[:width]}\x1b[0m" if block.colours else below[:width])
        return lines

    def _table_lines(self, block: live.TerminalBlock, values: Mapping[str, float], seconds: float) -> list[str]:
        number = len(str(self.epochs or 999))
        names = sorted(values, key=_order)[: max(1, (block.width - 2 * number - 14) // 13)]
        lines = []
        if tuple(names) != self._columns:
            self._columns = tuple(names)
            head = f"{'epoch':>{2 * number + 1}}" + "".join(f"{name[-12:]:>13}" for name in names) + f"{'time':>9}"
            lines.append(f"\x1b[1m{head}\x1b[0m" if block.colours else head)
        place = f"{self._epoch + 1}/{self.epochs}" if self.epochs else f"{self._epoch + 1}"
        cells = "".join(f"{values[name]:>13.4f}" for name in names)
        return [*lines, f"{place:>{max(5, 2 * number + 1)}}{cells}{duration(seconds):>9}"]

    def _plain(self) -> str:
        names = sorted(self.history, key=_order)
        lines = [self._headline()]
        if self._rows:
            lines.append("epoch" + "".join(f"{name:>14}" for name in names) + f"{'time':>10}")
            for epoch, seconds in self._rows:
                cells = "".join(f"{_at(self.history[name], epoch):>14}" for name in names)
                lines.append(f"{epoch + 1:>5}{cells}{duration(seconds):>10}")
        return "\n".join([*lines, *filter(None, self._below())])

    def _headline(self) -> str:
        if self._closed:
            how = self._status or f"{len(self._rows)} epochs in {duration(self._clock() - self._begun)}"
            return f"{self.title}: {how}"
        if self._status:
            return f"{self.title}: {self._status} …"
        return f"{self.title}: {self._progress_words()}"

    def _html(self) -> str:
        from html import escape

        words = escape(self._headline(), quote=True)
        bar = ""
        if not self._closed:
            share = self._share()
            value = f' value="{share:.4f}"' if share is not None and not self._status else ""
            bar = f'<progress max="1"{value} aria-label="{words}" style="width:220px;margin-right:10px"></progress>'
        names = sorted(self.history, key=_order)
        cell = "text-align:right;padding:1px 12px;border:0"
        head = "".join(f'<th style="{cell}">{escape(name)}</th>' for name in ("epoch", *names, "time"))
        rows = []
        for epoch, seconds in self._rows[-_ROWS:]:
            values = [str(epoch + 1), *(_at(self.history[name], epoch) for name in names), duration(seconds)]
            rows.append("<tr>" + "".join(f'<td style="{cell}">{escape(value)}</td>' for value in values) + "</tr>")
        table = ""
        if rows:
            more = len(self._rows) - len(rows)
            before = f'<div style="opacity:.75">and {more} epochs before</div>' if more else ""
            table = (
                f'<table style="border-collapse:collapse;font-size:13px"><tr>{head}</tr>{"".join(rows)}</table>{before}'
            )
        below = " · ".join(escape(line) for line in self._below() if line)
        return (
            f'<div class="ck-training" style="font:13px sans-serif;line-height:1.5"><div>{bar}{words}</div>'
            f'{table}{self._curves}<div style="opacity:.75">{below}</div></div>'
        )


def duration(seconds: float) -> str:
    """Write a time as people say it.

    Example:
        >>> duration(0.42), duration(42.4), duration(75), duration(4000)
        ('0.4 s', '42 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def _is_number(value: Any) -> bool:
    try:
        return (getattr(value, "ndim", 0) == 0 and float(value) == float(value)) or math.isnan(float(value))
    except (TypeError, ValueError):
        return False


def _order(name: str) -> tuple[bool, bool, str]:
    return name.removeprefix("val_") != "loss", name.startswith("val_"), name


def _at(values: list[float], epoch: int) -> str:
    return f"{values[epoch]:.4f}" if epoch < len(values) and not math.isnan(values[epoch]) else "-"
