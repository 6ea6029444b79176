"""What stands behind a Drive mount: a cache that programs write to, a cloud that it reaches later, and a trash.

The rules, where known from users' reports and otherwise assumed for the worst:
- A file is uploaded some time after its last change, files in no order, at a limited rate; nothing tells when.
- Deletes and renames reach the cloud at once, unless there is no network; so a rename over an old file leaves the cloud
  with neither version until the new one is uploaded.
- What is deleted or replaced by a rename goes to the trash with the bytes that the cloud had, and the trash counts
  against the quota. A file that was emptied before goes there empty. Writing into a file in place makes no trash.
- Uploads that do not fit the quota never happen; the log alone says QUOTA_EXCEEDED.
- What was not uploaded when the daemon died is uploaded by the next one on this machine, and lost with the machine.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.testing._drive_mount.settings import SettingsFile

ROOTS = ("MyDrive", "Shareddrives")
"""What the root of the mount lists."""

_TICK = 0.02
_BLOCK = 1 << 18


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Map each file below a folder to its size and the time of its last change."""
    files = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                files[os.path.relpath(path, folder)] = (stat.st_size, stat.st_mtime_ns)
    return files


def differences(cache: Path, cloud: Path) -> tuple[list[str], list[str]]:
    """Name the files whose bytes the cloud has not got, and those of the cloud that were deleted or renamed."""
    cached, uploaded = tree(cache), tree(cloud)
    return sorted(name for name in cached if cached[name] != uploaded.get(name)), sorted(set(uploaded) - set(cached))


class Cloud:
    """The cache and what is behind it; the operations of the mount call it, a thread of its own uploads.

    Args:
        state: The folder that holds `cloud` and `trash`.
        cache: The folder of what the mount shows.
        settings: The settings as they are at each moment.
        log: Takes one line for DriveFS' log.
    """

    def __init__(self, state: Path, cache: Path, settings: SettingsFile, log: Callable[[str], None]) -> None:
        self.cache, self.cloud, self.trash = cache, state / "cloud", state / "trash"
        for folder in (*(base / root for base in (self.cache, self.cloud) for root in ROOTS), self.trash):
            folder.mkdir(parents=True, exist_ok=True)
        self._upload = state / "upload.part"
        self._settings, self._log = settings, log
        self._random = random.Random(settings.now.seed)  # noqa: S311 - a double, not a secret
        self._lock = threading.RLock()
        self._changes: list[Callable[[], None]] = []  # deletes and renames, in order
        self._dirty: dict[str, float] = {}
        self._refused: set[str] = set()
        changed, deleted = differences(self.cache, self.cloud)
        self._dirty.update(dict.fromkeys(changed, time.monotonic()))
        for name in deleted:
            self._changes.append(lambda name=name: self._to_trash(name, emptied=False))  # type: ignore[misc]

    def start(self) -> None:
        """Begin to upload."""
        start_or_end(self._work)

    def used(self) -> int:
        """Return the bytes that count against the quota."""
        return sum(size for base in (self.cloud, self.trash) for size, _ in tree(base).values())

    def touched(self, name: str) -> None:
        """Note that a file's bytes changed."""
        with self._lock:
            if (self.cache / name).is_file():  # else it was deleted meanwhile
                self._dirty[name] = time.monotonic()

    def unlink(self, name: str) -> None:
        """Delete a file."""
        with self._lock:
            emptied = (self.cache / name).stat().st_size == 0
            (self.cache / name).unlink()
            self._dirty.pop(name, None)
            self._changes.append(lambda: self._to_trash(name, emptied=emptied))

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, over an existing file if there is one."""
        with self._lock:
            target = self.cache / new
            emptied = target.is_file() and target.stat().st_size == 0
            os.replace(self.cache / old, target)
            for name in [name for name in self._dirty if name == old or name.startswith(f"{old}/")]:
                self._dirty[new + name[len(old) :]] = self._dirty.pop(name)
            self._changes.append(lambda: self._renamed(old, new, emptied=emptied))

    def mkdir(self, name: str, mode: int) -> None:
        """Make a folder."""
        with self._lock:
            (self.cache / name).mkdir(mode)
            self._changes.append(lambda: (self.cloud / name).mkdir(parents=True, exist_ok=True))

    def rmdir(self, name: str) -> None:
        """Remove an empty folder."""
        with self._lock:
            (self.cache / name).rmdir()
            self._changes.append(lambda: shutil.rmtree(self.cloud / name, ignore_errors=True))

    @property
    def is_settled(self) -> bool:
        """Whether the cloud has everything."""
        with self._lock:
            return not self._dirty and not self._changes

    def _to_trash(self, name: str, *, emptied: bool) -> None:
        if (self.cloud / name).is_file():
            if emptied:  # first: the trash has never held its bytes
                os.truncate(self.cloud / name, 0)
            self.trash.mkdir(exist_ok=True)
            os.replace(self.cloud / name, self.trash / f"{time.time_ns()}-{name.replace('/', '-')[-100:]}")

    def _renamed(self, old: str, new: str, *, emptied: bool) -> None:
        self._to_trash(new, emptied=emptied)
        if (self.cloud / old).exists():
            (self.cloud / new).parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.cloud / old, self.cloud / new)

    def _work(self) -> None:
        while True:
            time.sleep(_TICK)
            if self._settings.now.offline:
                continue
            with self._lock:
                self._make_changes()
                rested = time.monotonic() - self._settings.now.lag
                due = sorted((name, changed) for name, changed in self._dirty.items() if changed <= rested)
            self._random.shuffle(due)
            for name, changed in due[:20]:
                self._try_to_upload(name, changed)

    def _make_changes(self) -> None:
        while self._changes:
            self._changes[0]()
            del self._changes[0]

    def _try_to_upload(self, name: str, changed: float) -> None:
        source, target = self.cache / name, self.cloud / name
        try:
            before = source.stat()
            if not self._fits(name, before.st_size):
                return
            with open(source, "rb") as file, open(self._upload, "wb") as copy:
                while block := file.read(_BLOCK):
                    if self._settings.now.offline:
                        return
                    copy.write(block)
                    time.sleep(len(block) / self._settings.now.rate)
        except (FileNotFoundError, IsADirectoryError):  # deleted or renamed meanwhile
            return
        with self._lock:
            if self._settings.now.offline or self._dirty.get(name) != changed:
                return  # deleted, renamed or changed meanwhile: what is there now is uploaded again
            after = source.stat()
            if _identity(before) != _identity(after):
                return  # another file has the name, or it is being written just now
            self._make_changes()  # a rename of the old file that came before must not take the new one with it
            os.utime(self._upload, ns=(after.st_atime_ns, after.st_mtime_ns))
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._upload, target)
            del self._dirty[name]
            self._refused.discard(name)

    def _fits(self, name: str, size: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            size -= (self.cloud / name).stat().st_size
        fits = self.used() + size <= self._settings.now.quota
        if not fits and name not in self._refused:
            self._refused.add(name)
            self._log(f"upload of {Path(name).name} refused: QUOTA_EXCEEDED")
        return fits


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def start_or_end(work: Callable[[], None]) -> None:
    """Begin a thread; what it raises ends the program, as others would wait in vain for a thread that is gone."""

    def guarded() -> None:
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, it must not vanish with the thread
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    threading.Thread(target=guarded, daemon=True).start()


def log_line(text: str) -> str:
    """Write a line as DriveFS' log has it: a time, a place in the program, a message."""
    now = dt.datetime.now(dt.UTC)
    return f"{now:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"ZE [{os.getpid()}:1] drive.cc:1 {text}\n"
