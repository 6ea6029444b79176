"""A storage that fails on purpose: slow, broken, gone, or a Drive whose files arrive later and in any order."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from colabkit.errors import StorageError, UnreachableError
from colabkit.storage import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._types import StrPath
    from colabkit.storage import Confirmed, Stored
    from colabkit.storage.base import OnlyIf, Progress


class FaultyStorage(MemoryStorage):
    """A storage in memory with faults that can be changed at any time.

    Attributes:
        offline: Every call fails with UnreachableError.
        fail: So many of the next calls of `put` fail with an input/output error.
        delay: Seconds that every `put` takes.
        hold: While it is cleared, every `put` waits; for a test that wants to look in the middle of an upload.
        started: Is set when a `put` begins to wait for `hold`.
        arrives: What `confirmed` says of new objects: "yes", "no" or "cannot tell".
        puts: The name and size of every object that was stored, in order.

    Example:
        >>> storage = FaultyStorage()
        >>> storage.arrives = "no"
        >>> storage.put("a", b"1").size, storage.confirmed("a")
        (1, 'no')
        >>> storage.arrive("a")
        >>> storage.confirmed("a")
        'yes'
    """

    address = "faulty:"

    def __init__(self) -> None:
        super().__init__()
        self.offline = False
        self.fail = 0
        self.delay = 0.0
        self.hold = threading.Event()
        self.hold.set()
        self.started = threading.Event()
        self.arrives: Confirmed = "yes"
        self.puts: list[tuple[str, int]] = []
        self._arrival: dict[str, Confirmed] = {}

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        """Store an object, unless a fault strikes."""
        self._answer()
        self.started.set()
        self.hold.wait()
        time.sleep(self.delay)
        self._answer()
        if self.fail > 0:
            self.fail -= 1
            raise StorageError(f"cannot write {name}", why="Input/output error")
        stored = super().put(name, source, only_if=only_if, progress=progress)
        self._arrival[name] = self.arrives
        self.puts.append((name, stored.size))
        return stored

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        """Copy an object into a file, if the storage answers."""
        self._answer()
        return super().get(name, path, progress=progress)

    def read(self, name: str, *, size: int | None = None) -> bytes:
        """Return a content, if the storage answers."""
        self._answer()
        return super().read(name, size=size)

    def entry(self, name: str) -> Stored | None:
        """Return one object, if the storage answers."""
        self._answer()
        return super().entry(name)

    def list(self, prefix: str = "") -> Sequence[Stored]:
        """List the objects, if the storage answers."""
        self._answer()
        return super().list(prefix)

    def delete(self, name: str) -> None:
        """Delete an object, if the storage answers."""
        self._answer()
        super().delete(name)

    def confirmed(self, name: str) -> Confirmed:
        """Say whether it has arrived, as `arrives` was when it was stored."""
        if self.offline:
            return "cannot tell"
        return self._arrival.get(name, "yes") if super().entry(name) else "no"

    def arrive(self, *names: str) -> None:
        """Let these objects arrive; all of them when none is named."""
        self._arrival.update(dict.fromkeys(names or self._arrival, "yes"))

    def lose_machine(self) -> None:
        """Keep only what has arrived, as when a machine with a Drive's cache dies."""
        for stored in super().list():
            if self._arrival.get(stored.name) == "no":
                super().delete(stored.name)

    def damage(self, name: str, content: bytes) -> None:
        """Change what is stored under a name, without a trace."""
        stored, _ = self._objects[name]
        self._objects[name] = stored, content

    def _answer(self) -> None:
        if self.offline:
            raise UnreachableError("the storage does not answer", why="it is switched off", hint="switch it on")
