"""Colab's kernel class."""

from google.colab import _shell
from ipykernel import ipkernel
from traitlets import default


class Kernel(ipkernel.IPythonKernel):
    """An IPython kernel with Colab's shell."""

    @default("shell_class")
    def _shell_class_default(self):
        return _shell.Shell
