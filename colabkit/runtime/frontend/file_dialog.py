"""The browser's dialog for files in JupyterLab and the classic notebook, while the kernel is busy in the cell."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors, read_note
from colabkit._internal.display.live import NotebookBlock
from colabkit._internal.display.progress import amount
from colabkit.errors import IntegrityError, TransferError
from colabkit.runtime import frontend
from colabkit.runtime.frontend import file_dialog_page as page
from colabkit.runtime.frontend import jupyter_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    Chosen = list[tuple[str, Path]]
    """The names that the files had, made safe, and where they are for now."""

_FIRST_SIGN = 6.0  # seconds that a page has to show the dialog
_SILENCE = 180.0  # seconds; in a tab in the background a timer may run once in a minute only
_MOMENT = 0.1
_LONGEST_NAME = 200  # bytes


@contextlib.contextmanager
def chosen_files(*, multiple: bool = True) -> Iterator[Chosen | None]:
    """Let the user choose files in the page, and give them for the time of the block; nothing else stays of it.

    Args:
        multiple: Let several be chosen.

    Yields:
        The files; none when the user cancels; None where no page of Jupyter shows the dialog.

    Raises:
        TransferError: A file could not be sent, or the page was closed.
        IntegrityError: One has not arrived whole.
    """
    server = jupyter_server.find_server(frontend.running_shell())
    key = f"colabkit-upload-{secrets.token_hex(8)}"
    folder = None if server is None else _made(server.folder_for(key, Path.cwd()))
    if server is None or folder is None:
        yield None
        return
    block = NotebookBlock()
    try:
        html = page.dialog(server.path_of(folder), key, multiple=multiple)
        block.draw(html, "The page asks for files.")
        files = _answer(folder) if _is_shown(folder) else None
    except BaseException:
        _end(folder, block, "The upload has ended.")
        raise
    if files is None:
        _end(folder, block, "")
        yield None
        return
    names = ", ".join(f"{name} ({amount(path.stat().st_size)})" for name, path in files)
    try:
        yield files
    finally:
        _end(folder, block, f"Uploaded: {names}" if names else "No files were chosen.")


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir(mode=0o700)
    except OSError:
        return None
    return folder


def _is_shown(folder: Path) -> bool:
    """Wait a little for the page's first sign."""
    until = time.monotonic() + _FIRST_SIGN
    while not (folder / page.HELLO).exists():
        if time.monotonic() > until:
            return False
        time.sleep(_MOMENT)
    return True


def _answer(folder: Path) -> Chosen:
    """Wait until the page has sent all, as long as it gives signs of life."""
    latest, until = 0, time.monotonic() + _SILENCE
    while (answer := _read(folder / page.CHOSEN)) is None:
        changed = _last_change(folder)
        if changed != latest:
            latest, until = changed, time.monotonic() + _SILENCE
        if time.monotonic() > until:
            raise TransferError(
                "no files were uploaded",
                why="the page that showed the dialog was closed, or its computer sleeps",
                hint="run the cell again, and keep the page open until the files are there",
            )
        time.sleep(_MOMENT)
    if failed := answer.get("failed"):
        raise TransferError(
            "the upload failed",
            why=str(failed)[:300],
            hint="run the cell again; Jupyter's own file browser has an upload button, too",
        )
    files = []
    for number, entry in enumerate(answer.get("files", ())):
        path, name = folder / str(number), safe_name(str(entry.get("name", "")))
        with map_os_errors(path):
            size = path.lstat().st_size if path.is_file() and not path.is_symlink() else None
        if size != entry.get("size"):
            raise IntegrityError(
                f"{name} has not arrived whole",
                why=f"{size or 0:,} of its {entry.get('size')} bytes are here",
                hint="run the cell again",
            )
        files.append((name, path))
    return files


def _read(path: Path) -> dict[str, Any] | None:
    """Return what the page has written last; None while it has not, or not all of it."""
    value = read_note(path)
    return value if isinstance(value, dict) else None


def _last_change(folder: Path) -> int:
    with contextlib.suppress(OSError):  # one of them has just been replaced
        return max(path.stat().st_mtime_ns for path in (folder, *folder.iterdir()))
    return 0


def safe_name(name: str) -> str:
    r"""Return the last part of a name as one that leads nowhere else.

    Example:
        >>> safe_name("../../.ssh/keys"), safe_name(r"C:\data\a.csv"), safe_name(".."), safe_name("größe 1.png")
        ('keys', 'a.csv', 'file', 'größe 1.png')
    """
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(letter if letter.isprintable() else "_" for letter in name).replace(TEMP_MARKER, "-")
    while len(name.encode()) > _LONGEST_NAME:
        name = name[1:]  # its ending says what it is
    return name if name.strip(". ") else "file"


def _end(folder: Path, block: NotebookBlock, words: str) -> None:
    """Remove the folder, also while the page still writes into it, and put words in the place of the dialog."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(_MOMENT)
    block.draw(f"<div>{escape(words)}</div>" if words else "", words)
