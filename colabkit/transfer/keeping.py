"""keep=: what one session has fetched is put where later sessions take it from, instead of asking the source again.

A manifest is written last and names an object that is never changed, so what is half there does not count, and several
sessions may do the same at once.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import hashlib
import json
import os
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from colabkit import config
from colabkit._engine import cache
from colabkit._engine.fetch_task import Fetched, FetchTask, names_folder
from colabkit._engine.source import key
from colabkit._http.headers import safe_name
from colabkit._internal.disk import checksum as _checksum
from colabkit._internal.disk.checksum import Checksum
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.log import notify, warn
from colabkit._internal.process.threads import Later, start_thread
from colabkit.errors import AccessError, ColabKitError, IntegrityError, NotStoredError, StorageError, TransferError
from colabkit.storage import get_tree, open_storage, put_tree
from colabkit.storage.local import LocalStorage
from colabkit.transfer.destination import Destination
from colabkit.transfer.fetch_folder import fetch_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._engine.fetch_task import Options
    from colabkit._engine.source import Folder, Source
    from colabkit._types import StrPath
    from colabkit.storage import Storage

_FORMAT = 1
_ALGORITHM = "sha256"
_QUICK = "crc32c"
_QUICK_COPY = 1 << 30
_REFUSED = "refused"
"""In the place of a version; it is never that of anything."""


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


def keeper(place: StrPath | None) -> Keeper | None:
    """Return what keeps things at a place, or at the one that the environment names; None for none.

    Raises:
        AddressError: The place cannot be read.
        UnsupportedError: It cannot be opened here.
    """
    named = os.environ.get(config.KEEP, "") if place is None else os.fspath(place)
    return Keeper(open_storage(named if isinstance(place, str) or place is None else place)) if named.strip() else None


class Keeper:
    """Takes what is kept, and keeps what is fetched.

    Args:
        storage: Where.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def file(self, source: Source, to: StrPath | None, options: Options) -> Fetched:
        """Bring one file, from there if it is still the source's, and keep it if it comes from the source."""
        base = _base(source)
        fetched = None if options.overwrite else self._here(source, to, options)
        kept = self._find(base, source.identity)
        if fetched is not None:
            if kept is None:
                self._put_file(base, source, fetched.path, "")
            return fetched
        version = Later(lambda: self._version(source, kept))  # asked beside the copy
        if kept is not None and kept.kind == "file" and not options.overwrite:
            fetched = self._taken(source, kept, to, options, version)
            if fetched is not None:
                return fetched
        begun = version.result()
        fetched = FetchTask(source, to, options).run()
        self._put_file(base, source, fetched.path, begun, old=kept)
        return fetched

    def folder(self, folder: Folder, to: StrPath | None, options: Options) -> Fetched:
        """Bring many files, as one archive from there if they are still the source's."""
        base = _base(folder)
        destination = Destination(folder.identity, to, options)
        kept = self._find(base, folder.identity)
        if earlier := destination.noted():
            if kept is None:
                self._put_folder(base, folder, earlier.path, "")
            return earlier
        version = self._listed(folder, kept)
        if kept is not None and kept.kind == "folder" and not options.overwrite and version in ("", kept.version):
            target = destination.target(kept.name)
            destination.refuse_if_taken(target)
            if self._unpacked(folder, kept, destination, target):
                return Fetched(
                    path=target, source=self._source_text(folder), from_cache=False, checksum="", size=_size_of(target)
                )
        fetched = fetch_folder(folder, to, options)
        self._put_folder(base, folder, fetched.path, version, old=kept)
        return fetched

    # ---- what the source says ----

    def _version(self, source: Source, kept: Kept | None) -> str:
        """Ask the source for its version, before anything of it is read; "" where it tells none, or cannot be asked.

        Where it refuses access, what is kept is not ours either: the fetch itself says so.
        """
        try:
            return version_of(source)
        except AccessError:
            return _REFUSED
        except ColabKitError as error:
            if kept is not None:
                self._say_unasked(source.shown, error)
            return ""

    def _listed(self, folder: Folder, kept: Kept | None) -> str:
        try:
            _, entries = folder.entries()
        except AccessError:
            return _REFUSED
        except ColabKitError as error:
            if kept is not None:
                self._say_unasked(folder.shown, error)
            return ""
        return key(*sorted(f"{entry.path}\0{entry.version}\0{entry.size}" for entry in entries))

    def _say_unasked(self, display: str, error: ColabKitError) -> None:
        notify("%s cannot be checked for changes: %s", display, error.why or error.what)

    # ---- what is there ----

    def _find(self, base: str, identity: str) -> Kept | None:
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

    def _here(self, source: Source, to: StrPath | None, options: Options) -> Fetched | None:
        entry = cache.find(source.identity, to) if options.use_cache else None
        if entry is None or not entry.holds(options.wanted):
            return None
        return FetchTask(source, to, options).run()

    def _taken(
        self, source: Source, kept: Kept, to: StrPath | None, options: Options, version: Later[str]
    ) -> Fetched | None:
        """Copy the file from there to its place; None where that is old, wrong or gone, so that the source is read."""
        if to is None:
            place = cache.home(source.identity) / kept.name
        elif names_folder(to):
            place = Path(to).expanduser() / kept.name
        else:
            place = Path(to).expanduser()
        if to is not None and os.path.lexists(place):
            return None  # the fetch itself says what is to be done with it
        with map_os_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{key(kept.object)}{TEMP_MARKER}keep-{os.getpid()}-{threading.get_ident()}")
        recorded = Checksum(algorithm=_ALGORITHM, digits=kept.sha256)
        expected = Checksum(algorithm=_QUICK, digits=kept.crc32c) if kept.crc32c else recorded
        try:
            if not self._is_quick(kept) and version.result() not in ("", kept.version):
                return None
            with open_progress(kept.name[:40], show=options.show) as bar:
                if isinstance(self._storage, LocalStorage):
                    actual = self._storage.get_hashed(kept.object, part, expected.algorithm, progress=bar.update)
                else:
                    self._storage.get(kept.object, part, progress=bar.update)
                    actual = _checksum.of_file(part, expected.algorithm)
            also = options.wanted
            if actual != expected or (also is not None and _checksum.of_file(part, also.algorithm) != also):
                raise IntegrityError(
                    f"what {self._storage.address} keeps of {source.shown} is not what was put there",
                    why=f"{expected} was put there, {actual} came",
                    hint="it is fetched from its source",
                )
            if version.result() not in ("", kept.version):
                return None
            with map_os_errors(place):
                os.replace(part, place)
        except ColabKitError as error:
            warn("%s; it is fetched from its source", error.what)
            if isinstance(error, IntegrityError):
                with contextlib.suppress(ColabKitError):
                    self._storage.delete(kept.object)  # else it would be taken for what is to be kept again
            return None
        finally:
            part.unlink(missing_ok=True)
        if options.use_cache:
            cache.note(source.identity, to, place, source.shown, recorded)
        self._tell(source.shown, kept)
        return Fetched(
            path=place,
            source=self._source_text(source),
            from_cache=False,
            checksum=str(recorded),
            size=place.stat().st_size,
        )

    def _is_quick(self, kept: Kept) -> bool:
        """Say whether a copy may be begun before the source has said that it is not old."""
        stored = self._storage.entry(kept.object) if isinstance(self._storage, LocalStorage) else None
        return stored is not None and stored.size <= _QUICK_COPY

    def _unpacked(self, folder: Folder, kept: Kept, destination: Destination, target: Path) -> bool:
        try:
            with destination.locked("folder", folder.shown):
                if not os.path.lexists(target):
                    get_tree(self._storage, kept.object, target)
                destination.note(target, folder.shown, "")
        except ColabKitError as error:
            warn("%s; it is fetched from its source", error.what)
            return False
        self._tell(folder.shown, kept)
        return True

    def _tell(self, display: str, kept: Kept) -> None:
        notify("%s comes from %s, where it was kept on %s", display, self._storage.address, kept.kept[:10])

    def _source_text(self, source: Source | Folder) -> str:
        return f"{source.shown}, kept in {self._storage.address}"

    # ---- what is put there ----

    def _put_file(self, base: str, source: Source, path: Path, version: str, *, old: Kept | None = None) -> None:
        digits = _checksum.of_file(path, _ALGORITHM).digits
        name = f"{base}.{digits[:16]}"

        def put() -> None:
            if not self._has(name, path.stat().st_size):
                with open_progress(f"keeping {path.name}"[:40], show=None) as bar:
                    self._storage.put(name, path, progress=bar.update)

        quick = _checksum.of_file(path, _QUICK).digits
        kept = Kept(object=name, kind="file", name=path.name, version=version, sha256=digits, kept=_now(), crc32c=quick)
        self._keep(base, source.identity, source.shown, kept, old, put)

    def _put_folder(self, base: str, folder: Folder, path: Path, version: str, *, old: Kept | None = None) -> None:
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


def version_of(source: Source) -> str:
    """Ask a source for what changes when its file does; "" where it tells nothing of the kind.

    Raises:
        TransferError: Or one of its kinds: it cannot be asked.
    """
    from colabkit.transfer.sources.web import WebSource

    if isinstance(source, WebSource) and source.body is not None:
        return ""  # what is posted is an order, not a question
    if config.is_offline():
        raise TransferError("it is not asked", why=f"{config.OFFLINE} is set")
    remote = source.remote()
    if remote.target.version:
        return remote.target.version
    if remote.checksum is not None:
        return str(remote.checksum)
    if not isinstance(source, WebSource) and "X-Goog-Signature" in remote.target.url:
        return key(remote.target.url.partition("?")[0])  # Kaggle's storage has the version in the path
    from colabkit._http.probe import validator
    from colabkit._http.types import TransientError

    try:
        return validator(remote.target)
    except TransientError as error:
        raise TransferError(f"{source.shown} does not answer", why=error.why) from None


def _base(source: Source | Folder) -> str:
    """Return how the objects of a source are called: readable, and apart from all others, other logins included."""
    headers = getattr(source, "headers", None) or {}
    address = getattr(getattr(source, "address", None), "authorization", "")
    login = [
        f"{name.lower()}:{value}" for name, value in headers.items() if name.lower() in ("authorization", "cookie")
    ]
    stem = safe_name(source.name or source.shown.rstrip("/").rpartition("/")[2])[:60] or "data"
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in stem)
    return f"{plain}.{hashlib.sha256(key(source.identity, address, *sorted(login)).encode()).hexdigest()[:12]}"


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


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
