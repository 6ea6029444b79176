"""What lies at the place of `keep=`: an object for each source, and the manifest that names it.

The manifest is written last and names an object that is never changed, so what is half there does not count, and
several sessions may do the same at once.
"""

from __future__ import annotations

import atexit
import datetime as dt
import json
import os
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from colabkit import config
from colabkit._engine.source import key
from colabkit._http.headers import safe_name
from colabkit._internal.disk import checksum as _checksum
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.log import notify, warn
from colabkit._internal.process.threads import start_thread
from colabkit.errors import ColabKitError, NotStoredError, StorageError
from colabkit.storage import put_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit._engine.source import Folder, Source
    from colabkit.storage import Storage

_FORMAT = 1
SLOW, QUICK = "sha256", "crc32c"
"""What names an object and tells a user what it is, and what its copies are checked by."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What lies there for a source.

    Attributes:
        object: The name of the object that holds it.
        kind: One file as the source sends it, or a folder as one archive.
        name: The name of that file or folder.
        version: The version of the source, or "" when it could not be told.
        sha256: The hash of the file, or "" of a folder, whose archive checks itself.
        kept: When, as ISO text.
        crc32c: What its copies are checked by, at six times the speed of the hash; "" where an older version kept it.
    """

    object: str
    kind: Literal["file", "folder"]
    name: str
    version: str
    sha256: str
    kept: str
    crc32c: str = ""


class KeptStorage:
    """Finds and puts what is kept for later sessions.

    Args:
        storage: Where.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def find(self, base: str, identity: str) -> Kept | None:
        """Read the manifest of a source; None where there is none, or the place does not answer."""
        try:
            return _kept_of(self._storage.read(f"{base}.json"), identity)
        except NotStoredError:
            return None
        except ColabKitError as error:
            warn(
                "%s does not answer, so it keeps nothing this time: %s", self._storage.address, error.why or error.what
            )
            return None

    def put_file(self, base: str, source: Source, path: Path, version: str, *, old: Kept | None = None) -> None:
        """Put a fetched file there, under a name that its hash gives; what it replaces goes away afterwards."""
        digits = _checksum.of_file(path, SLOW).digits
        name = f"{base}.{digits[:16]}"

        def put() -> None:
            if not self._has(name, path.stat().st_size):
                with open_progress(f"keeping {path.name}"[:40], show=None) as bar:
                    self._storage.put(name, path, progress=bar.update)

        quick = _checksum.of_file(path, QUICK).digits
        kept = Kept(object=name, kind="file", name=path.name, version=version, sha256=digits, kept=_now(), crc32c=quick)
        self._keep(base, source.identity, source.shown, kept, old, put)

    def put_folder(self, base: str, folder: Folder, path: Path, version: str, *, old: Kept | None = None) -> None:
        """Put a fetched folder there, as one archive."""
        name = f"{base}.{version or key(_now())}.zip"
        before = _state_of(path)

        def put() -> None:
            if self._storage.entry(name) is None:
                put_tree(self._storage, name, path)
                if _state_of(path) != before:
                    self._storage.delete(name)
                    raise StorageError(
                        f"{path} changed while it was put there",
                        why="its files are no longer those of the source",
                        hint="fetch it again, and change a copy",
                    )

        kept = Kept(object=name, kind="folder", name=path.name, version=version, sha256="", kept=_now())
        self._keep(base, folder.identity, folder.shown, kept, old, put)

    def _has(self, name: str, size: int) -> bool:
        stored = self._storage.entry(name)
        return stored is not None and stored.size == size

    def _keep(
        self, base: str, identity: str, display: str, kept: Kept, old: Kept | None, put: Callable[[], None]
    ) -> None:
        """Put it there, the manifest last; what it replaces goes away after that. The fetch is done in any case."""
        value = {"format": _FORMAT, "identity": key(identity), "source": display, **vars(kept)}
        if os.environ.get(config.KEEP_IN_BACKGROUND, "") not in ("", "0"):
            _background.add(lambda: self._keep_now(base, display, value, kept, old, put))
        else:
            self._keep_now(base, display, value, kept, old, put)

    def _keep_now(
        self, base: str, display: str, value: dict[str, Any], kept: Kept, old: Kept | None, put: Callable[[], None]
    ) -> None:
        try:
            put()
            self._storage.put(f"{base}.json", json.dumps(value).encode())
            if old is not None and old.object != kept.object:
                self._storage.delete(old.object)
            confirmed = self._storage.confirmed(kept.object)
        except ColabKitError as error:
            warn(
                "%s is here, but not kept in %s: %s%s",
                display,
                self._storage.address,
                error.why or error.what,
                f" ({error.hint})" if error.hint else "",
            )
            return
        still = {
            "yes": "",
            "no": "; it is still on its way there",
            "cannot tell": "; whether it arrived cannot be told",
        }
        notify("%s is kept in %s for later sessions%s", display, self._storage.address, still[confirmed])


def _kept_of(manifest: bytes, identity: str) -> Kept | None:
    """Read a manifest; anything that is not exactly one of this source counts as none."""
    try:
        value = json.loads(manifest)
        if (value["format"], value["identity"]) != (_FORMAT, key(identity)) or value["kind"] not in ("file", "folder"):
            return None
        fields = {name: value[name] for name in ("object", "kind", "name", "version", "sha256", "kept")}
        fields["crc32c"] = value.get("crc32c", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not all(isinstance(field, str) for field in fields.values()) or safe_name(fields["name"]) != fields["name"]:
        return None
    return Kept(**fields)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _state_of(folder: Path) -> list[tuple[str, int, int]]:
    """Return what tells whether a file of a folder was changed."""
    return sorted(
        (path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)
        for path, status in ((path, path.lstat()) for path in folder.rglob("*"))
        if not path.is_dir()
    )


class _Background:
    """One thread that keeps what was fetched, one after the other; the process ends after the last one."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._left = 0
        self._thread: threading.Thread | None = None

    def add(self, work: Callable[[], None]) -> None:
        """Do it later; at once where no thread can be had."""
        with self._lock:
            if self._thread is None:
                self._thread = start_thread(self._run, name="colabkit-keep")
                atexit.register(self._finish)
            started = self._thread is not None
            self._left += started
        if started:
            self._todo.put(work)
        else:
            work()

    def _run(self) -> None:
        while True:
            work = self._todo.get()
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the next one has to be kept in spite of it
                warn("what was fetched could not be kept: %s", error)
            with self._lock:
                self._left -= 1

    def _finish(self) -> None:
        if self._left:
            notify("storing what was fetched; interrupt to skip that")
        while self._left and self._thread is not None and self._thread.is_alive():
            time.sleep(0.05)


_background = _Background()
