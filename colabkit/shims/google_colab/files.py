"""google.colab.files: the browser's dialog in Jupyter, and paths in its place elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.disk.paths import expand, free_place
from colabkit.runtime import detect
from colabkit.runtime.frontend import file_dialog
from colabkit.shims import paths

if TYPE_CHECKING:
    from colabkit.runtime.frontend.file_dialog import Chosen

__all__ = ["download", "upload", "upload_file", "view"]


def upload(target_dir: str = "") -> dict[str, bytes]:
    """Let the user choose files, copy them into the folder, and return what they hold, by their names.

    In JupyterLab and the classic notebook it is the browser's dialog; elsewhere paths are asked for. A headless run
    answers by its parameter: `colabkit run NOTEBOOK -p upload=PATH`, several with commas.
    """
    with _dialog(multiple=True) as chosen:
        files = _typed("Files to upload, their paths with commas between: ") if chosen is None else chosen
        return dict(_saved(path, Path(target_dir), name) for name, path in files)


def _saved(source: Path, folder: Path, name: str) -> tuple[str, bytes]:
    """Copy a file into a folder, beside what has its name already; return its place and what it holds."""
    data = source.read_bytes()
    target = free_place(folder, name, source=source)  # google.colab gives a number, too
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return str(target), data


def upload_file(filename: str) -> None:
    """Let the user choose one file, and copy it to a name.

    Raises:
        ValueError: None was chosen.
    """
    with _dialog(multiple=False) as chosen:
        files = _typed("File to upload, its path: ") if chosen is None else chosen
        if not files:
            raise ValueError("File has not been uploaded")
        shutil.copyfile(files[0][1], filename)


def _dialog(*, multiple: bool) -> contextlib.AbstractContextManager[Chosen | None]:
    """Return the dialog of the page; None in its block where there is none, and where nobody looks."""
    is_jupyter = detect().frontend in ("jupyterlab", "classic")
    return file_dialog.chosen_files(multiple=multiple) if is_jupyter else contextlib.nullcontext()


def _typed(question: str) -> Chosen:
    """Ask for paths; in a headless run the parameter `upload` answers."""
    upload = input(question)
    sources = (_found(text.strip(" '\"")) for text in str(upload).strip("[] ").split(","))
    return [(path.name, path) for path in sources]


def _found(text: str) -> Path:
    """Return a path as it is seen from here, else from the folder where the notebook began."""
    path = expand(text)
    return path if path.exists() or not paths.home else Path(paths.home[-1], path)


def download(filename: str) -> None:
    """Tell where the file is; in a notebook as a link.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(filename)
    if not path.exists():
        raise FileNotFoundError(f"Cannot find file: {filename}")
    print(f"{filename} is at {path.resolve()}")  # noqa: T201 - the browser's dialog elsewhere


def view(filepath: str) -> None:
    """Tell where the file is."""
    download(filepath)
