"""TensorBoard, where the user is: inside a notebook, else as an address."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import in_notebook, notify
from colabkit._internal.optional import require
from colabkit.errors import NotFoundError, UnsupportedError
from colabkit.tracking import EVENTS_DIR, folder_of

if TYPE_CHECKING:
    from colabkit._types import StrPath


def tensorboard(run: StrPath | Any, *, port: int = 0) -> str | None:
    """Show TensorBoard.

    In a notebook it appears below the cell, as `%tensorboard` does it. In a script it is served on this machine until
    the process ends.

    Args:
        run: A run, its folder, or any folder of event files.
        port: Where a script serves it; any free port when 0.

    Returns:
        Its address; None in a notebook.

    Raises:
        MissingDependencyError: The package tensorboard is not installed.
        NotFoundError: There is no such folder.
        UnsupportedError: It does not start; the message says why.

    Example:
        ```python
        print(ck.tensorboard("./runs/digits"))
        ```
    """
    folder = folder_of(run).absolute()
    if (folder / EVENTS_DIR).is_dir():
        folder = folder / EVENTS_DIR
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", hint="name a run, or a folder that holds event files")
    program = require("tensorboard.program", extra="track", why="ck.tensorboard() shows it")
    if in_notebook():
        from tensorboard import notebook

        notebook.start(f"--logdir {shlex.quote(str(folder))}")
        return None
    server = program.TensorBoard()
    try:
        server.configure(argv=[None, "--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port)])
        url: str = server.launch()
    except (SystemExit, OSError, program.TensorBoardServerException) as error:
        raise UnsupportedError(
            "TensorBoard does not start",
            why=str(error),
            hint="choose another port=, or run: tensorboard --logdir FOLDER",
        ) from error
    notify("TensorBoard shows %s at %s", folder, url)
    return url
