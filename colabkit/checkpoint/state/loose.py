"""What torch modules keep outside their state_dict: hidden states, counters, buffers that are not persistent.

A recurrent network that carries its hidden state from batch to batch keeps it in an attribute, and so do counters.
What such an attribute holds when a training starts is what the user built; what has changed since is state.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

_WORDS = (bool, int, float, complex, str, bytes, type(None))
Marks = dict[tuple[str, str], Any]


class LooseState:
    """Finds the attributes of a module, and of those in it, that change while it trains.

    Args:
        module: The module as it was built, before a state is restored to it.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._first: Marks = {place: _mark(value) for place, value in _attributes(module).items()}
        self._restored: set[tuple[str, str]] = set()

    def changed(self) -> dict[str, dict[str, Any]]:
        """Return the values that differ from those at the start, by the module's name and the attribute's."""
        changes: dict[str, dict[str, Any]] = {}
        for place, value in _attributes(self._module).items():
            if place in self._restored or place not in self._first or not _is_same(value, self._first[place]):
                changes.setdefault(place[0], {})[place[1]] = value
        return changes

    def restore(self, saved: dict[str, dict[str, Any]]) -> None:
        """Put back what `changed` returned; tensors come to the device of the module's parameters."""
        modules = dict(_modules(self._module))
        device = next((each.device for each in self._module.parameters()), None)
        for name, values in saved.items():
            if (module := modules.get(name)) is None:
                continue
            for attribute, value in values.items():
                self._restored.add((name, attribute))
                setattr(module, attribute, _to(value, device))


def _modules(module: Any) -> Any:
    for name, each in module.named_modules():
        yield name.replace("_orig_mod.", "").removesuffix("_orig_mod"), each


def _attributes(module: Any) -> Marks:
    import torch

    own = vars(torch.nn.Module()).keys()
    marks: Marks = {}
    for name, each in _modules(module):
        for attribute, value in vars(each).items():
            if attribute not in own and _is_value(value, torch):
                marks[name, attribute] = value
        for attribute in each._non_persistent_buffers_set:
            if (buffer := each._buffers.get(attribute)) is not None:
                marks[name, attribute] = buffer
    return marks


def _is_value(value: Any, torch: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not isinstance(value, torch.nn.Parameter) and value.layout == torch.strided
    if type(value) in (list, tuple):
        return all(_is_value(item, torch) for item in value)
    if type(value) is dict:
        return all(isinstance(key, str | int) for key in value) and all(_is_value(v, torch) for v in value.values())
    return type(value) in _WORDS or isinstance(value, np.ndarray | np.generic)


def _mark(value: Any) -> Any:
    """Note what a value is without a copy of a tensor: which one it is, and how often it was written to."""
    if hasattr(value, "_version"):
        return weakref.ref(value), value._version
    if isinstance(value, list | tuple):
        return [_mark(item) for item in value]
    if isinstance(value, dict):
        return {key: _mark(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _is_same(value: Any, mark: Any) -> bool:
    if hasattr(value, "_version"):
        return isinstance(mark, tuple) and mark[0]() is value and mark[1] == value._version
    if isinstance(value, list | tuple):
        return isinstance(mark, list) and len(mark) == len(value) and all(map(_is_same, value, mark))
    if isinstance(value, dict):
        return (
            isinstance(mark, dict) and value.keys() == mark.keys() and all(_is_same(value[k], mark[k]) for k in value)
        )
    if isinstance(value, np.ndarray):
        return isinstance(mark, np.ndarray) and value.dtype == mark.dtype and np.array_equal(value, mark)
    return type(value) is type(mark) and bool(value == mark or (value != value and mark != mark))


def _to(value: Any, device: Any) -> Any:
    if hasattr(value, "_version"):
        return value if device is None else value.to(device)
    if isinstance(value, list | tuple):
        return type(value)(_to(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return value
