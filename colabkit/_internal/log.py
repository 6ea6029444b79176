"""The package logger, and one-line messages that a user sees without configuring logging."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING

from colabkit._safe_text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("colabkit")

around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
"""What is done around each line that is shown: a display that is drawn again in place steps aside for it."""


class _UserStream(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what stderr is at that moment; in a notebook to stdout, where it is not painted red."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        return sys.stdout if in_notebook() else sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        with around():
            super().emit(record)


def in_notebook() -> bool:
    """Say whether this process is a Jupyter kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def is_watched() -> bool:
    """Say whether someone looks at this notebook: nbclient, papermill and their like allow no question."""
    kernel = sys.modules["IPython"].get_ipython().kernel
    try:
        return bool(kernel.get_parent("shell")["content"]["allow_stdin"])
    except (AttributeError, KeyError, TypeError):
        return True  # no request is running, for instance in a callback


def prepare() -> None:
    """Decide now who shows the lines of `say`, before a library configures logging by accident.

    An application that has configured logging decides alone. A notebook's kernel has often done so before the user's
    first cell, for warnings only: that is nobody's decision about our lines. Importing colabkit changes nothing.
    """
    if logger.handlers or logger.level != logging.NOTSET:
        return
    if logging.root.handlers and (logger.isEnabledFor(logging.INFO) or not in_notebook()):
        return
    handler = _UserStream()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl, for one, gives the root a handler at TensorFlow's first checkpoint


def notify(message: str, *args: object, level: int = logging.INFO) -> None:
    """Tell the user one line, by the package logger.

    Args:
        message: The line, with `%s` places.
        args: The values for the places.
        level: A level of the logging module.
    """
    prepare()
    logger.log(level, message, *map(_safe, args), stacklevel=2)


def _safe(value: object) -> object:
    """Make a value that others may have named one that steers no terminal; numbers stay what they are."""
    if not isinstance(value, str | PurePath | BaseException):
        return value
    text = str(value)
    shown = safe_text(text)
    return value if shown == text else shown


def warn(message: str, *args: object) -> None:
    """Tell the user something that may need action."""
    notify(message, *args, level=logging.WARNING)
