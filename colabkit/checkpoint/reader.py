"""Which state a run goes on from: the newest that is whole, here or in the mirror, or the best that it keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from colabkit._tools.log import warn
from colabkit.checkpoint import copies, manifest
from colabkit.errors import CheckpointError, ColabKitError, RunMismatchError, UnreachableError
from colabkit.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from colabkit.checkpoint.container import Checkpoint
    from colabkit.storage import Storage

_SAVED_BY = {"fastai": "run.resume_fastai()", "keras": "run.resume() or run.fit()", "state": "run.save()"}


class Reader:
    """Reads a run's checkpoints, each proven by its hash, and tells which ones it passed over.

    Args:
        folder: Where they lie on this machine.
        storage: Where their copies are; None for a run that is only here.
        run: The run's name, for messages.
    """

    def __init__(self, folder: Path, storage: Storage | None, *, run: str) -> None:
        self._folder = folder
        self._storage = storage
        self._run = run

    def newest(self, kind: str) -> tuple[Checkpoint, manifest.Candidate] | None:
        """Read the newest checkpoint that is whole; None when there is none.

        Args:
            kind: What it must be the state of.

        Raises:
            CheckpointError: All are damaged.
            RunMismatchError: It is the state of something else.
        """
        found, candidate, passed_over = self._first_good(self._candidates())
        if found is None or candidate is None:
            if passed_over:
                self._none_is_good(passed_over)
            return None
        if passed_over:
            age = max(0.0, time.time() - candidate.saved_at)
            warn("%s: going back to step %s, saved %.0f s ago", self._run, candidate.step, age)
        if found.meta.get("kind") != kind:
            raise RunMismatchError(
                f"the run {self._run} holds another kind of state",
                why=f"it was saved by {_SAVED_BY.get(str(found.meta.get('kind')), 'another program')}",
                do="use the same call again, or open a run under another name",
            )
        return found, candidate

    def best(self, newest: Checkpoint) -> Checkpoint:
        """Read the best state, whose step the newest one knows.

        Raises:
            CheckpointError: There is none, or it cannot be read.
        """
        step = manifest.best_step(newest.meta)
        if step is None:
            raise CheckpointError(
                f"the run {self._run} keeps no best state",
                why="it was not told by which metric, or nothing was measured yet",
                do='train with run.resume(best="val_loss"), or save with run.save(..., best="val_loss")',
            )
        found, _, _ = self._first_good(each for each in self._candidates() if each.step == step)
        if found is None:
            raise CheckpointError(f"the best state of the run {self._run}, at step {step}, cannot be read")
        return found

    def _first_good(
        self, candidates: Iterable[manifest.Candidate]
    ) -> tuple[Checkpoint | None, manifest.Candidate | None, list[manifest.PassedOver]]:
        found, candidate, passed_over = manifest.newest_good(candidates)
        for item in passed_over:
            warn("%s: passing over the checkpoint %s: %s", self._run, item.name, item.why)
        return found, candidate, passed_over

    def _candidates(self) -> list[manifest.Candidate]:
        unknown: ColabKitError | None = None
        candidates = manifest.candidates(self._folder)
        for storage in self._storages():
            try:
                candidates += copies.candidates(storage, self._folder, tries=1 if candidates else copies.TRIES)
            except ColabKitError as error:
                unknown = error
        if unknown is not None and not candidates:
            raise unknown  # beginning anew because a network is down would be a silent loss
        if unknown is not None:
            warn("%s: the mirror is not asked, only what is here. %s", self._run, unknown)
        return candidates

    def _storages(self) -> list[Storage]:
        found = [] if self._storage is None else [self._storage]
        # A folder with thin checkpoints is a copy of a mirror: someone brought the files here by hand.
        return [*found, open_storage(self._folder.parent)] if manifest.has_thin(self._folder) else found

    def _none_is_good(self, passed_over: list[manifest.PassedOver]) -> NoReturn:
        for item in passed_over:
            if isinstance(item.error, UnreachableError):
                raise item.error
        raise CheckpointError(
            f"no checkpoint of the run {self._run} can be read",
            why=f"all {len(passed_over)} are damaged: {passed_over[0].why}",
            do=f"restore {self._folder} from a backup, or delete it to begin anew",
        )
