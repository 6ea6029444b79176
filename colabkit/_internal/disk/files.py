"""Files that are whole or absent: atomic writes, hashes, locks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from colabkit._internal.disk.holder import holder
from colabkit._internal.os_errors import translate
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit._types import StrPath

TEMP_MARKER = ".part-"
"""The mark in the name of a file that is still being written; readers pass such files over."""

_LONGEST_OWNER = 4096
_FAR = 0x7FFF_FFF0


@contextlib.contextmanager
def temp_then_rename(
    folder: StrPath, hint: str, *, mode: int = 0o666, durable: bool = True
) -> Iterator[tuple[IO[bytes], Callable[[StrPath], None]]]:
    """Write a file whose final name is known only when it is complete.

    A temporary file in the folder is written. `publish(name)` flushes it to disk and renames it in one step, then
    flushes the folder, so that the name is as durable as the bytes: even a power cut leaves the whole file or none.
    What was not published when the block ends, for whatever reason, is removed.

    Args:
        folder: Where the file will appear.
        hint: What the temporary name begins with.
        mode: What the file may be used for, before the umask; 0o600 keeps it from everyone else.
        durable: Wait for the disk; without it a power cut may leave a part of the file under its name.

    Yields:
        The open temporary file, and `publish`.

    Raises:
        DiskFullError: There is no room.
        NotWritableError: The folder refuses to be written.
        StorageError: Any other failure of the file system.
    """
    with map_os_errors(folder):
        descriptor, name = tempfile.mkstemp(prefix=f".{hint[:100]}{TEMP_MARKER}", dir=folder)
        with open(name, "wb", opener=lambda *_: descriptor) as file:

            def publish(target: StrPath) -> None:
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                os.chmod(name, mode & ~umask())
                with map_os_errors(target):
                    os.replace(name, target)
                if durable:
                    sync_folder(Path(target).parent)

            try:
                yield file, publish
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(name)


@contextlib.contextmanager
def atomic_write(path: StrPath, *, mode: int = 0o666, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write a file that appears whole or not at all; an existing one is replaced in one step.

    Args:
        path: The final name.
        mode: As for `temp_then_rename`.
        durable: As for `temp_then_rename`.

    Yields:
        The open temporary file; it is published when the block ends without an error.

    Raises:
        StorageError: As for `temp_then_rename`.
    """
    target = Path(path)
    with temp_then_rename(target.parent, target.name, mode=mode, durable=durable) as (file, publish):
        yield file
        publish(target)


@contextlib.contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Let another library write a file by name, so that it appears whole or not at all.

    Args:
        path: The final name.

    Yields:
        A path in the same folder with the same ending; it is published when the block ends without an error.

    Raises:
        StorageError: As for `temp_then_rename`.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}{TEMP_MARKER}{os.getpid()}{''.join(target.suffixes)}")
    with map_os_errors(target):
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: StrPath, text: str, *, mode: int = 0o666) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path, mode=mode) as file:
        file.write(text.encode())


def write_json(path: StrPath, value: Any, *, mode: int = 0o666) -> None:
    """Write a JSON file atomically, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", mode=mode)


def read_note(path: StrPath, *, most: int = 1 << 26) -> Any:
    """Read a small JSON file that somebody else may have written, or put something else in its place.

    Args:
        path: The file.
        most: Bytes that are read at most.

    Returns:
        The value; None where there is no such file, or nothing that can be read.

    Example:
        >>> read_note("/dev/zero") is None
        True
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe is not waited for
    try:
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return json.loads(file.read(most))
    except (OSError, ValueError, RecursionError):
        return None


def write_quickly(path: StrPath, data: bytes, *, by: StrPath) -> None:
    """Write a file in one step without waiting for the disk: a power cut may lose it, or leave an empty one.

    Args:
        path: The final name.
        data: What it holds.
        by: A temporary name in the same folder that nobody else uses now.
    """
    with map_os_errors(path):
        # Opened without following a link that somebody put there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(by, flags, 0o666)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
        os.replace(by, path)


def begin_flush(descriptor: int, start: int, size: int) -> None:
    """Let the system write these bytes of a file to the disk from now on, so that the flush at the end waits less.

    Nothing is waited for and nothing is promised; where a platform has no such call, nothing happens.

    Args:
        descriptor: An open file.
        start: The first byte.
        size: How many bytes.
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            # On Linux this begins to write what is dirty; what is being written stays in memory.
            os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: StrPath) -> None:
    """Flush a folder's list of names to disk where the platform can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network and FUSE file systems refuse this; the bytes themselves were flushed before.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class map_os_errors:  # noqa: N801 - it is used as a function; contextlib's way takes three times as long
    """Translate the file system's errors into ours, naming the place and the remedy."""

    def __init__(self, path: StrPath) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Watch from here."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, ColabKitError):
            raise translate(error, self._path) from error


def umask() -> int:
    """Return the mode bits that new files of this process must not have."""
    with contextlib.suppress(OSError, ValueError):  # without changing it: other threads make files at this moment
        if match := re.search(rb"^Umask:\s+([0-7]+)", Path("/proc/self/status").read_bytes(), re.MULTILINE):
            return int(match[1], 8)
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: StrPath) -> str:
    """Return the sha256 of a file as hexadecimal digits.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as empty:
        ...     sha256(empty.name)[:8]
        'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LockedError(Exception):
    """Another process or thread has what only one may have at a time.

    Attributes:
        pid: Its process, where that is known.
    """

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


def open_locked(path: StrPath) -> int:
    """Open a file to read and write, made where it is missing, and keep it from all others until it is closed.

    The file itself is locked, so no second one is made; what opens it otherwise is not hindered.

    Args:
        path: The file; a link that somebody put there is not followed.

    Returns:
        The descriptor. The system drops the lock with it, also at a kill.

    Raises:
        TakenError: Another process or thread has it.
        StorageError: It cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        with map_os_errors(path):
            descriptor = os.open(path, flags, 0o666)  # the umask decides the mode
        if not _lock(descriptor):
            try:
                raise LockedError(_holder(descriptor))
            finally:
                os.close(descriptor)
        if _is_named(descriptor, path):
            return descriptor
        os.close(descriptor)  # whoever had it renamed or removed it between our open and our lock


def lock_folder(path: StrPath) -> int | None:
    """Keep a folder from all others who lock it.

    Args:
        path: The folder.

    Returns:
        A descriptor, which drops the lock when it is closed, as a kill does; None where another process has it, or
        where the platform or the file system locks no folders.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


class FileLock:
    """A lock that dies with its process and tells who holds it.

    The operating system drops it at a kill, so a lock file that is left behind never blocks anyone. A process that was
    forked from the holder does not hold it, and keeps it from nobody.

    Args:
        path: The lock file; it is created, and it stays unless it is released with `remove=True`.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None
        self._changing = threading.Lock()
        _file_locks.add(self)

    def __del__(self) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> dict[str, Any] | None:
        """Take the lock without waiting.

        Returns:
            None on success, else what the holder wrote about itself: `pid`, `host` and `command`, its program.
        """
        with self._changing:
            return self._acquire()

    def _acquire(self) -> dict[str, Any] | None:
        while not self.held:
            with map_os_errors(self.path):
                descriptor = _open_lock(self.path)
            if not _lock(descriptor):
                owner = _read_owner(descriptor)
                os.close(descriptor)
                return owner
            if not _is_named(descriptor, self.path):
                os.close(descriptor)  # its last holder removed it between our open and our lock
                continue
            with contextlib.suppress(OSError):  # a full disk must not hide that the lock is ours
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, json.dumps(holder()).encode())
            self._descriptor = descriptor
        return None

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; harmless when it is not held.

        Args:
            remove: Delete the lock file too, while it is still ours.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if remove:
                with contextlib.suppress(OSError):  # Windows refuses to delete an open file; it may stay
                    self.path.unlink()
            os.close(descriptor)


_file_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _drop_locks_of_the_parent() -> None:
    """Close the descriptors that a fork has copied: the system drops a lock when the last of them is closed."""
    for lock in list(_file_locks):
        lock._changing = threading.Lock()  # noqa: SLF001 - another thread of the parent may have held it
        with contextlib.suppress(OSError):
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_locks_of_the_parent)


def _open_lock(path: StrPath) -> int:
    """Open a lock file; a new one is nobody else's to read, unless the group may write what this process makes."""
    mode = 0o600 if umask() & 0o020 else 0o660
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, mode)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EEXIST, "it is not a file")
        if hasattr(os, "fchmod") and stat.S_IMODE(status.st_mode) & ~mode:
            with contextlib.suppress(OSError):  # made by an earlier version, or by another user
                os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read_owner(descriptor: int) -> dict[str, Any]:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        owner = json.loads(os.read(descriptor, _LONGEST_OWNER) or b"{}")
    except (OSError, ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_named(descriptor: int, path: StrPath) -> bool:
    """Say whether an open file is still the one that the path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116 - asked for each file of a list
    except OSError:
        return False


def _holder(descriptor: int) -> int | None:
    """Return the process that has locked an open file, where Linux tells it."""
    with contextlib.suppress(OSError, ValueError):
        inode = str(os.fstat(descriptor).st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            # 1: FLOCK  ADVISORY  WRITE 3711 08:01:2621446 0 EOF
            _, kind, *_, pid, file, _, _ = line.split()
            if kind == "FLOCK" and file.rpartition(":")[2] == inode and int(pid) > 0:
                return int(pid)
    return None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            # A byte behind all content, which others can still read; Windows' C library takes no place beyond 2 GiB.
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # the file system has no locks (some network mounts): better to work than to refuse
        return True
