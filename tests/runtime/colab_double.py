"""A kernel that differs from ipykernel's own as Colab's does: its shell reports errors by a bare header.

python colab_double.py -f CONNECTION_FILE
"""

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    """Sends what ipykernel's shell sends, but with the header alone where ipykernel passes the whole request."""

    def _showtraceback(self, etype, evalue, stb):
        content = {"traceback": stb, "ename": str(etype.__name__), "evalue": str(evalue)}
        self.kernel.session.send(
            self.kernel.iopub_socket,
            "error",
            content,
            parent=self.parent_header["header"],
            ident=self.displayhook.topic.replace(b"execute_result", b"error") if self.displayhook.topic else b"error",
        )
        self._last_traceback = stb
        return content


class Kernel(IPythonKernel):
    """Colab launches a class of its own through a launcher of its own."""

    shell_class = Shell


IPKernelApp.launch_instance(kernel_class=Kernel)
