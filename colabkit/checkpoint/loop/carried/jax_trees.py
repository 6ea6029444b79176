"""Arrays and trees of JAX that a loop assigns anew in each step, as `params, state = step(params, state, batch)`.

| what                                                     | is saved                      | is given back            |
|----------------------------------------------------------|-------------------------------|--------------------------|
| arrays, keys, dicts, lists, named tuples (optax) of them | with its types                | as it was                |
| what holds functions, too (TrainState, equinox)          | by its arrays                 | to the one that is there |
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from colabkit.checkpoint.loop.carried.telling import PLAIN
from colabkit.checkpoint.loop.parts.in_place import give_value, take_value
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state.kinds import jax_tree
from colabkit.errors import CheckpointError

_PLAIN = (*PLAIN, np.ndarray, np.generic)
_COMPARED = 1 << 24  # bytes of an array that tell it from another
_FOUND = (AttributeError, TypeError, ValueError)


def is_tree(value: Any) -> bool:
    """Say whether it is an array of JAX, or a tree with such arrays and nothing that a checkpoint cannot hold."""
    jax = sys.modules.get("jax")
    if not hasattr(jax, "Array") or isinstance(value, (*_PLAIN, type)):
        return False
    try:
        leaves = _leaves(value)
    except _FOUND:  # keys of a dict that have no order; a tree that JAX refuses
        return False
    arrays = [isinstance(each, jax.Array) for each in leaves]  # type: ignore[union-attr]
    others = [each for each, is_array in zip(leaves, arrays, strict=True) if not is_array]
    return any(arrays) and all(isinstance(each, _PLAIN) or _is_function(each) for each in others)


def parts_of(value: Any) -> list[Any]:
    """Give what tells a tree from another one: its arrays, as NumPy has them, and its plain values."""
    return [_as_array(each) for each in _leaves(value) if not _is_function(each)]


def take(value: Any, place: str) -> dict[str, Any]:
    """Return what a checkpoint holds of a tree.

    Raises:
        CheckpointError: A checkpoint cannot hold it.
    """
    if not jax_tree.is_changed_in_place(value):
        try:
            return {"value": encode(value, place)}
        except CheckpointError:  # it holds functions
            pass
    return {"tree": take_value(value, place)}


def rebuild(content: dict[str, Any], now: Any, place: str) -> Any:
    """Make a tree again of what `take` returned.

    Args:
        content: What `take` returned.
        now: What is there, whose functions it gets.
        place: Where it is, for messages.

    Raises:
        CheckpointError: It held functions, and what is there is no such tree.
    """
    if "value" in content:
        return decode(content["value"])
    if not is_tree(now):
        raise CheckpointError(f"{place} cannot be put back", hint="make it before the loop, as it was")
    return give_value(now, content["tree"], place)


def _leaves(value: Any) -> list[Any]:
    jax: Any = sys.modules["jax"]
    if jax_tree.is_changed_in_place(value):
        nnx: Any = sys.modules["flax.nnx"]
        value = nnx.to_pure_dict(nnx.state(value))
    return list(jax.tree_util.tree_leaves(value))


def _is_function(value: Any) -> bool:
    return callable(value) and not hasattr(value, "variables") and not hasattr(value, "__array__")


def _as_array(leaf: Any) -> Any:
    jax: Any = sys.modules["jax"]
    if not isinstance(leaf, jax.Array):
        return leaf
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if leaf.nbytes > _COMPARED:
        leaf = leaf.reshape(-1)[:: leaf.nbytes // _COMPARED]
    return np.asarray(leaf)
