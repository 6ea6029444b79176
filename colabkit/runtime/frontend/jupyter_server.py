"""The Jupyter server that started this kernel, as the note tells that it keeps beside the kernel's own file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._internal.disk.files import read_note

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTES = ("jpserver-{}.json", "nbserver-{}.json")  # of jupyter_server, and of Notebook 6
_ROOTS = ("root_dir", "notebook_dir")


@dataclass(frozen=True, kw_only=True)
class JupyterServer:
    """A server.

    Attributes:
        root: The folder that its pages see as the top.
    """

    root: Path

    def folder_for(self, name: str, cwd: Path) -> Path:
        """Return where a folder of this name is seen by a page: in the working folder if that is, else in the root."""
        root, cwd = self.root.resolve(), cwd.resolve()
        is_seen = cwd.is_relative_to(root) and not any(part.startswith(".") for part in cwd.relative_to(root).parts)
        return (cwd if is_seen and os.access(cwd, os.W_OK) else root) / name

    def path_of(self, folder: Path) -> str:
        """Return the path by which its pages ask for a folder."""
        return folder.relative_to(self.root.resolve()).as_posix()


def find_server(shell: Any, env: Mapping[str, str] | None = None) -> JupyterServer | None:
    """Return the server that started this kernel; None where another program did, or a server elsewhere.

    Args:
        shell: The running IPython shell, or None.
        env: The environment variables; the process' own when None.
    """
    app = getattr(getattr(shell, "kernel", None), "parent", None)
    connection = getattr(app, "abs_connection_file", "")
    if not connection:
        return None
    env = config.environment(env)
    for process in dict.fromkeys((env.get("JPY_PARENT_PID", ""), str(os.getppid()))):
        for name in _NOTES:
            note = read_note(Path(connection).with_name(name.format(process)))
            root = next((note[key] for key in _ROOTS if key in note), None) if isinstance(note, dict) else None
            if isinstance(root, str) and Path(root).is_dir():
                return JupyterServer(root=Path(root))
    return None
