"""health(): whether Drive is mounted, reads and writes, and what it and its cache have left."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown
from colabkit._internal.process.proc import run_or_leave
from colabkit.drive import log as _log
from colabkit.drive.mounting import DEFAULT, point
from colabkit.drive.probe import check_mount
from colabkit.runtime import base
from colabkit.runtime.report import size

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.drive.probe import State

# Runs in a process of its own, which a stalled mount may hold: a line of JSON after each step.
_PROBE = """
import json, os, secrets, sys
mountpoint, write = sys.argv[1], sys.argv[2] == "write"
def tell(name, value):
    print(json.dumps([name, value]), flush=True)
def attempt(name, step):
    try:
        step()
        tell(name, "")
    except OSError as error:
        tell(name, error.strerror or str(error))
folder = os.path.join(mountpoint, "MyDrive")
def read():
    with os.scandir(folder) as entries:
        next(entries, None)
    stat = os.statvfs(folder)
    tell("room", [stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize])
def written():
    token = secrets.token_hex(8)
    path = os.path.join(folder, ".colabkit-health-" + token)
    try:
        with open(path, "x") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
        with open(path) as file:
            if file.read() != token:
                raise OSError(5, "other bytes came back than were written")
        os.truncate(path, 0)
    finally:
        if os.path.lexists(path):
            os.unlink(path)
attempt("read", read)
if write:
    attempt("write", written)
"""

_WALK = """
import os, sys
print(sum(os.lstat(os.path.join(place, name)).st_blocks * 512
          for place, _, names in os.walk(sys.argv[1]) for name in names))
"""
_WALK_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Health(Shown):
    """How a Drive mount is.

    Attributes:
        mountpoint: The folder.
        state: "healthy", "absent" (not mounted), "dead" (its program has ended or fails), "stalled" (no answer in
            time), "foreign" (something else is mounted there).
        readable: Whether its files can be listed; None where that was not tried.
        writable: Whether a small file could be written, read back and deleted; None where that was not tried.
        quota: The bytes that Drive holds at most, as the mount tells it; None where it does not.
        free: The bytes of it that are left; what is in Drive's trash is not.
        cache: The bytes of DriveFS' cache on the disk of this machine; None where they could not be counted in time.
        disk_free: The bytes that are left on that disk.
        log: The last failures in DriveFS' log, in its words, without anything secret.
        said: What the mount said where something failed; "" otherwise.
    """

    mountpoint: Path
    state: State
    readable: bool | None = None
    writable: bool | None = None
    quota: int | None = None
    free: int | None = None
    cache: int | None = None
    disk_free: int | None = None
    log: tuple[str, ...] = ()
    said: str = ""

    @property
    def mounted(self) -> bool:
        """Whether Drive is in the machine's table of mounts, dead or alive."""
        return self.state not in ("absent", "foreign")

    @property
    def ok(self) -> bool:
        """Whether it is mounted and everything that was tried worked."""
        return self.state == "healthy" and self.readable is not False and self.writable is not False

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {**asdict(self), "mountpoint": str(self.mountpoint), "log": list(self.log), "ok": self.ok}

    def rows(self) -> list[tuple[str, str]]:
        """Return what is known as names and values, in the words of people; what is not known is left out."""
        words = {True: "yes", False: "no", None: "not tried"}
        rows = [
            ("mount point", str(self.mountpoint)),
            ("state", self.state + (f" ({self.said})" if self.said else "")),
            ("readable", words[self.readable]),
            ("writable", words[self.writable]),
            ("room", "" if self.free is None or not self.quota else f"{size(self.free)} free of {size(self.quota)}"),
            ("cache", "" if self.cache is None else f"{size(self.cache)} on this machine's disk"),
            ("disk", "" if self.disk_free is None else f"{size(self.disk_free)} free"),
            *(("log", line) for line in self.log),
        ]
        return [(name, value) for name, value in rows if value]

    def __str__(self) -> str:
        return "\n".join(f"{name:<13}{value}" for name, value in self.rows())


def health(mountpoint: StrPath = DEFAULT, *, write: bool = True, timeout: float = 15.0) -> Health:
    """Look how a Drive mount is; a stalled mount cannot hold the call.

    Args:
        mountpoint: Where it is mounted.
        write: Try to write: a file of 16 bytes named `.colabkit-health-…`, which is emptied and deleted at once.
        timeout: Seconds for the mount to answer.

    Returns:
        The state, whether it reads and writes, the room in Drive and on the disk, and the log's last failures.

    Raises:
        MountPointError: That cannot be a mount point.

    Example:
        >>> health("/no/such/drive").state
        'absent'
    """
    target, home = point(mountpoint), base.here().home
    state, reason = check_mount(target, timeout=timeout)
    steps: dict[str, Any] = {}
    if state == "healthy":
        steps, stalled_in = _steps(target, write=write, timeout=timeout)
        if stalled_in:
            state, reason = "stalled", stalled_in
        reason = reason or "; ".join(f"{name}: {steps[name]}" for name in ("read", "write") if steps.get(name))
    quota, free = steps.get("room", (None, None))
    return Health(
        mountpoint=target,
        state=state,
        readable=not steps["read"] if "read" in steps else None,
        writable=not steps["write"] if "write" in steps else None,
        quota=quota or None,
        free=free if quota else None,
        cache=_cache(home),
        disk_free=_disk_free(home),
        log=_log.serious(_log.of_this_mount(_log.read(home)) if state == "healthy" else _log.read(home)),
        said=reason,
    )


def _steps(target: Path, *, write: bool, timeout: float) -> tuple[dict[str, Any], str]:
    words = [sys.executable, "-I", "-S", "-c", _PROBE, str(target), "write" if write else "read"]
    done = run_or_leave(words, timeout=timeout)
    steps = dict(json.loads(line) for line in done.out.splitlines() if line.endswith("]"))
    unfinished = "writing" if "read" in steps else "listing MyDrive"
    return steps, "" if done.code is not None else f"{unfinished} took longer than {timeout:g} s"


def _cache(home: Path) -> int | None:
    folder = home / _log.FOLDER
    if not folder.is_dir():
        return None
    done = run_or_leave([sys.executable, "-I", "-S", "-c", _WALK, str(folder)], timeout=_WALK_SECONDS)
    return int(done.out) if done.ok else None


def _disk_free(home: Path) -> int | None:
    try:
        return shutil.disk_usage(home).free
    except OSError:
        return None
