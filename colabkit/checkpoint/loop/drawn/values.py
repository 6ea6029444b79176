"""What a script may have drawn: whether it looks so, what tells it from another; the memory of arrays and tensors."""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.carried.telling import PLAIN
from colabkit.checkpoint.state import kinds
from colabkit.checkpoint.state.moments import is_a_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLED = 1 << 16  # numbers that tell an array from another
_LOOKED_AT = 64
_FRESH = 100.0  # seconds; any smaller number may be the age of a young process
_DIGITS = 5  # that a person writes of a number
_ITEMS = 512  # of a list, that tell it from another
_DEPTH = 4
_written: dict[int, tuple[weakref.ref[Any], int]] = {}  # how often `write` has written to a tensor


class KerasMember:
    """A variable of a model or metric of Keras, as an array that can be written to.

    Args:
        variable: The variable.

    Attributes:
        variable: As given.
    """

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    @property
    def array(self) -> Any:
        """Its numbers now."""
        return kinds.read_variable(self.variable)

    @property
    def nbytes(self) -> int:
        """How many bytes they take."""
        return int(self.array.nbytes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> Any:
        """The kind of its numbers, as NumPy has it."""
        return self.array.dtype


def is_array(value: Any) -> bool:
    """Say whether it is an array of NumPy, or a dense tensor of torch."""
    if isinstance(value, np.ndarray):
        return value.size > 0 and not value.dtype.hasobject
    is_tensor = hasattr(value, "untyped_storage") and hasattr(value, "_version")
    return is_tensor and str(value.layout) == "torch.strided" and not value.is_meta and value.numel() > 0


def sample_of(value: Any) -> Any:
    """Return some numbers of an array or tensor, as an array of NumPy."""
    size = value.size if isinstance(value, np.ndarray) else value.numel()
    some = value.reshape(-1)[:: max(1, size // _SAMPLED)]
    if isinstance(some, np.ndarray):
        return some
    some = some.detach().cpu()
    try:
        return some.numpy()
    except TypeError:  # bfloat16 and the like
        return some.float().numpy()


def digest_of(value: Any) -> str:
    """Tell an array or tensor from another one by its form and some of its numbers.

    Example:
        >>> digest_of(np.zeros(3)) == digest_of(np.zeros(3)), digest_of(np.zeros(3)) == digest_of(np.ones(3))
        (True, False)
    """
    value = value.array if isinstance(value, KerasMember) else value
    form = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    some = np.ascontiguousarray(sample_of(value))
    return hashlib.blake2b(form.encode() + some.tobytes(), digest_size=12).hexdigest()


def digest_of_all(value: Any) -> str:
    """Tell a list, a table or an object from another one by what it holds; of a long one by a part of it.

    Example:
        >>> digest_of_all([[1, 2], [3]]) == digest_of_all([[1, 2], [3]]), digest_of_all([1]) == digest_of_all([2])
        (True, False)
    """
    digest = hashlib.blake2b(digest_size=12)
    for text in _texts_in(value, _DEPTH):
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()


def _texts_in(value: Any, depth: int) -> Iterator[str]:
    if is_array(value):
        yield digest_of(value)
    elif isinstance(value, (PLAIN, np.generic)):
        yield repr(value)
    elif hasattr(value, "iloc"):  # of pandas
        some = value.iloc[:: max(1, len(value) // _ITEMS)]
        yield repr([some.index.tolist(), some.to_numpy().tolist(), list(getattr(value, "columns", ()))])
    elif hasattr(value, "__array__") and hasattr(value, "shape"):  # of JAX or TensorFlow
        try:
            yield digest_of(np.asarray(value))
        except Exception:  # noqa: BLE001 - a key of JAX, or what holds a pipeline of TensorFlow: it has no numbers
            yield f"{value.dtype} {value.shape}"
    elif depth and isinstance(value, list | tuple | dict):
        yield str(len(value))
        items = [[key, item] for key, item in value.items()] if isinstance(value, dict) else value
        for item in list(items)[:: max(1, len(value) // _ITEMS)]:
            yield from _texts_in(item, depth - 1)
    elif depth and hasattr(value, "__dict__") and not callable(value):
        for key, item in sorted(vars(value).items()):
            yield key
            yield from _texts_in(item, depth - 1)


def looks_drawn(value: Any) -> bool:
    """Say whether the numbers of an array or tensor are such as a random generator gives, and nobody writes.

    Example:
        >>> looks_drawn(np.random.default_rng(0).normal(size=8)), looks_drawn(np.array([0.5, 1.25, 3]))
        (True, False)
    """
    some = sample_of(value)
    if some.dtype.kind != "f" or some.dtype.itemsize < 4 or str(value.dtype) == "torch.bfloat16":
        return False
    some = some[:: max(1, len(some) // _LOOKED_AT)]
    written = np.round(some.astype(float), _DIGITS).astype(some.dtype) == some
    return bool(np.mean(written) < 0.5 and len(np.unique(some)) * 2 > len(some))


def is_drawn_number(value: float) -> bool:
    """Say whether a number is such as a random generator gives, and no moment of a clock.

    Example:
        >>> is_drawn_number(0.13436424411240122), is_drawn_number(1e-3)
        (True, False)
    """
    return looks_drawn(np.array([value])) and not is_of_a_clock(value)


def is_of_a_clock(value: Any) -> bool:
    """Say whether a number may be a moment of a clock, also of one that counts from the start of a process."""
    return is_a_moment(value, of_any_clock=isinstance(value, float) and value > _FRESH)


def memory_of(value: Any) -> tuple[int, int]:
    """Return where the memory of an array or tensor begins and ends."""
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        begin = int(value.__array_interface__["data"][0])
        return begin, begin + value.nbytes
    storage = value.untyped_storage()
    return storage.data_ptr(), storage.data_ptr() + storage.nbytes()


def is_same(value: Any, saved: Any) -> bool:
    """Say whether a tensor or array is the one that was saved, in all its numbers."""
    value = value.array if isinstance(value, KerasMember) else value
    if isinstance(value, np.ndarray):
        return bool(value.tobytes() == saved.tobytes())
    return bool((value.detach().cpu() == saved).all())


def version_of(value: Any) -> int:
    """Return how often the program has written to a tensor; 0 for an array."""
    reference, own = _written.get(id(value), (None, 0))
    return int(getattr(value, "_version", 0)) - (own if reference is not None and reference() is value else 0)


def write(value: Any, saved: Any) -> None:
    """Give a tensor or array the numbers that were saved; it counts as not written to."""
    if isinstance(value, KerasMember):
        value.variable.assign(saved)
        return
    if isinstance(value, np.ndarray):
        value[...] = saved
        return
    import torch

    before = version_of(value)
    with torch.no_grad():
        value.copy_(saved)
    _written[id(value)] = weakref.ref(value), value._version - before
