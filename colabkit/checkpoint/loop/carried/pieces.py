"""What the names of a user's loop hold, in pieces that a checkpoint can keep: values, arrays, tensors, generators.

An object of the user's is kept by its attributes, and stays the same object. What no checkpoint holds is a piece, too,
so that it can be told.
"""

from __future__ import annotations

import copy
import dataclasses
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.carried import jax_trees
from colabkit.checkpoint.loop.carried.inside import (
    ABSENT,
    at,
    generators_in,
    has_attributes,
    inside,
    is_data,
    is_environment,
    is_foreign,
    writer,
)
from colabkit.checkpoint.loop.carried.keras_things import KerasThings
from colabkit.checkpoint.loop.carried.telling import (
    CONTAINERS,
    PLAIN,
    digest_of,
    is_array,
    is_simple,
    shapes_of,
    tensors_in,
)
from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user
from colabkit.checkpoint.loop.parts import give_generator, take_generator
from colabkit.checkpoint.loop.parts.attached import is_module, is_optimizer
from colabkit.checkpoint.loop.parts.in_place import put
from colabkit.checkpoint.loop.parts.modules import ModulePart
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import loose, pytree, rng
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit.checkpoint.loop.data.own_state import OwnState

_DEPTH = 3  # of objects in objects
_PACKED = 64  # numbers of a list from which on they are kept as an array
_NUMBERS = {float: "floats", int: "ints"}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of what a name holds.

    Attributes:
        path: The name, and the steps from it: [".", an attribute] or ["[", a key].
        value: What is there.
        kind: "value", "generator", "module", "stateful", "keras", "tree" of JAX, "data" of another loader, or what no
            checkpoint holds: "filled", a container of objects, "made", an object of the user's, whose attributes are
            pieces, "foreign", an engine of an environment, and "other".
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
        return int(self.value.nbytes) if self.kind == "value" and is_array(self.value) else 0

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
        keras: What is of Keras and TensorFlow.
        with_optimizers: Optimizers that are not given belong to it.

    Attributes:
        given_ids: As given.
        keras: As given.
    """

    def __init__(
        self,
        modules: list[Any],
        given_ids: set[int],
        memory: set[int],
        keras: KerasThings | None = None,
        *,
        with_optimizers: bool = False,
    ) -> None:
        self._with_optimizers = with_optimizers
        self._modules = modules
        self.given_ids = given_ids
        self.keras = keras or KerasThings([])
        self._memory = memory
        self._parts: dict[int, ModulePart] = {}
        self._own_states: dict[int, OwnState] = {}

    # ---- what there is ----

    def of(self, name: str, value: Any, write: Callable[[Any], None], *, is_assigned: bool) -> Iterator[Piece]:
        """Give the pieces of what a name holds; a dataclass that the loop makes anew is one."""
        if is_assigned and dataclasses.is_dataclass(value) and not isinstance(value, type):
            kind = "tree" if jax_trees.is_tree(value) else "value"
            yield Piece(path=[name], value=value, kind=kind, write=write)
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
                yield from self._data_in(path, value, seen)
                for steps, generator, write_it in generators_in(value):
                    if id(generator) not in seen:
                        seen.add(id(generator))
                        yield Piece(path=[*path, *steps], value=generator, kind="generator", write=write_it)
                return
            is_engine = is_environment(type(value))
            if not isinstance(value, type) and not _is_code(value):
                kind = "filled" if isinstance(value, CONTAINERS) else "made"
                yield Piece(path=path, value=value, kind=kind, write=None)
            for step, item, write_item in within:
                if is_engine and is_foreign(item):
                    yield Piece(path=[*path, step], value=item, kind="foreign", write=None)
                else:
                    within_it = depth if is_environment(type(item)) else depth - 1
                    yield from self._of([*path, step], item, write_item, seen, within_it)

    def _data_in(self, path: list[Any], value: Any, seen: set[int]) -> Iterator[Piece]:
        """Give the samplers and datasets of the user's in another loader, as one that is validated on."""
        from colabkit.checkpoint.loop.data.own_state import owners_in

        for names, owner in owners_in(value) if is_data(type(value)) else ():
            if id(owner) not in seen and id(owner) not in self.given_ids:
                seen.add(id(owner))
                yield Piece(path=[*path, *([".", name] for name in names)], value=owner, kind="data", write=None)

    def _own_state(self, piece: Piece) -> OwnState:
        from colabkit.checkpoint.loop.data.own_state import own_state

        if id(piece.value) not in self._own_states:
            self._own_states[id(piece.value)] = own_state(piece.value, piece.place)
        return self._own_states[id(piece.value)]

    def _kind_of(self, value: Any) -> str:
        """Say what a value is; empty for what is kept otherwise or is no state."""
        if isinstance(value, PLAIN):
            return "value"
        if id(value) in self.given_ids:
            return ""
        if is_optimizer(value):  # beside a loop they are told by `strays.py`
            return "stateful" if self._with_optimizers else ""
        if rng.is_generator(value):
            return "generator"
        if self.keras.is_one(value) and not is_module(value):
            return "" if self.keras.is_given(value) else "keras"
        if is_array(value) or (isinstance(value, CONTAINERS) and is_simple(value)):
            return "value"
        if jax_trees.is_tree(value):
            return "tree"
        if is_module(value):
            inside = [*value.parameters(), *value.buffers()]
            return "" if inside and all(id(each) in self.given_ids for each in inside) else "module"
        if isinstance(value, types.MethodType):
            return "object" if is_of_the_user(type(value.__self__)) else ""
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
        if piece.kind == "keras":
            return self.keras.mark_of(value)
        if piece.kind == "stateful":
            return repr(value.state_dict())
        if piece.kind == "data":
            return str(self._own_state(piece).place)  # which notes what there is as the loop begins
        if piece.kind == "tree":
            return digest_of(jax_trees.parts_of(value))
        if piece.kind == "filled":
            return str([len(value), *map(id, value.values() if isinstance(value, dict) else value)])
        if piece.kind == "made":
            return type(value).__qualname__
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
        elif piece.kind == "data":
            content = self._own_state(piece).take()
        elif piece.kind == "module" and is_assigned:
            weights = encode(dict(value.state_dict()), place)
            content = {
                "copy of": self._modules.index(self._like(value)),
                "weights": weights,
                "training": value.training,
            }
        elif piece.kind == "module":
            like = [at for at, each in enumerate(_all_of(self._modules)) if _is_alike(each, value)]
            frozen = [name for name, each in value.named_parameters() if not each.requires_grad]
            content = self._part(piece).take() | {"like": like[:1], "frozen": frozen}
        elif piece.kind == "keras":
            content = self.keras.take(value)
        elif piece.kind == "tree":
            content = {"digest": self.mark_of(piece), **jax_trees.take(value, place)}
        elif piece.kind == "stateful" and not is_assigned:
            content = encode(value.state_dict(), place)
        elif piece.kind in ("value", "filled"):  # the latter of records alone
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
            if now.kind in ("value", "filled"):
                return digest_of(now.value) == digest_of(_value_of(content))
            if now.kind == "keras":
                return self.keras.is_as_saved(now.value, content)
            if now.kind == "data":
                return not self._own_state(now).differing(content)
            if now.kind == "tree":
                return jax_trees.is_tree(now.value) and self.mark_of(now) == content["digest"]
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
            if (now.value is None or now.value is ABSENT) and now.write is not None and isinstance(content, dict):
                now.write(rng.make_generator(decode(content)))  # by NumPy, made when it is first drawn from
            else:
                give_generator(now.value, content)
        elif now.kind == "data":
            self._own_state(now).give(content)
        elif now.kind == "module" and not is_assigned:
            _give_module(now, content, self._part(now) if is_module(now.value) else None, self._modules)
        elif now.kind == "keras":
            self.keras.give(now.value, content, now.place)
        elif now.kind == "stateful":
            now.value.load_state_dict(decode(content))
        else:
            value = _made(now, content, self._modules)
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


def _give_module(now: Piece, content: Any, part: ModulePart | None, modules: list[Any]) -> None:
    if part is not None:
        part.check(content, now.place)
        part.give(content)
        return
    if not content.get("like") or now.write is None:
        raise CheckpointError(f"{now.place} is made while it trains", hint="make it before")
    now.write(_rebuilt(_all_of(modules)[content["like"][0]], content, now.place))


def _made(now: Piece, content: Any, modules: list[Any]) -> Any:
    if now.kind == "tree":
        return jax_trees.rebuild(content, now.value, now.place)
    return _copied(modules[content["copy of"]], content) if now.kind == "module" else _value_of(content)


def _is_code(value: Any) -> bool:
    """Say whether it is a tuple of functions, as a transformation of optax, which changes with the program alone."""
    return isinstance(value, tuple) and bool(value) and all(map(callable, value))


# ---- as a checkpoint holds it ----


def _all_of(modules: list[Any]) -> list[Any]:
    return [each for module in modules for each in module.modules()]


def _copied(like: Any, content: Any) -> Any:
    """Make a copy of a module that a loop made and named."""
    module = copy.deepcopy(like)
    module.zero_grad(set_to_none=True)
    module.load_state_dict(decode(content["weights"]))
    return module.train(content["training"])


def _rebuilt(like: Any, content: Any, place: str) -> Any:
    """Make a module that was made while it trained, as an average of the weights, from one that is built alike."""
    module = copy.deepcopy(like)
    module.zero_grad(set_to_none=True)
    for name, each in module.named_parameters():
        each.requires_grad_(name not in content["frozen"])
    part = ModulePart(module, place)
    part.check(content, place)
    part.give(content)
    return module


def _is_alike(module: Any, other: Any) -> bool:
    """Say whether two modules are built alike."""
    return type(module) is type(other) and shapes_of(module) == shapes_of(other) and repr(module) == repr(other)


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
