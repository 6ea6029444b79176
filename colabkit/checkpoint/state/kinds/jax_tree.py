"""Nodes of JAX trees that are no dict, list or tuple: flax's TrainState and FrozenDict, modules of equinox and nnx.

JAX knows which of their parts are arrays. Functions among them (`apply_fn`, an optimizer of optax, an activation) are
what the program builds, and are taken from there.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_OTHERS = (dict, list, tuple, str, bytes, int, float, complex, type, type(None), np.ndarray, np.generic)


class WeakScalar(np.ndarray[Any, Any]):
    """A number of JAX that takes the type of what it is multiplied with, as `jax.numpy.array(1.0)` is."""


@dataclasses.dataclass(frozen=True)
class FunctionInTree:
    """Stands in a state for a function in a tree; nothing of it is saved.

    Attributes:
        name: Its class, for a reader of the file.
    """

    name: str


def parts_of(value: Any, can_be_saved: Callable[[Any], bool]) -> dict[Any, Any] | None:
    """Name the parts of a node; None for anything else.

    Args:
        value: The value.
        can_be_saved: Says it of a setting of the node that JAX does not count among its arrays.
    """
    if _is_of_nnx(value):
        return _nnx_parts(value)
    if (children := _children(value)) is None:
        return None
    named = {name: _without_functions(child) for name, child in children[0].items()}
    settings = {name: getattr(value, name) for name in _fields(value) if name not in named}
    return named | {name: each for name, each in settings.items() if can_be_saved(each)}


def rebuild(template: Any, saved: Any, restore: Callable[[Any, Any, str], Any], place: str) -> Any:
    """Give a node like the template what `parts_of` named; one of nnx is filled in place. None for anything else.

    Args:
        template: The node, made anew.
        saved: Its parts.
        restore: Gives one part its type again; it is told the place.
        place: Where the node is.

    Raises:
        RunMismatchError: The parts are others.
    """
    if _is_of_nnx(template):
        nnx = sys.modules["flax.nnx"]
        state = nnx.state(template)
        nnx.replace_by_pure_dict(state, restore(nnx.to_pure_dict(state), saved, place))
        nnx.update(template, state)
        return template
    if (children := _children(template)) is None:
        return None
    named, made = children
    settings = saved.keys() - named.keys() if isinstance(saved, dict) else set()
    if not isinstance(saved, dict) or named.keys() - saved.keys() or settings - set(_fields(template)):
        return restore(dict(named), saved, place)  # which says how they differ
    node = made([restore(child, saved[name], f"{place}/{name}") for name, child in named.items()])
    for name in settings:
        object.__setattr__(node, name, restore(getattr(template, name), saved[name], f"{place}/{name}"))
    return node


def is_node(value: Any) -> bool:
    """Say whether it is such a node."""
    return _is_of_nnx(value) or _children(value) is not None


def is_changed_in_place(value: Any) -> bool:
    """Say whether it is a module, an optimizer or another object of nnx, which stays the same object."""
    return _is_of_nnx(value)


def _is_of_nnx(value: Any) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return hasattr(nnx, "Pytree") and isinstance(value, nnx.Pytree)  # type: ignore[union-attr]


def _nnx_parts(value: Any) -> dict[Any, Any]:
    nnx: Any = sys.modules["flax.nnx"]
    parts: dict[Any, Any] = nnx.to_pure_dict(nnx.state(value))
    return parts


def _children(value: Any) -> tuple[dict[Any, Any], Callable[[list[Any]], Any]] | None:
    """Return the children of a node by their names, and what makes one of them; None for anything else."""
    jax = sys.modules.get("jax")
    if jax is None or isinstance(value, _OTHERS) or type(value).__module__.split(".")[0] in ("jaxlib", "torch"):
        return None
    try:
        pairs, tree = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda each: each is not value)
    except (AttributeError, TypeError, ValueError):  # JAX is being imported; keys that have no order
        return None
    if tree.num_nodes == 1 and pairs and not pairs[0][0]:
        return None
    return {_name(path[0]): child for path, child in pairs}, tree.unflatten


def _name(key: Any) -> Any:
    return next(getattr(key, each) for each in ("name", "key", "idx") if hasattr(key, each))


def _fields(value: Any) -> list[str]:
    return [each.name for each in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []


def _without_functions(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_functions(item) for key, item in value.items()} if type(value) is dict else value
    if type(value) in (list, tuple):
        return type(value)(map(_without_functions, value))
    is_function = callable(value) and not hasattr(value, "__array__") and not is_node(value)
    return FunctionInTree(type(value).__name__) if is_function else value
