"""The frontend, told from a shell as IPython and ipykernel make it."""

from __future__ import annotations

import pytest

from colabkit.runtime import frontend


class Kernel:
    """The one method of ipykernel's kernel that is asked."""

    def __init__(self, parent):
        self.parent = parent

    def get_parent(self, channel=None):
        """Return the request that is running."""
        return self.parent


class TerminalShell:
    """IPython in a terminal: no kernel."""


class KernelShell:
    """IPython in a kernel."""

    def __init__(self, *, allow_stdin=True, parent=None, user_ns=None):
        self.user_ns = user_ns or {}
        self.kernel = Kernel({"content": {"allow_stdin": allow_stdin}} if parent is None else parent)


@pytest.mark.parametrize(
    ("shell", "env", "hosted", "expected"),
    [
        (None, {"JPY_PARENT_PID": "1", "VSCODE_PID": "2"}, None, "none"),
        (None, {}, "browser", "none"),
        (TerminalShell(), {}, None, "terminal"),
        (KernelShell(), {"JPY_PARENT_PID": "1", "JPY_SESSION_NAME": "n.ipynb"}, None, "jupyterlab"),
        (KernelShell(), {"JPY_PARENT_PID": "1"}, None, "classic"),
        (KernelShell(allow_stdin=False), {"JPY_PARENT_PID": "1", "JPY_SESSION_NAME": "n"}, None, "headless"),
        (KernelShell(allow_stdin=False), {}, "browser", "headless"),
        (KernelShell(user_ns={"__vsc_ipynb_file__": "/n.ipynb"}), {}, "browser", "vscode"),
        (KernelShell(), {"VSCODE_PID": "2"}, None, "vscode"),
        (KernelShell(), {"VSCODE_PID": "2", "JPY_PARENT_PID": "1"}, None, "classic"),
        (KernelShell(), {}, "browser", "browser"),
        (KernelShell(parent={}), {}, "browser", "browser"),
    ],
)
def test_told_by(shell, env, hosted, expected):
    """Each frontend is told by what it leaves; a subprocess that inherits variables reaches none."""
    assert frontend.detect_frontend(shell, env, hosted=hosted) == expected
