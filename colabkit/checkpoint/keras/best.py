"""The best state of a run, brought back into a Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.keras import state

if TYPE_CHECKING:
    from colabkit.checkpoint.format.file import Checkpoint


def load(run: str, model: Any, checkpoint: Checkpoint, note: dict[str, Any]) -> dict[str, Any]:
    """Give a model the weights of the best state; its optimizer stays as it is.

    Args:
        run: The run's name.
        model: The model.
        checkpoint: The best state.
        note: What the newest state says about it.

    Returns:
        The note.

    Raises:
        RunMismatchError: It belongs to another model.
    """
    weights = {name: shape for name, shape in checkpoint.meta["layout"].items() if name.startswith("model/")}
    own = {name: shape for name, shape in state.layout(model).items() if name.startswith("model/")}
    state.check_same_model(run, weights, own)
    state.apply(model, checkpoint.tensors, groups=("model/",))
    return dict(note)
