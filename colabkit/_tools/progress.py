"""One small progress display: a bar in a notebook or a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

from colabkit._tools.log import in_notebook

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_EVERY = 10.0
"""Seconds between two plain lines where no bar can be drawn."""


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
    if show is False:
        return _Silent()
    if callable(show):
        return _Call(show)
    if in_notebook() or sys.stderr.isatty():
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
        self._bar: Any = _tqdm()(
            desc=label, unit=unit, unit_scale=size, unit_divisor=1000, leave=True, dynamic_ncols=True, file=sys.stderr
        )

    def update(self, done: float, total: float | None = None) -> None:
        if total is not None and total != self._bar.total:
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines(_Silent):
    """For logs and pipes: nothing for a short task, else one line every ten seconds and one at the end."""

    def __init__(self, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._unit, self._clock = label, unit, clock
        self._begun = self._said = clock()
        self._first: float | None = None
        self._done = 0.0
        self._total: float | None = None

    def update(self, done: float, total: float | None = None) -> None:
        if self._first is None:
            self._first = done  # what an earlier run had done says nothing about today's rate
        self._done, self._total = done, total
        if self._clock() - self._said >= LINE_EVERY:
            self._say()

    def close(self) -> None:
        if self._said > self._begun:
            self._say()
        self._said = self._begun

    def _say(self) -> None:
        self._said = self._clock()
        rate = (self._done - (self._first or 0.0)) / max(self._said - self._begun, 1e-9)
        text = f"{self._label}: {amount(self._done, self._unit)}"
        if self._total:
            text += f" of {amount(self._total, self._unit)} ({self._done / self._total:.0%})"
        text += f", {amount(rate, self._unit)}/s"
        if self._total and rate > 0 and self._done < self._total:
            text += f", {(self._total - self._done) / rate:.0f} s left"
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


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


def _tqdm() -> Any:
    # Without ipywidgets tqdm.auto warns and falls back by itself; we fall back without the warning.
    if in_notebook() and importlib.util.find_spec("ipywidgets") is not None:
        return importlib.import_module("tqdm.auto").tqdm
    return importlib.import_module("tqdm.std").tqdm
