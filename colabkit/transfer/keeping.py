"""keep=: what one session has fetched is put where later sessions take it from, instead of asking the source again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._engine import cache
from colabkit._engine.fetch_task import Fetched, FetchTask, names_folder
from colabkit._engine.source import key
from colabkit._http.headers import safe_name
from colabkit._internal.disk import checksum as _checksum
from colabkit._internal.disk.checksum import Checksum
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.disk.paths import expand, path_text
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.log import notify, warn
from colabkit._internal.process.threads import Later
from colabkit.errors import AccessError, ColabKitError, IntegrityError, TransferError
from colabkit.storage import get_tree, open_storage
from colabkit.storage.local import LocalStorage
from colabkit.transfer.destination import Destination
from colabkit.transfer.fetch_folder import fetch_folder
from colabkit.transfer.kept_storage import QUICK, SLOW, KeptStorage

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._engine.fetch_task import Options
    from colabkit._engine.source import Folder, Source
    from colabkit._types import StrPath
    from colabkit.storage import Storage
    from colabkit.transfer.kept_storage import Kept

_QUICK_COPY = 1 << 30
_REFUSED = "refused"
"""In the place of a version; it is never that of anything."""


def keeper(place: StrPath | None) -> Keeper | None:
    """Return what keeps things at a place, or at the one that the environment names; None for none.

    Raises:
        AddressError: The place cannot be read.
        UnsupportedError: It cannot be opened here.
    """
    named = os.environ.get(config.KEEP, "") if place is None else path_text(place)
    return Keeper(open_storage(named if isinstance(place, str) or place is None else place)) if named.strip() else None


class Keeper:
    """Takes what is kept, and keeps what is fetched.

    Args:
        storage: Where.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept = KeptStorage(storage)

    def file(self, source: Source, to: StrPath | None, options: Options) -> Fetched:
        """Bring one file, from there if it is still the source's, and keep it if it comes from the source."""
        base = _base(source)
        fetched = None if options.overwrite else self._here(source, to, options)
        kept = self._kept.find(base, source.identity)
        if fetched is not None:
            if kept is None:
                self._kept.put_file(base, source, fetched.path, "")
            return fetched
        version = Later(lambda: self._version(source, kept))  # asked beside the copy
        if kept is not None and kept.kind == "file" and not options.overwrite:
            fetched = self._taken(source, kept, to, options, version)
            if fetched is not None:
                return fetched
        begun = version.result()
        fetched = FetchTask(source, to, options).run()
        self._kept.put_file(base, source, fetched.path, begun, old=kept)
        return fetched

    def folder(self, folder: Folder, to: StrPath | None, options: Options) -> Fetched:
        """Bring many files, as one archive from there if they are still the source's."""
        base = _base(folder)
        destination = Destination(folder.identity, to, options)
        kept = self._kept.find(base, folder.identity)
        if earlier := destination.noted():
            if kept is None:
                self._kept.put_folder(base, folder, earlier.path, "")
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
        self._kept.put_folder(base, folder, fetched.path, version, old=kept)
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
            place = expand(to) / kept.name
        else:
            place = expand(to)
        if to is not None and os.path.lexists(place):
            return None  # the fetch itself says what is to be done with it
        with map_os_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{key(kept.object)}{TEMP_MARKER}keep-{os.getpid()}-{threading.get_ident()}")
        recorded = Checksum(algorithm=SLOW, digits=kept.sha256)
        expected = Checksum(algorithm=QUICK, digits=kept.crc32c) if kept.crc32c else recorded
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
    from colabkit._http.types import TransientError
    from colabkit.transfer.sources.web_version import validator

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


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
