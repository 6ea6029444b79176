"""The best state of a run that trained with torch: its weights for a module."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.parts.modules import ModulePart
from colabkit.checkpoint.state import pytree
from colabkit.errors import CheckpointError, RunMismatchError

if TYPE_CHECKING:
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.run_store import RunStore

_KINDS = {"loop": "run.loop", "lightning": "run.resume_lightning", "transformers": "run.resume_transformers"}


def load(run: RunStore, module: Any) -> dict[str, Any]:
    """Give a module the weights of the best state.

    Raises:
        CheckpointError: The run keeps no best state, or it cannot be read.
        RunMismatchError: It belongs to another model.
    """
    newest = _newest(run)
    if newest is None:
        raise CheckpointError(f"the run {run.name} has no state yet", hint="train it first")
    saved = run.best_state(newest)
    parts = pytree.unflatten(saved.meta["state"], saved.tensors)["parts"]
    modules = [part["module"] for part in (parts.get("model"), *parts.values()) if part and "module" in part]
    if not modules:
        raise CheckpointError(
            f"the run {run.name} has saved no module",
            hint="give the loop the module by a name of its own: model=module",
        )
    part = ModulePart(module, "model")
    part.check(modules[0], run.name)
    part.give(modules[0])
    note: dict[str, Any] = newest.meta["best"]
    return note


def _newest(run: RunStore) -> Checkpoint | None:
    for kind in _KINDS:
        with contextlib.suppress(RunMismatchError):
            return run.newest(kind)
    raise RunMismatchError(
        f"the run {run.name} was not trained with torch",
        hint=f"train it with one of {', '.join(_KINDS.values())}",
    )
