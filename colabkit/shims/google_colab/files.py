"""google.colab.files: paths in the place of the browser's dialogs."""

from __future__ import annotations

import shutil
from pathlib import Path

from colabkit._internal.disk.paths import expand
from colabkit.shims import paths

__all__ = ["download", "upload", "upload_file", "view"]


def upload(target_dir: str = "") -> dict[str, bytes]:
    """Ask for paths, copy the files into the folder, and return what they hold, by their names.

    A headless run answers by its parameter: `colabkit run NOTEBOOK -p upload=PATH`, several with commas.
    """
    upload = input("Files to upload, their paths with commas between: ")
    contents = {}
    for text in str(upload).strip("[] ").split(","):
        source = _found(text.strip(" '\""))
        data = source.read_bytes()
        target, number = Path(target_dir, source.name), 0
        while target.exists() and not target.samefile(source):  # google.colab gives a number, too
            number += 1
            target = Path(target_dir, f"{source.stem} ({number}){source.suffix}")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        contents[str(target)] = data
    return contents


def upload_file(filename: str) -> None:
    """Ask for a path and copy the file to a name."""
    upload = input("File to upload, its path: ")
    shutil.copyfile(_found(str(upload)), filename)


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
