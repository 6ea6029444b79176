"""Files between this machine and the browser in front of it: Colab's page, Jupyter's, VS Code's, or nobody's."""

from __future__ import annotations

import html
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.disk.files import atomic_write, map_os_errors
from colabkit._internal.disk.paths import expand, free_place, on_this_machine
from colabkit._internal.display.progress import amount
from colabkit._internal.log import notify
from colabkit.errors import NotFoundError, UnsupportedError
from colabkit.runtime import detect, frontend
from colabkit.runtime.frontend import file_dialog

if TYPE_CHECKING:
    from colabkit._types import StrPath

_LARGE = 100 << 20  # bytes: Colab's page holds a whole file in its memory
_RESUMABLE = "drive.google.com or gs://, which go on after an interruption, and ck.fetch('drive:NAME') brings them here"


def upload(to: StrPath = ".") -> list[Path]:
    """Let the user choose files, and write them into a folder.

    In Colab's page it is its dialog, in JupyterLab and the classic notebook the browser's. Where there is a prompt
    instead, as in VS Code or a terminal, paths on this machine are asked for, and the files copied. A file whose name
    is there already gets a number, as on Colab.

    Args:
        to: The folder.

    Returns:
        The files; none when the user cancels.

    Raises:
        UnsupportedError: Nobody can answer: a headless run, a script, Colab's command. The message names another way.
        NotFoundError: There is no file at a path that was typed; nothing was copied.
        TransferError: The page was closed before all had come, or its server refused one.
        StorageError: One could not be copied.
    """
    folder = on_this_machine(to, 'upload into a folder here, then ck.push(FILE, "{}")')
    runtime = detect()
    if runtime.host == "colab" and runtime.frontend == "browser":
        from google.colab import files

        notify("colabkit: large files go through %s", _RESUMABLE)
        before = Path.cwd()
        return [before / name for name in files.upload("" if folder == Path() else str(folder))]
    if runtime.frontend in ("headless", "none", "cli") or (runtime.host == "colab" and runtime.frontend == "vscode"):
        raise UnsupportedError(
            "no files can be chosen here",
            why=f"nobody can answer ({runtime.frontend})",
            hint="put them where this machine reaches them, and use ck.fetch: drive:NAME, a Drive link, gs://…, https://…",
        )
    there = ""
    if runtime.frontend in ("jupyterlab", "classic"):
        with file_dialog.chosen_files() as chosen:
            if chosen is not None:
                return [_placed(path, folder, name) for name, path in chosen]
        there = f"; the upload button of Jupyter's file browser puts files into {Path.cwd()}"
    typed = input(f"Files to bring, their paths with commas between{there}: ")
    sources = [expand(text) for text in filter(None, (part.strip(" '\"") for part in typed.split(",")))]
    for source in sources:
        if not source.is_file():
            raise NotFoundError(f"no file at {source}", hint="type its path on this machine")
    return [_placed(source, folder, source.name) for source in sources]


def _placed(source: Path, folder: Path, name: str) -> Path:
    """Copy a file into a folder, beside what has its name already, as Colab's page does."""
    target = free_place(folder, name, source=source)
    if target.exists():  # it is the file itself
        return target.absolute()
    with map_os_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file, source.open("rb") as origin:
        shutil.copyfileobj(origin, file)
    if target.name != name:
        notify("colabkit: %s exists already, so the file is %s", name, target)
    return target.absolute()


def download(path: StrPath) -> Path:
    """Hand a file, or a folder as one zip archive, to the browser.

    In Colab's page it is a download; in Jupyter a link appears; elsewhere the place of the file is told.

    Args:
        path: The file or folder.

    Returns:
        The file that was handed over: the archive for a folder.

    Raises:
        NotFoundError: There is nothing at the path.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "result.txt"
        >>> _ = file.write_text("7")
        >>> download(file).name
        'result.txt'
    """
    source = on_this_machine(path, 'bring it here first: ck.download(ck.fetch("{}"))')
    if not source.exists():
        raise NotFoundError(f"no file at {source}", hint="check the path")
    runtime = detect()
    linked = runtime.frontend in ("jupyterlab", "classic", "vscode") and frontend.running_shell() is not None
    folder = frontend.notebook_folder(config.environment())
    if source.is_dir():
        source = _packed(source.absolute(), folder if linked else None)
    size = source.stat().st_size
    if runtime.host == "colab" and runtime.frontend == "browser":
        if size > _LARGE:
            notify("colabkit: %s is large for the page; ck.push(…, 'drive:…') survives an interruption", amount(size))
        from google.colab import files

        files.download(str(source))
    elif linked and source.absolute().is_relative_to(folder):
        _show_link(source.absolute().relative_to(folder))
    else:
        notify("colabkit: %s (%s) is at %s", source.name, amount(size), source.absolute())
        if linked:
            notify(
                "colabkit: no link leads out of the notebook's folder; copy it there: ck.download(ck.fetch(%r, %r))",
                str(source.absolute()),
                f"{folder}{os.sep}",
            )
    return source


def _packed(source: Path, place: Path | None) -> Path:
    """Pack a folder; beside the notebook, where a link is to lead to it."""
    if place is None or place.is_relative_to(source):  # an archive would hold itself
        name = Path(tempfile.mkdtemp(prefix="colabkit-download-"), source.name)
    else:
        name = free_place(place, f"{source.name}.zip").with_suffix("")
    return Path(shutil.make_archive(str(name), "zip", source.parent, source.name))


def _show_link(path: Path) -> None:
    """Show a link to a file, by its path from the notebook's folder."""
    from urllib.parse import quote

    from IPython.display import HTML, display

    display(HTML(f'<a href="{quote(path.as_posix())}" download>{html.escape(path.name)}</a>'))
