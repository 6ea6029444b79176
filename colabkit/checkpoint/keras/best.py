"""The best state of a run, brought back into a Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.keras import state
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from colabkit.checkpoint.run_store import RunStore


def load(run: RunStore, model: Any) -> dict[str, Any]:
    """Give a model the weights of the best state; its optimizer stays as it is.

    Args:
        run: The run.
        model: The model.

    Returns:
        What the newest state says about the best one.

    Raises:
        CheckpointError: The run keeps no best state, or it cannot be read.
        RunMismatchError: It belongs to another model.
    """
    newest = run.newest("keras")
    if newest is None:
        raise CheckpointError(f"the run {run.name} has no state yet", hint="train it first")
    checkpoint = run.best_state(newest)
    weights = {name: shape for name, shape in checkpoint.meta["layout"].items() if name.startswith("model/")}
    own = {name: shape for name, shape in state.layout(model).items() if name.startswith("model/")}
    state.check_same_model(run.name, weights, own)
    state.apply(model, checkpoint.tensors, groups=("model/",))
    return dict(newest.meta["best"])
