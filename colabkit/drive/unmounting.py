"""unmount(): upload first, and say so if that did not work."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import few
from colabkit._internal.display.show import Shown
from colabkit._internal.log import notify
from colabkit._internal.process.proc import run_or_leave
from colabkit.drive import log as _log
from colabkit.drive.mounting import DEFAULT, point
from colabkit.drive.probe import check_mount, force_unmount
from colabkit.errors import DriveError, DriveTimeoutError, MountPointError
from colabkit.runtime import base, mounts

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath

# google.colab's own function, in a process that can be left: it waits without an end for a program that hangs.
_FLUSH = "import sys; from google.colab import drive; drive.flush_and_unmount(timeout_ms=int(sys.argv[1]))"
_GRACE = 30.0

_RECENT = 3600
_SEARCH = """
import os, sys, time
since = time.time() - float(sys.argv[2])
for place, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(place, name)
        if os.lstat(path).st_mtime >= since:
            print(os.path.relpath(path, sys.argv[1]), flush=True)
"""
_SEARCH_SECONDS = 10.0
_NAMED = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class Unmounted(Shown):
    """What an unmount did.

    Attributes:
        mountpoint: The folder.
        was_mounted: Whether there was anything to unmount.
        flushed: Whether Drive's program said that everything has been uploaded; None where there was nothing mounted.
        why: Why it was not flushed; "" otherwise.
        seconds: How long it took.
    """

    mountpoint: Path
    was_mounted: bool
    flushed: bool | None
    why: str = ""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {**asdict(self), "mountpoint": str(self.mountpoint)}

    def __str__(self) -> str:
        if not self.was_mounted:
            return f"Drive is not mounted at {self.mountpoint}."
        outcome = "everything is uploaded, as Drive's program says" if self.flushed else self.why
        return f"Drive was unmounted from {self.mountpoint} in {self.seconds:.1f} s: {outcome}."


def unmount(mountpoint: StrPath = DEFAULT, *, timeout_ms: int = 3_600_000) -> Unmounted:
    """Upload what is pending, then unmount Drive.

    Args:
        mountpoint: Where it is mounted.
        timeout_ms: Milliseconds for the upload. When they are over, Drive stays mounted and goes on uploading.

    Returns:
        Whether it was mounted, and whether everything was uploaded. A mount whose program has died is taken away; what
        it had not uploaded is uploaded by the next mount on this machine, and lost with the machine.

    Raises:
        DriveTimeoutError: Not everything was uploaded in that time; the message names files that may be pending.
        DriveError: Drive's program refused.
        MountPointError: Something else is mounted there.

    Example:
        >>> print(unmount("/no/such/drive"))
        Drive is not mounted at /no/such/drive.
    """
    target, begun = point(mountpoint), time.monotonic()
    state, words = check_mount(target)
    if state == "absent":
        return Unmounted(mountpoint=target, was_mounted=False, flushed=None)
    if state == "foreign":
        raise MountPointError(f"{target} is not unmounted", why=words, hint="unmount it the way it was mounted")
    why = ""
    if state == "dead":
        force_unmount(target)
        why = f"its program had died ({words}), and what it had not uploaded waits for the next mount on this machine"
    else:
        _flush(target, timeout_ms)
    unmounted = Unmounted(
        mountpoint=target, was_mounted=True, flushed=not why, why=why, seconds=time.monotonic() - begun
    )
    notify("%s", unmounted)
    return unmounted


def _flush(target: Path, timeout_ms: int) -> None:
    home, seconds = base.here().home, timeout_ms / 1000
    before = _log.end_of(home)
    done = run_or_leave([sys.executable, "-c", _FLUSH, str(timeout_ms)], timeout=seconds + _GRACE)
    if done.ok and mounts.find(target) is None:
        return
    log = _log.quoted(_log.read(home, since=before))
    what = f"Drive stays mounted at {target}"
    if done.code is not None and "flush_and_unmount failed" not in done.err:
        message = done.err.strip().rpartition("\n")[2] or done.out.strip()
        why = "; ".join(filter(None, (f"google.colab could not unmount it ({_log.redacted(message)})", log)))
        raise DriveError(
            what, why=why, hint="close the files and terminals that use it, and call drive.unmount() again"
        )
    why = f"not everything was uploaded within {seconds:g} s"
    raise DriveTimeoutError(
        what,
        why="; ".join(filter(None, (why, _pending(target), log))),
        hint="call drive.unmount() again with more time; do not end the session before",
    )


def _pending(target: Path) -> str:
    """Name what was changed lately, as Drive's program does not tell what it has not uploaded."""
    words = [sys.executable, "-I", "-S", "-c", _SEARCH, str(target / "MyDrive"), str(_RECENT)]
    names = run_or_leave(words, timeout=_SEARCH_SECONDS).out.splitlines()
    if not names:
        return "Drive's program does not tell what is pending"
    return f"changed in the last hour, so perhaps pending: {few(names, _NAMED)}"
