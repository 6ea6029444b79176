"""A block of output that is drawn again in place: one output area of a notebook, the last lines of a terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from colabkit._internal import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO


class NotebookBlock:
    """One output of the cell; whichever cell runs meanwhile keeps its own, and a reload shows the last drawing."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, html: str, plain: str) -> None:
        """Show it, in the place of what was shown before."""
        data = {"text/html": html, "text/plain": plain}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


class TerminalBlock:
    """The last lines of a terminal: some stay as they are, those below are drawn again.

    Lines of the package logger are written above it, see `colabkit._internal.log.around`.

    Args:
        stream: The terminal.
        env: The environment variables, of which NO_COLOR is read; this process' own when None.
    """

    def __init__(self, stream: TextIO, env: Mapping[str, str] | None = None) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._height = 0
        self.colours = not (os.environ.get("NO_COLOR") if env is None else env.get("NO_COLOR"))
        log.around = self._aside

    @property
    def width(self) -> int:
        """Columns that a line may have."""
        with contextlib.suppress(OSError, ValueError):
            if not os.environ.get("COLUMNS"):
                return max(20, os.get_terminal_size(self._stream.fileno()).columns - 1)
        return max(20, shutil.get_terminal_size().columns - 1)

    @property
    def unicode(self) -> bool:
        """Whether it shows more than ASCII."""
        return "utf" in (getattr(self._stream, "encoding", None) or "").lower()

    def draw(self, lines: Sequence[str]) -> None:
        """Draw the lines that change."""
        self._lines = list(lines)
        self._write(self._erased() + self._drawn())

    def keep(self, *lines: str) -> None:
        """Write lines that stay, above those that change."""
        self._write(self._erased() + "".join(f"{line}\n" for line in lines) + self._drawn())

    def close(self) -> None:
        """Take away the lines that change."""
        self._lines = []
        self._write(self._erased())
        if log.around == self._aside:
            log.around = contextlib.nullcontext

    def _drawn(self) -> str:
        self._height = len(self._lines)
        return "\n".join(self._lines)

    def _erased(self) -> str:
        if not self._height:
            return ""
        up = f"\x1b[{self._height - 1}A" if self._height > 1 else ""
        self._height = 0
        return f"\r{up}\x1b[J"

    def _write(self, text: str) -> None:
        if text:
            with contextlib.suppress(OSError, ValueError):  # a terminal that is gone ends no training
                self._stream.write(text)
                self._stream.flush()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        self._write(self._erased())
        yield
        self._write(self._drawn())


def open_block(stream: TextIO | None = None) -> NotebookBlock | TerminalBlock | None:
    """Open what fits the place; None for a log, a pipe, a dumb terminal and a notebook that nobody watches.

    Args:
        stream: Where a script writes; stderr when None.
    """
    stream = stream or sys.stderr
    if log.in_notebook():
        return NotebookBlock() if log.is_watched() else None
    if os.environ.get("TERM") == "dumb" or not stream.isatty():
        return None
    return TerminalBlock(stream)
