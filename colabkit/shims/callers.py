"""The code that called: its frames outside of the import system, and its source."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


def frames() -> Iterator[FrameType]:
    """Return the frames of whoever called the caller, from the inside."""
    frame = inspect.currentframe()
    inside = {__file__}
    if frame is not None and (frame := frame.f_back) is not None:
        inside.add(frame.f_code.co_filename)
    while frame is not None:
        name = frame.f_code.co_filename
        if name not in inside and not name.startswith("<frozen importlib") and "/importlib/" not in name:
            yield frame
        frame = frame.f_back


def parsed(filename: str) -> ast.Module:
    """Return the code of a file, a cell or `python -c`; an empty module where it cannot be read."""
    lines = linecache.getlines(filename)
    if not lines and filename == "<string>" and sys.argv[:1] == ["-c"]:  # whose text Python keeps since 3.13
        lines = [sys.orig_argv[-len(sys.argv)]]
    return parsed_text("".join(lines))


def parsed_text(text: str) -> ast.Module:
    """Return code as a tree; an empty module where it is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module(body=[], type_ignores=[])
