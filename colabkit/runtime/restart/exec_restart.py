"""Leave: hold the running request and all queued ones unanswered, then replace this process by a fresh kernel.

The requests travel as the frames they arrived in, in a file that has no name and is gone with its last reader.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from colabkit._internal.disk import working_dir
from colabkit.runtime.process_start import MARK, Mark
from colabkit.runtime.restart import redeliver

_TICK = 0.1  # seconds between two looks at the queue
_QUIET = 3  # looks without a new request, after which the queue is taken for empty
_PATIENCE = 50  # looks after which a queue that never ends is cut
_LAST_STANDARD = 2  # input, output, error
_REPLIES = ("status", "execute_reply", "error")
_STACK = {
    "ipykernel": "ipykernel",
    "IPython": "ipython",
    "jupyter_client": "jupyter_client",
    "tornado": "tornado",
    "traitlets": "traitlets",
    "zmq": "pyzmq",
}


if TYPE_CHECKING:
    from collections.abc import Mapping


class _Stop(BaseException):
    """Ends the calling cell without a word: no `except Exception` catches it, and IPython draws no traceback."""

    def _render_traceback_(self) -> list[str]:
        return []


def running_request(kernel: Any) -> dict[str, Any] | None:
    """Return the request of the cell that runs now; None inside a widget's callback or between cells."""
    try:
        parent = kernel.get_parent("shell")
        return parent if parent["header"]["msg_type"] == "execute_request" else None
    except (AttributeError, KeyError, TypeError):
        return None


def is_after_others(shell: Any) -> bool:
    """Say whether other cells ran before the one that runs now."""
    request = running_request(shell.kernel) or {}
    cells = shell.user_ns.get("In", [])
    if request.get("content", {}).get("store_history", True):
        cells = cells[:-1]  # the last one is the running one
    return any(source.strip() for source in cells)


def obstacle(kernel: Any) -> str:
    """Say what of the kernel keeps it from being replaced in place; "" if nothing does."""
    from ipykernel.kernelapp import IPKernelApp

    stream = getattr(kernel, "shell_stream", None)
    app = IPKernelApp.instance() if IPKernelApp.initialized() else None
    connection = Path(getattr(app, "connection_file", "") or "-").name
    checks = (
        (hasattr(stream, "_run_callback") and hasattr(stream, "_recv_callback"), "its shell stream is of another kind"),
        ("shell" in getattr(kernel, "_parent_ident", ()), "it does not keep who asked"),
        ("execute_request" in getattr(kernel, "shell_handlers", ()), "it has no table of handlers"),
        (hasattr(kernel, "_abort_queues") and hasattr(kernel.io_loop, "call_later"), "its queue is of another kind"),
        (any(connection in word for word in sys.orig_argv), "its command line does not name its connection file"),
        (os.access(sys.executable or "-", os.X_OK), "its Python cannot be run again"),
        (os.access(kernel.shell.profile_dir.startup_dir, os.W_OK), "IPython's startup folder cannot be written"),
    )
    return next((text for holds, text in checks if not holds), _replaced_stack())


def _replaced_stack() -> str:
    import importlib.metadata

    for module, distribution in _STACK.items():
        running = getattr(sys.modules.get(module), "__version__", None)
        try:
            installed = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        if running is not None and running != installed:
            return f"{distribution} {running} runs, and {installed} would start in its place"
    return ""


def leave(shell: Any, *, cause: str = "", cell_state: Mapping[str, Any] | None = None) -> NoReturn:
    """Stop the calling cell, and replace the process as soon as its queue has been taken over.

    Args:
        shell: The IPython shell whose kernel restarts; obstacle() was asked before.
        cause: What it restarts for; the same cell is refused to restart for the same again.
        cell_state: What `carry.collect` returned, where other cells ran before.
    """
    departure = KernelHandover(shell, cause, cell_state)
    departure.hold()
    shell.kernel.io_loop.call_later(_TICK, departure.wait_for_queue)
    raise _Stop


class KernelHandover:
    """The requests that are held, and the way out."""

    def __init__(self, shell: Any, cause: str, cell_state: Mapping[str, Any] | None) -> None:
        self.kernel = shell.kernel
        self.cause, self.cell_state = cause, cell_state
        self.startup = Path(shell.profile_dir.startup_dir, f"00-colabkit-restart-{os.getpid()}.py")
        self.first_folder = _start_folder(shell)
        own = running_request(self.kernel)
        assert own is not None  # noqa: S101 - restart() refuses otherwise
        self.queued = [(self.kernel._parent_ident["shell"], own)]  # noqa: SLF001 - obstacle() looked for it
        self.checks = self.quiet = 0
        self.undo: list[tuple[Any, str, Any]] = []

    def hold(self) -> None:
        """From now on keep what is asked to be run, and keep silent about it."""
        kernel, session = self.kernel, self.kernel.session
        ids = {self.queued[0][1]["header"]["msg_id"]}
        really_send, handlers = session.send, dict(kernel.shell_handlers)

        def send(stream: Any, message: Any, content: Any = None, parent: Any = None, *args: Any, **more: Any) -> Any:
            # google.colab's shell passes a bare header where ipykernel passes the whole message
            header = (parent.get("header") or parent) if parent else {}
            if message in _REPLIES and header.get("msg_id") in ids:
                return {"content": content or {}}  # ipykernel reads the status of what it sent
            return really_send(stream, message, content, parent, *args, **more)

        def keep(_stream: Any, ident: Any, request: dict[str, Any]) -> None:
            self.queued.append((ident, request))
            ids.add(request["header"]["msg_id"])
            self.quiet = 0

        # the end of the calling cell counts as an error, at which the queue would be thrown away
        for target, name, value in (
            (session, "send", send),
            (kernel, "_abort_queues", lambda *_args, **_more: None),
            (kernel, "shell_handlers", {**handlers, "execute_request": keep}),
        ):
            self.undo.append((target, name, getattr(target, name)))
            setattr(target, name, value)

    def wait_for_queue(self) -> None:
        """Wait until the queue has flowed in, then go."""
        self.checks += 1
        self.quiet += 1
        if self.quiet < _QUIET and self.checks < _PATIENCE:
            self.kernel.io_loop.call_later(_TICK, self.wait_for_queue)
            return
        try:
            self._go()
        except OSError as error:
            self._run_here(error)

    def _go(self) -> None:
        causes = self._causes()
        handover = _handover_file(self._state())
        self.startup.write_text(redeliver.startup_line(os.getpid()), encoding="utf-8")
        os.environ[redeliver.HANDOVER_VARIABLE] = str(handover)
        os.environ[MARK] = str(Mark(pid=os.getpid(), when=time.time(), causes=causes))
        os.chdir(self.first_folder)
        _give_back_output()
        _close_at_exec(except_for=handover)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - the very command line of this kernel

    def _causes(self) -> dict[str, list[str]]:
        """What each held request has restarted for, this time included."""
        mark = Mark.read(os.environ)
        earlier = {} if mark is None else mark.causes
        causes = {
            message["header"]["msg_id"]: list(earlier.get(message["header"]["msg_id"], ()))
            for _, message in self.queued
        }
        causes[self.queued[0][1]["header"]["msg_id"]].append(self.cause)
        return causes

    def _state(self) -> dict[str, Any]:
        serialize = self.kernel.session.serialize
        frames = [[frame.hex() for frame in serialize(message, ident=ident)] for ident, message in self.queued]
        ports = [port for port in (getattr(_app(), "shell_port", 0), getattr(_app(), "iopub_port", 0)) if port]
        clients = redeliver.clients_of(ports)
        return {"frames": frames, "startup": str(self.startup), "clients": clients, "carried": self.cell_state}

    def _run_here(self, error: OSError) -> None:
        """The process could not be replaced: run the held cells here, where restart() will now refuse."""
        os.environ.pop(redeliver.HANDOVER_VARIABLE, None)
        self.startup.unlink(missing_ok=True)
        for target, name, value in reversed(self.undo):
            setattr(target, name, value)
        print(f"colabkit: the kernel could not be restarted in place: {error}", file=sys.stderr)  # noqa: T201
        messages = [[bytes.fromhex(frame) for frame in message] for message in self._state()["frames"]]
        # The session refuses a signature that it has seen, so that nobody can play a request twice; these it may.
        self.kernel.session.digest_history.difference_update(frame for message in messages for frame in message)
        stream = self.kernel.shell_stream
        stream.io_loop.add_callback(
            redeliver.redeliver, stream, messages
        )  # newer kernels read it in a thread of its own


def _app() -> Any:
    from ipykernel.kernelapp import IPKernelApp

    return IPKernelApp.instance()


def _start_folder(shell: Any) -> str:
    """The folder to start in: the cell's own `%cd` is undone, as it will run again; an earlier cell's stays."""
    visited = shell.user_ns.get("_dh", [])
    if not is_after_others(shell) and visited and Path(visited[0]).is_dir():
        return str(visited[0])
    folder = working_dir.current()
    candidates = [folder, *map(Path, reversed(visited)), Path("/content")]
    return str(next((candidate for candidate in candidates if os.access(candidate, os.X_OK)), "/"))


def _handover_file(state: dict[str, Any]) -> int:
    """Write the state where only the next process reads it: in memory where it can be, as it may hold secrets."""
    import json
    import tempfile

    in_memory = hasattr(os, "memfd_create")
    with open(os.memfd_create("colabkit"), "w+") if in_memory else tempfile.TemporaryFile("w+") as file:
        json.dump(state, file)
        file.flush()
        file.seek(0)
        number = os.dup(file.fileno())
    os.set_inheritable(number, True)
    return number


def _give_back_output() -> None:
    """Point the descriptors 1 and 2 at where they first went: ipykernel's pipes lose their reading threads."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        original = getattr(stream, "_original_stdstream_copy", None)
        if original is not None:
            os.dup2(original, number)
    time.sleep(_TICK)  # lets the thread that sends output empty itself


def _close_at_exec(*, except_for: int) -> None:
    import fcntl  # POSIX only, as all of this

    for entry in list(Path("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd").iterdir()):
        number = int(entry.name)
        if number > _LAST_STANDARD and number != except_for:
            with contextlib.suppress(OSError):
                fcntl.fcntl(number, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
