"""What a state is: named arrays and plain values, taken at one instant."""

from __future__ import annotations

import base64
import dataclasses
import math
import platform
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._version import __version__
from colabkit.checkpoint.state import kinds
from colabkit.checkpoint.state.kinds import jax_tree
from colabkit.checkpoint.state.torch import to_numpy
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A state at one instant. Its arrays may be views of what trains on; `Writer.submit` copies them.

    Attributes:
        step: Steps trained so far; it orders the checkpoints of a run.
        tensors: Name to array.
        meta: JSON values.
    """

    step: int
    tensors: Mapping[str, Array]
    meta: Mapping[str, Any]


def versions(**more: str) -> dict[str, str]:
    """Name the versions that a state depends on: Python, colabkit and those of the packages in use."""
    installed = {"python": platform.python_version(), "colabkit": __version__, **more}
    for package in ("numpy", "keras", "tensorflow", "jax", "torch"):
        if version := getattr(sys.modules.get(package), "__version__", None):
            installed[package] = str(version)
    return installed


def of_state(state: Any, *, step: int) -> Snapshot:
    """Take a nested state apart into arrays and plain values.

    Args:
        state: Dicts, lists and tuples of arrays (NumPy, or anything that NumPy can read, like tensors and JAX arrays),
            numbers, strings, bytes, booleans and None, nested as deep as you like; objects with a `state_dict()` and
            dataclasses, as dicts; JAX random keys. Arrays are not copied where it can be helped.
        step: Steps trained so far.

    Raises:
        CheckpointError: A value of another kind; the message names its place.
    """
    tensors: dict[str, Array] = {}
    try:
        tree = flatten(state, "state", tensors)
    except RecursionError:
        raise CheckpointError(
            "the state cannot be saved", why="a part of it holds itself", hint="leave out what refers back to the whole"
        ) from None
    meta = {"kind": "state", "step": step, "saved_at": time.time(), "versions": versions(), "state": tree}
    return Snapshot(step=step, tensors=tensors, meta=meta)


def to_state(tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> Any:
    """Put together again what `of_state` took apart; arrays come back as NumPy arrays."""
    return unflatten(meta["state"], tensors)


def flatten(value: Any, place: str, tensors: dict[str, Array]) -> Any:
    """Take a nested value apart into arrays and what JSON can hold.

    Args:
        value: As for `of_state`.
        place: Where the value is in the state; its arrays get names that begin so.
        tensors: The arrays are added here.

    Raises:
        CheckpointError: It holds something else; the message names its place.
    """
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, jax_tree.FunctionInTree):
        return {"$function": value.name}
    value = _named_parts(value)
    if (encoded := kinds.encode(value, place, flatten=flatten)) is not None:
        tag, content = encoded
        return {tag: flatten(content, place, tensors)}
    if isinstance(value, dict):
        return _take_dict(value, place, tensors)
    if isinstance(value, list | tuple):
        items = [flatten(item, f"{place}/{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if str(getattr(value, "dtype", "")).startswith("key<"):  # a JAX random key is not an array until it is unwrapped
        import jax

        return {"$key": [str(jax.random.key_impl(value)), _take_array(jax.random.key_data(value), place, tensors)]}
    if hasattr(value, "__array__"):
        taken = _take_array(value, place, tensors)
        return {"$weak": taken} if getattr(value, "weak_type", False) and not value.ndim else taken
    raise CheckpointError(
        f"{place} cannot be saved",
        why=f"it is a {type(value).__name__}, and a checkpoint holds arrays and plain values only",
        hint="save what it is made of: its numbers, texts and arrays, in a dict",
    )


def _named_parts(value: Any) -> Any:
    """Name the parts of what has some; anything else comes back as it is."""
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):  # torch's modules, optimizers, schedulers
        return value.state_dict()
    if (parts := jax_tree.parts_of(value, _can_be_saved)) is not None:
        return parts
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return value


def _can_be_saved(value: Any) -> bool:
    try:
        flatten(value, "", {})
    except CheckpointError:
        return False
    return True


def _take_dict(value: dict[Any, Any], place: str, tensors: dict[str, Array]) -> Any:
    taken = {key: flatten(item, f"{place}/{key}", tensors) for key, item in value.items()}
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return taken
    return {"$dict": [[flatten(key, f"{place} (a key)", tensors), item] for key, item in taken.items()]}


def _take_array(value: Any, place: str, tensors: dict[str, Array]) -> Any:
    import numpy as np

    if hasattr(value, "detach"):
        try:
            value = to_numpy(value)
        except (TypeError, RuntimeError, NotImplementedError) as error:  # quantised, CSR, on a device that is not there
            raise CheckpointError(
                f"{place} cannot be saved",
                why=f"torch makes no array of a {str(value.dtype).removeprefix('torch.')} tensor with the layout "
                f"{str(value.layout).removeprefix('torch.')}: {str(error).splitlines()[0]}",
                hint="save tensor.dequantize(), or tensor.to_sparse_coo() of a sparse one",
            ) from error
    if isinstance(value, np.ma.MaskedArray | np.matrix | np.recarray):
        raise CheckpointError(
            f"{place} cannot be saved",
            why=f"it is a {type(value).__name__} of NumPy, which would come back as a plain array",
            hint="save its parts, as array.data and array.mask, or numpy.asarray(array)",
        )
    array = np.asarray(value)
    if array.dtype.names:
        raise CheckpointError(
            f"{place} cannot be saved",
            why=f"it is an array of records with the fields {', '.join(array.dtype.names)}",
            hint="save a dict of its columns: {name: array[name] for name in array.dtype.names}",
        )
    if array.dtype.hasobject:
        raise CheckpointError(
            f"{place} cannot be saved",
            why=f"it is an array of Python objects ({type(value).__name__})",
            hint="convert it to numbers first",
        )
    if array.dtype.kind in kinds.AS_BYTES:
        return {"$bytes_of": flatten(kinds.bytes_of(array), place, tensors)}
    name = place
    while name in tensors:  # {"a/b": x, "a": {"b": y}}
        name += "'"
    tensors[name] = array
    return {"$scalar" if isinstance(value, np.generic) else "$tensor": name}


def unflatten(tree: Any, tensors: Mapping[str, Array]) -> Any:
    """Put together again what `flatten` took apart."""
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    match next(iter(tree.items()), None):
        case ("$tensor", str(name)):
            return tensors[name]
        case ("$scalar", str(name)):
            return tensors[name][()]
        case ("$tuple", list(items)):
            return tuple(unflatten(item, tensors) for item in items)
        case ("$dict", list(pairs)):
            return {unflatten(key, tensors): unflatten(item, tensors) for key, item in pairs}
        case ("$key", [str(kind), data]):
            import jax

            return jax.random.wrap_key_data(jax.numpy.asarray(unflatten(data, tensors)), impl=kind)
        case ("$float", str(text)):
            return float(text)
        case ("$bytes", str(text)):
            return base64.b64decode(text)
        case (str(tag), content) if len(tree) == 1 and tag.startswith("$"):
            decoded = kinds.decode(tag, unflatten(content, tensors))
            if decoded is not kinds.NOTHING:
                return decoded
    return {key: unflatten(item, tensors) for key, item in tree.items()}
