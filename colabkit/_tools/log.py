"""The package logger, and one-line messages that a user sees without configuring logging."""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("colabkit")


class _UserStream(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what stderr is at that moment; in a notebook to stdout, where it is not painted red."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        return sys.stdout if in_notebook() else sys.stderr


def in_notebook() -> bool:
    """Say whether this process is a Jupyter kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


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


def say(message: str, *args: object, level: int = logging.INFO) -> None:
    """Tell the user one line, by the package logger.

    Args:
        message: The line, with `%s` places.
        args: The values for the places.
        level: A level of the logging module.
    """
    prepare()
    logger.log(level, message, *args, stacklevel=2)


def warn(message: str, *args: object) -> None:
    """Tell the user something that may need action."""
    say(message, *args, level=logging.WARNING)
