"""The code that a training is made of, so that a changed line of it is named when the run goes on."""

from __future__ import annotations

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
    hashes: dict[str, str] = {}
    for part in parts:
        code = part if inspect.isfunction(part) else type(part)
        if not is_the_users(code) or code.__qualname__ in hashes:
            continue
        if not (source := _source(code)):
            continue
        hashes[code.__qualname__] = hashlib.sha256(source.encode()).hexdigest()[:12]
    return hashes


def _source(code: Any) -> str:
    """Read the source of a function, or of all functions of a class: in a notebook a class itself has none."""
    functions = [code] if inspect.isfunction(code) else filter(inspect.isfunction, vars(code).values())
    try:
        return "".join(map(inspect.getsource, functions))
    except (OSError, TypeError):
        return ""


def compiled_parts(model: Any) -> list[Any]:
    """List the losses and metrics that a model was compiled with, as the user gave them."""
    compiled = getattr(model, "_compile_loss", None), getattr(model, "_compile_metrics", None)
    parts: list[Any] = []
    for given in (getattr(compiled[0], "_user_loss", None), getattr(compiled[1], "_user_metrics", None)):
        parts += given if isinstance(given, list | tuple) else given.values() if isinstance(given, dict) else [given]
    return [part for part in parts if part is not None and not isinstance(part, str)]
