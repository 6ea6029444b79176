"""The kinds of values that a user's objects keep: how a change is seen, how each is saved and given back."""

from __future__ import annotations

import math
import os
import sys
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit.checkpoint.keras.code_fingerprint import is_the_users
from colabkit.checkpoint.state import rng
from colabkit.checkpoint.state.moments import is_a_moment

if TYPE_CHECKING:
    from collections.abc import Callable

    Array = np.ndarray[Any, Any]

_ITEMS = 4096  # items of a container that tell it from another
_WHOLE = 1 << 26  # bytes of an array that are read to tell it from another
_FRESH = 100.0  # seconds
_SHORT = 80  # characters of a text that may be a setting
_TENSOR = "$colabkit.tensor"
STATE_DICT = "$colabkit.state_dict"


class Assigned:
    """A variable: what it holds is saved."""

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def read(self) -> Array:
        if isinstance(self.variable, keras.Variable):
            return np.array(keras.ops.convert_to_numpy(self.variable.value))
        return np.array(self.variable.numpy())  # of TensorFlow, where `value` is a method


class SeedState(Assigned):
    """The state of a `keras.random.SeedGenerator`, which without a seed is another one in each process."""


class Stateful:
    """An object of torch with a `state_dict()`, as an optimizer or a schedule."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner


class Stream:
    """An iterator: nobody can tell where it is, so it is one that changes."""

    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator


def is_variable(value: Any) -> bool:
    """Tell whether a value is a variable of Keras or TensorFlow."""
    if isinstance(value, keras.Variable):
        return True
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and hasattr(tensorflow, "Variable") and isinstance(value, tensorflow.Variable)


def is_tf_generator(value: Any) -> bool:
    """Tell whether a value is a `tf.random.Generator`."""
    return type(value).__module__.startswith("tensorflow.") and hasattr(value, "_state_var")


def has_state_dict(value: Any) -> bool:
    """Tell whether a value is an object of torch that can tell its state."""
    root = type(value).__module__.split(".")[0]
    return root == "torch" and hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def is_frame(value: Any) -> bool:
    """Tell whether a value is a frame or a series of pandas."""
    return type(value).__module__.startswith("pandas.") and type(value).__name__ in ("DataFrame", "Series")


def as_torch(value: Any) -> Any:
    """Make the arrays of a state dict tensors again."""
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    if isinstance(value, dict):
        return {key: as_torch(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(as_torch(item) for item in value)
    return value


def _is_tensor(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return False
    root = type(value).__module__.split(".")[0]
    return root in ("tensorflow", "jax", "jaxlib", "torch") and (hasattr(value, "numpy") or root.startswith("jax"))


def is_array(value: Any) -> bool:
    """Tell whether a value is an array or a tensor of numbers, and not larger than a checkpoint should hold twice."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and not value.dtype.hasobject and value.nbytes <= _WHOLE
    return _is_tensor(value) and len(value.shape) > 0 and math.prod(value.shape) <= _WHOLE // 4


def holds_arrays(value: Any) -> bool:
    """Tell whether a value is an array, or a list, tuple or dict of such, of numbers and of texts."""
    if not isinstance(value, list | tuple | dict):
        return is_array(value)
    items = list(value.values() if isinstance(value, dict) else value)[:_ITEMS]
    plain_or_arrays = all(isinstance(item, int | float | str | None) or holds_arrays(item) for item in items)
    return plain_or_arrays and any(map(holds_arrays, items))


def is_numbers(value: Any) -> bool:
    """Tell whether a value is a list, tuple or dict of numbers alone, and not empty.

    Example:
        >>> is_numbers([0.5, (1, 2)]), is_numbers(["a"]), is_numbers([])
        (True, False, False)
    """
    items = list(value.values() if isinstance(value, dict) else value) if isinstance(value, list | tuple | dict) else []
    return bool(items) and all(isinstance(item, int | float) or is_numbers(item) for item in items[:_ITEMS])


def is_value(value: Any) -> bool:
    """Whether a value is one that is saved as it stands."""
    if is_variable(value):
        return False
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | np.ndarray):
        return True
    if rng.is_generator(value) or _is_tensor(value) or is_frame(value):
        return True
    if isinstance(value, dict):
        return all(_is_item(item) for item in list(value.values())[:_ITEMS])
    if isinstance(value, list | tuple | set | frozenset | deque):
        return all(_is_item(item) for item in list(value)[:_ITEMS])
    return False


def _is_item(item: Any) -> bool:
    return not (
        callable(item)
        or is_variable(item)
        or isinstance(item, keras.metrics.Metric | keras.optimizers.Optimizer)
        or hasattr(item, "__next__")
        or (is_the_users(type(item)) and hasattr(item, "__dict__"))
        or (isinstance(item, list | tuple | dict | set | deque) and not is_value(item))
    )


def is_drawn(value: Any) -> bool:
    """Tell whether a value is a random generator: made without a seed it is another one in each process."""
    return isinstance(value, SeedState) or rng.is_generator(value)


def setting_of(value: Any) -> str:
    """Write a plain value as a user would; empty for one that is no setting, as a moment or a path.

    Example:
        >>> setting_of(0.5), setting_of([1, 2])
        ('0.5', '')
    """
    plain_kinds = bool | int | float | str | None
    clock = isinstance(value, float) and value > _FRESH  # any small number may be the age of a young process
    if not isinstance(value, plain_kinds) or is_a_moment(value, of_any_clock=clock):
        return ""
    if isinstance(value, str) and (len(value) > _SHORT or os.path.isabs(value)):  # noqa: PTH117 - most are no paths
        return ""
    return repr(value)


def is_path_that_is_gone(kept: Any, now: Any) -> bool:
    """Tell whether a saved text is the path of another machine's or session's file, and this one has its own."""
    if not (isinstance(kept, str) and isinstance(now, str)) or kept == now:
        return False
    return os.path.isabs(kept) and not os.path.exists(kept)  # noqa: PTH110, PTH117 - most texts are no paths


def mark_of(value: Any) -> Any:  # noqa: C901 - one row for each kind of value
    """Give a value that tells whether something has changed."""
    if isinstance(value, Stateful):
        return mark_of(value.owner.state_dict())
    if isinstance(value, Stream):
        return object()
    if isinstance(value, Assigned):
        return mark_of(value.read())
    if rng.is_generator(value):
        return repr(rng.generator_state(value))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, _digest(value)
    if is_frame(value):
        return value.shape, _digest_of_frame(value)
    if _is_tensor(value):
        try:
            return mark_of(np.asarray(keras.ops.convert_to_numpy(value)))
        except Exception:  # noqa: BLE001 - a tensor of a graph that is traced
            return id(value)
    if isinstance(value, dict):
        items = list(value.items())
        return len(items), [(str(key), mark_of(item)) for key, item in _some(items)]
    if isinstance(value, set | frozenset):
        return len(value), sorted(map(repr, value))[:_ITEMS]
    if isinstance(value, list | tuple | deque):
        return len(value), [mark_of(item) for item in _some(list(value))]
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | None):
        return type(value).__name__, repr(value)
    return type(value).__name__, id(value)


def _some(items: list[Any]) -> list[Any]:
    return items if len(items) <= _ITEMS else items[:: len(items) // _ITEMS] + items[-16:]


def _digest(array: Array) -> Any:
    if array.dtype.hasobject:
        return [str(item) for item in array.reshape(-1)[:_ITEMS]]
    if array.nbytes > _WHOLE:
        array = array.reshape(-1)[:: max(1, array.size >> 16)]
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def _digest_of_frame(frame: Any) -> Any:
    from pandas.util import hash_pandas_object

    try:
        return zlib.crc32(hash_pandas_object(frame).to_numpy().tobytes())
    except TypeError:  # it holds lists or other objects
        return id(frame)


def plain(value: Any) -> Any:
    """Make arrays and plain values of a value."""
    if isinstance(value, Stateful):
        return {STATE_DICT: value.owner.state_dict()}
    if isinstance(value, Assigned):
        return value.read()
    if rng.is_generator(value):
        return rng.generator_state(value)
    if isinstance(value, dict) and type(value).__name__ not in ("OrderedDict", "Counter", "defaultdict"):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if type(value) is tuple:
        return tuple(plain(item) for item in value)
    if _is_tensor(value) and not str(value.dtype).startswith("key<"):
        return {_TENSOR: np.array(keras.ops.convert_to_numpy(value))}
    return value


def unplain(value: Any) -> Any:
    """Make again what `plain` took apart."""
    if isinstance(value, dict) and value.keys() == {_TENSOR}:
        return keras.ops.convert_to_tensor(value[_TENSOR])
    if type(value) is dict:
        return {key: unplain(item) for key, item in value.items()}
    if type(value) is list:
        return [unplain(item) for item in value]
    if type(value) is tuple:
        return tuple(unplain(item) for item in value)
    return value


def set_attribute(owner: Any, name: str, value: Any) -> None:
    """Set an attribute."""
    setattr(owner, name, value)


def set_item(owner: Any, name: Any, value: Any) -> None:
    """Set an item of a list or dict; a tuple has none to set."""
    if not isinstance(owner, tuple):
        owner[name] = value


def give_back(now: Any, write: Callable[[Any], None], value: Any) -> None:
    """Give a value back, in place where others may hold the same object."""
    if rng.is_generator(now):
        rng.set_generator_state(now, value)
    elif isinstance(now, list) and isinstance(value, list):
        now[:] = value
    elif (isinstance(now, dict) and isinstance(value, dict)) or (isinstance(now, set) and isinstance(value, set)):
        now.clear()
        now.update(value)
    elif isinstance(now, deque) and isinstance(value, deque):
        now.clear()
        now.extend(value)
    elif (
        isinstance(now, np.ndarray)
        and isinstance(value, np.ndarray)
        and now.shape == value.shape
        and now.flags.writeable
    ):
        now[...] = value
    else:
        write(value)
