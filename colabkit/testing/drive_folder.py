"""A folder that behaves as Colab's Drive mount: really mounted, by a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from colabkit.testing._drive_mount import daemon
from colabkit.testing._drive_mount.cloud import ROOTS, differences, tree
from colabkit.testing._drive_mount.settings import DriveSettings

if TYPE_CHECKING:
    from colabkit._types import StrPath

PATIENCE = 20.0
"""Seconds for a mount to come up on a crowded machine."""


class DriveFolder:
    """A FUSE folder with the habits of Colab's Drive mount, for a `with` statement.

    What programs write looks finished at once, and reaches "the cloud" late and in no order, or never. Look at `cloud`
    and `trash` to see what would survive the machine. The rules are written down in
    `colabkit/testing/_drive_mount/cloud.py`.

    Attributes:
        mountpoint: Where it is mounted; `MyDrive` and `Shareddrives` are in it.
        path: The folder of the user's files, `mountpoint/MyDrive`.
        cloud: What the cloud has of it: a plain folder to look into, and to put files into before `new_machine()`.
        trash: The deleted and replaced versions, which count against the quota.
        settings: How it behaves now; change it by `set()`.

    Args:
        folder: Where everything is kept; a temporary folder that goes at the end, when None.
        mountpoint: Where to mount; inside `folder`, when None.
        settings: Fields of `DriveSettings`: `lag=2.0`, `eio={"read": 0.1}`.

    It needs /dev/fuse, fuse3 and mfusepy; `missing()` says what a machine lacks.

    ```python
    with DriveFolder(lag=2.0) as drive:
        (drive.path / "model.bin").write_bytes(b"weights")
        drive.new_machine()  # within two seconds: the cloud has nothing yet
    ```
    """

    def __init__(self, folder: StrPath | None = None, *, mountpoint: StrPath | None = None, **settings: Any) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="drive-") if folder is None else folder).absolute()
        self.state, self.home = self.folder / "state", self.folder / "home"
        self.mountpoint = Path(self.folder / "drive" if mountpoint is None else mountpoint).absolute()
        for made in (self.state, self.home):
            made.mkdir(parents=True, exist_ok=True)
        self.settings = DriveSettings(**settings)
        self.settings.save(self.state / "settings.json")
        (self.state / daemon.CONSENT).touch()
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str:
        """Say what is missing to mount a folder on this machine, with the line that installs it; "" if nothing is."""
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "there is no /dev/fuse that may be opened (a container: --device /dev/fuse --cap-add SYS_ADMIN)"
        if shutil.which("fusermount3") is None:
            return "fusermount3 is missing: apt-get install fuse3"
        try:
            import mfusepy  # noqa: F401
        except (ImportError, OSError) as error:
            return f"mfusepy cannot be loaded ({error}): pip install mfusepy; apt-get install fuse3"
        return ""

    @property
    def path(self) -> Path:
        """The folder of the user's files."""
        return self.mountpoint / ROOTS[0]

    @property
    def cloud(self) -> Path:
        """What the cloud has of the user's files."""
        return self.state / "cloud" / ROOTS[0]

    @property
    def trash(self) -> Path:
        """What was deleted or replaced, with the bytes that the cloud had."""
        return self.state / "trash"

    @property
    def trash_bytes(self) -> int:
        """The bytes in the trash."""
        return sum(size for size, _ in tree(self.trash).values())

    @property
    def log(self) -> Path:
        """The daemon's log, where DriveFS has it."""
        return self.home / daemon.DRIVEFS / "Logs/drive_fs.txt"

    @property
    def cache(self) -> Path:
        """What the mount shows, on this machine's disk."""
        return self.home / daemon.CACHE

    @property
    def pid(self) -> int | None:
        """The daemon's process, None when there is none."""
        return daemon.running(self.state)

    def set(self, **settings: Any) -> None:
        """Change the behaviour at once: `set(offline=True)`, `set(stall={"write": 30})`; the rest stays."""
        self.settings = dataclasses.replace(self.settings, **settings)
        self.settings.save(self.state / "settings.json")

    def environment(self) -> dict[str, str]:
        """Return the variables that lead the daemon's program to this folder."""
        return {daemon.STATE: str(self.state), daemon.OWNER: str(os.getpid()), "HOME": str(self.home)}

    def mount(self) -> None:
        """Mount it; what an earlier daemon on this machine had not uploaded is uploaded now.

        Raises:
            RuntimeError: It cannot be mounted here; the message says what is missing.
        """
        if missing := self.missing():
            raise RuntimeError(missing)
        self.mountpoint.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", daemon.__name__, f"--preferences=mount_point_path:{self.mountpoint}"]
        with open(self.state / "daemon.txt", "ab") as out:
            env = {**os.environ, **self.environment()}
            self._process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        until = time.monotonic() + PATIENCE
        while not os.path.ismount(self.mountpoint):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no mount came up:\n{_end(self.state / 'daemon.txt')}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the daemon: what is mounted answers ENOTCONN from now on."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        until = time.monotonic() + PATIENCE
        while self.pid is not None and time.monotonic() < until:
            time.sleep(0.01)
        for name in ("pid", daemon.PUSH):
            (self.state / name).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Kill the daemon and take the mount away; what was not uploaded waits for the next `mount()`."""
        self.kill()
        daemon.unmount(str(self.mountpoint))

    def new_machine(self) -> None:
        """Lose this machine: what was not uploaded is gone. The next `mount()` shows what the cloud has."""
        self.unmount()
        shutil.rmtree(self.cache, ignore_errors=True)
        if (self.state / "cloud").exists():
            shutil.copytree(self.state / "cloud", self.cache)

    def pending(self) -> list[str]:
        """Name what has not reached the cloud: files that were written, and files that were deleted or renamed."""
        changed, deleted = differences(self.cache / ROOTS[0], self.cloud)
        return sorted({*changed, *deleted})

    def settle(self, timeout: float = 30.0) -> None:
        """Wait until the cloud has everything.

        Raises:
            TimeoutError: It has not in that time; the message names what is pending, and why.
            RuntimeError: No daemon uploads; the message has its last words.
        """
        until = time.monotonic() + timeout
        while pending := self.pending():
            what = ", ".join(pending[:5])
            if self.pid is None:
                raise RuntimeError(f"no daemon uploads {what}\n{_end(self.state / 'daemon.txt')}")
            if time.monotonic() > until:
                why = "offline" if self.settings.offline else _end(self.log)
                raise TimeoutError(f"not uploaded after {timeout:g} s: {what}\n{why}")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        try:
            self.mount()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmount, and remove what it made."""
        self.unmount()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def _end(file: Path) -> str:
    """Return the last words of a file that may be missing."""
    return file.read_text(errors="replace")[-2000:] if file.exists() else ""
