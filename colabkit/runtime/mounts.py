"""What is mounted where, read from the kernel's table: no mount is touched, so none can hold us."""

from __future__ import annotations

import os
import re

from colabkit._internal.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit._types import StrPath

TABLE = "/proc/self/mounts"
DRIVE = "fuse.drive"
"""The type of a mount of DriveFS."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(Record):
    """One line of the table.

    Attributes:
        folder: Where it is mounted.
        kind: The type of the file system, "ext4" or "fuse.drive".
        options: Its options, as "rw" or "ro".
    """

    folder: str
    kind: str
    options: tuple[str, ...]


def table(text: str | None = None) -> list[Mount]:
    r"""Read the mounts; the last one of a folder is the one that shows.

    Args:
        text: The text of the table; this machine's own when None, and empty where there is no such file.

    Example:
        >>> table("drive /content/my\\040drive fuse.drive rw,nosuid 0 0")
        [Mount(folder='/content/my drive', kind='fuse.drive', options=('rw', 'nosuid'))]
    """
    if text is None:
        try:
            with open(TABLE, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError:
            text = ""
    rows = (line.split(" ") for line in text.splitlines())
    return [
        Mount(folder=_ESCAPE.sub(_byte, row[1]), kind=row[2], options=tuple(row[3].split(",")))
        for row in rows
        if len(row) >= 4
    ]


def _byte(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))


def find(folder: StrPath) -> Mount | None:
    """Return what is mounted at a folder, None where nothing is."""
    return next((mount for mount in reversed(table()) if mount.folder == os.fspath(folder)), None)


def holding(path: StrPath, kind: str) -> Mount | None:
    """Return the mount of a kind that a path lies in, None where it lies in none."""
    text = os.fspath(path)
    mounts = [mount for mount in table() if mount.kind == kind and f"{text}/".startswith(f"{mount.folder}/")]
    return max(mounts, key=lambda mount: len(mount.folder), default=None)


def below(folder: StrPath, kind: str) -> Mount | None:
    """Return the newest mount of a kind in a folder, None where there is none."""
    start = f"{os.fspath(folder)}/"
    return next((mount for mount in reversed(table()) if mount.kind == kind and mount.folder.startswith(start)), None)


_ON_THIS_MACHINE = {"fuseblk", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.encfs", "fuse.exfat", "fuse.ntfs-3g"}


def behind_fuse(path: StrPath) -> Mount | None:
    """Return the FUSE mount that a path lies in when its program may keep what is written and send it on later.

    Such a program (rclone, a cloud's own) may report a file as written that is still in its cache. FUSE file systems
    of a disk or of a container's root, as of `ntfs-3g` and of rootless Podman, are not meant.

    Args:
        path: A path without links.

    Returns:
        The mount; None where the path lies on something else.
    """
    text = os.fspath(path)
    mounts = [mount for mount in table() if mount.folder == "/" or f"{text}/".startswith(f"{mount.folder}/")]
    mount = max(reversed(mounts), key=lambda mount: len(mount.folder), default=None)
    if mount is None or not mount.kind.startswith("fuse") or mount.kind in _ON_THIS_MACHINE:
        return None
    return None if mount.kind == "fusectl" else mount
