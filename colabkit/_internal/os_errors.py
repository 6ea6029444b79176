"""The operating system's refusals, in words: no room, no permission, no more files, threads or processes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from colabkit.errors import ColabKitError, DiskFullError, NotWritableError, StorageError

if TYPE_CHECKING:
    from colabkit._types import StrPath

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FILES = (errno.EMFILE, errno.ENFILE)
_NO_MEMORY = (errno.EAGAIN, errno.ENOMEM)
_NO_THREAD = "can't start new thread"


def is_shortage(error: BaseException) -> bool:
    """Say whether the machine was short of something, so that the error tells nothing of what was read or written.

    Example:
        >>> is_shortage(OSError(errno.EMFILE, "")), is_shortage(OSError(errno.ENOENT, ""))
        (True, False)
    """
    if isinstance(error, OSError):
        return error.errno in (*_NO_ROOM, *_NO_FILES, *_NO_MEMORY, errno.EIO)
    return isinstance(error, RuntimeError) and _NO_THREAD in str(error)


def translate(error: BaseException, path: StrPath, *, doing: str = "write") -> StorageError:
    """Make the error of ours that fits one of the system.

    Args:
        error: An OSError, or what Python raises where no thread can be had.
        path: What was worked on.
        doing: What was done to it.

    Example:
        >>> print(translate(OSError(errno.EMFILE, "Too many open files"), "a.csv", doing="read").what)
        cannot read a.csv: this process cannot open more files
    """
    number = error.errno if isinstance(error, OSError) else errno.EAGAIN
    why = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    if number in _NO_ROOM:
        return DiskFullError(
            f"no room left to {doing} {path}", why=why, hint="free some space there, or choose another folder"
        )
    if number in _REFUSED:
        return NotWritableError(
            f"cannot {doing} {path}",
            why=why,
            hint="choose a folder that you may write to, or change its permissions",
        )
    if number in (errno.ENOTDIR, errno.EEXIST):
        return NotWritableError(
            f"cannot {doing} {path}",
            why=f"a file is where a folder is needed ({why})",
            hint="choose another folder",
        )
    if number == errno.ENOENT and doing == "write":
        hint = "make that folder first, or choose another one"
        return NotWritableError(f"cannot {doing} {path}", why=f"there is no such folder ({why})", hint=hint)
    if number == errno.EISDIR:
        return NotWritableError(
            f"cannot {doing} {path}", why=f"a folder is where a file is needed ({why})", hint="choose another name"
        )
    if number == errno.ENAMETOOLONG:
        hint = "choose a shorter name, or a folder nearer to /"
        return StorageError(f"cannot {doing} {str(path)[:200]}", why=why, hint=hint)
    if number in _NO_FILES:
        return StorageError(
            f"cannot {doing} {path}: this process cannot open more files",
            why=why,
            hint="close files that the program keeps open, or raise the limit before it starts: ulimit -n 4096",
        )
    if number in _NO_MEMORY:
        return StorageError(
            f"cannot {doing} {path}: the machine is out of memory, threads or processes",
            why=why,
            hint="end other programs, or ask for fewer workers and connections; limits are shown by: ulimit -a",
        )
    return StorageError(f"cannot {doing} {path}", why=why, hint="check that the disk or the mount is healthy")


def unforeseen(error: BaseException) -> ColabKitError | None:
    """Return what a verb raises in place of an error of the system that nothing in it has foreseen.

    Returns:
        Ours; None where the error is ours already, or another matter.

    Example:
        >>> unforeseen(FileNotFoundError(errno.ENOENT, "No such file or directory", "/tmp/x")).what
        'cannot use /tmp/x'
        >>> unforeseen(ValueError("x")) is None
        True
    """
    if isinstance(error, (ColabKitError, BrokenPipeError)):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return translate(error, str(error.filename or "this machine"), doing="use")
    return translate(error, "this machine", doing="use") if is_shortage(error) else None
