"""Colab's shell class, which is what tells its kernel from any other; numpy and ipywidgets are loaded with it."""

import contextlib
import sys
from typing import Any

from ipykernel import zmqshell
from IPython.core import interactiveshell

for _name in ("numpy", "ipywidgets"):  # so a kernel that has just started would have to restart for another numpy
    with contextlib.suppress(ImportError):
        __import__(_name)

_NOTE = (
    "\n---------------------------------------------------------------------------\n"
    "NOTE: If your import is failing due to a missing package, you can\n"
    "manually install dependencies using either !pip or !apt.\n"
    "---------------------------------------------------------------------------\n"
)


class Shell(zmqshell.ZMQInteractiveShell):
    """An IPython shell of another name that adds a note to an ImportError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_custom_exc((ImportError,), _tell)


def _tell(shell: Any, kind: Any, error: Any, trace: Any, tb_offset: Any = None) -> None:
    lines = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
    sys.stdout.flush()
    sys.stderr.flush()
    shell._showtraceback(kind, error, [*lines, _NOTE])  # noqa: SLF001 - as Colab's own shell does


interactiveshell.InteractiveShellABC.register(Shell)
