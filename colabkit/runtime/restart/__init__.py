"""Restart the kernel in place and go on: the calling cell runs again from its top, and the queued cells follow.

Every other way loses something: `os.kill` drops the queue of "Run all" and shows a crash, a manager's restart loses the
environment, `do_shutdown` runs the queued cells in the old kernel. Here the process replaces itself (`exec`): same pid,
ports and keys, so no server, browser or papermill sees it die. `in_place` leaves, `replay` arrives, `kill` is what
remains where that cannot be done and somebody watches.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import few
from colabkit._internal.log import notify
from colabkit.errors import RestartError
from colabkit.runtime.frontend import allows_stdin, running_shell
from colabkit.runtime.process_start import Mark
from colabkit.runtime.restart import carry, earlier_cells, exec_restart

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_NAMED = 8  # names and statements of earlier cells that a refusal lists
_MOST = 12  # restarts of one run of a cell, each for another cause
_tried: set[str] = set()  # the runs of cells in which this very process has tried to leave


def restart(*, force: bool = False, cause: str = "", is_headless: Callable[[], bool] = lambda: False) -> None:
    """Start this kernel anew and run the calling cell again from its top; the queued cells follow.

    The process keeps its id, its working folder and its environment variables. What earlier cells did comes back as
    far as it can: loaded extensions, `%config`, `%xmode`, `%autoreload`, matplotlib's backend, imports, settings of
    libraries, and values made of numbers, texts and paths. It happens at most once for one run of a cell and one
    cause, so it cannot loop; in the fresh kernel the call without a cause returns, and the cell goes on.

    Args:
        force: Restart even if earlier cells made what will be lost.
        cause: What it restarts for, as the packages that were replaced.
        is_headless: Says whether nobody watches this notebook, where the host tells more of it than the kernel does.

    Raises:
        RestartError: It cannot or must not be done here; nothing was lost.
    """
    shell = running_shell()
    if not cause and is_in_a_cell() and cause in _causes(shell.kernel) and _run_of_cell(shell.kernel) not in _tried:
        notify("colabkit: this cell has already restarted the kernel once, and goes on")
        return
    error = refusal(force=force, cause=cause, is_headless=is_headless)
    if error is not None:
        raise error
    _tried.add(_run_of_cell(shell.kernel))
    if obstacle := exec_restart.obstacle(shell.kernel):
        from colabkit.runtime.restart import kill

        notify("colabkit: the kernel cannot be restarted in place (%s); it ends, and a new one starts", obstacle)
        kill.kill_and_continue(shell)
    earlier = earlier_cells.analyse(shell)
    notify("colabkit: restarting the kernel in place; this cell runs again from its top")
    if earlier.is_none:
        exec_restart.leave(shell, cause=cause)
    notify("colabkit: earlier cells' imports, settings and plain values come back; Out[…] and shown widgets do not")
    exec_restart.leave(shell, cause=cause, cell_state=carry.collect(shell, list(earlier.again), list(earlier.values)))


def refusal(
    *, force: bool = False, cause: str = "", is_headless: Callable[[], bool] = lambda: False
) -> RestartError | None:
    """Say why restart() would refuse now, or None if it would not; nothing is changed.

    Args:
        force: As for restart().
        cause: As for restart().
        is_headless: As for restart().
    """
    shell = running_shell()
    kernel = getattr(shell, "kernel", None)
    if sys.platform == "win32":
        return RestartError("the kernel cannot restart itself on Windows", hint="restart it from the notebook's menu")
    if shell is None or kernel is None:
        return RestartError(
            "there is no notebook kernel to restart",
            why="this is a script, a terminal or a command that a notebook started",
            hint="start the program again; in a notebook call colabkit.detect().restart() in a cell",
        )
    return _wrong_moment(kernel, cause) or _lost(shell, force=force) or _no_way(kernel, is_headless)


def is_in_a_cell() -> bool:
    """Say whether a cell of a kernel runs in this thread, behind which others may be queued."""
    kernel = getattr(running_shell(), "kernel", None)
    is_main = threading.current_thread() is threading.main_thread()
    return kernel is not None and is_main and exec_restart.running_request(kernel) is not None


def can_ask() -> bool:
    """Say whether a cell runs whose prompts somebody can answer."""
    kernel = getattr(running_shell(), "kernel", None)
    return kernel is not None and exec_restart.running_request(kernel) is not None and allows_stdin(kernel)


def _wrong_moment(kernel: Any, cause: str) -> RestartError | None:
    if threading.current_thread() is not threading.main_thread() or kernel.session.pid != os.getpid():
        return RestartError(
            "a kernel can be restarted only from a cell",
            why="this is another thread or process of it",
            hint="call it in a cell",
        )
    request = exec_restart.running_request(kernel)
    if request is None:
        return RestartError(
            "a kernel can be restarted only from a cell",
            why="this is the callback of a button or a widget, and no cell could run again",
            hint="run the set-up cell again",
        )
    causes = _causes(kernel)
    if cause in causes or len(causes) >= _MOST:
        return RestartError(
            "this cell has already restarted the kernel once" + (f" for {cause}" if cause in causes and cause else ""),
            why="another restart of one run could loop forever",
            hint="run the cell again, or restart from the notebook's menu",
        )
    return None


def _run_of_cell(kernel: Any) -> str:
    """Return the id of the request that the running cell answers."""
    request = exec_restart.running_request(kernel)
    return str(request["header"]["msg_id"]) if request is not None else ""


def _causes(kernel: Any) -> list[str]:
    """Return what this run of the cell has restarted for."""
    mark = Mark.read(os.environ)
    return [] if mark is None else list(mark.causes.get(_run_of_cell(kernel), []))


def _lost(shell: Any, *, force: bool) -> RestartError | None:
    if force:
        return None
    lost = earlier_cells.analyse(shell).lost
    if not lost:
        return None
    return RestartError(
        "a restart would lose what earlier cells made",
        why=f"they made or did: {few(lost, _MAX_NAMED)}",
        hint="put the set-up into the first cell, restart from the menu and run all; to restart anyway, call"
        " colabkit.detect().restart(force=True)",
    )


def _no_way(kernel: Any, is_headless: Callable[[], bool]) -> RestartError | None:
    obstacle = exec_restart.obstacle(kernel)
    if obstacle and (not allows_stdin(kernel) or is_headless()):
        return RestartError(
            "the kernel cannot be restarted in place",
            why=f"{obstacle}; and killing it would end this headless run",
            hint="run the notebook again: what was installed stays",
        )
    return None
