"""google.colab.drive: a folder in the place of Drive."""

from __future__ import annotations

from pathlib import Path

from colabkit.runtime import my_drive

__all__ = ["flush_and_unmount", "mount"]

_mounted: list[Path] = []


def mount(mountpoint: str, force_remount: bool = False, timeout_ms: int = 120_000, readonly: bool = False) -> None:
    """Make the folder with `MyDrive` in it; nothing of the real Drive is in it, which is said."""
    del timeout_ms, readonly
    folder = Path(mountpoint)
    if " " in str(mountpoint):
        raise ValueError("Mountpoint must not contain a space.")
    if folder in _mounted and not force_remount:
        print(f"Drive already mounted at {mountpoint}; to attempt to forcibly remount, call with force_remount=True.")  # noqa: T201
        return
    make_folder(folder)


def make_folder(mountpoint: Path) -> None:
    """Make the folder, and say what it is; `drive.mount` of colabkit does so, too, once the modules are given."""
    (mountpoint / "MyDrive").mkdir(parents=True, exist_ok=True)
    if mountpoint in _mounted:
        return
    _mounted.append(mountpoint)
    my_drive.stand_ins.append(mountpoint / "MyDrive")
    print(  # noqa: T201 - as the real one
        f"Drive cannot be mounted here: {mountpoint} is a folder of this machine, without your Drive's files.\n"
        'Bring them by ck.fetch("drive:FOLDER/FILE"), and send results by ck.push(FILE, "drive:FOLDER").'
    )


def flush_and_unmount(timeout_ms: int = 86_400_000) -> None:
    """Forget the folder; its files stay."""
    del timeout_ms
    if not _mounted:
        print("Drive not mounted, so nothing to flush and unmount.")  # noqa: T201 - the real one's words
    _mounted.clear()
    my_drive.stand_ins.clear()
