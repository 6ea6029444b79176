"""PyTorch: Keras takes the GPU by itself, and one only. Imported in a scope only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colabkit.accelerator.base import Strategy


def devices(chosen: Strategy) -> contextlib.AbstractContextManager[Any]:
    """Return the scope that keeps Keras off the GPU where that was asked for."""
    import keras

    scope: contextlib.AbstractContextManager[Any]
    scope = keras.device("cpu") if chosen.device == "cpu" else contextlib.nullcontext()
    return scope
