"""Variables that Keras does not list: the states of a stateful RNN, a `tf.Variable` in an attribute of a layer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH = 3


def variables(model: Any, known: set[int]) -> Iterator[tuple[str, Any]]:
    """Go through the variables in attributes of the model and its layers that are in none of Keras' lists.

    Args:
        model: The model.
        known: The identities of the variables that Keras lists.
    """
    seen = set(known)
    for number, layer in enumerate(model._flatten_layers()):
        for name, value in sorted(vars(layer).items(), key=lambda item: item[0]):
            for place, item in _inside(value, name):
                if _is_variable(item) and id(item) not in seen:
                    seen.add(id(item))
                    yield f"{number}.{place}", item


def _inside(value: Any, place: str, depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple) and depth:
        for index, item in enumerate(value[:256]):
            yield from _inside(item, f"{place}.{index}", depth - 1)
    elif isinstance(value, dict) and depth:
        for key, item in list(value.items())[:256]:
            if isinstance(key, str | int):
                yield from _inside(item, f"{place}.{key}", depth - 1)
    else:
        yield place, value


def _is_variable(value: Any) -> bool:
    if isinstance(value, keras.Variable):
        return True
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and hasattr(tensorflow, "Variable") and isinstance(value, tensorflow.Variable)
