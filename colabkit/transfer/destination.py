"""Where a folder appears whole: what an archive unpacks to, or the files of a folder at the source."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._engine import cache, local
from colabkit._engine.fetch_task import Fetched, names_folder, wait_for_lock
from colabkit._engine.source import key
from colabkit._internal.disk.checksum import parse
from colabkit._internal.disk.files import TEMP_MARKER, FileLock, LockedError, map_os_errors
from colabkit._internal.disk.paths import expand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit._engine.fetch_task import Options
    from colabkit._types import StrPath


class Destination:
    """The place of one folder, and the receipt that says whether it already exists.

    Args:
        identity: Tells what is fetched from all else.
        to: The folder to make, the folder to make it in, or None for the cache.
        options: How to fetch.

    Attributes:
        parent: The folder that it is made in.
        hint: What names of its own hidden files begin with.
    """

    def __init__(self, identity: str, to: StrPath | None, options: Options) -> None:
        self._identity = identity
        self._to = to
        self._options = options
        self._fixed = None if to is None or (names_folder(to) and not self._is_made()) else expand(to)
        if to is None:
            self.parent = cache.home(identity) if options.use_cache else Path()
        else:
            self.parent = expand(to) if self._fixed is None else self._fixed.parent
        self.hint = key(identity) if self._fixed is None else self._fixed.name[:100]

    def _is_made(self) -> bool:
        """Say whether the folder at the user's place is the one that an earlier fetch of this source made."""
        if self._to is None or not self._options.use_cache or os.fspath(self._to).endswith(("/", os.sep)):
            return False
        receipt = cache.find(self._identity, self._to)
        return receipt is not None and receipt.path == expand(self._to).absolute() and receipt.holds(None)

    def target(self, name: str) -> Path:
        """Return the folder that is made; `name` is the one that the source gives."""
        return self.parent / name if self._fixed is None else self._fixed

    def noted(self) -> Fetched | None:
        """Return what an earlier fetch made, if it is still there and will do."""
        if self._options.overwrite or not self._options.use_cache:
            return None
        receipt = cache.find(self._identity, self._to)
        if receipt is None or not receipt.holds(self._options.wanted):
            return None
        checksum = next((f"{name}:{digits}" for name, digits in receipt.checksums.items()), "")
        return Fetched(path=receipt.path, source=receipt.source, from_cache=True, checksum=checksum, size=receipt.size)

    def refuse_if_taken(self, target: Path | None = None) -> None:
        """Leave alone what is not ours: even overwrite=True replaces only a folder that a fetch of this source made.

        Args:
            target: The folder; by default the one that the user named, if they did.

        Raises:
            ExistsError: Something else is there.
        """
        target = target or self._fixed
        if self._to is None or target is None or not os.path.lexists(target):
            return
        receipt = cache.find(self._identity, self._to) if self._options.use_cache else None
        ours = receipt is not None and receipt.path == target.absolute() and receipt.holds(None)
        if not (self._options.overwrite and (ours or target.is_file())):
            raise local.taken(target, folder=target.is_dir())

    @contextlib.contextmanager
    def locked(self, purpose: str, display: str) -> Iterator[Path]:
        """Keep others from the same place; yields the path of its hidden part."""
        with map_os_errors(self.parent):
            self.parent.mkdir(parents=True, exist_ok=True)
        part = self.parent / f".{self.hint}{TEMP_MARKER}{purpose}"
        lock = FileLock(part.with_name(part.name + ".lock"))

        def take() -> None:
            if (holder := lock.acquire()) is not None:
                raise LockedError(holder.get("pid"))

        wait_for_lock(take, display)
        try:
            yield part
        finally:
            lock.release(remove=True)

    def note(self, target: Path, source: str, checksum: str) -> None:
        """Leave a receipt for the next call."""
        if self._options.use_cache:
            cache.note(self._identity, self._to, target, source, parse(checksum) if checksum else None)
