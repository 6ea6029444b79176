"""Colab's shell class, which is what tells its kernel from any other."""

from ipykernel import zmqshell
from IPython.core import interactiveshell


class Shell(zmqshell.ZMQInteractiveShell):
    """An IPython shell of another name."""


interactiveshell.InteractiveShellABC.register(Shell)
