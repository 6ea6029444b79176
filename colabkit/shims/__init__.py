"""Modules that a host ships, where they are missing: `colab_shim()` gives google.colab and kaggle_secrets anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify

if TYPE_CHECKING:
    from colabkit._types import StrPath

__all__ = ["colab_shim"]


def colab_shim(*, content: StrPath | None = None, quiet: bool = False) -> list[str]:
    """Give `google.colab` and `kaggle_secrets` where the real ones are missing, and folders in the place of `/content`.

    `drive.mount` makes a folder, `userdata.get` is `secret()`, `files.upload` shows a dialog in Jupyter and asks for a
    path elsewhere, `files.download` tells where the file is, and cells that run from now on find `/content` and
    `/kaggle` in the working folder. A notebook that asks where it runs (`try: import google.colab`) is still told the
    truth. Where the real modules and folders are, nothing is changed.

    Args:
        content: The folder that stands for `/content` and `/kaggle/working`; the working folder by default.
        quiet: Do not print what was given.

    Returns:
        What was given, a sentence each; empty where nothing is missing.

    Example:
        >>> shim = colab_shim(quiet=True)
        >>> from google.colab import data_table
    """
    from colabkit.shims import finder, paths

    provided = [*finder.install(), *paths.install(Path(content) if content is not None else Path.cwd())]
    for line in () if quiet else provided:
        notify("colabkit: %s", line)
    return provided


def state() -> dict[str, Any]:
    """Return what `restore` needs to give the same in a kernel that is restarted in place."""
    from colabkit.shims import paths
    from colabkit.shims.google_colab import drive

    return {"content": str(paths.home[-1]), "mounted": drive.mounted()} if paths.home else {}


def restore(state: dict[str, Any]) -> None:
    """Give what was given before a restart: the modules, the same folders, and those that stand for Drive."""
    from colabkit.shims.google_colab import drive

    colab_shim(content=state["content"], quiet=True)
    for mountpoint, readonly in state["mounted"].items():
        drive.make_folder(Path(mountpoint), quiet=True, readonly=readonly)
