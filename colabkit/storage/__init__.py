"""Storages: places that outlive this machine, all with the same verbs.

Which implementation opens an address is decided by its text alone: one row of `_TABLE` each, imported when used.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import TYPE_CHECKING, Any, cast

from colabkit.errors import AddressError, UnsupportedError
from colabkit.storage._memory import MemoryStorage
from colabkit.storage.base import Confirmed, Storage, Stored, check_name

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.storage.tree import get_tree, put_tree

__all__ = [
    "Confirmed",
    "MemoryStorage",
    "Storage",
    "Stored",
    "check_name",
    "get_tree",
    "open_storage",
    "put_tree",
    "scheme",
]

# What an address begins with -> the module and the function that takes the rest of it.
_TABLE = {
    "drive:": ("colabkit.storage._drive", "open_drive"),
    "gs:": ("colabkit.storage._gcs", "open_gcs"),
    "memory:": ("colabkit.storage", "_in_memory"),
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two characters at least: C:\ is a path


def open_storage(where: StrPath | Storage) -> Storage:
    """Open a storage; nothing is asked of a server, and nothing is written, before its first use.

    Args:
        where: A folder, `drive:FOLDER`, `gs://BUCKET/FOLDER` or `memory:`; a storage is returned as it is.

    Returns:
        The storage.

    Raises:
        AddressError: The address cannot be read.
        UnsupportedError: It cannot be opened here; the message says why.

    Example:
        >>> import tempfile
        >>> storage = open_storage(tempfile.mkdtemp())
        >>> storage.put("notes.txt", b"hello").size
        5
        >>> storage.read("notes.txt"), storage.confirmed("notes.txt")
        (b'hello', 'yes')
    """
    if not isinstance(where, str | os.PathLike):
        return where
    text = os.fspath(where)
    if not text.strip():
        raise AddressError("the storage has no address", do='name a place, as in "drive:runs" or "./copies"')
    for start, (module, name) in _TABLE.items():
        if text.startswith(start):
            opened: Any = getattr(importlib.import_module(module), name)(text.removeprefix(start))
            return cast("Storage", opened)
    if (start := scheme(text)) and isinstance(where, str) and not os.path.exists(text):  # noqa: PTH110
        known = ", ".join([*_TABLE, "a folder"])
        raise UnsupportedError(
            f"{text} cannot be opened", why=f"{start} is no storage of this version", do=f"use one of: {known}"
        )
    from colabkit.storage._local import LocalStorage

    return LocalStorage(text)


def scheme(where: StrPath) -> str:
    """Return what an address begins with, as `gs:`; empty for a path.

    Example:
        >>> scheme("gs://bucket/runs"), scheme("./runs"), scheme("C:/runs")
        ('gs:', '', '')
    """
    match = _SCHEME.match(where) if isinstance(where, str) else None
    return match[0] if match else ""


def __getattr__(name: str) -> Any:
    if name in ("get_tree", "put_tree"):  # they need what unpacks archives, which a run with a mirror does not
        return getattr(importlib.import_module("colabkit.storage.tree"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _in_memory(rest: str) -> Storage:
    if rest:
        raise AddressError(f"memory:{rest} has a name", do='write "memory:"; each is a storage of its own')
    return MemoryStorage()
