"""A repository of Hugging Face's Hub, or a folder in one, as a storage: each write is a commit, confirmed by its hash.

The Hub takes 128 commits an hour of an account. So commits are rationed here: eight at once, then one in half a minute,
and what is deleted goes with the next one where they are scarce.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from colabkit._clients.huggingface import Hub, HubAddress, HubFile, parse, repo
from colabkit._clients.huggingface.file import HubFileSource
from colabkit._engine.fetch_task import FetchTask, Options
from colabkit._internal.disk.files import map_os_errors
from colabkit.errors import (
    AccessError,
    AddressError,
    BusyError,
    ChangedError,
    ColabKitError,
    ExistsError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    TransferError,
)
from colabkit.storage.base import Stored, check_name, is_name, not_stored, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress

_BURST = 8
_EVERY = 30.0
"""Seconds to one commit: with those of the burst no more than 128 come together in an hour."""
_TRIES = 1
"""Failures that a call forgives; whoever called decides about more."""
_VERB = "write to"
_RACES = 20
"""Commits of others, to other files too, that one write gives way to."""
_LONGEST = 60.0  # seconds; who has to wait longer is told


class CommitBudget:
    """Rations commits, as the Hub counts them.

    Args:
        every: Seconds to one commit; 0 lets all pass.
        clock: Seconds of a clock that never goes back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        every: float = _EVERY,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._every = every
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._free_at = clock() - every * (_BURST - 1)  # when the first of the burst is free

    @property
    def scarce(self) -> bool:
        """Whether less than half of the burst is left."""
        with self._lock:
            return self._free_at > self._clock() - self._every * (_BURST // 2)

    def take(self, address: str) -> None:
        """Wait until one more commit may be made.

        Raises:
            BusyError: The Hub has asked for a longer pause.
        """
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now - self._every * (_BURST - 1))
            wait = self._free_at - now
            if wait > max(_LONGEST, self._every):
                raise BusyError(
                    f"{address} accepts no commits for {wait:.0f} s",
                    why="the Hub counts the commits of an account, and has asked for a pause",
                    hint='it is retried automatically; ask for fewer, as by open_run(…, every="10 min")',
                )
            self._free_at += self._every
        if wait > 0:
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Make none before the time that the Hub asked for."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock() + seconds)


_SHARED = CommitBudget()
"""The Hub counts by account, whichever the repository is."""


def open_hf(rest: str) -> HubStorage:
    """Open a repository, or a folder in one; nothing is asked of the Hub.

    Raises:
        AddressError: It is not an address of the Hub, or names a commit or a pattern.
    """
    address = parse(f"hf:{rest}")
    folder = address.path.rstrip("/")
    if address.ref or "/" not in address.repo or (address.path and not replace(address, path=folder).is_file):
        raise AddressError(
            f"{address} is no place to write to",
            why="it names one version, many files, or no owner",
            hint="write it as hf:OWNER/NAME/FOLDER, or hf:datasets/OWNER/NAME/FOLDER",
        )
    if folder:
        check_name(folder)
    return HubStorage(replace(address, path=folder))


class HubStorage:
    """Files below a folder of a repository, which is made, private, with the first write.

    An object's version is its hash: content that is written anew unchanged makes no commit, and keeps its version.

    Args:
        address: The repository and the folder, without a slash at its end.
        hub: Asks the Hub.
        budget: Rations the commits.
    """

    lag = 0.0
    atomic = True
    beat = 60.0
    """Seconds between two signs of life of a writer: each is a commit."""

    def __init__(self, address: HubAddress, *, hub: Hub | None = None, budget: CommitBudget = _SHARED) -> None:
        self.address = str(address)
        self._place = replace(address, path="")
        self._prefix = f"{address.path}/" if address.path else ""
        self._own_hub = hub
        self._budget = budget
        self._lock = Lock()
        self._deleted: set[str] = set()  # deleted with the next commit

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @property
    def _hub(self) -> Hub:
        self._own_hub = self._own_hub or Hub(tries=_TRIES)
        return self._own_hub

    # ---- the contract ----

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        """Store an object in one commit; the Hub's own hash of it is compared."""
        full = self._full(name)
        content = source if isinstance(source, bytes) else Path(source)
        with map_os_errors(self.address):
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
        watch = progress or (lambda *_: None)
        watch(0, size)
        with self._lock, self._translated(name):
            file = self._write(full, content, only_if)
        watch(size, size)
        return self._stored(full, file)

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        """Copy an object into a file, over several connections when it is large."""
        with self._translated(name):
            file = self._existing(name)
            source = HubFileSource(address=file.address, known=file, hub=self._hub)

            def show(done: float, total: float | None) -> None:
                if progress is not None:
                    progress(int(done), int(total or file.size or 0))

            FetchTask(source, Path(path), Options(use_cache=False, overwrite=True, unpack=False, show=show)).run()
        return self._stored(file.address.path, file)

    def read(self, name: str, *, size: int | None = None) -> bytes:
        with self._translated(name):
            file = self._existing(name)
            content = self._hub.read(file, size)
            if size is None and not repo.is_same(content, file):
                raise IntegrityError(f"{name} in {self.address} did not arrive as it is stored", hint="read it again")
            return content

    def entry(self, name: str) -> Stored | None:
        full = self._full(name)
        with self._translated(name):
            file = self._files().get(full)
            return None if file is None else self._stored(full, file)

    def list(self, prefix: str = "") -> Sequence[Stored]:
        with self._translated(prefix or "the list"):
            return [
                self._stored(path, file)
                for path, file in sorted(self._files().items())
                if path.startswith(self._prefix + prefix) and is_name(path[len(self._prefix) :])
            ]

    def delete(self, name: str) -> None:
        """Delete an object, with the next commit where commits are scarce; its name is free at once in this process."""
        full = self._full(name)
        with self._lock, self._translated(name):
            self._deleted.add(full)
            if self._budget.scarce and not name.endswith(".json"):  # a lock that stays keeps others waiting
                return
            for _ in range(_RACES):
                files, commit = repo.tree(self._hub, self._place, verb=_VERB)
                if full not in files:
                    self._deleted.discard(full)
                    return
                with contextlib.suppress(ExistsError):
                    self._commit({}, files, commit, f"Delete {name}")
                    return
            raise self._crowded(name)

    def confirmed(self, name: str) -> Confirmed:
        """Say "yes" for every object that the Hub lists: a commit is there before it is answered."""
        try:
            return "yes" if self.entry(name) is not None else "no"
        except AddressError:
            raise
        except ColabKitError:
            return "cannot tell"

    # ---- parts ----

    def _write(self, full: str, content: Path | bytes, only_if: OnlyIf) -> HubFile:
        for _ in range(_RACES):
            files, commit = repo.tree(self._hub, self._place, verb=_VERB)
            now = None if full in self._deleted else files.get(full)
            if only_if is not None and getattr(now, "version", None) != getattr(only_if, "version", None):
                raise ChangedError(
                    f"{full} in {self.address} was written by someone else",
                    why="it is not the version that was to be replaced",
                    hint="look at what is there now, then decide again",
                )
            if commit is None:
                repo.create(self._hub, self._place, verb=_VERB)
                continue
            if now is not None and repo.is_same(content, now):
                return now
            failed = None
            try:
                self._commit({full: content}, files, commit, f"Write {full}")
            except ExistsError:
                continue  # somebody has written something, perhaps elsewhere in the repository
            except AccessError:
                raise
            except TransferError as error:
                failed = error  # the answer may be what was lost, and not the commit
            file = repo.tree(self._hub, self._place, verb=_VERB)[0].get(full)
            if file is not None and repo.is_same(content, file):
                return file
            raise failed or IntegrityError(
                f"{self.address} does not hold {full} as it was sent",
                why="its hash differs, or it was written by someone else in the meantime",
                hint="make sure that nothing writes to the file, then run it again",
            )
        raise self._crowded(full)

    def _commit(
        self, files: Mapping[str, Path | bytes], existing: Mapping[str, HubFile], commit: str | None, message: str
    ) -> None:
        deleted = self._deleted & existing.keys() - files.keys()
        self._budget.take(self.address)
        self._hub.retry_after = 0.0
        try:
            repo.commit(
                self._hub, self._place, files, parent=commit, message=message, verb=_VERB, deleted=sorted(deleted)
            )
        except BusyError:
            self._budget.pause(self._hub.retry_after)
            raise
        self._deleted.clear()

    def _crowded(self, name: str) -> BusyError:
        return BusyError(
            f"cannot write {name} to {self.address}",
            why="others write to the same repository all the time",
            hint="give each run a repository of its own",
        )

    def _files(self) -> dict[str, HubFile]:
        files, _ = repo.tree(self._hub, self._place, verb="read")
        return {path: file for path, file in files.items() if path not in self._deleted}

    def _existing(self, name: str) -> HubFile:
        full = self._full(name)
        file = self._files().get(full)
        if file is None:
            raise NotFoundError(name)
        return file

    def _full(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _stored(self, full: str, file: HubFile) -> Stored:
        return Stored(name=full[len(self._prefix) :], size=file.size or 0, modified=file.modified, version=file.version)

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            raise not_stored(name, self.address) from error
        except TransferError as error:
            if type(error) is not TransferError and not isinstance(error, OfflineError):
                raise
            raise unreachable(name, self.address, error) from error
