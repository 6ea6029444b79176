"""Which values a checkpoint holds as they are, and what tells one of them from another."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import deque
from typing import Any

import numpy as np

from colabkit.checkpoint.loop.carried.inside import attributes_of
from colabkit.checkpoint.loop.parts.values import encode

_COUNTED = 20_000  # values of a container that tell it from another
_COMPARED = 1 << 24  # bytes of an array that do
_SOME = 64
PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""The kinds of values that are written as they are."""
CONTAINERS = (list, tuple, dict, set, frozenset, deque)
_KEYS = (*PLAIN, tuple, np.generic)


# ---- kinds of values ----


def is_array(value: Any) -> bool:
    """Say whether it is an array of numbers or a tensor."""
    if isinstance(value, np.ndarray | np.generic):
        return not value.dtype.hasobject
    return _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    """Say whether it is a tensor of torch, and no class of them, as in `Tensor = torch.FloatTensor`."""
    return hasattr(value, "untyped_storage") and hasattr(value, "detach") and not isinstance(value, type)


def is_simple(value: Any) -> bool:
    """Say whether a container holds plain values, arrays and tensors alone; of a large one its first items tell."""
    left = [_COUNTED]

    def is_plain(each: Any) -> bool:
        left[0] -= 1
        if left[0] < 0 or isinstance(each, PLAIN) or is_array(each):
            return True
        if isinstance(each, dict):
            return all(isinstance(key, _KEYS) for key in each) and all(map(is_plain, each.values()))
        return isinstance(each, CONTAINERS) and all(map(is_plain, each))

    return is_plain(value)


def tensors_in(value: Any) -> list[Any]:
    """List the dense tensors in a value and in its containers; of a large one those among its first items."""
    tensors: list[Any] = []
    waiting = [value]
    for _ in range(_COUNTED):
        if not waiting:
            break
        each = waiting.pop()
        if isinstance(each, CONTAINERS):
            waiting += itertools.islice(each.values() if isinstance(each, dict) else each, _COUNTED)
        elif _is_tensor(each) and str(each.layout) == "torch.strided":
            tensors.append(each)
    return tensors


def shapes_of(module: Any) -> dict[str, Any]:
    """Name the tensors of a module's state, with their shapes."""
    return {name: getattr(each, "shape", None) for name, each in module.state_dict().items()}


# ---- telling one from another ----


def digest_of(value: Any) -> str:
    """Tell a value from another one: by all of it, or by parts of a large one.

    Example:
        >>> digest_of([1, 2.0]) == digest_of([1, 2.0]), digest_of([1, 2.0]) == digest_of([1, 2.5])
        (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value, [_COUNTED])
    return digest.hexdigest()


def _feed(digest: Any, value: Any, left: list[int]) -> None:
    left[0] -= 1
    if is_array(value):
        _feed_array(digest, value)
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)}".encode())
        for key, item in _some(list(value.items()), left):
            digest.update(repr(key).encode())
            _feed(digest, item, left)
    elif isinstance(value, set | frozenset):
        digest.update(repr(sorted(map(repr, value))).encode())
    elif dataclasses.is_dataclass(value):
        _feed(digest, attributes_of(value), left)
    elif isinstance(value, list | tuple | deque):
        digest.update(f"{'tuple' if isinstance(value, tuple) else 'list'} {len(value)}".encode())
        for item in _some(value, left):
            _feed(digest, item, left)
    else:
        digest.update(repr(value).encode() if isinstance(value, PLAIN) else b"?")


def _some(items: Any, left: list[int]) -> Any:
    if len(items) <= max(left[0], _SOME * 2):
        return items
    return [*(items[at] for at in range(_SOME)), *(items[at] for at in range(-_SOME, 0))]


def _feed_array(digest: Any, value: Any) -> None:
    digest.update(f"{value.dtype} {tuple(value.shape)}".removeprefix("torch.").encode())
    if value.nbytes > _COMPARED:
        digest.update(str(getattr(value, "_version", "")).encode())
        value = value.reshape(-1)[:: max(1, value.nbytes // _COMPARED)]
    if isinstance(value, np.ndarray | np.generic):
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        _feed(digest, encode(value, ""), [_COUNTED])
