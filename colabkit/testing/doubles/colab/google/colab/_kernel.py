"""Colab's kernel class."""

from typing import Any

from google.colab import _shell
from ipykernel import ipkernel
from traitlets import default


class Kernel(ipkernel.IPythonKernel):
    """An IPython kernel with Colab's shell."""

    @default("shell_class")
    def _shell_class_default(self) -> Any:
        return _shell.Shell
