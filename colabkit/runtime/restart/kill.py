"""What remains where a kernel cannot be replaced in place and somebody watches: kill it, and go on in the next one.

The notebook's server starts another kernel for the same connection file. A startup file restores the environment there
and waits for the first cell: only a cell has somewhere to print to.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

_TOO_OLD = 600.0  # seconds after which a state left behind is not used any more
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_RUN_NAME = "colabkit_continue"


def kill_and_continue(shell: Any) -> NoReturn:
    """End this kernel at once; the next one keeps the environment and asks for "Run all".

    Args:
        shell: The IPython shell of a kernel that somebody watches.
    """
    from ipykernel.connect import get_connection_file

    from colabkit._internal.disk import working_dir  # not above: this file runs by its path, too

    connection = Path(get_connection_file()).name
    startup = Path(shell.profile_dir.startup_dir, f"00-colabkit-continue-{os.getpid()}.py")
    state = {
        "connection": connection,
        "when": time.time(),
        "folder": str(working_dir.current()),
        "path": list(sys.path),
        "environment": _changed_environment(),
    }
    descriptor = os.open(startup, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(_startup_line(startup, json.dumps(state)))
    sys.stdout.flush()
    time.sleep(0.2)  # lets the thread that sends output empty itself
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # a signal that is still on its way must not let the cell go on


def resume(startup: str, state: dict[str, Any]) -> None:
    """Restore what the killed kernel had, if this is its successor, and say so in the first cell that is run."""
    from ipykernel.connect import get_connection_file
    from IPython.core.getipython import get_ipython

    is_old = time.time() - state["when"] > _TOO_OLD
    is_successor = Path(get_connection_file()).name == state["connection"]
    if is_old or is_successor:
        Path(startup).unlink(missing_ok=True)
    if is_old or not is_successor:
        return
    os.environ.update(state["environment"])
    if Path(state["folder"]).is_dir():
        os.chdir(state["folder"])
    sys.path.extend(entry for entry in state["path"] if entry not in sys.path)
    events = get_ipython().events

    def tell(_info: Any = None) -> None:
        events.unregister("pre_run_cell", tell)
        print("colabkit: this is a new kernel, with the environment of the one before; run all cells from the top")  # noqa: T201

    events.register("pre_run_cell", tell)


def _changed_environment() -> dict[str, str]:
    """The variables that differ from those the process was started with; secrets are not written to a file."""
    try:
        raw = Path("/proc/self/environ").read_bytes()
    except OSError:
        return {}
    first = dict(item.split("=", 1) for item in raw.decode(errors="surrogateescape").split("\0") if "=" in item)
    return {
        name: value
        for name, value in os.environ.items()
        if first.get(name) != value and not _SECRET.search(name) and value.isprintable()
    }


def _startup_line(startup: Path, state: str) -> str:
    return (
        "# written by colabkit for the kernel that follows one it ended; it removes itself\n"
        f"exec(compile(open({__file__!r}).read(), {__file__!r}, 'exec'), {{'__name__': {_RUN_NAME!r}, "
        f"'STARTUP': {str(startup)!r}, 'STATE': {state!r}}})\n"
    )


if __name__ == _RUN_NAME:
    resume(globals()["STARTUP"], json.loads(globals()["STATE"]))
