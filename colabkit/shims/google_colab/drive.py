"""google.colab.drive: a folder in the place of Drive."""

from __future__ import annotations

from pathlib import Path

from colabkit._clients import gdrive
from colabkit._internal.disk.files import map_os_errors
from colabkit.runtime import my_drive
from colabkit.shims import paths

__all__ = ["flush_and_unmount", "mount"]

_mounted: list[Path] = []


def mount(mountpoint: str, force_remount: bool = False, timeout_ms: int = 120_000, readonly: bool = False) -> None:
    """Make the folder with `MyDrive` in it; nothing of the real Drive is in it, which is said."""
    del timeout_ms, readonly
    folder = paths.stand_in(Path(mountpoint))
    if " " in str(mountpoint):
        raise ValueError("Mountpoint must not contain a space.")
    if folder in _mounted and not force_remount:
        print(f"Drive already mounted at {folder}; to attempt to forcibly remount, call with force_remount=True.")  # noqa: T201
        return
    make_folder(folder)


def mounted() -> list[str]:
    """Return the folders that stand for Drive."""
    return [str(mountpoint) for mountpoint in _mounted]


def make_folder(mountpoint: Path, *, quiet: bool = False) -> Path:
    """Make the folder, say what it is, and return it; once the modules are given, `ck.drive.mount` does so, too.

    Raises:
        NotWritableError: It cannot be made there.
    """
    mountpoint = paths.stand_in(mountpoint)
    with map_os_errors(mountpoint):
        paths.mark(mountpoint)
        (mountpoint / "MyDrive").mkdir(parents=True, exist_ok=True)
    if mountpoint in _mounted:
        return mountpoint
    _mounted.append(mountpoint)
    my_drive.stand_ins.append(mountpoint / "MyDrive")
    if quiet:
        return mountpoint
    print(  # noqa: T201 - as the real one
        f"Drive cannot be mounted here: {mountpoint} is a folder of this machine, without your Drive's files.\n"
        'Bring them by ck.fetch("drive:FOLDER/FILE"), and send results by ck.push(FILE, "drive:FOLDER"), once you are\n'
        f"signed in; until then both take this folder. To sign in, {gdrive.SIGN_IN_TO_WRITE}"
    )
    return mountpoint


def flush_and_unmount(timeout_ms: int = 86_400_000) -> None:
    """Forget the folder; its files stay."""
    del timeout_ms
    if not _mounted:
        print("Drive not mounted, so nothing to flush and unmount.")  # noqa: T201 - the real one's words
    _mounted.clear()
    my_drive.stand_ins.clear()
