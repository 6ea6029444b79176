"""One file on its way: where it may lie already, where it goes, and who else is at it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from colabkit import config
from colabkit._tools.files import PART, TakenError, sync_folder, writing_to
from colabkit._tools.log import say
from colabkit._tools.progress import amount
from colabkit._tools.progress import progress as open_progress
from colabkit.errors import ArchiveError, IntegrityError, OfflineError
from colabkit.transfer import _checksum, _html, _local, cache
from colabkit.transfer.base import key

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._types import StrPath
    from colabkit.transfer._checksum import Checksum
    from colabkit.transfer._crew import Spare
    from colabkit.transfer._http import Client
    from colabkit.transfer._part import Part
    from colabkit.transfer.base import Source
    from colabkit.transfer.engine import Received

    Show = bool | Callable[[float, float | None], None] | None

Held = TypeVar("Held")

FALLBACK_NAME = "download"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to fetch; `fetch` describes each.

    Attributes:
        wanted: What the file must have.
        unpack: Whether an archive is unpacked.
        overwrite: Fetch again, and replace what is there.
        connections: How many at most.
        show: How progress is shown.
        use_cache: Look into the cache and leave a note there.
        spare: Connections that several files share beside the one that each has; None lets each have its own.
        client: Keeps connections from one file to the next.
        one_of_many: Whoever fetches them all flushes their folder, once.
    """

    wanted: Checksum | None = None
    unpack: bool | Literal["auto"] = "auto"
    overwrite: bool = False
    connections: int | None = None
    show: Show = None
    use_cache: bool = True
    spare: Spare | None = None
    client: Client | None = None
    one_of_many: bool = False


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch did.

    Attributes:
        path: The file.
        source: Where it came from, without credentials.
        from_cache: It was there already, and nothing was transferred.
        checksum: The hash that was verified, as "sha256:…"; "" when none was known.
        size: Bytes.
    """

    path: Path
    source: str
    from_cache: bool
    checksum: str
    size: int


def names_folder(to: StrPath) -> bool:
    return os.fspath(to).endswith(("/", os.sep)) or Path(to).expanduser().is_dir()


def patiently(take: Callable[[], Held], shown: str) -> Held:
    """Take what only one process or thread may have at a time; wait as long as another has it, and say so once."""
    said = False
    while True:
        try:
            return take()
        except TakenError as taken:
            if not said:
                say("%s is being fetched by process %s; waiting for it", shown, taken.pid or "?")
                said = True
        time.sleep(0.1)


class Job:
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
        self._file: Path | None = None
        if to is None:
            self._folder = cache.home(source.identity)
        elif names_folder(to):
            self._folder = Path(to).expanduser()
        else:
            self._file = Path(to).expanduser()
            self._folder = self._file.parent

    def run(self) -> Fetched:
        """Return the file, from where it lies or from the network."""
        if not self._options.overwrite and (known := self._noted() or self._copied()):
            return known
        if self._file is not None and self._file.exists():
            if (known := self._accepted(self._file)) is not None:
                return known
            if not self._options.overwrite or self._file.is_dir():
                raise _local.taken(self._file, folder=self._file.is_dir())
        if config.is_offline():
            raise OfflineError(
                f"{self._source.shown} is not here yet",
                why=f"{config.OFFLINE} is set, so the network is not tried",
                do=f"unset {config.OFFLINE}, or pass the path of a copy",
            )
        from colabkit.transfer._part import Part

        with writing_to(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        begun = time.time_ns()
        part = patiently(lambda: Part(self._part_path(), key(self._source.identity)), self._source.shown)
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
        receipt = cache.find(self._source.identity, self._to)
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
            _local.copy(cached.path, self._file, bar, overwrite=False)
        self._note(self._file, self._wanted)
        return self._fetched(self._file, self._wanted, from_cache=True)

    def _accepted(self, path: Path) -> Fetched | None:
        """Take a file that is there already if the user's checksum says that it is the one."""
        if self._wanted is None or not path.is_file():
            return None
        if _checksum.of_file(path, self._wanted.algorithm) != self._wanted:
            return None
        return self._fetched(path, self._wanted, from_cache=True)

    def _part_path(self) -> Path:
        # A file of a known name is locked by that name, whatever the source: two sources must not share it.
        stem = key(self._source.identity) if self._file is None else self._file.name[:100]
        return self._folder / f".{stem}{PART}fetch"

    def _fetch(self, part: Part) -> Fetched:
        from colabkit.transfer.engine import Download

        label = self._file.name if self._file is not None else self._source.name or self._source.shown
        try:
            with open_progress(label[:40], show=self._options.show) as bar:
                received = Download(
                    self._source,
                    part,
                    checksum=self._wanted,
                    connections=self._options.connections,
                    spare=self._options.spare,
                    bar=bar,
                    client=self._options.client,
                    page_expected=self._file is not None and self._file.name.lower().endswith(_html.PAGE_SUFFIXES),
                ).run()
            checksum = received.checksum
            if received.packed or received.gzipped:
                checksum = self._wanted  # what was verified on the way is another file than the one that is taken out
            path = self._publish(part, received, checksum)
        except KeyboardInterrupt:
            kept, size = part.count, part.size
            of = f" of {amount(size)}" if size else ""
            note = f"{amount(kept)}{of} are kept; run the same again to go on" if part.resumable else ""
            raise KeyboardInterrupt(note) from None
        except (ArchiveError, IntegrityError):
            part.close(keep=False)  # what is taken out of it would be as wrong again
            raise
        part.close(keep=False)
        return self._fetched(path, checksum, from_cache=False)

    def _publish(self, part: Part, received: Received, checksum: Checksum | None) -> Path:
        name = self._source.name if received.packed else received.name
        path = self._file or self._folder / (name or self._source.name or FALLBACK_NAME)
        if path.exists() and (path.is_dir() or not (self._options.overwrite or self._to is None)):
            if self._accepted(path) is None:
                raise _local.taken(path, folder=path.is_dir())
            self._note(path, checksum)
        elif received.packed or received.gzipped:
            from colabkit.transfer import archive

            take_out = archive.take_out if received.packed else archive.uncompress
            take_out(part.path, path, self._wanted)
            self._note(path, checksum)
        else:
            with writing_to(path):
                # First the receipt: who waits for the part looks for it as soon as the part has gone.
                self._note(path, checksum, part.status())
                part.publish(path)
                if not self._options.one_of_many:
                    sync_folder(path.parent)
        return path

    def _note(self, path: Path, checksum: Checksum | None, status: os.stat_result | None = None) -> None:
        if self._options.use_cache:
            cache.note(self._source.identity, self._to, path, self._source.shown, checksum, status)

    def _fetched(self, path: Path, checksum: Checksum | None, *, from_cache: bool) -> Fetched:
        return Fetched(
            path=path,
            source=self._source.shown,
            from_cache=from_cache,
            checksum=str(checksum or ""),
            size=path.stat().st_size,
        )
