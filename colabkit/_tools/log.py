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


def say(message: str, *args: object, level: int = logging.INFO) -> None:
    """Tell the user one line, by the package logger.

    A handler is installed at the first call, and only if the user has configured none: importing colabkit
    changes nothing, and an application that configures logging decides alone.

    Args:
        message: The line, with `%s` places.
        args: The values for the places.
        level: A level of the logging module.
    """
    if not logger.hasHandlers():
        handler = _UserStream()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    logger.log(level, message, *args, stacklevel=2)


def warn(message: str, *args: object) -> None:
    """Tell the user something that may need action."""
    say(message, *args, level=logging.WARNING)
