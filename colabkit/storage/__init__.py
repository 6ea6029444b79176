"""Storages: places that outlive this machine, all with the same verbs.

Which implementation opens an address is decided by its text alone: one row of `_TABLE` each, imported when used.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
from typing import TYPE_CHECKING, Any, cast

from colabkit._internal.disk.paths import path_text
from colabkit.errors import AddressError, UnsupportedError
from colabkit.storage.base import Confirmed, Storage, Stored, check_name
from colabkit.storage.memory import MemoryStorage

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
    "drive:": ("colabkit.storage.drive", "open_drive"),
    "gs:": ("colabkit.storage.gcs", "open_gcs"),
    "hf:": ("colabkit.storage.huggingface", "open_hf"),
    "memory:": ("colabkit.storage", "_in_memory"),
}
# What is no storage, though other verbs take it -> why, and the way.
_DECLINED = {
    "kaggle:": {
        "why": "a Kaggle dataset takes each change as a whole version, for minutes, and refuses none of two writers",
        "hint": 'on Kaggle open_run("kaggle:OWNER/NOTEBOOK/runs/NAME") goes on from version to version of a notebook; '
        'mirror= takes hf:, drive: and gs://; push(run.dir, "kaggle:OWNER/DATASET") keeps a closed run for fetch',
    },
}
_SCHEME = re.compile(  # two characters at least: C:\ is a path
    r"[A-Za-z][A-Za-z0-9+.-]+:|[^/\\:;]{2,20}[:;]//|(?:gs|https?|hf|s3|kaggle|drive)//|[\w.+-]+@[\w.-]+:(?!//)"
)


def open_storage(where: StrPath | Storage) -> Storage:
    """Open a storage; nothing is asked of a server, and nothing is written, before its first use.

    Args:
        where: A folder, `drive:FOLDER`, `gs://BUCKET/FOLDER`, `hf:OWNER/NAME/FOLDER` or `memory:`; a storage is
            returned as it is.

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
    if not isinstance(where, str | os.PathLike) and hasattr(where, "put"):
        return where
    text = path_text(cast("StrPath", where))
    if not text.strip():
        raise AddressError(
            "the storage has no address", why="it is empty", hint='name a place, as in "drive:runs" or "./copies"'
        )
    for start, (module, name) in _TABLE.items():
        if text.startswith(start):
            opened: Any = getattr(importlib.import_module(module), name)(text.removeprefix(start))
            return cast("Storage", opened)
    if (start := scheme(text)) and isinstance(where, str) and not os.path.exists(text):  # noqa: PTH110
        if start in _DECLINED:
            raise UnsupportedError(f"{text} cannot be opened as a storage", **_DECLINED[start])
        schemes = ", ".join([*_TABLE, "a folder"])
        named, rest = start.rstrip(":;/").lower(), text[len(start.rstrip(":;/")) :].lstrip(":;")
        near = difflib.get_close_matches(f"{named}:", _TABLE, n=1, cutoff=0.7)
        suggestion = f"did you mean {near[0]}{rest[:60]}? " if near else ""
        raise UnsupportedError(
            f"{text} cannot be opened",
            why=f"{start} is not a storage of this version",
            hint=f"{suggestion}use one of: {schemes}",
        )
    from colabkit.storage.local import LocalStorage

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
        raise AddressError(f"memory:{rest} has a name", hint='write "memory:"; each is a storage of its own')
    return MemoryStorage()
