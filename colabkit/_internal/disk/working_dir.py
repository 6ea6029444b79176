"""The working folder, which may be gone: deleted by `!rm -rf`, or on a Drive whose program has died.

`Path.cwd()` raises then. Nothing here does, but `absolute`, which is for what cannot be done without the folder.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from colabkit._internal.disk.paths import expand
from colabkit.errors import StorageError

_DELETED = " (deleted)"


def is_gone() -> bool:
    """Say whether this process' working folder was deleted, or is on a mount that was taken away.

    No file system is asked, so that none can hold us.
    """
    try:
        return not str(Path.cwd()).startswith("/")
    except OSError:
        return True


def current() -> Path:
    """Return the working folder; where it is gone, the path that it had.

    Example:
        >>> current() == Path.cwd()
        True
    """
    with contextlib.suppress(OSError):
        folder = Path.cwd()
        if folder.is_absolute():  # Linux says "(unreachable)/x" of a mount that was taken away
            return folder
    try:
        path = str(Path("/proc/self/cwd").readlink()).removesuffix(_DELETED)  # the kernel knows it without looking
    except OSError:
        path = "/"
    return Path(path if path.startswith("/") else "/")


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path, of a relative one in the working folder.

    Raises:
        StorageError: It is relative, and the working folder is gone.

    Example:
        >>> absolute("/data/x").as_posix()
        '/data/x'
    """
    try:
        return expand(path).absolute()
    except OSError as error:
        raise StorageError(
            f"{os.fspath(path)!r} is a path in the working folder, which is gone",
            why=f"{current()}: {error.strerror or error}",
            hint="change to a folder that exists (%cd /content), or give the whole path",
        ) from None
