"""A kernel process and the channels that a notebook's page has to it."""

from __future__ import annotations

import json
import os
import queue
import time
import uuid
from typing import TYPE_CHECKING, Any

from colabkit._internal.optional import require
from colabkit.testing._colab.page import CellOutput, Display

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from colabkit.testing._colab.page import Page

PATIENCE = 60.0
"""Seconds for a cell to end."""


class Kernel:
    """A kernel whose cells are run as a page does.

    Args:
        page: Where outputs are shown.
        reply_to: Takes a request of google.colab and returns the reply with the seconds until it is sent, or None.
    """

    def __init__(
        self, page: Page, reply_to: Callable[[Mapping[str, Any]], tuple[float, Mapping[str, Any]] | None]
    ) -> None:
        self._page, self._reply_to = page, reply_to
        self._late: list[tuple[float, Mapping[str, Any]]] = []
        self._manager: Any = None
        self._client: Any = None
        self._running = ""

    def start(self, argv: Sequence[str], folder: Path, *, env: Mapping[str, str], cwd: Path) -> None:
        """Start the process.

        Args:
            argv: Its command line.
            folder: Where its description is written.
            env: Its variables, beside those of this process.
            cwd: Its working folder.
        """
        spec = folder / "colab"
        spec.mkdir(parents=True, exist_ok=True)
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "colab", "language": "python"}))
        client = require("jupyter_client", extra="test", why="FakeColab talks to a kernel through it")
        specs = require("jupyter_client.kernelspec", extra="test", why="as above")
        kernel_specs = specs.KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
        self._manager = client.KernelManager(kernel_name="colab", kernel_spec_manager=kernel_specs)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        self._manager.start_kernel(env=variables | dict(env), cwd=str(cwd))
        self._connect()

    def _connect(self) -> None:
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)

    def run(self, code: str, *, answer: str | None, timeout: float, may_ask: bool) -> str:
        """Run a cell; return what it printed or raised, and did not clear.

        Args:
            code: The cell.
            answer: What is typed where it prompts.
            timeout: Seconds after which it is given up.
            may_ask: Whether prompts are allowed.

        Raises:
            TimeoutError: It did not end in time.
            RuntimeError: The kernel died.
        """
        until = time.monotonic() + timeout
        self._running = self._client.execute(code, allow_stdin=may_ask)
        printed = self._until_idle(self._running, until, answer)
        while self._page.to_download:
            self._download(*self._page.to_download.pop(0), until)
        return printed

    def evaluate(self, expression: str) -> Mapping[str, Any]:
        """Evaluate an expression as a page does on its own; return the kernel's description of its value."""
        request = self._client.execute("", silent=True, user_expressions={"value": expression}, allow_stdin=True)
        self._until_idle(request, time.monotonic() + PATIENCE)
        while (reply := self._client.get_shell_msg(timeout=PATIENCE))["parent_header"].get("msg_id") != request:
            pass
        value: Mapping[str, Any] = reply["content"]["user_expressions"]["value"]
        return value

    def interrupt(self) -> str:
        """Interrupt the cell that was given up; return what it still said."""
        self._manager.interrupt_kernel()
        return self._until_idle(self._running, time.monotonic() + PATIENCE)

    def restart(self) -> None:
        """Start the process anew."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=True)
        self._connect()

    def close(self) -> None:
        """End the process."""
        if self._client is not None:
            self._client.stop_channels()
            self._client = None
        if self._manager is not None:
            if self._manager.has_kernel:
                self._manager.shutdown_kernel(now=True)
            self._manager = None

    def _until_idle(self, request: str, until: float, answer: str | None = None) -> str:
        output = CellOutput()
        while time.monotonic() < until:
            self._send_late()
            if answer is not None and self._prompted():
                self._client.input(answer)
                answer = None
            try:
                message = self._client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                if not self._manager.is_alive():
                    raise RuntimeError(f"the kernel died: {output.text}") from None
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "colab_request":
                self._reply(message)
            elif message["parent_header"].get("msg_id") != request:
                continue
            elif kind == "status" and content["execution_state"] == "idle":
                return output.text
            else:
                self._show(kind, content, output)
        raise TimeoutError(f"the cell never ended: {output.text}")

    def _show(self, kind: str, content: Mapping[str, Any], output: CellOutput) -> None:
        if kind == "stream":
            output.add(content["text"])
        elif kind == "execute_result":
            output.add(content["data"]["text/plain"])
        elif kind == "error":
            output.add("\n".join(content["traceback"]))
        elif kind == "clear_output":
            output.clear(content)
        elif kind == "display_data" and (area := content["metadata"].get("outputarea")):
            output.tag(area)
        elif kind == "display_data":
            display = Display(data=content["data"], metadata=content["metadata"])
            self._page.show(display)

    def _download(self, target: str, name: str, until: float) -> None:
        """Ask the kernel for a file, piece after piece, as the page's script does."""
        comm, received = uuid.uuid4().hex, bytearray()
        self._send("comm_open", {"comm_id": comm, "target_name": target, "data": {}})
        self._send("comm_msg", {"comm_id": comm, "data": {}})
        while time.monotonic() < until:
            try:
                message = self._client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                continue
            if message["content"].get("comm_id") != comm:
                continue
            if message["msg_type"] == "comm_close":
                self._page.downloads[name] = bytes(received)
                return
            for piece in message["buffers"]:
                received += piece
            self._send("comm_msg", {"comm_id": comm, "data": {}})
        raise TimeoutError(f"the download of {name} never ended")

    def _send(self, kind: str, content: Mapping[str, Any]) -> None:
        self._client.shell_channel.send(self._client.session.msg(kind, content))

    def _prompted(self) -> bool:
        try:
            return bool(self._client.get_stdin_msg(timeout=0)["content"]["password"])
        except queue.Empty:
            return False

    def _reply(self, message: Mapping[str, Any]) -> None:
        if (answer := self._reply_to(message)) is not None:
            self._late.append((time.monotonic() + answer[0], answer[1]))
            self._send_late()

    def _send_late(self) -> None:
        """Send the replies whose time has come, in the order of the questions, if need be after their cell."""
        while self._late and self._late[0][0] <= time.monotonic():
            value = self._late.pop(0)[1]
            self._client.stdin_channel.send(self._client.session.msg("input_reply", {"value": value}))
