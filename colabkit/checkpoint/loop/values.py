"""Values of a `state_dict` as what a checkpoint holds, and back with their types: nothing is pickled."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from colabkit.errors import CheckpointError

_SPARSE = "torch.Tensor.sparse"
_TENSOR, _VIEWED, _TORCH, _SEQUENCE, _MAPPING = "torch.Tensor", "torch.Tensor.view", "torch", "sequence", "mapping"
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
        return {key: encode(item, f"{place}/{key}") for key, item in value.items()}
    return _encode_other(value, place)


def _encode_other(value: Any, place: str) -> Any:
    kind = type(value).__name__
    if type(value).__module__ == "numpy":  # an array or a scalar
        return value
    if kind in _SEQUENCES and isinstance(value, _SEQUENCES[kind]):
        more = [value.maxlen] if kind == "deque" else []
        return {_SEQUENCE: [kind, [encode(item, f"{place}/{at}") for at, item in enumerate(value)], *more]}
    if isinstance(value, dict):
        name = kind if kind in _MAPPINGS else "OrderedDict"  # a defaultdict's factory is a function
        return {_MAPPING: [name, {key: encode(item, f"{place}/{key}") for key, item in value.items()}]}
    if type(value).__module__ == "torch" and kind in ("dtype", "device", "Size"):
        return {_TORCH: [kind, list(value) if kind == "Size" else str(value).removeprefix("torch.")]}
    for plain in (bool, int, float, str, bytes, list, tuple):  # an IntEnum, a named tuple
        if isinstance(value, plain):
            return encode(plain(value), place)  # type: ignore[arg-type]
    raise CheckpointError(
        f"{place} cannot be saved",
        why=f"it is a {type(value).__module__}.{kind}, which only a pickle could hold, and a run holds none",
        hint="leave it out, or save what it is made of, by an object with state_dict() and load_state_dict()",
    )


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
        case ("torch", [str(kind), content]) if len(value) == 1:
            import torch

            return getattr(torch, content) if kind == "dtype" else getattr(torch, kind)(content)
        case ("sequence", [str(kind), list(items), *more]) if len(value) == 1 and kind in _SEQUENCES:
            return _SEQUENCES[kind](map(decode, items), *more)
        case ("mapping", [str(kind), dict(items)]) if len(value) == 1 and kind in _MAPPINGS:
            return _MAPPINGS[kind]({key: decode(item) for key, item in items.items()})
    return {key: decode(item) for key, item in value.items()}


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(np.array(array))
