"""The client of a headless run's kernel: nbclient's, with a private socket, its own output, and a file of notes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit._internal.optional import require
from colabkit.headless import in_kernel
from colabkit.headless.parameters import as_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONGEST_SOCKET = 90  # bytes: macOS takes 104 for a socket's path, and a suffix comes behind
_OUTPUT = "output.txt"
_READ_AT_MOST = 1 << 16
_PATIENCE = 5.0  # seconds
_ASKS = 3


class Folder:
    """What a run and its kernel share: settings for the kernel, notes from it, its socket, its own output."""

    def __init__(self, parameters: Mapping[str, Any], *, folder: Path, strict: bool, shim: bool) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ck-run-"))  # 0700: a socket in it is reached by its owner alone
        settings = {"strict": strict, "parameters": as_typed(parameters), "shim": shim, "folder": str(folder)}
        (self.path / in_kernel.SETTINGS).write_text(json.dumps(settings, default=str), encoding="utf-8")
        self.output = (self.path / _OUTPUT).open("wb")
        self._read = 0

    def take_notes(self) -> list[dict[str, Any]]:
        """Return the notes that the kernel has written since the last call."""
        try:
            lines = (self.path / in_kernel.NOTES).read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        fresh, self._read = lines[self._read :], len(lines)
        return [json.loads(line) for line in fresh]

    def last_words(self) -> str:
        """Return what Python wrote as it crashed; "" where the process was killed from outside."""
        return self._read_text(in_kernel.CRASH).partition("\n")[0][:200]

    def tail(self) -> str:
        """Return the last line that the kernel's process wrote past its notebook."""
        return (self._read_text(_OUTPUT).strip().splitlines() or [""])[-1]

    def answer(self, request: str) -> dict[str, Any] | None:
        """Return how the cell of a request has ended, as the kernel noted it; None while it runs."""
        try:
            noted = json.loads((self.path / in_kernel.ANSWER).read_text(encoding="utf-8"))
        except OSError:
            return None
        content: dict[str, Any] = noted["content"]
        return content if noted["request"] == request else None

    def _read_text(self, name: str) -> str:
        try:
            with open(self.path / name, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_AT_MOST))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def remove(self) -> None:
        """Take it away."""
        self.output.close()
        shutil.rmtree(self.path, ignore_errors=True)


def make_client(notebook: Any, folder: Folder, echo: Callable[[str], None], **options: Any) -> Any:
    """Make nbclient's client for a notebook; `skip` holds the numbers of cells that are not run."""
    nbclient = require("nbclient", extra="run", why="running notebooks needs it")

    class Client(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
        skip: frozenset[int] = frozenset()

        def create_kernel_manager(self) -> Any:
            manager = super().create_kernel_manager()
            if _is_ipykernel(manager):
                self.extra_arguments = [f"--IPKernelApp.exec_lines={_first_line(folder.path)}"]
                if sys.platform != "win32" and len(os.fsencode(folder.path)) < _LONGEST_SOCKET:
                    manager.transport = "ipc"
                    manager.connection_file = str(folder.path / "kernel.json")
                    manager.ip = str(folder.path / "kernel")
            return manager

        async def async_start_new_kernel(self, **options: Any) -> None:
            # What children print reaches the notebook by the kernel's own pipe; here it would come a second time.
            options.update(stdin=subprocess.DEVNULL, stdout=folder.output, stderr=folder.output)
            await super().async_start_new_kernel(**options)

        async def async_execute_cell(self, cell: Any, cell_index: int, *args: Any, **more: Any) -> Any:
            if cell_index in self.skip:
                return cell
            return await super().async_execute_cell(cell, cell_index, *args, **more)

        async def _async_poll_for_reply(
            self, msg_id: str, cell: Any, timeout: Any, outputs: Any, alive: Any
        ) -> dict[str, Any]:
            reply = asyncio.ensure_future(super()._async_poll_for_reply(msg_id, cell, timeout, outputs, alive))
            try:
                content = await _when_it_is_late(reply, lambda: folder.answer(msg_id), ask=self.kc.kernel_info)
                if content is None:
                    return dict(reply.result())
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(outputs, self.iopub_timeout)
                alive.cancel()
                return {"parent_header": {"msg_id": msg_id}, "content": content}
            finally:
                reply.cancel()

        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
            if msg["msg_type"] == "stream":
                echo(msg["content"]["text"])
            return super().output(outs, msg, display_id, cell_index)

    return Client(notebook, **options)


async def _when_it_is_late(
    reply: asyncio.Future[Any], answer: Callable[[], dict[str, Any] | None], *, ask: Callable[[], Any]
) -> dict[str, Any] | None:
    """Wait for the reply to a cell; where the cell has ended without one, ask again, and then take the kernel's note.

    On a busy machine a reply can be lost between the kernel's threads and here, and nbclient would wait for it for
    ever. Another request wakes whoever has overlooked a message.

    Args:
        reply: Is done when the reply is there.
        answer: Gives what the kernel has noted of the cell's end; None while it runs.
        ask: Sends the kernel another request.

    Returns:
        The noted answer; None where the reply came.
    """
    asked = 0
    while not (await asyncio.wait({reply}, timeout=_PATIENCE))[0]:
        content = answer()
        if content is None:
            continue
        if asked == _ASKS:
            warn("colabkit: the kernel's reply to a cell was lost; the cell has ended, so the run continues")
            return content
        asked += 1
        ask()
    return None


def _is_ipykernel(manager: Any) -> bool:
    words = " ".join(manager.kernel_spec.argv)
    return "ipykernel" in words or "colab" in words


def _first_line(folder: Path) -> str:
    path = in_kernel.__file__
    names = {"__name__": in_kernel.RUN_NAME, "__file__": path, "FOLDER": str(folder)}
    return f"exec(compile(open({path!r}, encoding='utf-8').read(), {path!r}, 'exec'), {names!r})"
