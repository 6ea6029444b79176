"""The fits of a run in their order, as `fine_tune` and scripts that freeze and unfreeze layers call them.

| the next fit is, among those of the newest checkpoint | kind      | what comes of it                           |
|-------------------------------------------------------|-----------|--------------------------------------------|
| there is no checkpoint                                | new       | it is trained                              |
| the last one                                          | continued | it goes on from the checkpoint             |
| an earlier one                                        | done      | it trains nothing, and a later one goes on |
| none of them, and the last one is complete            | another   | it is trained, after that one              |
| none of them, and the last one is not complete        | -         | it is refused                              |
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.fastai import state
from colabkit.checkpoint.state.checks import require_keys
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.run_store import RunStore

KIND = "fastai"
_NEEDED = {"step", "epoch", "step_in_epoch", "epochs", "fit", "complete", "seconds", "data", "layout", "state"}
_passed: dict[str, list[str]] = {}  # by the run's folder: the fits that this process has trained or restored


class FitKind(Enum):
    """What a fit is to its run, as in the table above."""

    NEW = "new"
    CONTINUED = "continued"
    DONE = "done"
    ANOTHER = "another"


class RunFits:
    """The fits of one run, told apart by their call and by what they train.

    Args:
        run: The run.

    Attributes:
        identities: What identifies each, in their order; the last one is trained, or was trained last.
        was_trained_here: Whether this process has gone through the present fit before.
    """

    def __init__(self, run: RunStore) -> None:
        self.identities: list[str] = []
        self.was_trained_here = False
        self._run = run
        self._call = -1  # fine_tune calls fit twice, with the same callback
        self._is_read = False
        self._newest: Checkpoint | None = None  # until the fit that it belongs to is reached

    def read_again(self) -> None:
        """Begin with the first fit again: the same callback may be given another time, to go on."""
        self._call, self._is_read = -1, False

    def next(self, learn: Any) -> tuple[FitKind, Checkpoint | None]:
        """Say what the next fit of a learner is, and give the checkpoint that tells it.

        Raises:
            CorruptCheckpointError: No callback of this kind wrote the checkpoint.
            RunMismatchError: It belongs to another model, or to a fit that has to be gone through first.
        """
        self._call += 1
        fit = state.fit_identity(learn, self._call)
        if not self._is_read:
            self._newest, self._is_read = self._run.newest(KIND), True
        saved, passed = self._newest, _passed.setdefault(str(self._run.dir), [])
        if saved is None:
            kind = FitKind.NEW
            self.identities.append(fit)
        else:
            require_keys(self._run.name, saved.meta, _NEEDED)
            state.check_same_model(self._run.name, saved.meta["layout"], state.layout(learn))
            self.identities = self._identities_of(saved.meta, fit)
            if fit == self.identities[-1]:
                kind = FitKind.CONTINUED
            elif fit in self.identities or not self.identities[-1]:
                return FitKind.DONE, saved
            else:
                kind = FitKind.ANOTHER
                self._check_another(saved.meta, passed)
                self.identities.append(fit)
        self._newest = None
        self.was_trained_here = fit in passed
        passed.append(fit)
        return kind, saved

    def or_another(self) -> str:
        """Say how to train once more what this process has trained, as progressive resizing does with other data."""
        if not self.was_trained_here:
            return ""
        return f", or take {self._run.name}.phase('second').resume_fastai() for another fit"

    def _identities_of(self, meta: Mapping[str, Any], fit: str) -> list[str]:
        """Return those of a checkpoint; one of version 0.1 says no more than how many fits came before."""
        before = meta["fit"]
        return list(meta.get("fits") or [*map(str, range(before)), fit if before == self._call else ""])

    def _check_another(self, meta: Mapping[str, Any], passed: list[str]) -> None:
        """Refuse other parameters but after a fit that is complete, as a script has it that freezes and unfreezes."""
        name = self._run.name
        if not meta["complete"] or self.identities[-1] not in passed:
            raise RunMismatchError(
                f"the run {name} belongs to a fit that trains other parameters",
                why="other layers are frozen now"
                + (", and that fit is complete but was not gone through here" if meta["complete"] else ""),
                hint="freeze the layers as they were and run all the fits in order: those that are done only "
                f"load their weights; or give each its own: {name}.phase('fine-tune').resume_fastai()",
            )
