"""A checkpoint as a training in torch reads it, and what must be the same to go on from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.state.checks import require_keys
from colabkit.errors import CorruptCheckpointError, RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.state.workers import WorkerCoordinator

_NEEDED = frozenset({"step", "epoch", "step_in_epoch", "complete", "seconds", "data", "state"})
_OF_A_WORKER = {"rank", "world size"}


@dataclass(frozen=True, kw_only=True)
class StateKind:
    """What the checkpoints of one kind of training hold.

    Attributes:
        name: The kind, as a checkpoint names it.
        holds: What is saved, in words.
        tree: What stands in its state.
        meta: What it says beside what all say.
    """

    name: str
    holds: str
    tree: frozenset[str]
    meta: frozenset[str] = frozenset()


class SavedState:
    """A checkpoint as one process of the training reads it; it says all that those of its kind say.

    Args:
        checkpoint: The checkpoint.
        kind: What it must hold.
        run: The run's name.
        workers: The processes that train now.

    Attributes:
        meta: What it says.
        tensors: Its arrays, by name.

    Raises:
        CorruptCheckpointError: It does not say what it must.
    """

    def __init__(self, checkpoint: Checkpoint, kind: StateKind, *, run: str, workers: WorkerCoordinator) -> None:
        require_keys(run, checkpoint.meta, _NEEDED | kind.meta)
        self.meta = checkpoint.meta
        self.tensors = checkpoint.tensors
        self._checkpoint = checkpoint
        self._kind = kind
        self._run = run
        self._workers = workers

    @property
    def processes(self) -> int:
        """How many processes have trained it."""
        count: int = self.meta.get("workers", 1)
        return count

    @property
    def is_resized(self) -> bool:
        """Whether it was saved by another number of processes than train now."""
        return self.processes != self._workers.count

    def tree(self) -> dict[str, Any]:
        """Return what is saved, anew each time.

        Raises:
            CorruptCheckpointError: It is not what this kind of training saves.
        """
        return tree_of(self._checkpoint, self._kind, run=self._run)

    def restore_random(self) -> None:
        """Put back the global random states, where they are of this process."""
        if self._workers.index < self.processes:
            rng.restore(self.tensors)

    def may_differ(self, *, besides: Iterable[str] = ()) -> frozenset[str]:
        """Name what of the data may be another now: what follows from the number of processes, and more.

        Args:
            besides: What else.
        """
        names = {*besides}
        if not self._workers.is_single or self.processes > 1:
            names |= _OF_A_WORKER
        if self.is_resized:
            names |= {"steps"}
        return frozenset(names)

    def check_resized(self, *, refuse: bool, shares_out: bool, warn: Callable[..., None]) -> None:
        """Refuse another number of processes where the state cannot be shared out anew, and say what it changes.

        Args:
            refuse: Refuse what is not the same training.
            shares_out: Whether what is left of an epoch can be shared out anew.
            warn: Says a line with values.

        Raises:
            RunMismatchError: It cannot be shared out.
        """
        before, now = self.processes, self._workers.count
        words = f"{before} process{'es' if before > 1 else ''}"
        why = self._why_not_resizable(shares_out=shares_out)
        if why and refuse:
            raise RunMismatchError(
                f"the run {self._run} was trained by {words}, and this training has {now}",
                why=why,
                hint=f"start {words} once more, to the end of the epoch at least; or pass check_data=False to go on "
                "with other samples",
            )
        warn(
            "%s: %s instead of %s processes: weights and optimizer go on; random numbers, and the samples of each "
            "process, are others, and so is the batch of all together, unless you change its size",
            now,
            before,
        )

    def _why_not_resizable(self, *, shares_out: bool) -> str:
        if self.meta["step_in_epoch"] and not shares_out:
            return "it stopped within an epoch, and its data is not shared out by a DistributedSampler"
        if any(grads is not None for grads in self.tree().get("gradients", [])):
            return "gradients of each process wait there for a step of the optimizer"
        return ""


def tree_of(checkpoint: Checkpoint, kind: StateKind, *, run: str) -> dict[str, Any]:
    """Return what a checkpoint has saved.

    Args:
        checkpoint: The checkpoint.
        kind: What it must hold.
        run: The run's name.

    Raises:
        CorruptCheckpointError: It is not what this kind of training saves.
    """
    words = f"the checkpoint of {run} holds no {kind.holds}"
    try:
        tree: dict[str, Any] = pytree.unflatten(checkpoint.meta["state"], checkpoint.tensors)
        missing = kind.tree - tree.keys()
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # the hash is right, yet not ours
        raise CorruptCheckpointError(words, why=repr(error)) from error
    if missing:
        raise CorruptCheckpointError(words, why=f"it lacks {', '.join(sorted(missing))}")
    return tree
