"""The best state of a run, brought back into a Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._tools.log import warn
from colabkit.checkpoint import _keras_state as state
from colabkit.checkpoint import manifest
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from colabkit.checkpoint.container import Checkpoint


def load(run: str, model: Any, newest: Checkpoint | None, candidates: Iterable[manifest.Candidate]) -> dict[str, Any]:
    """Give a model the weights of the best state; its optimizer stays as it is.

    Args:
        run: The run's name.
        model: The model.
        newest: The newest state, which knows the step of the best one.
        candidates: All states.

    Returns:
        What the newest state says about the best one.

    Raises:
        CheckpointError: There is none, or it cannot be read.
        RunMismatchError: It belongs to another model.
    """
    step = manifest.best_step(newest.meta) if newest is not None else None
    if newest is None or step is None:
        raise CheckpointError(
            f"the run {run} keeps no best state",
            why="it was not told by which metric, or no epoch has ended yet",
            do='train with run.resume(best="val_loss")',
        )
    found, _, passed_over = manifest.newest_good(each for each in candidates if each.step == step)
    for item in passed_over:
        warn("%s: passing over the checkpoint %s: %s", run, item.name, item.why)
    if found is None:
        raise CheckpointError(f"the best state of the run {run}, at step {step}, cannot be read")
    weights = {name: shape for name, shape in found.meta["layout"].items() if name.startswith("model/")}
    own = {name: shape for name, shape in state.layout(model).items() if name.startswith("model/")}
    state.check_same_model(run, weights, own)
    state.apply(model, found.tensors, groups=("model/",))
    return dict(newest.meta["best"])
