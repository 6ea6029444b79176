"""A binary copy of a file that is slow to read, kept in the cache folder and used as long as the file is the same.

The same is: same path, size, time of change, and content at its head, its tail and 16 places between. Hashing all of it
would take longer than reading the copy does; so an edit that changes neither size nor time nor any of those places is
not noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from colabkit._internal.disk.files import atomic_write
from colabkit._internal.log import notify
from colabkit.config import cache_dir
from colabkit.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_FORMAT = 1
_PLACES, _BYTES = 18, 1 << 14
_LINE = 256
"""Bytes of the line before the array, so that its numbers lie where a processor wants them."""


def with_copy(path: Path, read: Callable[[], Array], *, variant: str = "") -> Array:
    """Read an array, from its binary copy where that is up to date.

    Args:
        path: The file.
        read: Reads it the slow way.
        variant: What else the array depends on.

    Returns:
        The array.
    """
    try:
        mark = fingerprint(path)
    except OSError:
        return read()  # it says better what is wrong
    copy = place_of(path, variant)
    with contextlib.suppress(Exception), open(copy, "rb") as file:  # whatever a damaged copy makes of its reader
        if json.loads(file.readline(1 << 10)) == mark:
            return _mapped(file)
    array = read()
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Whoever reads for the first time does not wait for the disk: a copy that a power cut leaves is short, and then
        # it is read as none above.
        with atomic_write(copy, durable=False) as file:
            file.write(json.dumps(mark).encode().ljust(_LINE - 1) + b"\n")
            np.save(file, array, allow_pickle=False)
    except (OSError, StorageError) as error:  # a full or read-only disk costs time, not the training
        notify("no binary copy of %s is kept, so it is read again each time: %s", path.name, error)
    return array


def _mapped(file: BufferedReader) -> Array:
    """Return the array of an open copy; its bytes are read when they are used, and what is changed stays in memory."""
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError  # its bytes would be taken for addresses
    order: Literal["F", "C"] = "F" if fortran else "C"
    mapped = np.memmap(file, dtype, "c", file.tell(), shape, order)
    return mapped.view(np.ndarray)


def place_of(path: Path, variant: str = "") -> Path:
    """Name the copy of a file: one a path, so that a changed file replaces its old copy."""
    key = hashlib.sha256(f"{path.absolute()}\n{variant}".encode()).hexdigest()
    return cache_dir() / "arrays" / f"{key[:24]}.npy"


def fingerprint(path: Path) -> dict[str, Any]:
    """Identify a file's content without reading all of it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        for start in np.linspace(0, max(0, status.st_size - _BYTES), _PLACES).astype(np.int64).tolist():
            file.seek(start)
            digest.update(file.read(_BYTES))
    return {"format": _FORMAT, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "content": digest.hexdigest()}
