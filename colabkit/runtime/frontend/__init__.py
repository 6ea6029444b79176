"""Where the notebook is shown.

The running shell tells whether this process is a kernel at all; variables that the frontend sets tell the rest. Only
Colab's frontend has to be asked, once.
"""

from __future__ import annotations

import sys

from colabkit.runtime.frontend import rpc as frontend_rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any, Literal

    Frontend = Literal[
        "browser",  # a hosted notebook page: Colab, Kaggle, Databricks
        "jupyterlab",  # JupyterLab or Notebook 7, which share one server
        "classic",  # notebook 6
        "vscode",
        "cli",  # Colab's command-line client
        "marimo",
        "terminal",  # IPython or Python typed by hand
        "headless",  # a kernel that nobody watches: papermill, nbclient, `jupyter execute`, a batch run
        "none",  # a script or a subprocess: no notebook can be reached from here
    ]


def detect_frontend(shell: Any, env: Mapping[str, str], *, hosted: Frontend | None = None) -> Frontend:
    """Name the frontend from what is known inside this process.

    Args:
        shell: The running IPython shell, or None.
        env: The environment variables.
        hosted: What a kernel of this host is shown in, unless there is a sign of another frontend.
    """
    if shell is None:
        return "marimo" if _in_marimo() else "none"
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "terminal"
    if not allows_stdin(kernel):
        return "headless"
    if is_vscode(shell, env):
        return "vscode"
    if frontend_rpc.is_kernel(shell) and frontend_rpc.may_ask():
        # Without a browser, what is left beside VS Code is Colab's own command.
        return "browser" if frontend_rpc.has_browser() else "cli"
    if hosted is not None:
        return hosted
    # jupyter_server 2 names the session; notebook 6 has no jupyter_server at all.
    return "jupyterlab" if "JPY_SESSION_NAME" in env else "classic"


def allows_stdin(kernel: Any) -> bool:
    """Say whether someone can answer a prompt: the request that is running says so.

    nbclient, papermill, nbconvert and `jupyter execute` send False; every frontend with a person sends True.
    """
    try:
        return bool(kernel.get_parent("shell")["content"]["allow_stdin"])
    except (AttributeError, KeyError, TypeError):
        return True  # no request is running, for instance in a callback


def is_vscode(shell: Any, env: Mapping[str, str]) -> bool:
    """Say whether VS Code shows this notebook; its Jupyter extension leaves the notebook's path in the namespace."""
    return "__vsc_ipynb_file__" in getattr(shell, "user_ns", ()) or (
        "VSCODE_PID" in env and "JPY_PARENT_PID" not in env
    )


def _in_marimo() -> bool:
    marimo = sys.modules.get("marimo")
    running = getattr(marimo, "running_in_notebook", None)
    return bool(running is not None and running())


def running_shell() -> Any:
    """Return this process' IPython shell, or None; IPython is looked up, never imported."""
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)
    return get() if get is not None else None


def notebook_folder(env: Mapping[str, str]) -> Path:
    """Return the folder that the links of a notebook count from: its own, wherever `%cd` has led since.

    Args:
        env: The environment variables.

    Example:
        >>> notebook_folder({"JPY_SESSION_NAME": "/tmp/digits.ipynb"}).as_posix()
        '/tmp'
    """
    from pathlib import Path

    session = Path(env.get("JPY_SESSION_NAME", ""))  # of jupyter_server 2: the notebook's path
    if session.is_absolute() and session.parent.is_dir():
        return session.parent
    visited = getattr(running_shell(), "user_ns", {}).get("_dh") or ["."]
    return Path(visited[0]).absolute()
