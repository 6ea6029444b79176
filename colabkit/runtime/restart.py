"""Restart the kernel in place and go on: the calling cell runs again from its top, and the queued cells follow.

Every other way loses something: `os.kill` drops the queue of "Run all" and shows a crash, a manager's restart loses the
environment, `do_shutdown` runs the queued cells in the old kernel. Here the process replaces itself (`exec`): same pid,
ports and keys, so no server, browser or papermill sees it die. `in_place` leaves, `replay` arrives, `kill` is what
remains where that cannot be done and somebody watches.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from colabkit._tools.log import say
from colabkit.errors import RestartError
from colabkit.runtime import in_place
from colabkit.runtime.base import running_shell
from colabkit.runtime.frontend import allows_stdin
from colabkit.runtime.start import Mark

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 8  # names of an earlier cell that a refusal lists
_IPYTHONS_OWN = re.compile(r"_+|_i+|_ih|_oh|_dh|_i?\d+|_exit_code|__\w+__|In|Out|exit|quit|get_ipython")


def restart(*, force: bool = False) -> NoReturn:
    """Start this kernel anew and run the calling cell again from its top; the queued cells follow.

    The process keeps its id, its working folder and its environment variables. It happens at most once for one run of
    a cell, so it cannot loop.

    Args:
        force: Restart even if earlier cells made names that will be lost.

    Raises:
        RestartError: It cannot or must not be done here; nothing was lost.
    """
    error = refusal(force=force)
    if error is not None:
        raise error
    shell = running_shell()
    if obstacle := in_place.obstacle(shell.kernel):
        from colabkit.runtime import kill

        say("colabkit: the kernel cannot be restarted in place (%s); it ends, and a new one starts", obstacle)
        kill.kill_and_continue(shell)
    say("colabkit: restarting the kernel in place; this cell runs again from its top")
    in_place.leave(shell)


def refusal(*, force: bool = False) -> RestartError | None:
    """Say why restart() would refuse now, or None if it would not; nothing is changed.

    Args:
        force: As for restart().
    """
    shell = running_shell()
    kernel = getattr(shell, "kernel", None)
    if sys.platform == "win32":
        return RestartError("the kernel cannot restart itself on Windows", do="restart it from the notebook's menu")
    if shell is None or kernel is None:
        return RestartError(
            "there is no notebook kernel to restart",
            why="this is a script, a terminal or a command that a notebook started",
            do="start the program again; in a notebook call colabkit.detect().restart() in a cell",
        )
    return _wrong_moment(kernel) or _lost_names(shell, force=force) or _no_way(kernel)


def can_ask() -> bool:
    """Say whether a cell runs whose prompts somebody can answer."""
    kernel = getattr(running_shell(), "kernel", None)
    return kernel is not None and in_place.running_request(kernel) is not None and allows_stdin(kernel)


def _wrong_moment(kernel: Any) -> RestartError | None:
    if threading.current_thread() is not threading.main_thread() or kernel.session.pid != os.getpid():
        return RestartError(
            "a kernel can be restarted only from a cell",
            why="this is another thread or process of it",
            do="call it in a cell",
        )
    request = in_place.running_request(kernel)
    if request is None:
        return RestartError(
            "a kernel can be restarted only from a cell",
            why="this is the callback of a button or a widget, and no cell could run again",
            do="run the set-up cell again",
        )
    mark = Mark.read(os.environ)
    if mark is not None and request["header"]["msg_id"] in mark.requests:
        return RestartError(
            "this cell has already restarted the kernel once",
            why="a second restart of one run could go on for ever",
            do="run the cell again, or restart from the notebook's menu",
        )
    return None


def _lost_names(shell: Any, *, force: bool) -> RestartError | None:
    if force:
        return None
    names = made_elsewhere(shell)
    if not names:
        return None
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return RestartError(
        "a restart would lose what earlier cells made",
        why=f"they made {', '.join(names[:_SHOWN])}{more}",
        do="put the set-up into the first cell, restart from the menu and run all; to restart all the same, call"
        " colabkit.detect().restart(force=True)",
    )


def _no_way(kernel: Any) -> RestartError | None:
    from colabkit.runtime import detect

    obstacle = in_place.obstacle(kernel)
    if obstacle and (detect().frontend == "headless" or not allows_stdin(kernel)):
        return RestartError(
            "the kernel cannot be restarted in place",
            why=f"{obstacle}; and killing it would end this headless run",
            do="run the notebook again: what was installed stays",
        )
    return None


def made_elsewhere(shell: Any) -> list[str]:
    """List the user's names that the calling cell does not make itself, if other cells ran before it."""
    if not in_place.is_after_others(shell):
        return []
    request = in_place.running_request(shell.kernel) or {}
    own = set(_bound(shell.transform_cell(request.get("content", {}).get("code", ""))))
    return sorted(
        name
        for name in shell.user_ns
        if name not in shell.user_ns_hidden and name not in own and not _IPYTHONS_OWN.fullmatch(name)
    )


def _bound(source: str) -> Iterator[str]:
    """The names that a cell binds at its top level or anywhere below, a few too many rather than too few."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name="*"):
                pass
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")]):
                yield from vars(sys.modules.get(module, ast))
            case ast.Call(
                func=ast.Attribute(attr="run_cell_magic"),
                args=[_, ast.Constant(value=str(line)), ast.Constant(value=str(body))],
            ):
                yield from line.split()  # `%%capture output`
                yield from _bound(body)
