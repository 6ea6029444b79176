"""One small progress display: a bar in a notebook or a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import importlib
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

from colabkit._internal.log import in_notebook
from colabkit._safe_text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_EVERY = 10.0
"""Seconds between two plain lines where no bar can be drawn."""

_REDRAW = 0.2


class Progress(Protocol):
    """What a task tells about itself; use it from one thread."""

    def update(self, done: float, total: float | None = None) -> None:
        """Say how much is done in all, and out of how much when that is known."""

    def close(self) -> None:
        """Take the display down; twice is harmless."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


def progress(
    label: str,
    *,
    unit: str = "B",
    show: bool | Callable[[float, float | None], None] | None = None,
) -> Progress:
    """Open a display on stderr for one task.

    Args:
        label: What is being done, a word or two.
        unit: What is counted; "B" is shown as kB, MB, GB.
        show: None chooses what fits the place, False is silent, a function is called with (done, total).

    Returns:
        The display, to be used in a `with` statement.

    Example:
        >>> with progress("digits.csv", show=lambda done, total: print(done, "of", total)) as bar:
        ...     bar.update(5, 10)
        5 of 10
    """
    label = safe_text(label)
    if show is False:
        return _Silent()
    if callable(show):
        return _Call(show)
    if in_notebook():
        return _NotebookBar(label, unit)
    if sys.stderr.isatty():
        return _Bar(label, unit)
    return _Lines(label, unit)


class _Silent:
    def update(self, done: float, total: float | None = None) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to take down."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Call(_Silent):
    def __init__(self, function: Callable[[float, float | None], None]) -> None:
        self._function = function

    def update(self, done: float, total: float | None = None) -> None:
        self._function(done, total)


class _Bar(_Silent):
    def __init__(self, label: str, unit: str) -> None:
        size = unit == "B"
        self._first = True
        self._bar: Any = importlib.import_module("tqdm.std").tqdm(
            desc=label, unit=unit, unit_scale=size, unit_divisor=1000, leave=True, dynamic_ncols=True, file=sys.stderr
        )

    def update(self, done: float, total: float | None = None) -> None:
        bar = self._bar
        if self._first:  # what is there at the first word was done before, and says nothing about today's rate
            self._first, bar.initial, bar.n, bar.last_print_n = False, done, done, done
        if total is not None:
            bar.total = total  # `reset` would begin the clock anew, and the rate be that of a millisecond
        bar.update(done - bar.n)

    def close(self) -> None:
        if self._bar.n == 0:
            self._bar.leave = False  # nothing was done: there is nothing to keep on the screen
        self._bar.close()


class _NotebookBar(_Silent):
    """A bar of our own: tqdm's is a widget, which is red or gone where it ends early, is shared, or is looked at later.

    It is one output that is drawn again, so whatever cell runs meanwhile keeps its own, and at its end it is a line.
    """

    def __init__(self, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._unit, self._clock = label, unit, clock
        self._begun = self._drawn = clock()
        self._first: float | None = None
        self._done = 0.0
        self._total: float | None = None
        self._handle: Any = None
        self._closed = False
        self._draw()

    def update(self, done: float, total: float | None = None) -> None:
        if self._first is None:
            self._first = done
        self._done, self._total = done, total
        if self._clock() - self._drawn >= _REDRAW:
            self._draw()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock()
        seconds = self._drawn - self._begun
        rate = (self._done - (self._first or 0.0)) / max(seconds, 1e-9)
        words = progress_text(self._done, self._total, self._unit, rate=rate, seconds=seconds, ended=self._closed)
        if self._closed and not self._done:
            words = ""
        plain = f"{self._label}: {words}" if words else ""
        data = {"text/plain": plain, "text/html": self._html(plain)}
        if self._handle is None:
            display = importlib.import_module("IPython.display").display
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def _html(self, plain: str) -> str:
        if not plain:
            return ""
        words = importlib.import_module("html").escape(plain)
        bar = ""
        if not self._closed:
            share = f' value="{min(1.0, self._done / self._total):.4f}"' if self._total else ""
            bar = f'<progress max="1"{share} aria-label="{words}" style="width:180px;margin-right:10px"></progress>'
        return f'<div class="ck-progress" style="font:13px sans-serif">{bar}{words}</div>'


class _Lines(_Silent):
    """For logs and pipes: nothing for a short task, else one line every ten seconds and one at the end."""

    def __init__(self, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._unit, self._clock = label, unit, clock
        self._begun = self._last_line = clock()
        self._first: float | None = None
        self._done = 0.0
        self._total: float | None = None

    def update(self, done: float, total: float | None = None) -> None:
        if self._first is None:
            self._first = done  # what an earlier run had done says nothing about today's rate
        self._done, self._total = done, total
        if self._clock() - self._last_line >= LINE_EVERY:
            self._say()

    def close(self) -> None:
        if self._last_line > self._begun:
            self._say()
        self._last_line = self._begun

    def _say(self) -> None:
        self._last_line = self._clock()
        rate = (self._done - (self._first or 0.0)) / max(self._last_line - self._begun, 1e-9)
        text = progress_text(self._done, self._total, self._unit, rate=rate, seconds=0.0)
        sys.stderr.write(f"{self._label}: {text}\n")
        sys.stderr.flush()


def progress_text(
    done: float, total: float | None, unit: str, *, rate: float, seconds: float, ended: bool = False
) -> str:
    """Say how far a task is.

    Args:
        done: How much is done.
        total: Out of how much, where it is known.
        unit: What is counted.
        rate: How much a second.
        seconds: How long it took; only told when it has ended.
        ended: There is nothing more to come.

    Example:
        >>> progress_text(25e6, 100e6, "B", rate=1e6, seconds=25)
        '25.0 MB of 100.0 MB (25%), 1.0 MB/s, 75 s left'
        >>> progress_text(100e6, 100e6, "B", rate=1e6, seconds=100, ended=True)
        '100.0 MB in 100.0 s, 1.0 MB/s'
    """
    text = amount(done, unit)
    if ended and not (total and done < total):
        return f"{text} in {seconds:.1f} s" + (f", {amount(rate, unit)}/s" if rate else "")
    if total:
        text += f" of {amount(total, unit)} ({done / total:.0%})"
    if ended:
        return f"{text}, ended early"
    text += f", {amount(rate, unit)}/s"
    if total and rate > 0 and done < total:
        text += f", {(total - done) / rate:.0f} s left"
    return text


def amount(count: float, unit: str = "B") -> str:
    """Write a number with its unit the way people say it.

    Example:
        >>> amount(12_345_678), amount(12, "step")
        ('12.3 MB', '12 step')
    """
    if unit != "B":
        return f"{count:.3g} {unit}"
    for prefix in ("", "k", "M", "G", "T"):
        if abs(count) < 1000 or prefix == "T":
            return f"{count:.0f} B" if not prefix else f"{count:.1f} {prefix}B"
        count /= 1000
    raise AssertionError(count)
