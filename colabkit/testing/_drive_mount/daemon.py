"""A stand-in for DriveFS' program, a process of its own that mounts a folder by FUSE.

It takes the arguments that google.colab gives the real one: `--preferences=…,mount_point_path:FOLDER`,
`--features=…,read_only_mode:true`, and `--push_changes_and_quit --timeout_sec=N`. The folder with its state comes in
the variable COLABKIT_DRIVE_STATE. Run by `colabkit.testing.DriveFolder`, or as the `drive` of a `FakeColab`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from colabkit import config
from colabkit.testing._drive_mount.cloud import Cloud, log_line, start_or_end
from colabkit.testing._drive_mount.settings import SettingsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.testing._drive_mount.settings import Kind

STATE = "COLABKIT_DRIVE_STATE"
OWNER = "COLABKIT_DRIVE_OWNER"
"""The process whose end ends the daemon, too."""

CONSENT = "consent"
"""The file of the state that stands for credentials; where there is none, the real program ends."""

FAULT = "fault"
"""The file that makes the program end at its start: a line that it prints, and one for its log."""

PUSH, PUSHED = "push", "pushed"
"""The file of the state that asks a daemon to upload everything and end, and its name once that is done."""

DRIVEFS = ".config/Google/DriveFS"
CACHE = f"{DRIVEFS}/101/content_cache"
"""In the home: the cache of one account, which takes room on the machine's disk."""

_ATTRIBUTES = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")

F = TypeVar("F")


def _under(kind: Kind) -> Callable[[F], F]:
    """Let an operation take its time, stall or fail as the settings say."""

    def decorate(operation: F) -> F:
        @functools.wraps(cast("Callable[..., Any]", operation))
        def weathered(self: DriveOperations, *args: Any) -> Any:
            self.weather(kind)
            return cast("Callable[..., Any]", operation)(self, *args)

        return cast("F", weathered)

    return decorate


class DriveOperations:
    """The file system: everything happens in the cache, `Cloud` does the rest."""

    use_ns = True

    def __init__(self, cloud: Cloud, settings: SettingsFile) -> None:
        self._cloud, self._settings = cloud, settings
        self._random = random.Random(settings.now.seed)  # noqa: S311 - a double, not a secret
        self._written = 0

    def weather(self, kind: Kind) -> None:
        """Wait and fail as the settings say."""
        time.sleep(self._settings.now.latency)
        begun = time.monotonic()
        while time.monotonic() - begun < self._settings.now.of("stall", kind):
            time.sleep(0.02)
        if self._random.random() < self._settings.now.of("eio", kind):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _name(self, path: str) -> str:
        first, slash, rest = path.lstrip("/").partition("/")
        if first == "My Drive":  # both names lead there, one is listed
            first = "MyDrive"
        name = f"{first}{slash}{rest}"
        return unicodedata.normalize("NFC", name) if self._settings.now.nfc else name

    def _path(self, path: str) -> Path:
        return self._cloud.cache / self._name(path)

    def init_with_config(self, connection: Any, config: Any) -> None:
        """Begin to upload: only now the process has its threads."""
        del connection, config
        self._cloud.start()

    @_under("look")
    def getattr(self, path: str, handle: int | None = None) -> Mapping[str, int]:
        """Return the attributes of a file."""
        del handle
        stat = os.lstat(self._path(path))
        times = {f"st_{name}time": getattr(stat, f"st_{name}time_ns") for name in "amc"}
        return {name: getattr(stat, name) for name in _ATTRIBUTES} | times

    @_under("look")
    def statfs(self, path: str) -> Mapping[str, int]:
        """Return the quota as the size of a disk."""
        del path
        quota, block = int(self._settings.now.quota), 4096
        free = max(0, quota - self._cloud.used()) // block
        return {
            "f_bsize": block,
            "f_frsize": block,
            "f_blocks": quota // block,
            "f_bfree": free,
            "f_bavail": free,
            "f_namemax": 255,
        }

    @_under("list")
    def readdir(self, path: str, handle: int) -> list[str]:
        """List a folder."""
        del handle
        names = sorted(entry.name for entry in self._path(path).iterdir())
        if self._name(path):
            names = names[: int(len(names) * self._settings.now.listing)]
        return [".", "..", *names]

    @_under("read")
    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        """Read from an open file."""
        del path
        return os.pread(handle, size, offset)

    @_under("look")
    def open(self, path: str, flags: int) -> int:
        """Open a file."""
        return os.open(self._path(path), os.O_RDWR if flags & os.O_ACCMODE else os.O_RDONLY)

    @_under("write")
    def create(self, path: str, mode: int, info: Any = None) -> int:
        """Make and open a file."""
        del info
        handle = os.open(self._path(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
        self._cloud.touched(self._name(path))
        return handle

    @_under("write")
    def write(self, path: str, data: bytes, offset: int, handle: int) -> int:
        """Write to an open file; the daemon may die of it."""
        fatal = self._settings.now.die_after
        if fatal is not None and self._written + len(data) > fatal:
            os.pwrite(handle, data[: max(0, fatal - self._written)], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        written = os.pwrite(handle, data, offset)
        self._written += written
        self._cloud.touched(self._name(path))
        return written

    @_under("write")
    def truncate(self, path: str, length: int, handle: int | None = None) -> None:
        """Cut a file."""
        del handle
        os.truncate(self._path(path), length)
        self._cloud.touched(self._name(path))

    @_under("write")
    def fsync(self, path: str, only_data: bool, handle: int) -> int:
        """Return at once, as DriveFS does: nothing is uploaded by it."""
        del path, only_data, handle
        return 0

    def release(self, path: str, handle: int) -> int:
        """Close a file."""
        del path
        os.close(handle)
        return 0

    @_under("write")
    def unlink(self, path: str) -> None:
        """Delete a file."""
        self._cloud.unlink(self._name(path))

    @_under("write")
    def rename(self, old: str, new: str, flags: int = 0) -> None:
        """Rename a file or a folder."""
        del flags
        self._cloud.rename(self._name(old), self._name(new))

    @_under("write")
    def mkdir(self, path: str, mode: int) -> None:
        """Make a folder."""
        self._cloud.mkdir(self._name(path), mode)

    @_under("write")
    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self._cloud.rmdir(self._name(path))

    def chmod(self, path: str, mode: int) -> int:
        """Ignore modes, as Drive has none."""
        del path, mode
        return 0

    def chown(self, path: str, user: int, group: int) -> int:
        """Ignore owners, as Drive has none."""
        del path, user, group
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Set the time of the last change, which is kept in the cloud, too."""
        os.utime(self._path(path), ns=times or (time.time_ns(),) * 2)
        self._cloud.touched(self._name(path))
        return 0


def _options(words: list[str]) -> dict[str, str]:
    """Read `--features=a:1,b:2` and `--preferences=…` into one table, and plain flags beside them."""
    options: dict[str, str] = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        if name in ("features", "preferences"):
            options.update(
                (key, rest) for key, colon, rest in (pair.partition(":") for pair in value.split(",")) if colon
            )
        else:
            options[name] = value
    return options


def _watch(owner: int, mountpoint: str) -> None:
    """End when the test's process has ended, however it ended."""
    while True:
        time.sleep(0.5)
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            unmount(mountpoint)
            os._exit(0)


def unmount(mountpoint: str) -> None:
    """Take a mount away, whatever state it is in."""
    words = ["fusermount3", "-u", "-q", "-z", mountpoint]
    subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def running(state: Path) -> int | None:
    """Return the process of the daemon that serves this state, None when there is none."""
    try:
        pid = int((state / "pid").read_text())
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return None if letter == "Z" else pid


def _push(state: Path, log: Callable[[str], None], seconds: float) -> int:
    """Ask the running daemon to upload everything and end; say whether it did."""
    if running(state) is None:
        return 0
    asked, pushed = state / PUSH, state / PUSHED
    pushed.unlink(missing_ok=True)
    asked.write_text("")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if running(state) is None:
            if pushed.exists():
                return 0
            log("push_changes_and_quit: the program ended with changes pending")
            return 1
        time.sleep(0.05)
    asked.unlink(missing_ok=True)
    log("push_changes_and_quit: timed out with changes pending")
    return 1


def _quit_when_pushed(state: Path, cloud: Cloud, mountpoint: str) -> None:
    while True:
        time.sleep(0.05)
        if (state / PUSH).exists() and cloud.is_settled:
            with contextlib.suppress(FileNotFoundError):  # who asked has waited long enough
                os.replace(state / PUSH, state / PUSHED)  # first: what is unmounted may end at once
                unmount(mountpoint)
                os._exit(0)


def main(words: list[str], env: Mapping[str, str] | None = None) -> int:
    """Mount and serve until unmounted, or push and quit; return the exit code."""
    env = config.environment(env)
    state, options = Path(env[STATE]), _options(words)
    home = Path(env["HOME"])
    file = home / DRIVEFS / "Logs/drive_fs.txt"
    file.parent.mkdir(parents=True, exist_ok=True)

    def log(text: str) -> None:
        with open(file, "a", encoding="utf-8") as out:
            out.write(log_line(text))

    if "push_changes_and_quit" in options:
        return _push(state, log, float(options.get("timeout_sec") or 86400))
    if not (state / CONSENT).exists():
        log("no credentials from the metadata server")
        return 1
    if (fault := state / FAULT).exists():
        output, logged = fault.read_text().split("\n", 1)
        log(logged)
        sys.stdout.write(f"{output}\n")
        sys.stdout.flush()
        return 1
    import mfusepy

    Path("/proc/self/comm").write_text("drive")  # the name by which google.colab finds it
    settings = SettingsFile(state / "settings.json")
    cloud = Cloud(state, home / CACHE, settings, log)
    mountpoint = options["mount_point_path"]
    Path(mountpoint).mkdir(exist_ok=True)
    (state / PUSH).unlink(missing_ok=True)
    if env.get(OWNER):
        start_or_end(lambda: _watch(int(env[OWNER]), mountpoint))
    start_or_end(lambda: _quit_when_pushed(state, cloud, mountpoint))
    (state / "pid").write_text(str(os.getpid()))
    readonly = options.get("read_only_mode") == "true"
    mfusepy.FUSE(
        DriveOperations(cloud, settings), mountpoint, foreground=True, fsname="drive", subtype="drive", ro=readonly
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
