"""A kernel that differs from ipykernel's own as Colab's does: its shell reports errors by a bare header.

python colab_double.py -f CONNECTION_FILE
"""

from __future__ import annotations


def launch():
    """Run the kernel until it is told to end."""
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.zmqshell import ZMQInteractiveShell

    class Shell(ZMQInteractiveShell):
        """Sends what ipykernel's shell sends, but with the header alone where that passes the whole request."""

        def _showtraceback(self, etype, evalue, stb):
            content = {"traceback": stb, "ename": str(etype.__name__), "evalue": str(evalue)}
            header = self.parent_header["header"]
            self.kernel.session.send(self.kernel.iopub_socket, "error", content, parent=header, ident=b"error")
            self._last_traceback = stb
            return content

    class Kernel(IPythonKernel):
        """Colab launches a class of its own through a launcher of its own."""

        shell_class = Shell

    IPKernelApp.launch_instance(kernel_class=Kernel)


if __name__ == "__main__":
    launch()
