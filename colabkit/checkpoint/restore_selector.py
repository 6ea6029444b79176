"""Which state a run goes on from: the newest that is whole, here or in the mirror, or the best that it keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from colabkit._internal.log import warn
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror import remote_store
from colabkit.errors import CheckpointError, ColabKitError, RunMismatchError, UnreachableError
from colabkit.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.storage import Storage

_SAVED_BY = {
    "fastai": "run.resume_fastai()",
    "lightning": "run.resume_lightning()",
    "transformers": "run.resume_transformers()",
    "loop": "run.loop()",
    "keras": "run.resume() or run.fit()",
    "state": "run.save()",
}


class RestoreSelector:
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

    def newest(self, kind: str, *, between_epochs: bool = False) -> tuple[Checkpoint, naming.RestoreCandidate] | None:
        """Read the newest checkpoint that is whole; None when there is none.

        Args:
            kind: What it must be the state of.
            between_epochs: Only one that no epoch had begun in.

        Raises:
            CheckpointError: All are damaged.
            RunMismatchError: It is the state of something else.
        """
        candidates = self._candidates()
        checkpoint, candidate, passed_over = self._first_good(candidates)
        if between_epochs and checkpoint is not None and checkpoint.meta.get("step_in_epoch"):
            checkpoint, candidate = self._between_epochs(candidates)
        if checkpoint is None or candidate is None:
            if passed_over:
                self._none_is_good(passed_over)
            return None
        if passed_over:
            age = max(0.0, time.time() - candidate.saved_at)
            warn("%s: going back to step %s, saved %.0f s ago", self._run, candidate.step, age)
        if checkpoint.meta.get("kind") != kind:
            raise RunMismatchError(
                f"the run {self._run} holds another kind of state",
                why=f"it was saved by {_SAVED_BY.get(str(checkpoint.meta.get('kind')), 'another program')}",
                hint="use the same call again, or open a run under another name",
            )
        return checkpoint, candidate

    def _between_epochs(
        self, candidates: Iterable[naming.RestoreCandidate]
    ) -> tuple[Checkpoint, naming.RestoreCandidate]:
        for candidate in sorted(candidates, key=lambda each: (-each.step, -each.saved_at)):
            try:
                checkpoint = candidate.load()
            except (ColabKitError, OSError):
                continue
            if not checkpoint.meta.get("step_in_epoch"):
                return checkpoint, candidate
        raise CheckpointError(
            f"the run {self._run} keeps no state of an epoch's end",
            why="it stopped within the first epoch that its states reach back to",
            hint="leave at= out, or open another run",
        )

    def best(self, newest: Checkpoint) -> Checkpoint:
        """Read the best state, whose step the newest one knows.

        Raises:
            CheckpointError: There is none, or it cannot be read.
        """
        step = naming.best_step(newest.meta)
        if step is None:
            raise CheckpointError(
                f"the run {self._run} keeps no best state",
                why="no metric was named, or nothing was measured yet",
                hint='train with run.resume(best="val_loss"), or save with run.save(..., best="val_loss")',
            )
        checkpoint, _, _ = self._first_good(each for each in self._candidates() if each.step == step)
        if checkpoint is None:
            raise CheckpointError(f"the best state of the run {self._run}, at step {step}, cannot be read")
        return checkpoint

    def _first_good(
        self, candidates: Iterable[naming.RestoreCandidate]
    ) -> tuple[Checkpoint | None, naming.RestoreCandidate | None, list[naming.Skipped]]:
        checkpoint, candidate, passed_over = naming.latest_valid(candidates)
        for item in passed_over:
            warn("%s: skipping the checkpoint %s: %s", self._run, item.name, item.why)
        return checkpoint, candidate, passed_over

    def _candidates(self) -> list[naming.RestoreCandidate]:
        unknown: ColabKitError | None = None
        candidates = naming.candidates(self._folder)
        for storage in self._storages():
            try:
                candidates += remote_store.candidates(
                    storage, self._folder, tries=1 if candidates else remote_store.TRIES
                )
            except ColabKitError as error:
                unknown = error
        if unknown is not None and not candidates:
            raise unknown  # beginning anew because a network is down would be a silent loss
        if unknown is not None:
            warn("%s: the mirror was not checked, only this machine. %s", self._run, unknown)
        return candidates

    def _storages(self) -> list[Storage]:
        storages = [] if self._storage is None else [self._storage]
        # A folder with delta checkpoints is a copy of a mirror: someone brought the files here by hand.
        return [*storages, open_storage(self._folder.parent)] if naming.has_deltas(self._folder) else storages

    def _none_is_good(self, passed_over: list[naming.Skipped]) -> NoReturn:
        for item in passed_over:
            if isinstance(item.error, UnreachableError):
                raise item.error
        raise CheckpointError(
            f"no checkpoint of the run {self._run} can be read",
            why=f"all {len(passed_over)} are damaged: {passed_over[0].why}",
            hint=f"restore {self._folder} from a backup, or delete it to start over",
        )
