"""One file on its way: where it may lie already, where it goes, and who else is at it."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from colabkit import config
from colabkit._engine import cache, content_check, local
from colabkit._engine.source import key
from colabkit._http import error_page
from colabkit._internal.disk import checksum as _checksum
from colabkit._internal.disk import lfs_pointer
from colabkit._internal.disk.files import TEMP_MARKER, LockedError, map_os_errors, sync_folder
from colabkit._internal.disk.paths import expand
from colabkit._internal.display.progress import amount
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.log import notify, warn
from colabkit.errors import ArchiveError, IntegrityError, OfflineError, WebPageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit._engine.concurrency import ConnectionBudget
    from colabkit._engine.downloader import DownloadResult
    from colabkit._engine.partial_file import PartialFile
    from colabkit._engine.source import Source
    from colabkit._http.client import HTTPClient
    from colabkit._internal.disk.checksum import Checksum
    from colabkit._types import StrPath

    Show = bool | Callable[[float, float | None], None] | None

Held = TypeVar("Held")

FALLBACK_NAME = "download"
_LARGEST_POINTER = 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to fetch; `fetch` describes each.

    Attributes:
        wanted: What the file must have.
        unpack: Whether an archive is unpacked.
        format: The one compression that is taken off, whatever the file is called; "" goes by its name.
        overwrite: Fetch again, and replace what is there.
        connections: How many at most.
        show: How progress is shown.
        use_cache: Look into the cache and leave a note there.
        spare: Connections that several files share beside the one that each has; None lets each have its own.
        client: Keeps connections from one file to the next.
        one_of_many: Whoever fetches them all flushes their folder, once.
        keep: What keeps it for later sessions; the engine leaves that to whoever calls it.
    """

    wanted: Checksum | None = None
    unpack: bool | Literal["auto"] = "auto"
    format: str = ""
    overwrite: bool = False
    connections: int | None = None
    show: Show = None
    use_cache: bool = True
    spare: ConnectionBudget | None = None
    client: HTTPClient | None = None
    one_of_many: bool = False
    keep: Any = None


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch did.

    Attributes:
        path: The file.
        source: Where it came from, without credentials.
        from_cache: It was there already, and nothing was transferred.
        checksum: The hash that was verified, as "sha256:…"; "" when none was known.
        size: Bytes.
        kept: The server lets the next call have it, too.
    """

    path: Path
    source: str
    from_cache: bool
    checksum: str
    size: int
    kept: bool = True


def names_folder(to: StrPath) -> bool:
    return os.fspath(to).endswith(("/", os.sep)) or expand(to).is_dir()


def wait_for_lock(take: Callable[[], Held], shown: str) -> Held:
    """Take what only one process or thread may have at a time; wait as long as another has it, and say so once."""
    said = False
    while True:
        try:
            return take()
        except LockedError as taken:
            if not said:
                notify("%s is being fetched by process %s; waiting for it", shown, taken.pid or "?")
                said = True
        time.sleep(0.1)


class FetchTask:
    """One file on its way: where it may lie already, where it goes, and who else is at it."""

    def __init__(
        self,
        source: Source,
        to: StrPath | None,
        options: Options,
    ) -> None:
        self._source = source
        self._to = to
        self._options = options
        self._wanted = options.wanted
        self._kept = True
        self._file: Path | None = None
        if to is None:
            self._folder = cache.home(source.identity)
        elif names_folder(to):
            self._folder = expand(to)
        else:
            self._file = expand(to)
            self._folder = self._file.parent

    @functools.cached_property
    def _receipt(self) -> str:
        return cache.receipt_of(self._source.identity, self._to)

    def run(self) -> Fetched:
        """Return the file, from where it lies or from the network."""
        if not self._options.overwrite and (known := self._noted() or self._copied()):
            return known
        if self._file is not None and self._file.exists():
            local.refuse_special(self._file)
            if (known := self._accepted(self._file)) is not None:
                return known
            if not self._options.overwrite or self._file.is_dir():
                raise local.taken(self._file, folder=self._file.is_dir())
        if config.is_offline():
            raise OfflineError(
                f"{self._source.shown} is not here yet",
                why=f"{config.OFFLINE} is set, so the network is not used",
                hint=f"unset {config.OFFLINE}, or pass the path of a copy",
            )
        from colabkit._engine.partial_file import PartialFile

        if not os.path.isdir(self._folder):  # noqa: PTH112 - asked for each file of a list
            with map_os_errors(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
        begun = time.time_ns()
        continued = key(getattr(self._source, "continued", self._source.identity))
        part = wait_for_lock(lambda: PartialFile(self._part_path(), continued), self._source.shown)
        if self._to is None and getattr(self._source, "private", False):
            part.hide()
        try:
            # Whoever had the part before us may have fetched the very same file.
            known = self._noted()
            if known and (not self._options.overwrite or known.path.stat().st_mtime_ns >= begun):
                return known
            return self._fetch(part)
        finally:
            part.close(keep=True)

    def _noted(self) -> Fetched | None:
        """Find the file where an earlier fetch put it, without any network."""
        if not self._options.use_cache:
            return None
        receipt = cache.read(self._receipt)
        if receipt is not None and receipt.holds(self._wanted):
            return self._fetched(receipt.path, self._wanted, from_cache=True)
        return None

    def _copied(self) -> Fetched | None:
        """Copy the file from the cache to where it is wanted, without any network."""
        if not self._options.use_cache or self._file is None or self._file.exists():
            return None
        cached = cache.find(self._source.identity, None)
        if cached is None or not cached.holds(self._wanted):
            return None
        with open_progress(self._file.name, show=self._options.show) as bar:
            local.copy(cached.path, self._file, bar, overwrite=False)
        self._note(self._file, self._wanted)
        return self._fetched(self._file, self._wanted, from_cache=True)

    def _accepted(self, path: Path) -> Fetched | None:
        """Take a file that already exists if the user's checksum says that it is the one."""
        if self._wanted is None or not path.is_file():
            return None
        if _checksum.of_file(path, self._wanted.algorithm) != self._wanted:
            return None
        return self._fetched(path, self._wanted, from_cache=True)

    def _part_path(self) -> Path:
        # A file of a known name is locked by that name, whatever the source: two sources must not share it.
        stem = key(self._source.identity) if self._file is None else self._file.name[:100]
        return self._folder / f".{stem}{TEMP_MARKER}fetch"

    def _fetch(self, part: PartialFile) -> Fetched:
        from colabkit._engine.downloader import Downloader

        label = self._file.name if self._file is not None else self._source.name or self._source.shown
        try:
            with open_progress(label[:40], show=self._options.show) as bar:
                received = Downloader(
                    self._source,
                    part,
                    checksum=self._wanted,
                    connections=self._options.connections,
                    spare=self._options.spare,
                    bar=bar,
                    client=self._options.client,
                    accept=self._refuse_if_taken,
                    page_expected=self._file is not None and self._file.name.lower().endswith(error_page.PAGE_SUFFIXES),
                ).run()
            checksum = received.checksum
            if received.packed or received.gzipped:
                checksum = received.wanted  # what was verified on the way is another file than the one in it
            self._kept = received.kept or self._to is not None
            path = self._publish(part, received, checksum)
        except KeyboardInterrupt:
            kept, size = part.count, part.size
            of = f" of {amount(size)}" if size else ""
            note = f"{amount(kept)}{of} are kept; run it again to resume" if part.resumable else ""
            raise KeyboardInterrupt(note) from None
        except (ArchiveError, IntegrityError, WebPageError):
            part.close(keep=False)  # what is taken out of it would be as wrong again
            raise
        part.close(keep=False)
        _warn_of_pointer(path, received.size, self._source.shown)
        size = None if received.packed or received.gzipped else received.size
        return self._fetched(path, checksum, from_cache=False, size=size)

    def _refuse_if_taken(self, name: str) -> None:
        """Look at the place of the file as soon as its name is known: before it is downloaded."""
        if self._file is None and self._to is not None and not self._options.overwrite and self._wanted is None:
            path = self._folder / (name or FALLBACK_NAME)
            if os.path.lexists(path):
                raise local.taken(path, folder=path.is_dir())

    def _publish(self, part: PartialFile, received: DownloadResult, checksum: Checksum | None) -> Path:
        name = self._source.name if received.packed else received.name
        path = self._file or self._folder / (name or self._source.name or FALLBACK_NAME)
        exists = local.refuse_special(path)
        packed = self._file is not None or self._options.unpack is False
        small = received.size <= content_check.LONGEST_ANSWER and self._wanted is None
        if small and content_check.is_binary_name(path.name, packed=packed):
            error = content_check.answer_instead(part.path.read_bytes(), path.name, self._source.shown)
            if error is not None:
                raise error
        if exists and (path.is_dir() or not (self._options.overwrite or self._to is None)):
            if self._accepted(path) is None:
                raise local.taken(path, folder=path.is_dir())
            self._note(path, checksum)
        elif received.packed or received.gzipped:
            from colabkit._archive import extraction

            take_out = extraction.extract_single if received.packed else extraction.uncompress
            take_out(part.path, path, received.wanted)
            if self._to is None and getattr(self._source, "private", False):
                path.chmod(0o600)
            self._note(path, checksum)
        else:
            with map_os_errors(path):
                # First the receipt: who waits for the part looks for it as soon as the part has gone.
                self._note(path, checksum, part.status())
                part.publish(path)
                if not self._options.one_of_many:
                    sync_folder(path.parent)
        return path

    def _note(self, path: Path, checksum: Checksum | None, status: os.stat_result | None = None) -> None:
        if self._options.use_cache and self._kept:
            place = self._receipt
            cache.note(self._source.identity, self._to, path, self._source.shown, checksum, status, place)

    def _fetched(self, path: Path, checksum: Checksum | None, *, from_cache: bool, size: int | None = None) -> Fetched:
        return Fetched(
            path=path,
            source=self._source.shown,
            from_cache=from_cache,
            checksum=str(checksum or ""),
            size=path.stat().st_size if size is None else size,
            kept=self._kept,
        )


def _warn_of_pointer(path: Path, size: int, address: str) -> None:
    """Tell when the file is a note that the real one lies in git's large file storage."""
    if size > _LARGEST_POINTER:
        return
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if lfs_pointer.is_pointer(data):
            warn(
                "%s is not data: it is %s; %s", path.name, lfs_pointer.described(data), lfs_pointer.way_to_file(address)
            )
