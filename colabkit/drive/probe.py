"""Whether a Drive mount lives, found out by other processes, since a stalled mount holds whoever touches it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal

from colabkit._internal.process.proc import run_or_leave
from colabkit.errors import DriveError
from colabkit.runtime import mounts

if TYPE_CHECKING:
    from pathlib import Path

State = Literal[
    "absent",  # nothing is mounted there
    "healthy",  # Drive is, and answers
    "dead",  # it is in the table, and its program has ended or fails: ENOTCONN, EIO
    "stalled",  # it does not answer in time
    "foreign",  # something else is mounted there
]

MY_DRIVE = ("MyDrive", "My Drive")
PATIENCE = 10.0
"""Seconds for the root of a mount to be listed; it holds two or three names, and takes milliseconds."""

_GLOB = 'cd "$1" && printf "%s\\n" *'
_ENGLISH = {"LC_ALL": "C"}
_UNMOUNTERS = (("fusermount3", "-u", "-z", "-q"), ("fusermount", "-u", "-z", "-q"), ("umount", "-l"))


def check_mount(mountpoint: Path, *, timeout: float = PATIENCE) -> tuple[State, str]:
    """Tell the state of a mount, and what was said.

    Args:
        mountpoint: The folder.
        timeout: Seconds to wait for its listing.
    """
    mount = mounts.find(mountpoint)
    if mount is None:
        return "absent", f"nothing is mounted at {mountpoint}"
    if mount.kind != mounts.DRIVE:
        return "foreign", f"{mountpoint} is a mount of {mount.kind}"
    # The shell's own globbing takes half the time of `ls`, which can say what is wrong.
    for words in (["/bin/sh", "-c", _GLOB, "sh", str(mountpoint)], ["ls", "-A", str(mountpoint)]):
        listed = run_or_leave(words, timeout=timeout, env=_ENGLISH)
        if listed.code is None:
            return "stalled", f"{mountpoint} was not listed within {timeout:g} s"
        if set(listed.out.splitlines()) & set(MY_DRIVE):
            return "healthy", ""
    return "dead", listed.err.strip().rpartition(": ")[2] or f"{mountpoint} is empty"


def force_unmount(mountpoint: Path) -> None:
    """Unmount what is dead.

    Raises:
        DriveError: It cannot be unmounted.
    """
    reason = ""
    for program, *options in _UNMOUNTERS:
        if shutil.which(program) is not None:
            reason = run_or_leave([program, *options, str(mountpoint)], timeout=PATIENCE).err.strip() or reason
            if mounts.find(mountpoint) is None:
                return
    raise DriveError(
        f"the dead mount at {mountpoint} cannot be unmounted",
        why=reason or "there is neither fusermount nor umount",
        hint="choose another mount point, or restart the machine (Runtime, Disconnect and delete runtime)",
    )
