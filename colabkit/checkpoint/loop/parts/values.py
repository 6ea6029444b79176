"""Values of a `state_dict` as what a checkpoint holds, and back with their types: nothing is pickled."""

from __future__ import annotations

import collections
import dataclasses
import enum
import sys
from operator import attrgetter
from typing import Any

import numpy as np

from colabkit.checkpoint.state import kinds
from colabkit.checkpoint.state.kinds.jax_tree import WeakScalar
from colabkit.errors import CheckpointError, RunMismatchError

_SPARSE = "torch.Tensor.sparse"
_TENSOR, _VIEWED, _TORCH, _SEQUENCE, _MAPPING = "torch.Tensor", "torch.Tensor.view", "torch", "sequence", "mapping"
_OF_FRAMEWORK = "array of"  # JAX or TensorFlow
_MEMBER = "member"  # of an Enum
_RECORD = "record"  # a named tuple or a dataclass, as a replay memory keeps
_PLAIN = (bool, int, float, str, bytes, type(None))
_SEQUENCES: dict[str, Any] = {"set": set, "frozenset": frozenset, "deque": collections.deque}
_MAPPINGS: dict[str, Any] = {"OrderedDict": collections.OrderedDict, "Counter": collections.Counter}


def encode(value: Any, place: str) -> Any:
    """Bring a value into what `snapshot.take_apart` takes, so that `decode` finds its types again.

    Args:
        value: Tensors, arrays, plain values and the containers of the standard library, nested.
        place: Where it is, for the message.

    Raises:
        CheckpointError: It holds something that only `torch.save` could write, by pickling it.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if hasattr(value, "detach"):
        return _encode_tensor(value, place)
    if kind is list or kind is tuple:
        return kind(encode(item, f"{place}/{index}") for index, item in enumerate(value))
    if kind is dict:
        check_keys(value, place)
        return {key: encode(item, f"{place}/{key}") for key, item in value.items()}
    return _encode_other(value, place)


def check_keys(mapping: dict[Any, Any], place: str) -> None:
    """Refuse a dict whose keys are tensors; `pytree.flatten` refuses other objects.

    Raises:
        CheckpointError: The message names the first.
    """
    key = next((key for key in mapping if hasattr(key, "detach")), None)
    if key is not None:
        raise CheckpointError(
            f"{place} cannot be saved",
            why=f"a key of this dict is a {type(key).__name__}, which is another object in each process",
            hint="use names or numbers as keys",
        )


def _encode_other(value: Any, place: str) -> Any:
    kind = type(value).__name__
    root = type(value).__module__.split(".")[0]
    if type(value).__module__ == "numpy" or kinds.is_whole(value):  # an array or a scalar; a frame, a path, a date
        return value
    is_array = hasattr(value, "__array__") or str(getattr(value, "dtype", "")).startswith("key<")
    if root in ("jax", "jaxlib", "tensorflow") and is_array and not hasattr(value, "assign"):
        return {_OF_FRAMEWORK: [root, value if root != "tensorflow" else value.numpy()]}
    if kind in _SEQUENCES and isinstance(value, _SEQUENCES[kind]):
        more = [value.maxlen] if kind == "deque" else []
        return {_SEQUENCE: [kind, [encode(item, f"{place}/{at}") for at, item in enumerate(value)], *more]}
    if isinstance(value, dict):
        check_keys(value, place)
        name = kind if kind in _MAPPINGS else "OrderedDict"  # a defaultdict's factory is a function
        return {_MAPPING: [name, {key: encode(item, f"{place}/{key}") for key, item in value.items()}]}
    if type(value).__module__ == "torch" and kind in ("dtype", "device", "Size"):
        return {_TORCH: [kind, list(value) if kind == "Size" else str(value).removeprefix("torch.")]}
    if (names := _field_names(value)) is not None:
        items = [encode(getattr(value, name), f"{place}/{name}") for name in names]
        return {_RECORD: [type(value).__module__, type(value).__qualname__, names, items]}
    if isinstance(value, enum.Enum) and _find_class(type(value).__module__, type(value).__qualname__) is type(value):
        return {_MEMBER: [type(value).__module__, type(value).__qualname__, value.name]}
    for plain in (bool, int, float, str, bytes, list, tuple):  # of a class of the user's
        if isinstance(value, plain):
            return encode(plain(value), place)  # type: ignore[arg-type]
    raise CheckpointError(
        f"{place} cannot be saved",
        why=f"it is a {type(value).__module__}.{kind}, which only a pickle could hold, and a run holds none",
        hint="leave it out, or save what it is made of, by an object with state_dict() and load_state_dict()",
    )


def _field_names(value: Any) -> list[str] | None:
    """Return the fields of a named tuple, or of a dataclass that is found again by its name; None for all else."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(value._fields)
    if not dataclasses.is_dataclass(value) or _find_class(type(value).__module__, type(value).__qualname__) is None:
        return None
    names = [field.name for field in dataclasses.fields(value)]
    return names if vars(value).keys() == set(names) else None


def _find_class(module: str, name: str) -> Any:
    """Find a class of a module that is imported already; None where there is none."""
    try:
        value = attrgetter(name)(sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return value if isinstance(value, type) else None


def _make_record(module: str, name: str, names: list[str], items: list[Any]) -> Any:
    """Make a named tuple or a dataclass again, without a call of its code."""
    kind: Any = _find_class(module, name)
    if kind is not None and dataclasses.is_dataclass(kind) and [f.name for f in dataclasses.fields(kind)] == names:
        record: Any = object.__new__(kind)  # type: ignore[arg-type] # it is a class
        vars(record).update(zip(names, items, strict=True))
        return record
    if kind is None or not issubclass(kind, tuple) or list(getattr(kind, "_fields", [])) != names:
        kind = getattr(collections, "namedtuple")(name.rpartition(".")[2], names)  # noqa: B009 - of a class in a function
    return tuple.__new__(kind, items)


def _member(module: str, name: str, member: str) -> Any:
    kind = _find_class(module, name)
    if kind is None or not issubclass(kind, enum.Enum) or member not in kind.__members__:
        raise RunMismatchError(
            f"the run has saved {name}.{member}, which this program does not have",
            hint=f"define the class {name} as it was, or open a run under another name",
        )
    return kind[member]


def _encode_tensor(value: Any, place: str) -> Any:
    import torch

    tensor = value.detach()
    if tensor.layout == torch.sparse_coo:
        parts = [encode(part, place) for part in (tensor._indices(), tensor._values())]
        return {_SPARSE: [*parts, list(tensor.shape), tensor.is_coalesced()]}
    if tensor.layout != torch.strided:
        raise CheckpointError(
            f"{place} cannot be saved",
            why=f"it is a tensor of the layout {tensor.layout}",
            hint="keep its indices() and values(), which are dense",
        )
    if type(tensor) is not torch.Tensor:
        tensor = tensor.as_subclass(torch.Tensor)
    tensor = tensor.cpu()
    if tensor.is_conj():
        tensor = tensor.resolve_conj()
    try:
        return {_TENSOR: tensor.numpy()}
    except TypeError:  # bfloat16, float8: NumPy has no such type
        words = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[tensor.element_size()]
        name = str(tensor.dtype).removeprefix("torch.")
        return {_VIEWED: [name, list(tensor.shape), tensor.contiguous().view(words).numpy()]}


def decode(value: Any) -> Any:
    """Undo `encode`; tensors come on the CPU."""
    if isinstance(value, list | tuple):
        return type(value)(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case ("torch.Tensor", np.ndarray() as array) if len(value) == 1:
            return _tensor(array)
        case ("torch.Tensor.view", [str(name), list(shape), array]) if len(value) == 1:
            import torch

            return _tensor(array).view(getattr(torch, name)).reshape(shape)
        case ("torch.Tensor.sparse", [indices, values, list(shape), bool(coalesced)]) if len(value) == 1:
            import torch

            parts = decode(indices), decode(values)
            return torch.sparse_coo_tensor(*parts, shape, is_coalesced=coalesced)
        case ("array of", [str(root), array]) if len(value) == 1:
            return _array_of(root, array)
        case ("torch", [str(kind), content]) if len(value) == 1:
            import torch

            return getattr(torch, content) if kind == "dtype" else getattr(torch, kind)(content)
        case ("sequence", [str(kind), list(items), *more]) if len(value) == 1 and kind in _SEQUENCES:
            return _SEQUENCES[kind](map(decode, items), *more)
        case ("record", [str(module), str(name), list(names), list(items)]) if len(value) == 1:
            return _make_record(module, name, names, [decode(item) for item in items])
        case ("member", [str(module), str(name), str(member)]) if len(value) == 1:
            return _member(module, name, member)
        case ("mapping", [str(kind), dict(items)]) if len(value) == 1 and kind in _MAPPINGS:
            return _MAPPINGS[kind]({key: decode(item) for key, item in items.items()})
    return {key: decode(item) for key, item in value.items()}


def _array_of(root: str, array: Any) -> Any:
    if root == "tensorflow":
        import tensorflow as tf

        return tf.constant(array)
    import jax

    return jax.numpy.asarray(array.item() if isinstance(array, WeakScalar) else array)


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(np.array(array))
