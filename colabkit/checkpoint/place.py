"""Where a run lives: the one reader of its address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.log import warn
from colabkit.config import RUNS_DIR
from colabkit.errors import AddressError, UnsupportedError

if TYPE_CHECKING:
    from colabkit._types import StrPath

_MOUNT = "In a cell, run: import colabkit as ck; ck.drive.mount()"


def folder_of(where: StrPath) -> Path:
    """Turn an address into a local folder.

    Args:
        where: A path, or `drive:FOLDER` where Google Drive is mounted.

    Raises:
        AddressError: It is empty, or climbs out of the Drive.
        UnsupportedError: Drive is not mounted here, or the scheme is not known.
    """
    text = os.fspath(where)
    if not text.strip():
        raise AddressError("the run has no address", do='name a folder, as in open_run("./runs/digits")')
    scheme, colon, rest = text.partition(":")
    if scheme == "drive" and colon:
        return _on_drive(rest)
    if "://" in text:
        raise UnsupportedError(
            f"a run cannot live at {text}", why=f"{scheme}:// is not supported by this version", do="use a folder"
        )
    return Path(text).expanduser().absolute()


def default_folder(name: str) -> Path:
    """Choose where a run lives when the user named no place: what persists here, else the working folder.

    Args:
        name: The run's name.
    """
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host == "colab" and runtime.persistent_dir is not None:
        return runtime.persistent_dir / RUNS_DIR / name
    if runtime.host == "colab":
        warn("Google Drive is not mounted, so this run is lost when the session ends. %s", _MOUNT)
    return Path(RUNS_DIR, name).absolute()


def _on_drive(folder: str) -> Path:
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host != "colab":
        raise UnsupportedError(
            f"drive:{folder} cannot be opened here", why=f"this is {runtime.name}, not Google Colab", do="use a folder"
        )
    if runtime.persistent_dir is None:
        raise UnsupportedError(
            f"drive:{folder} cannot be opened",
            why="Google Drive is not mounted",
            do=_MOUNT,
        )
    parts = Path(folder).parts
    if not parts or ".." in parts or Path(folder).is_absolute():
        raise AddressError(f"drive:{folder} is no folder of your Drive", do='write it as "drive:runs/digits"')
    return runtime.persistent_dir / folder
