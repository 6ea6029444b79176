"""A notebook page in front of a real kernel of the double google.colab: it runs cells and answers Colab's requests."""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

import colabkit

PATIENCE = 60
DOUBLES = Path(__file__).parents[1] / "doubles"


class ColabPage:
    """A frontend of one kernel.

    Args:
        folder: Where its kernel works, with a home of its own.
        secrets: The user's secrets, each name with its value, or None where the notebook has no access.
        answers: How many requests it answers before it falls silent; None for all of them.
        env: More variables for the kernel.
        python: The interpreter of the kernel.
    """

    def __init__(self, folder, *, secrets=None, answers=None, env=None, python=sys.executable):
        self.secrets, self.answers = secrets or {}, answers
        self.asked: list[str] = []
        kernels = folder / "kernels"
        spec = kernels / "colab"
        spec.mkdir(parents=True)
        argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv.append("--IPKernelApp.kernel_class=google.colab._kernel.Kernel")
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "colab", "language": "python"}))
        found = KernelSpecManager(kernel_dirs=[str(kernels)], ensure_native_kernel=False)
        self.manager = KernelManager(kernel_name="colab", kernel_spec_manager=found)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        modules = os.pathsep.join(map(str, (DOUBLES / "colab", Path(colabkit.__file__).parents[1])))
        variables |= {"PYTHONPATH": modules, "IPYTHONDIR": str(folder / "ipython"), **(env or {})}
        self.manager.start_kernel(env=variables, cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def run(self, code, *, answer=None):
        """Run a cell; answer Colab's requests and, where an answer is given, a prompt. Return what it printed."""
        request = self.client.execute(code, allow_stdin=True)
        said = ""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if answer is not None and self._prompted():
                self.client.input(answer)
                answer = None
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "colab_request":
                self._reply(message)
            elif message["parent_header"].get("msg_id") != request:
                continue
            elif kind == "stream":
                said += content["text"]
            elif kind == "execute_result":
                said += content["data"]["text/plain"]
            elif kind == "error":
                said += "\n".join(content["traceback"])
            elif kind == "status" and content["execution_state"] == "idle":
                return said
        raise AssertionError(f"the cell never ended: {said}")

    def _prompted(self):
        try:
            return self.client.get_stdin_msg(timeout=0)["content"]["password"]
        except queue.Empty:
            return False

    def _reply(self, message):
        name = message["content"]["request"]["key"]
        self.asked.append(name)
        if self.answers is not None and len(self.asked) > self.answers:
            return
        value = self.secrets.get(name)
        data = {"exists": name in self.secrets, "access": value is not None, "payload": value or ""}
        reply = {"type": "colab_reply", "colab_msg_id": message["metadata"]["colab_msg_id"], "data": data}
        self.client.stdin_channel.send(self.client.session.msg("input_reply", {"value": reply}))

    def close(self):
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
