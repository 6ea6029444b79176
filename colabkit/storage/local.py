"""A folder as a storage: a disk of this machine, or anything that is mounted like one."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import stat
import sys
import time
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from colabkit._internal.disk import working_dir
from colabkit._internal.disk.checksum import Checksum, IncrementalHasher, of_file
from colabkit._internal.disk.files import (
    TEMP_MARKER,
    FileLock,
    atomic_write,
    map_os_errors,
    sync_folder,
    temp_then_rename,
)
from colabkit.errors import (
    AddressError,
    ChangedError,
    ColabKitError,
    DiskFullError,
    IntegrityError,
    NotStoredError,
    NotWritableError,
    StorageError,
    UnreachableError,
)
from colabkit.runtime import mounts
from colabkit.storage.base import Stored, check_name, not_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedReader, FileIO

    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress

_BLOCK = 8 << 20  # few large calls: on a network mount each one may be a round trip
_TRIES, _PAUSE = 5, 0.01  # to read a file that is being replaced
_STALE = 24 * 3600.0  # seconds after which a half-written file surely has no writer any more
_NOT_HALF = (f"{TEMP_MARKER}lock", f"{TEMP_MARKER}old")  # the lock of conditional puts, and what a Drive has set aside
_PATIENCE = 10.0  # seconds to wait for another writer's conditional put, which takes milliseconds
_UNREACHABLE = {
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EIO,
    errno.ENODEV,
    errno.ENOTCONN,
    errno.ENXIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


class LocalStorage:
    """Objects as the files of a folder, under their own names.

    Args:
        root: The folder; made by the first `put`.
    """

    lag = 0.0
    atomic = True

    def __init__(self, root: StrPath) -> None:
        self.root = working_dir.absolute(root)
        self.address = str(self.root)
        # A folder that was there and is gone, or lies on another device, is a mount that broke: writing would fill
        # the disk below the mount point instead.
        self._device: int | None = None
        with contextlib.suppress(OSError):
            self._device = self.root.stat().st_dev
        self._swept: set[Path] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    # ---- the contract ----

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        path = self._path(name)
        with translated(name, self.address):
            self._begin(path.parent)
            with temp_then_rename(path.parent, path.name) as (file, publish):
                size, crc = _copy(source, file, progress)
                file.flush()
                self._check_arrival(name, Path(file.name), size, crc)
                self._publish(name, path, publish, only_if)
            return self._stored(name, path)

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        return self._get(name, path, "", progress)[0]

    def get_hashed(self, name: str, path: StrPath, algorithm: str, *, progress: Progress | None = None) -> Checksum:
        """Get an object, and hash what is written while it is copied."""
        checksum = self._get(name, path, algorithm, progress)[1]
        return checksum or of_file(Path(path), algorithm)

    def _get(
        self, name: str, path: StrPath, algorithm: str, progress: Progress | None
    ) -> tuple[Stored, Checksum | None]:
        with translated(name, self.address), self._open(name) as origin, atomic_write(path) as file:
            before = os.fstat(origin.fileno())
            size, checksum = _copy_down(origin, file, progress, algorithm)
            if size != before.st_size or not self._is_consistent(before, os.fstat(origin.fileno())):
                raise StorageError(f"{name} changed while it was read", hint="read it again")
        return self._described(name, before), checksum

    def read(self, name: str, *, size: int | None = None) -> bytes:
        with translated(name, self.address):
            for _ in range(_TRIES):
                with self._open(name) as file:
                    before = os.fstat(file.fileno())
                    content = file.read(-1 if size is None else size)
                    if self._is_consistent(before, os.fstat(file.fileno())):
                        return content
                time.sleep(_PAUSE)
        raise not_stored(name, self.address)

    def entry(self, name: str) -> Stored | None:
        with translated(name, self.address):
            try:
                return self._stored(name, self._content_path(name))
            except NotStoredError:
                return None

    def list(self, prefix: str = "") -> Sequence[Stored]:
        with translated(prefix or "the list", self.address):
            return sorted(self._walk(prefix), key=lambda stored: stored.name)

    def holds(self, name: str, path: Path) -> bool:
        """Say whether an object has the bytes of a local file; both are read for it."""
        with translated(name, self.address), map_os_errors(path):
            return filecmp.cmp(self._content_path(name), path, shallow=False)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with translated(name, self.address):
            self._check_alive()
            self._discard(path)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                sync_folder(path.parent)

    def confirmed(self, name: str) -> Confirmed:
        """Say "yes" for every object of a disk: `put` has flushed it. What a FUSE mount does is unknown."""
        try:
            if self.entry(name) is None:
                return "no"
        except ColabKitError:
            return "cannot tell"
        return "cannot tell" if mounts.behind_fuse(os.path.realpath(self.root)) is not None else "yes"

    # ---- where a mounted Drive differs ----

    def _content_path(self, name: str) -> Path:
        """Return where the content of a name is."""
        return self._path(name)

    def _listed_name(self, folder: Path, part: str) -> str | None:  # noqa: ARG002 - a Drive looks there
        """Return the last part of the name that a file has in lists, None when it is in none."""
        return None if is_hidden(part) else part

    def _replacing(self, path: Path) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - same
        """Prepare for a file being replaced; if the block fails, the old one is what the name has."""
        return contextlib.nullcontext()

    def _discard(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def _check_alive(self) -> None:
        if self._device is None:
            return
        try:
            device = self.root.stat().st_dev
        except FileNotFoundError:
            device = -1
        if device != self._device:
            raise UnreachableError(
                f"{self.address} is gone",
                why="the folder was there before; its disk or mount was taken away",
                hint="mount it again; nothing was written to another place",
            )

    def _is_visible(self, status: os.stat_result) -> bool:  # noqa: ARG002 - a Drive looks at it
        return True

    def _is_consistent(self, before: os.stat_result, after: os.stat_result) -> bool:  # noqa: ARG002 - same
        """Say whether what was read between the two looks is one content; a replaced file stays as it was."""
        return True

    def _version(self, status: os.stat_result) -> str:
        return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"

    # ---- parts ----

    def _described(self, name: str, status: os.stat_result) -> Stored:
        return Stored(name=name, size=status.st_size, modified=status.st_mtime, version=self._version(status))

    def _path(self, name: str) -> Path:
        parts = check_name(name).split("/")
        if any(is_hidden(part) for part in parts):
            raise AddressError(
                f"{name!r} cannot be the name of a stored object", why="it looks like a half-written file"
            )
        return self.root.joinpath(*parts)

    def _stored(self, name: str, path: Path) -> Stored:
        self._check_alive()
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise not_stored(name, self.address) from error
        if not _is_file(path, status) or not self._is_visible(status):
            raise not_stored(name, self.address)
        return self._described(name, status)

    def _open(self, name: str) -> BufferedReader:
        for _ in range(_TRIES):
            path = self._content_path(name)
            self._stored(name, path)
            with contextlib.suppress(FileNotFoundError):  # deleted since, or being replaced where that takes two steps
                return open(path, "rb")
        raise not_stored(name, self.address)

    def _begin(self, folder: Path) -> None:
        self._check_alive()
        folder.mkdir(parents=True, exist_ok=True)
        if self._device is None:
            self._device = self.root.stat().st_dev
        if folder not in self._swept:
            self._swept.add(folder)
            _sweep(folder)

    def _check_arrival(self, name: str, path: Path, size: int, crc: int) -> None:
        with open(path, "rb") as file:
            read_size, read_crc = _measure(file)
        if (read_size, read_crc) != (size, crc):
            raise IntegrityError(
                f"{name} did not arrive whole in {self.address}",
                why=f"{size} bytes with crc32 {crc:08x} were sent, {read_size} with {read_crc:08x} read back",
                hint="check that the disk or the mount is healthy",
            )

    def _publish(self, name: str, path: Path, publish: Callable[[StrPath], None], only_if: OnlyIf) -> None:
        if only_if is None:
            with self._replacing(path):
                publish(path)
            return
        with self._alone():
            now = self.entry(name)
            expected = None if only_if == "absent" else only_if
            if (now and now.version) != (expected and expected.version):
                raise ChangedError(
                    f"{name} in {self.address} was written by someone else",
                    why=f"its version is {now.version}" if now else "it is no longer there",
                    hint="look at what is there now, then decide again",
                )
            with self._replacing(path):
                publish(path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep the other conditional puts away, those of other processes too."""
        lock = FileLock(self.root / f".conditional{TEMP_MARKER}lock")
        until = time.monotonic() + _PATIENCE
        while lock.acquire() is not None:
            if time.monotonic() > until:
                raise UnreachableError(f"{self.address} is busy", why="another process holds its lock for too long")
            time.sleep(0.005)
        try:
            yield
        finally:
            lock.release()

    def _walk(self, prefix: str) -> Iterator[Stored]:
        self._check_alive()
        if self._device is None and not is_present(self.root):
            return
        folder = prefix.rpartition("/")[0]
        todo = [f"{folder}/" if folder else ""]
        while todo:
            base = todo.pop()
            try:
                entries = [*os.scandir(self.root / base)]
            except (FileNotFoundError, NotADirectoryError):
                continue  # deleted since, or nothing has this prefix
            for item in entries:
                listed_name = self._listed_name(self.root / base, item.name)
                if listed_name is None:
                    continue
                name = base + listed_name
                if not (name.startswith(prefix) or prefix.startswith(f"{name}/")):
                    continue
                if item.is_dir(follow_symlinks=False):
                    todo.append(f"{name}/")
                elif item.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError, AddressError):
                        status = item.stat(follow_symlinks=False)
                        if self._is_visible(status):
                            yield self._described(check_name(name), status)


@contextlib.contextmanager
def translated(what: str, address: str) -> Iterator[None]:
    """Turn what the system says into an error of a storage, which names it.

    Args:
        what: The object that it is about.
        address: The storage, as the user writes it.

    Raises:
        StorageError: Or one of its kinds.
    """
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _UNREACHABLE and not isinstance(error, UnreachableError):
            raise _translate(what, address, cause) from cause
        raise
    except ColabKitError:
        raise
    except OSError as error:
        raise _translate(what, address, error) from error


def _translate(what: str, address: str, error: OSError) -> StorageError:
    why = error.strerror or str(error)
    if error.errno in _UNREACHABLE:
        return UnreachableError(
            f"{address} does not answer, asked for {what}",
            why=why,
            hint="check that the disk or the mount is healthy, or mount it again",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"no room left for {what} in {address}", why=why, hint="free some space there")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        do = "choose a place that you may write to, or another name"
        return NotWritableError(f"cannot write {what} in {address}", why=why, hint=do)
    return StorageError(f"{address} failed at {what}", why=why, hint="check that the disk or mount is healthy")


def is_present(path: Path) -> bool:
    """Say whether a name is taken, also by a broken link; what cannot be looked at is not called absent.

    Raises:
        OSError: It cannot be told, as where a mount fails now and then.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_file(path: Path, status: os.stat_result) -> bool:
    if not stat.S_ISLNK(status.st_mode):
        return stat.S_ISREG(status.st_mode)
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False  # a link that leads nowhere
        raise


def is_hidden(part: str) -> bool:
    """Say whether a file is one that is still being written, or that was deleted while it was open."""
    # The second is how a FUSE mount names a file that was deleted while a program still had it open.
    return part.startswith(".") and (TEMP_MARKER in part or part.startswith(".fuse_hidden"))


def _copy(source: bytes | StrPath, file: IO[bytes], progress: Progress | None) -> tuple[int, int]:
    """Copy to an open file in large pieces; returns bytes and crc32.

    The crc32 finds accidents at 4 GB/s, so that a copy leaves the processor to the training. What must be proof
    against more, like a checkpoint, carries its own sha256.
    """
    if isinstance(source, bytes):
        file.write(source)
        if progress:
            progress(len(source), len(source))
        return len(source), zlib.crc32(source)
    with open(source, "rb", buffering=0) as origin:
        return _pour(origin, file, progress)


def _copy_down(
    origin: BufferedReader, file: IO[bytes], progress: Progress | None, algorithm: str
) -> tuple[int, Checksum | None]:
    """Copy a whole file, by the kernel where it can; its hash is made beside, from what was written."""
    size, total = 0, os.fstat(origin.fileno()).st_size
    hashing = IncrementalHasher(algorithm, os.open(file.name, os.O_RDONLY), lambda: size) if algorithm else None
    by_kernel = sys.platform == "linux"
    try:
        while True:
            try:
                if by_kernel:
                    count = os.sendfile(file.fileno(), origin.fileno(), None, _BLOCK)
                else:
                    block = origin.read(_BLOCK)
                    count = file.write(block)
                    file.flush()
            except OSError:
                if size or not by_kernel:
                    raise
                by_kernel = False  # not between these two file systems
                continue
            if not count:
                break
            size += count
            if hashing is not None:
                hashing.nudge()
            if progress:
                progress(size, max(size, total))
        return size, None if hashing is None else hashing.result(size)
    finally:
        if hashing is not None:
            hashing.stop()


def _pour(origin: FileIO | BufferedReader, file: IO[bytes], progress: Progress | None) -> tuple[int, int]:
    size, crc = 0, 0
    total = os.fstat(origin.fileno()).st_size
    buffer = memoryview(bytearray(min(_BLOCK, total + 1)))
    while count := origin.readinto(buffer):
        file.write(buffer[:count])
        crc = zlib.crc32(buffer[:count], crc)
        size += count
        if progress:
            progress(size, max(size, total))
    return size, crc


def _measure(file: IO[bytes]) -> tuple[int, int]:
    size, crc = 0, 0
    while block := file.read(_BLOCK):
        size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def _sweep(folder: Path) -> None:
    """Delete what killed writers left half-written long ago."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f".*{TEMP_MARKER}*"):
            if time.time() - path.stat().st_mtime > _STALE and not path.name.endswith(_NOT_HALF):
                path.unlink()
