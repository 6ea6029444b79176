"""Arrive: in the fresh kernel, wait until its clients are back, then feed it the requests that were held.

A line in IPython's startup folder runs this file by its path, so it needs nothing but the standard library and what
the kernel itself has loaded.
"""

from __future__ import annotations

import contextlib
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

HANDOVER_VARIABLE = "COLABKIT_LUGGAGE"
"""The number of the descriptor that holds the requests, from one process image to the next."""

_RUN_NAME = "colabkit_replay"
_TICK = 0.05  # seconds
_LONGEST = 5.0  # seconds to wait for a client that may have gone meanwhile
_BLIND = 1.0  # seconds to wait where connections cannot be counted; clients try again every 0.1 to 0.2 s
_GREETING = 0.3  # seconds for a connection to be greeted and subscribed
_ESTABLISHED = "01"


def startup_line(pid: int) -> str:
    """Return the startup file's text: it acts only in the process that wrote it, and leaves no name behind."""
    return (
        f"# written by colabkit for one restart of the kernel {pid}; it removes itself\n"
        f"if __import__('os').getpid() == {pid} and __import__('os').environ.get({HANDOVER_VARIABLE!r}):\n"
        f"    exec(compile(open({__file__!r}).read(), {__file__!r}, 'exec'), "
        f"{{'__name__': {_RUN_NAME!r}, '__file__': {__file__!r}}})\n"
    )


def replay() -> None:
    """Take the requests over and run them as soon as everyone is back."""
    import json

    with open(int(os.environ.pop(HANDOVER_VARIABLE)), encoding="utf-8") as file:
        state = json.load(file)
    with contextlib.suppress(OSError):
        os.unlink(state["startup"])
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    stream = shell.kernel.shell_stream
    messages = [[bytes.fromhex(frame) for frame in message] for message in state["frames"]]
    expected = {int(port): count for port, count in state["clients"].items()}
    started = time.monotonic()
    steps = ["bring back"] if state["carried"] else []
    is_restored: list[bool] = [] if steps else [True]

    def wait_for_clients() -> None:
        waited = time.monotonic() - started
        is_listening = stream._recv_callback is not None  # noqa: SLF001 - see redeliver
        if is_listening and steps and getattr(shell.kernel, "io_loop", None) is not None:
            steps.clear()  # in the thread that runs cells, and not in the startup file, which hides what it makes
            shell.kernel.io_loop.add_callback(restore_cell_state, shell, state["carried"], is_restored)
        if not is_listening or not is_restored or (not are_back(expected, waited) and waited < _LONGEST):
            stream.io_loop.call_later(_TICK, wait_for_clients)
        else:
            stream.io_loop.call_later(_GREETING, redeliver, stream, messages)

    stream.io_loop.add_callback(wait_for_clients)


def restore_cell_state(shell: Any, cell_state: dict[str, Any], is_restored: list[bool]) -> None:
    """Restore what earlier cells made, and let the first cell say what could not be."""
    import runpy
    from pathlib import Path

    try:
        failed = runpy.run_path(str(Path(__file__).with_name("carry.py")))["restore"](shell, cell_state)
    except Exception as error:  # noqa: BLE001 - the cells must go on
        failed = [f"what earlier cells made ({type(error).__name__}: {error})"]
    is_restored.append(True)

    def tell(_info: Any = None) -> None:
        shell.events.unregister("pre_run_cell", tell)
        for words in failed:
            print(f"colabkit: this did not come back after the restart: {words}")  # noqa: T201

    if failed:
        shell.events.register("pre_run_cell", tell)


def redeliver(stream: Any, messages: Iterable[Sequence[bytes]]) -> None:
    """Hand requests to a kernel's shell stream as if they had just arrived, in order."""
    import zmq

    for message in messages:
        # What runs when frames arrive; every ipykernel from 6.17 to 7.4 sets its own there, and none has a public way.
        stream._run_callback(stream._recv_callback, [zmq.Frame(frame) for frame in message])  # noqa: SLF001


def are_back(expected: dict[int, int], waited: float) -> bool:
    """Say whether every client that was connected is connected again; what is sent to others is dropped by zmq."""
    if not expected:
        return waited >= _BLIND
    now = clients_of(expected)
    return all(now.get(port, 0) >= count for port, count in expected.items())


def clients_of(ports: Iterable[int]) -> dict[int, int]:
    """Count the TCP connections to each port of ours; empty where the platform does not tell (Linux does)."""
    counts = dict.fromkeys(ports, 0)
    has_table = False
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        has_table = True
        for line in lines:
            _number, local, _remote, state = line.split()[:4]
            port = int(local.rpartition(":")[2], 16)
            if state == _ESTABLISHED and port in counts:
                counts[port] += 1
    return {port: count for port, count in counts.items() if count} if has_table else {}


if __name__ == _RUN_NAME:
    replay()
