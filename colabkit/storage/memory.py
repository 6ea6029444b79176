"""A storage in the memory of this process, for tests and for trying things out."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import atomic_write, map_os_errors
from colabkit.errors import ChangedError, NotStoredError
from colabkit.storage.base import Stored, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress


class MemoryStorage:
    """Objects in a dictionary of their own; two of these share nothing.

    Example:
        >>> storage = MemoryStorage()
        >>> storage.put("notes/a.txt", b"hello").size
        5
        >>> storage.read("notes/a.txt"), [stored.name for stored in storage.list("notes/")]
        (b'hello', ['notes/a.txt'])
    """

    address = "memory:"
    lag = 0.0
    atomic = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[Stored, bytes]] = {}
        self._writes = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {len(self._objects)} objects>"

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        check_name(name)
        with map_os_errors(name):
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
        if progress:
            progress(len(content), len(content))
        with self._lock:
            now = self._objects.get(name, (None,))[0]
            expected = None if only_if == "absent" else only_if
            if only_if is not None and (now and now.version) != (expected and expected.version):
                raise ChangedError(
                    f"{name} was written by someone else",
                    why=f"its version is {now.version}" if now else "it is no longer there",
                    hint="look at what is there now, then decide again",
                )
            self._writes += 1
            stored = Stored(name=name, size=len(content), modified=time.time(), version=str(self._writes))
            self._objects[name] = stored, content
        return stored

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        stored, content = self._find(name)
        with atomic_write(path) as file:
            file.write(content)
        if progress:
            progress(len(content), len(content))
        return stored

    def read(self, name: str, *, size: int | None = None) -> bytes:
        return self._find(name)[1][:size]

    def entry(self, name: str) -> Stored | None:
        stored = self._objects.get(check_name(name))
        return stored[0] if stored else None

    def list(self, prefix: str = "") -> Sequence[Stored]:
        with self._lock:
            return sorted(
                (stored for name, (stored, _) in self._objects.items() if name.startswith(prefix)),
                key=lambda stored: stored.name,
            )

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(check_name(name), None)

    def confirmed(self, name: str) -> Confirmed:
        """Say "yes" for every object: there is no better place here."""
        return "yes" if self.entry(name) else "no"

    def _find(self, name: str) -> tuple[Stored, bytes]:
        try:
            return self._objects[check_name(name)]
        except KeyError as error:
            raise NotStoredError(f"there is no {name} in this storage", hint="list what there is") from error
