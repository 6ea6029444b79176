"""fetch(): decide what is asked for and where it goes, then let the engine do it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._tools.files import FileLock, sync_folder, writing_to
from colabkit._tools.log import say
from colabkit._tools.progress import amount
from colabkit._tools.progress import progress as open_progress
from colabkit.errors import AddressError, OfflineError
from colabkit.transfer import _checksum, _html, _local, cache
from colabkit.transfer._web import open_web
from colabkit.transfer.base import key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit._types import StrPath
    from colabkit.transfer._checksum import Checksum
    from colabkit.transfer.base import Source

FALLBACK_NAME = "download"


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


def fetch(
    source: StrPath,
    to: StrPath | None = None,
    *,
    checksum: str | None = None,
    overwrite: bool = False,
    connections: int | None = None,
    progress: bool | Callable[[float, float | None], None] | None = None,
) -> Path:
    """Fetch a file and return its path; the second call finds it there and needs no network.

    The file appears at its final name only when it is complete and verified. A fetch that was interrupted, by
    Ctrl-C, a kill or the network, goes on where it stopped when the same line runs again, as long as the file at
    the source is still the same one; it starts over otherwise.

    Args:
        source: An https or http address, a path, or a file: address.
        to: A file name, or a folder (one that exists, or a name that ends with "/"). Without it the file lies in
            the cache, which all runs share; a local path is then returned as it is.
        checksum: What the file must have, as "sha256:HEX"; sha1 and md5 work too.
        overwrite: Fetch again even if it is there, and replace what is at `to`.
        connections: How many connections at most; without it as many as the server likes, up to 16.
        progress: None shows a bar where one fits, False is silent, a function is called with (done, total).

    Returns:
        The path of the file.

    Raises:
        AddressError: The source or the checksum cannot be read.
        ExistsError: Something else is at `to`, and `overwrite` is False.
        OfflineError: There is no network.
        NotFoundError: The source does not exist.
        AccessError: The source refuses us.
        IntegrityError: The bytes are not the ones that were promised.
        WebPageError: A web page came instead of a file.
        TransferError: Anything else on the way; what arrived is kept for the next try.
        DiskFullError: There is no room.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "digits.csv").write_text("7,0,0")
        >>> fetch(folder / "digits.csv", to=folder / "copy.csv").read_text()
        '7,0,0'
    """
    return fetch_details(
        source,
        to,
        checksum=checksum,
        overwrite=overwrite,
        connections=connections,
        progress=progress,
    ).path


def fetch_details(
    source: StrPath,
    to: StrPath | None = None,
    *,
    checksum: str | None = None,
    overwrite: bool = False,
    connections: int | None = None,
    progress: bool | Callable[[float, float | None], None] | None = None,
    use_cache: bool = True,
) -> Fetched:
    """Fetch like `fetch`, and tell what was done.

    Args:
        source: As in `fetch`.
        to: As in `fetch`.
        checksum: As in `fetch`.
        overwrite: As in `fetch`.
        connections: As in `fetch`.
        progress: As in `fetch`.
        use_cache: Look into the cache and leave a note there; without it `to` is the present folder by default.

    Returns:
        The path, and where it came from.

    Raises:
        ColabKitError: As in `fetch`.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     fetch_details(file.name).from_cache
        True
    """
    wanted = None if checksum is None else _checksum.parse(checksum)
    if connections is not None and not 1 <= connections <= MOST_CONNECTIONS:
        raise AddressError(f"connections={connections} is not between 1 and {MOST_CONNECTIONS}")
    text = os.fspath(source)
    if not text.strip() or "\0" in text:
        raise AddressError("the source is empty or no text", do="pass an address or a path")
    scheme = text.strip().partition(":")[0].lower()
    if scheme in ("http", "https"):
        page = to is not None and os.fspath(to).lower().endswith(_html.PAGE_SUFFIXES)
        web = open_web(text, page_expected=page)
        if to is None and not use_cache:
            to = f".{os.sep}"
        job = _Job(web, to, wanted, overwrite=overwrite, connections=connections, show=progress, use_cache=use_cache)
        return job.run()
    if "://" in text and scheme != "file":
        raise AddressError(
            f"cannot fetch from {scheme[:20]}:// addresses",
            why="the kinds that can be fetched are https, http, file and plain paths",
            do="use an https address of the file",
        )
    return _fetch_local(_local.local_path(source), to, wanted, overwrite=overwrite, show=progress)


MOST_CONNECTIONS = 64


def _fetch_local(
    path: Path,
    to: StrPath | None,
    wanted: Checksum | None,
    *,
    overwrite: bool,
    show: bool | Callable[[float, float | None], None] | None,
) -> Fetched:
    _local.check(path, wanted)
    target = path
    if to is not None:
        target = Path(to).expanduser()
        if _names_folder(to):
            target /= path.resolve().name
        done = wanted is not None and target.is_file() and _checksum.of_file(target, wanted.algorithm) == wanted
        if not done:
            with open_progress(path.name, show=show) as bar:
                _local.copy(path, target, bar, overwrite=overwrite)
    size = target.stat().st_size if target.is_file() else 0
    return Fetched(path=target, source=str(path), from_cache=to is None, checksum=str(wanted or ""), size=size)


def _names_folder(to: StrPath) -> bool:
    return os.fspath(to).endswith(("/", os.sep)) or Path(to).expanduser().is_dir()


class _Job:
    """One file on its way: where it may lie already, where it goes, and who else is at it."""

    def __init__(
        self,
        source: Source,
        to: StrPath | None,
        wanted: Checksum | None,
        *,
        overwrite: bool,
        connections: int | None,
        show: bool | Callable[[float, float | None], None] | None,
        use_cache: bool,
    ) -> None:
        self._source = source
        self._to = to
        self._wanted = wanted
        self._overwrite = overwrite
        self._connections = connections
        self._show = show
        self._use_cache = use_cache
        self._file: Path | None = None
        if to is None:
            self._folder = cache.home(source.identity)
        elif _names_folder(to):
            self._folder = Path(to).expanduser()
        else:
            self._file = Path(to).expanduser()
            self._folder = self._file.parent

    def run(self) -> Fetched:
        """Return the file, from where it lies or from the network."""
        if not self._overwrite and (known := self._noted() or self._copied()):
            return known
        if self._file is not None and self._file.exists():
            if (known := self._accepted(self._file)) is not None:
                return known
            if not self._overwrite or self._file.is_dir():
                raise _local.taken(self._file, folder=self._file.is_dir())
        if config.is_offline():
            raise OfflineError(
                f"{self._source.shown} is not here yet",
                why=f"{config.OFFLINE} is set, so the network is not tried",
                do=f"unset {config.OFFLINE}, or pass the path of a copy",
            )
        with writing_to(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        begun = time.time_ns()
        with self._locked(self._part_path()):
            # Whoever held the lock before us may have fetched the very same file.
            known = self._noted()
            if known and (not self._overwrite or known.path.stat().st_mtime_ns >= begun):
                return known
            return self._fetch()

    def _noted(self) -> Fetched | None:
        """Find the file where an earlier fetch put it, without any network."""
        if not self._use_cache:
            return None
        receipt = cache.find(self._source.identity, self._to)
        if receipt is not None and receipt.holds(self._wanted):
            return self._fetched(receipt.path, self._wanted, from_cache=True)
        return None

    def _copied(self) -> Fetched | None:
        """Copy the file from the cache to where it is wanted, without any network."""
        if not self._use_cache or self._file is None or self._file.exists():
            return None
        cached = cache.find(self._source.identity, None)
        if cached is None or not cached.holds(self._wanted):
            return None
        with open_progress(self._file.name, show=self._show) as bar:
            _local.copy(cached.path, self._file, bar, overwrite=False)
        cache.note(self._source.identity, self._to, self._file, self._source.shown, self._wanted)
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
        return self._folder / f".{stem}.part-fetch"

    @contextlib.contextmanager
    def _locked(self, part: Path) -> Iterator[None]:
        lock = FileLock(part.with_name(part.name + ".lock"))
        said = False
        while (holder := lock.acquire()) is not None:
            if not said:
                say("%s is being fetched by process %s; waiting for it", self._source.shown, holder.get("pid", "?"))
                said = True
            time.sleep(0.1)
        try:
            yield
        finally:
            lock.release(remove=True)

    def _fetch(self) -> Fetched:
        from colabkit.transfer._part import Part
        from colabkit.transfer.engine import Download

        part = Part(self._part_path(), key(self._source.identity))
        label = self._file.name if self._file is not None else self._source.name or self._source.shown
        try:
            with open_progress(label[:40], show=self._show) as bar:
                received = Download(
                    self._source, part, checksum=self._wanted, connections=self._connections, bar=bar
                ).run()
            path = self._publish(part.path, received.name)
        except KeyboardInterrupt:
            kept, size = part.count, part.size
            part.close(keep=True)
            of = f" of {amount(size)}" if size else ""
            note = f"{amount(kept)}{of} are kept; run the same again to go on" if part.resumable else ""
            raise KeyboardInterrupt(note) from None
        except BaseException:
            part.close(keep=True)
            raise
        part.close(keep=False)
        if self._use_cache:
            cache.note(self._source.identity, self._to, path, self._source.shown, received.checksum)
        return self._fetched(path, received.checksum, from_cache=False)

    def _publish(self, part: Path, name: str) -> Path:
        path = self._file or self._folder / (name or self._source.name or FALLBACK_NAME)
        if path.exists() and (path.is_dir() or not (self._overwrite or self._to is None)):
            if self._accepted(path) is None:
                raise _local.taken(path, folder=path.is_dir())
            return path
        with writing_to(path):
            os.replace(part, path)
            sync_folder(path.parent)
        return path

    def _fetched(self, path: Path, checksum: Checksum | None, *, from_cache: bool) -> Fetched:
        return Fetched(
            path=path,
            source=self._source.shown,
            from_cache=from_cache,
            checksum=str(checksum or ""),
            size=path.stat().st_size,
        )
