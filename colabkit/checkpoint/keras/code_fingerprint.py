"""The code that a training is made of, so that a changed line of it is named when the run goes on."""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOT_THE_USERS = ("builtins", "colabkit", "functools", "jax", "keras", "numpy", "tensorflow", "torch")


def is_the_users(code: Any) -> bool:
    """Tell whether a class or function is the user's, and of no package that Keras is made of."""
    module = (getattr(code, "__module__", None) or "builtins").split(".")[0]
    return module not in _NOT_THE_USERS


def fingerprints(model: Any, callbacks: Iterable[Any]) -> dict[str, str]:
    """Hash the source of the user's own classes and functions: of model, layers, loss, metrics and callbacks.

    Args:
        model: A compiled Keras model.
        callbacks: The callbacks of its fit.

    Returns:
        Name to hash; without those whose source cannot be found.
    """
    parts = [model, *model._flatten_layers(), model.optimizer, *compiled_parts(model), *callbacks]
    named = [("", part) for part in parts] + list(held_by_layers(model).items())
    hashes: dict[str, str] = {}
    for place, part in named:
        code = part if inspect.isfunction(part) else type(part)
        name = place if code.__qualname__.endswith("<lambda>") else code.__qualname__
        if not is_the_users(code) or name in hashes:
            continue
        if not (source := _source(code)):
            continue
        hashes[name] = hashlib.sha256(source.encode()).hexdigest()[:12]
    return hashes


def _source(code: Any) -> str:
    """Read the source of a function, or of all functions of a class: in a notebook a class itself has none."""
    functions = [code] if inspect.isfunction(code) else filter(inspect.isfunction, vars(code).values())
    try:
        return "".join(map(inspect.getsource, functions))
    except (OSError, TypeError):
        return ""


def held_by_layers(model: Any) -> dict[str, Any]:
    """Find what layers of Keras have of the user's: the function and arguments of a `Lambda`, an activation.

    Returns:
        The functions and objects by their places, as `layer-2.function`.
    """
    held: dict[str, Any] = {}
    for number, layer in enumerate(model._flatten_layers()):
        if type(layer).__name__ == "Lambda" and isinstance(getattr(layer, "arguments", None), dict):
            held[f"layer-{number}.arguments"] = layer.arguments
        if is_the_users(type(layer)) or hasattr(layer, "train_step"):  # a model's loss is among `compiled_parts`
            continue
        for name, value in vars(layer).items():
            code = value if inspect.isfunction(value) else type(value)
            is_partial = isinstance(value, functools.partial)
            if callable(value) and not hasattr(value, "_flatten_layers") and (is_partial or is_the_users(code)):
                held[f"layer-{number}.{name}"] = value
    return held


def compiled_parts(model: Any) -> list[Any]:
    """List the losses and metrics that a model was compiled with, as the user gave them."""
    compiled = getattr(model, "_compile_loss", None), getattr(model, "_compile_metrics", None)
    parts: list[Any] = []
    for given in (getattr(compiled[0], "_user_loss", None), getattr(compiled[1], "_user_metrics", None)):
        parts += given if isinstance(given, list | tuple) else given.values() if isinstance(given, dict) else [given]
    return [part for part in parts if part is not None and not isinstance(part, str)]
