"""An error in a notebook: the user's line and the message; the way it took through libraries is folded."""

from __future__ import annotations

import linecache
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

FULL = "COLABKIT_TRACEBACK"
"""`full` in this environment variable gives the whole traceback, as Python writes it."""

_FOLDED = "_is_folded"
_RED, _BOLD, _DIM, _PLAIN = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - pathlib costs 9 ms at each start


def lines_of(error: BaseException, parts: list[tuple[str, str]], more: str) -> list[str]:
    """Write an error for a notebook, and show the whole traceback above it, folded.

    Args:
        error: The error.
        parts: What is said of it, each with a label; the first has none.
        more: Where there is more about it.

    Returns:
        The lines that a front end prints, with colours as IPython writes them.
    """
    import traceback

    if os.environ.get(FULL) == "full":
        return traceback.format_exception(error)
    frames = _frames(error.__traceback__)
    cell = next((at for at, (filename, *_) in enumerate(frames) if _is_cell(filename)), 0)
    user = [frame for frame in frames[cell:] if not _is_library(frame[0])]
    lines = [f"{_RED}{_BOLD}{type(error).__name__}{_PLAIN}: {parts[0][1]}"]
    for filename, number, _ in dict.fromkeys([*user[:1], *user[-1:]]):
        source = linecache.getline(filename, number).strip()
        lines += [f"{_DIM}{_place(filename)}, line {number}{_PLAIN}", f"    {source}"] if source else []
    lines += [f"{_BOLD}{label}:{_PLAIN} {words}" for label, words in parts[1:] if words]
    lines.append(f"{_DIM}More: {more}{_PLAIN}")
    if not vars(error).get(_FOLDED):  # a kernel asks twice
        vars(error)[_FOLDED] = True
        _fold("".join(traceback.format_exception(error)), calls=len(frames))
    return lines


def _frames(trace: TracebackType | None) -> list[tuple[str, int, str]]:
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return frames


def _is_library(filename: str) -> bool:
    if filename.startswith(_HERE) or "site-packages" in filename or "dist-packages" in filename:
        return True
    if filename.startswith(("<frozen", "<__array_function__", "<string>")):
        return True
    library = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
    return filename.startswith(library)


def _place(filename: str) -> str:
    """Name a cell as the front end does, a file by its path."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(filename)
    if name:
        return " ".join(name)
    return "cell" if _is_cell(filename) else filename


def _is_cell(filename: str) -> bool:
    return "ipykernel_" in filename or filename.startswith("<ipython-input")


def _fold(text: str, *, calls: int) -> None:
    """Show the whole traceback, closed; where nothing can be shown, `%env COLABKIT_TRACEBACK=full` brings it back."""
    from html import escape

    display = getattr(sys.modules.get("IPython.display"), "display", None)
    if display is None:
        return
    html = (
        f'<details class="ck-traceback"><summary style="cursor:pointer;opacity:.75">Traceback, {calls} calls</summary>'
        f'<pre style="font-size:12px;overflow-x:auto">{escape(text)}</pre></details>'
    )
    plain = f"(the whole traceback: %env {FULL}=full, and run the cell again)"
    display({"text/html": html, "text/plain": plain}, raw=True)
