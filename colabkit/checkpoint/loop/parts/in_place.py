"""Plain values, arrays and the containers of them, and JAX trees: as a checkpoint holds them, and put back in place."""

from __future__ import annotations

import collections
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.parts.values import check_keys, decode, encode
from colabkit.checkpoint.state import kinds
from colabkit.checkpoint.state.kinds import jax_tree
from colabkit.checkpoint.state.restore_into import restore_into

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JAX = ("jax", "jaxlib")
CONTAINERS = (dict, list, set, collections.deque)


def _is_of_a_tree(value: Any) -> bool:
    """Say whether it is a JAX array, a named tuple or dataclass, as states of optax and flax are, or another node."""
    if "jax" not in sys.modules:
        return False
    jax = type(value).__module__.split(".")[0] in JAX
    return jax or hasattr(value, "_fields") or hasattr(value, "__dataclass_fields__") or jax_tree.is_node(value)


def take_value(value: Any, place: str) -> Any:
    """Return a value as a checkpoint holds it; the place is for messages."""
    if _is_of_a_tree(value):
        return value  # what `snapshot.take_apart` knows
    if type(value) is dict:
        check_keys(value, place)
        return {key: take_value(item, f"{place}/{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(take_value(item, f"{place}/{at}") for at, item in enumerate(value))
    return encode(value, place)


def give_value(value: Any, saved: Any, place: str, *, anew: bool = False) -> Any:
    """Put back what `take_value` returned; return the value, or what replaces it.

    Args:
        value: What is there.
        saved: What was saved.
        place: Where it is, for messages.
        anew: What holds the value is made anew; so are dicts and lists of JAX, which may stand elsewhere, too.
    """
    if type(value) is dict and isinstance(saved, dict):
        value = dict(value) if anew and _holds_jax(value) else value
        _fill(value, saved, lambda now, item, key: give_value(now, item, f"{place}/{key}", anew=anew))
        return value
    if type(value) is list and isinstance(saved, list):
        value = list(value) if anew and _holds_jax(value) else value
        value[:] = [
            give_value(value[at] if at < len(value) else None, item, f"{place}/{at}", anew=anew)
            for at, item in enumerate(saved)
        ]
        return value
    if type(value) is tuple and type(saved) is tuple and len(value) == len(saved):  # a state of optax
        return tuple(give_value(value[at], item, f"{place}/{at}", anew=True) for at, item in enumerate(saved))
    if _is_of_a_tree(value):
        return restore_into(value, saved, place, anew=True)
    return put(value, decode(saved))


def _holds_jax(value: Any) -> bool:
    """Say whether a dict or list holds arrays of JAX, whose trees are assigned anew and not written to."""
    if isinstance(value, dict | list | tuple):
        return any(map(_holds_jax, value.values() if isinstance(value, dict) else value))
    return type(value).__module__.split(".")[0] in JAX and hasattr(value, "dtype")


def put(value: Any, content: Any) -> Any:
    """Put content into what was there, where it is of the same kind, as other names of it may exist; return it."""
    if isinstance(value, dict) and isinstance(content, dict):
        factory = getattr(value, "default_factory", None)
        new = factory if isinstance(factory, type) and issubclass(factory, CONTAINERS) else lambda: None
        _fill(value, content, lambda now, item, _: put(new() if now is None else now, item))
    elif isinstance(value, set) and isinstance(content, set):
        value.clear()
        value.update(content)
    elif isinstance(value, list | collections.deque) and isinstance(content, list | collections.deque):
        value.clear()
        value.extend(content)
    elif kinds.is_estimator(value) and type(value) is type(content):
        vars(value).clear()
        vars(value).update(vars(content))
    elif _is_alike(value, content):
        if not hasattr(value, "detach"):
            np.copyto(value, content)
        else:
            _write(value, content)
    else:
        return content
    return value


def _is_alike(value: Any, content: Any) -> bool:
    """Say whether both are tensors, or both arrays, of the same shape and type."""
    kinds = [isinstance(each, np.ndarray) or 2 * hasattr(each, "detach") for each in (value, content)]
    return bool(kinds[0] and kinds[0] == kinds[1] and value.shape == content.shape and value.dtype == content.dtype)


def _fill(mapping: dict[Any, Any], saved: Mapping[Any, Any], give: Callable[[Any, Any, Any], Any]) -> None:
    """Give a dict the saved items, in their order."""
    before = dict(mapping)
    mapping.clear()
    for key, item in saved.items():
        mapping[key] = give(before.get(key), item, key)


def _write(tensor: Any, content: Any) -> None:
    import torch

    with torch.no_grad():
        tensor.copy_(content)


def arrays_in(value: Any, place: str) -> dict[str, Any]:
    """Return the tensors and arrays in a value and the dicts in it, by their places."""
    if isinstance(value, dict):
        return {at: leaf for key, item in value.items() for at, leaf in arrays_in(item, f"{place}/{key}").items()}
    return {place: value} if isinstance(value, np.ndarray) or hasattr(value, "detach") else {}


def without(value: Any, places: list[str], place: str) -> Any:
    """Take tensors and arrays out of a value: what was put there later does not go into them."""
    if place in places:
        return None
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = without(item, places, f"{place}/{key}")
    return value
