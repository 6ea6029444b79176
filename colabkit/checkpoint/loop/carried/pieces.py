"""What the names of a user's loop hold, in pieces that a checkpoint can keep: values, arrays, tensors, generators.

An object of the user's is kept by its attributes, and stays the same object. What no checkpoint holds is a piece, too,
so that it can be told.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
import types
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.attached import is_module, is_optimizer
from colabkit.checkpoint.loop.carried.inside import (
    ABSENT,
    at,
    attributes_of,
    has_attributes,
    inside,
    writer,
)
from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user
from colabkit.checkpoint.loop.in_place import put
from colabkit.checkpoint.loop.modules import ModulePart
from colabkit.checkpoint.loop.parts import give_generator, take_generator
from colabkit.checkpoint.loop.values import decode, encode
from colabkit.checkpoint.state import loose, pytree, rng
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DEPTH = 3  # of objects in objects
_COUNTED = 20_000  # values of a container that tell it from another
_COMPARED = 1 << 24  # bytes of an array that do
_SOME = 64
_PACKED = 64  # numbers of a list from which on they are kept as an array
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_CONTAINERS = (list, tuple, dict, set, frozenset, deque)
_NUMBERS = {float: "floats", int: "ints"}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of what a name holds.

    Attributes:
        path: The name, and the steps from it: [".", an attribute] or ["[", a key].
        value: What is there.
        kind: "value", "generator", "module", "stateful", or what no checkpoint holds: "filled", a container of objects,
            "made", an object of the user's, whose attributes are pieces, and "other".
        write: Puts another value there; None where only its content can be changed.
    """

    path: list[Any]
    value: Any
    kind: str
    write: Callable[[Any], None] | None

    @classmethod
    def at_path(cls, variables: Any, path: list[Any], kind: str) -> Piece:
        """Find what is at a path now; `ABSENT` where nothing is, without `write` where nothing can be."""
        owner: Any = variables
        step: list[Any] = ["[", path[0]]
        for following in path[1:]:
            owner = at(owner, step)
            if owner is ABSENT:
                return cls(path=path, value=ABSENT, kind=kind, write=None)
            step = following
        write = writer(owner, step)
        is_fixed = step[0] == "[" and (isinstance(owner, tuple) or (isinstance(owner, list) and step[1] >= len(owner)))
        return cls(path=path, value=at(owner, step), kind=kind, write=None if is_fixed else write)

    @property
    def place(self) -> str:
        """Its place, in words of Python."""
        return words_of(self.path)

    @property
    def name(self) -> str:
        """The last name of its place."""
        return str(next((key for step, key in reversed(self.path[1:]) if step == "."), self.path[0]))

    @property
    def is_whole(self) -> bool:
        """Whether it is all that the name holds."""
        return len(self.path) == 1

    @property
    def size(self) -> int:
        """How many bytes an array or tensor has; 0 for all else."""
        return int(self.value.nbytes) if self.kind == "value" and _is_array(self.value) else 0

    @property
    def has_graph(self) -> bool:
        """Whether it holds a sum that gradients are to be computed of."""
        return any(each.grad_fn is not None and each.numel() == 1 for each in tensors_in(self.value))


def words_of(path: list[Any]) -> str:
    """Write a path as Python does.

    Example:
        >>> words_of(["self", [".", "best"], ["[", "loss"]])
        "self.best['loss']"
    """
    name, *steps = path
    return str(name) + "".join(f".{key}" if step == "." else f"[{key!r}]" for step, key in steps)


class Pieces:
    """Goes through what names hold, and leaves out what is kept otherwise.

    Args:
        modules: Those that the loop is given.
        given_ids: The ids of what is given to the loop, and of what is in it.
        memory: Where the tensors of the given modules are.

    Attributes:
        given_ids: As given.
    """

    def __init__(self, modules: list[Any], given_ids: set[int], memory: set[int]) -> None:
        self._modules = modules
        self.given_ids = given_ids
        self._memory = memory
        self._parts: dict[int, ModulePart] = {}

    # ---- what there is ----

    def of(self, name: str, value: Any, write: Callable[[Any], None], *, is_assigned: bool) -> Iterator[Piece]:
        """Give the pieces of what a name holds; a dataclass that the loop makes anew is one."""
        if is_assigned and dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield Piece(path=[name], value=value, kind="value", write=write)
        else:
            yield from self._of([name], value, write, set(), _DEPTH)

    def is_of_the_model(self, value: Any) -> bool:
        """Say whether it holds a tensor whose memory is that of a given module."""
        return any(each.untyped_storage().data_ptr() in self._memory for each in tensors_in(value))

    def _of(
        self, path: list[Any], value: Any, write: Callable[[Any], None] | None, seen: set[int], depth: int
    ) -> Iterator[Piece]:
        kind = self._kind_of(value)
        if kind != "object":
            if kind and id(value) not in seen:
                yield Piece(path=path, value=value, kind=kind, write=write)
        elif depth and id(value) not in seen:
            seen.add(id(value))
            within = inside(value)
            if within is None:
                yield Piece(path=path, value=value, kind="other", write=write)
                return
            if not isinstance(value, type):
                kind = "filled" if isinstance(value, _CONTAINERS) else "made"
                yield Piece(path=path, value=value, kind=kind, write=None)
            for step, item, write_item in within:
                yield from self._of([*path, step], item, write_item, seen, depth - 1)

    def _kind_of(self, value: Any) -> str:
        """Say what a value is; empty for what is kept otherwise or is no state."""
        if isinstance(value, _PLAIN):
            return "value"
        if id(value) in self.given_ids or is_optimizer(value):
            return ""
        if rng.is_generator(value):
            return "generator"
        if _is_array(value) or (isinstance(value, _CONTAINERS) and is_simple(value)):
            return "value"
        if is_module(value):
            inside = [*value.parameters(), *value.buffers()]
            return "" if inside and all(id(each) in self.given_ids for each in inside) else "module"
        if callable(value) or isinstance(value, types.ModuleType):
            is_own = has_attributes(value) or is_of_the_user(value if isinstance(value, type) else type(value))
            return "object" if is_own else ""
        return "stateful" if loose.is_of_torch(value) and hasattr(value, "state_dict") else "object"

    # ---- telling, taking and giving ----

    def mark_of(self, piece: Piece) -> str:
        """Tell what is there from another thing, or from itself once it has changed."""
        value = piece.value
        if piece.kind == "module":
            versions = [each._version for each in (*value.parameters(), *value.buffers())]
            return f"{versions} {self._part(piece).has_loose}"
        if piece.kind == "stateful":
            return repr(value.state_dict())
        if piece.kind in ("filled", "made"):
            return str(len(value)) if piece.kind == "filled" else type(value).__qualname__
        return digest_of(take_generator(value, "") if piece.kind == "generator" else value)

    def _part(self, piece: Piece) -> ModulePart:
        if id(piece.value) not in self._parts:
            self._parts[id(piece.value)] = ModulePart(piece.value, piece.place)
        return self._parts[id(piece.value)]

    def take(self, piece: Piece, *, is_assigned: bool) -> tuple[Any, int]:
        """Return what a checkpoint holds of a piece, and how many bytes that are.

        Args:
            piece: The piece.
            is_assigned: The loop assigns the name, so that another process makes the object anew.

        Raises:
            CheckpointError: A checkpoint cannot hold it.
        """
        value, place = piece.value, piece.place
        content: Any
        if piece.kind == "generator":
            content = take_generator(value, place)
        elif piece.kind == "module" and is_assigned:
            weights = encode(dict(value.state_dict()), place)
            content = {
                "copy of": self._modules.index(self._like(value)),
                "weights": weights,
                "training": value.training,
            }
        elif piece.kind == "module":
            content = self._part(piece).take()
        elif piece.kind == "stateful" and not is_assigned:
            content = encode(value.state_dict(), place)
        elif piece.kind == "value":
            grads = bool(getattr(value, "requires_grad", False) and value.is_leaf)
            content = {"value": _packed(encode(value, place)), "device": _device_of(value), "requires grad": grads}
        else:
            raise CheckpointError(f"{place} cannot be saved", hint="keep what it is made of")
        tensors: dict[str, Any] = {}
        tree = pytree.flatten(content, place, tensors)
        return content, sum(each.nbytes for each in tensors.values()) + _size_of(tree)

    def _like(self, module: Any) -> Any:
        """Find the given module that another one is a copy of.

        Raises:
            CheckpointError: There is none.
        """
        for each in self._modules:
            if type(each) is type(module) and shapes_of(each) == shapes_of(module):
                return each
        raise CheckpointError("it is no copy of a module that the loop is given", hint="give it to the loop")

    def is_as_saved(self, now: Piece, content: Any) -> bool:
        """Say whether what is there is what `take` returned of it."""
        try:
            if now.kind == "value":
                return digest_of(now.value) == digest_of(_value_of(content))
            return now.kind == "generator" and digest_of(take_generator(now.value, "")) == digest_of(content)
        except (TypeError, ValueError, AttributeError, RuntimeError):  # another thing of that name
            return False

    def give(self, now: Piece, content: Any, *, is_assigned: bool) -> None:
        """Put back what `take` returned.

        Args:
            now: What is there.
            content: What `take` returned.
            is_assigned: The loop assigns the name, so it gets an object of its own.

        Raises:
            CheckpointError: It cannot be put back there.
        """
        if now.kind == "generator":
            give_generator(now.value, content)
        elif now.kind == "module" and not is_assigned:
            self._part(now).check(content, now.place)
            self._part(now).give(content)
        elif now.kind == "stateful":
            now.value.load_state_dict(decode(content))
        else:
            value = self._copy(content) if now.kind == "module" else _value_of(content)
            trained = getattr(value, "requires_grad", False) and getattr(now.value, "requires_grad", False)
            keeps_its_class = (
                isinstance(value, dict) and isinstance(now.value, dict) and type(value) is not type(now.value)
            )
            in_place = now.value is not ABSENT and (not is_assigned or trained or keeps_its_class)
            if in_place and put(now.value, value) is now.value:
                return
            if now.write is None:
                raise CheckpointError(f"{now.place} cannot be written to", hint="keep it in a list or dict")
            now.write(value)

    def _copy(self, content: Any) -> Any:
        module = copy.deepcopy(self._modules[content["copy of"]])
        module.zero_grad(set_to_none=True)
        module.load_state_dict(decode(content["weights"]))
        return module.train(content["training"])


# ---- kinds of values ----


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return not value.dtype.hasobject
    return hasattr(value, "untyped_storage") and hasattr(value, "detach")


def is_simple(value: Any) -> bool:
    """Say whether a container holds plain values, arrays and tensors alone; of a large one its first items tell."""
    left = [_COUNTED]

    def is_plain(each: Any) -> bool:
        left[0] -= 1
        if left[0] < 0 or isinstance(each, _PLAIN) or _is_array(each):
            return True
        if isinstance(each, dict):
            return all(isinstance(key, (*_PLAIN, tuple)) for key in each) and all(map(is_plain, each.values()))
        return isinstance(each, _CONTAINERS) and all(map(is_plain, each))

    return is_plain(value)


def tensors_in(value: Any) -> list[Any]:
    """List the dense tensors in a value and in its containers; of a large one those among its first items."""
    tensors: list[Any] = []
    waiting = [value]
    for _ in range(_COUNTED):
        if not waiting:
            break
        each = waiting.pop()
        if isinstance(each, _CONTAINERS):
            waiting += itertools.islice(each.values() if isinstance(each, dict) else each, _COUNTED)
        elif hasattr(each, "untyped_storage") and str(each.layout) == "torch.strided":
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
    if _is_array(value):
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
        digest.update(repr(value).encode() if isinstance(value, _PLAIN) else b"?")


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


# ---- as a checkpoint holds it ----


def _size_of(tree: Any) -> int:
    if isinstance(tree, dict | list | tuple):
        return 8 + sum(map(_size_of, tree.values() if isinstance(tree, dict) else tree))
    return len(tree) + 8 if isinstance(tree, str) else 8


def _packed(content: Any) -> Any:
    """Write a long list of numbers as an array, which a checkpoint holds in less."""
    if type(content) is dict:
        return {key: _packed(item) for key, item in content.items()}
    if type(content) is not list:
        return content
    kinds = {type(item) for item in content} if len(content) >= _PACKED else set()
    if len(kinds) == 1 and (name := _NUMBERS.get(kinds.pop())) is not None:
        try:
            return {"$colabkit.numbers": [name, np.array(content, float if name == "floats" else np.int64)]}
        except OverflowError:
            return content
    return [_packed(item) for item in content]


def _unpacked(content: Any) -> Any:
    match content:
        case {"$colabkit.numbers": [_, array]}:
            return array.tolist()
        case dict():
            return {key: _unpacked(item) for key, item in content.items()}
        case list():
            return [_unpacked(item) for item in content]
    return content


def _value_of(content: Any) -> Any:
    value = decode(_unpacked(content["value"]))
    device = content["device"]
    if device not in ("", "cpu"):
        import torch

        if not device.startswith("cuda") or torch.cuda.is_available():
            value = loose.to_device(value, torch.device(device))
    return value.requires_grad_() if content["requires grad"] else value


def _device_of(value: Any) -> str:
    """Name the device of the tensors in a value; empty where they are on several."""
    devices = {str(each.device) for each in tensors_in(value)}
    return devices.pop() if len(devices) == 1 else ""
