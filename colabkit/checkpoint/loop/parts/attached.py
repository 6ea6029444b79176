"""What is given to a loop, and what hangs on it: optimizers that modules keep, and the tensors that something holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.state.loose import find_attached

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN_KEYS = (str, bytes, int, float, tuple, frozenset, type(None), np.generic)


def attached_to(given: Mapping[str, Any]) -> dict[str, Any]:
    """Name what the given modules and optimizers keep outside their state_dict, but for what is given itself."""
    named = {id(each) for each in flat(given)}
    parts: dict[str, Any] = {}
    waiting = [pair for name, value in given.items() for pair in _named(value, name)]
    while waiting:
        place, owner = waiting.pop(0)
        inside: dict[str, Any] = {}
        if is_module(owner):
            inside = find_attached(owner)
        elif is_optimizer(owner) and not hasattr(owner, "optimizer"):  # SAM and Lookahead have one that steps for them
            inside = {name: each for name, each in vars(owner).items() if is_optimizer(each)}
        for name, each in inside.items():
            if id(each) not in named:
                named.add(id(each))
                parts[f"{place}.{name}"] = each
                waiting.append((f"{place}.{name}", each))
    return parts


def _named(value: Any, place: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, item in plain_keys(value).items() for pair in _named(value[item], f"{place}/{key}")]
    if type(value) in (list, tuple):
        return [pair for at, item in enumerate(value) for pair in _named(item, f"{place}/{at}")]
    return [(place, value)]


def flat(value: Any) -> list[Any]:
    """List what is in a value, in the dicts, lists and tuples of it."""
    if isinstance(value, dict):
        return [each for item in value.values() for each in flat(item)]
    if type(value) in (list, tuple):
        return [each for item in value for each in flat(item)]
    return [value]


def optimizers_in(value: Any) -> list[Any]:
    """List the optimizers in a value."""
    return [each for each in flat(value) if is_optimizer(each)]


def tensors_in(value: Any) -> set[tuple[str, int]]:
    """Identify the tensors that something holds; those of a state_dict are other objects in the same memory."""
    if hasattr(value, "detach"):
        return {("object", id(value))}
    if is_module(value):
        return {("object", id(each)) for each in value.parameters()}
    if is_optimizer(value) or not hasattr(value, "state_dict"):
        return set()
    return {("memory", each.data_ptr()) for each in flat(value.state_dict()) if hasattr(each, "data_ptr")}


def is_module(value: Any) -> bool:
    """Say whether it is a module of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "nn") and isinstance(value, torch.nn.Module)


def is_optimizer(value: Any) -> bool:
    """Say whether it is an optimizer of torch, or one that accelerate wraps."""
    return hasattr(value, "param_groups") and hasattr(value, "state_dict") and hasattr(value, "step")


def plain_keys(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """Name the keys of a dict: by themselves, or by their place where they are objects, such as parameters."""
    return {key if isinstance(key, _PLAIN_KEYS) else f"item {at}": key for at, key in enumerate(mapping)}
