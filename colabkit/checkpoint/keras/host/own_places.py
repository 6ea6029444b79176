"""The places where a user's objects keep values: their attributes, closures, and the notebook's variables they use."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from colabkit.checkpoint.keras.code_fingerprint import is_the_users
from colabkit.checkpoint.keras.host.callback_state import kept_of_keras
from colabkit.checkpoint.keras.host.own_values import (
    Assigned,
    SeedState,
    Stateful,
    Stream,
    give_back,
    has_state_dict,
    is_array,
    is_tf_generator,
    is_value,
    is_variable,
    set_attribute,
    set_item,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_DEPTH = 4
MOST = 2000  # places that are looked at
_KERAS_OWN = {
    "history",
    "stop_training",
    "train_function",
    "test_function",
    "predict_function",
    "optimizer",
    "loss",
    "built",
    "trainable",
    "_eval_epoch_iterator",
    "_initial_epoch",
    "_training_state",
    "_jax_state_synced",
}
_OF_CALLBACKS = {"_model", "params", "validation_data", "monitor_op"}


@dataclass(frozen=True)
class Place:
    """Where a value is: its name in the state, who has it in words, how it is given back, and of which part it is."""

    name: str
    spoken: str
    value: Any
    write: Callable[[Any], None]
    part: str = ""


class Walk:
    """Goes through what hangs on some objects, each thing once."""

    def __init__(self, model: Any, known: set[int], owners: dict[str, Any]) -> None:
        self._model = model
        self._known = known
        self._owners = owners
        self._seen: set[int] = set()
        self._seen_globals: set[tuple[int, str]] = set()
        self.count = 0

    def of(self, part: Any, name: str, *, shared: bool) -> Iterator[Place]:
        """Go through one object: its attributes, its functions, and what they refer to.

        Args:
            part: The object, a function, or a dict or list of values.
            name: Its name in the state.
            shared: Also look at the attributes of its class, and at the variables that its functions use.
        """
        if inspect.isroutine(part) or isinstance(part, functools.partial):
            yield from self._function(part, name, _DEPTH)
        elif isinstance(part, dict | list):
            yield from self._items(part, name, name.rpartition(".")[2], _DEPTH)
        else:
            yield from self._object(part, name, type(part).__name__, _DEPTH, shared=shared)

    def of_operations(self) -> Iterator[Place]:
        """Go through the arrays in the operations of functional models, as a mask in `inputs * mask`."""
        for number, layer in enumerate(self._model._flatten_layers()):
            for at, operation in enumerate(getattr(layer, "_operations", ())):
                arguments = [node.arguments for node in operation._inbound_nodes]
                for node, given in enumerate(arguments):
                    for index, value in enumerate(given._flat_arguments):
                        if is_array(value) and id(value) not in self._known:
                            write = functools.partial(_set_argument, given, index)
                            yield from self._value(
                                value, f"layer-{number}.{at}.{node}.{index}", operation.name, write, _DEPTH
                            )

    def _object(self, owner: Any, name: str, spoken: str, depth: int, *, shared: bool) -> Iterator[Place]:
        if id(owner) in self._seen:
            return
        self._seen.add(id(owner))
        self._owners[name] = owner
        own: frozenset[str] = frozenset()
        if isinstance(owner, keras.layers.Layer):
            own = _of_keras() | _KERAS_OWN
        elif isinstance(owner, keras.callbacks.Callback):
            own = frozenset(_OF_CALLBACKS | kept_of_keras(owner))
        elif isinstance(owner, keras.optimizers.Optimizer | keras.metrics.Metric | keras.losses.Loss):
            own = frozenset(_KERAS_OWN)
        for key, value in list(vars(owner).items()):
            if key in own:
                continue
            write = functools.partial(set_attribute, owner, key)
            yield from self._value(value, f"{name}.{key}", f"{spoken}.{key}", write, depth)
        if shared or is_the_users(type(owner)):
            for base in type(owner).__mro__:
                if is_the_users(base):
                    yield from self._class(base, depth)

    def _class(self, kind: type, depth: int) -> Iterator[Place]:
        if id(kind) in self._seen:
            return
        self._seen.add(id(kind))
        for key, value in list(vars(kind).items()):
            if key.startswith("__") and key.endswith("__") and not inspect.isfunction(value):
                continue
            if inspect.isfunction(value):
                yield from self._function(value, f"class-{kind.__qualname__}.{key}", depth - 1)
            elif not isinstance(value, property | classmethod | staticmethod | type):
                place = f"class-{kind.__qualname__}.{key}"
                yield from self._value(
                    value, place, f"{kind.__name__}.{key}", functools.partial(set_attribute, kind, key), depth
                )

    def _function(self, function: Any, name: str, depth: int) -> Iterator[Place]:
        if isinstance(function, functools.partial):
            yield from self._items(function.keywords, name, "partial", depth)
            function = function.func
        if inspect.ismethod(function):
            owner = function.__self__
            if is_the_users(type(owner)) and not isinstance(owner, type):
                yield from self._object(owner, f"{name}.self", type(owner).__name__, depth - 1, shared=True)
            return
        if not inspect.isfunction(function) or not is_the_users(function) or id(function) in self._seen or depth < 0:
            return
        self._seen.add(id(function))
        for place, key, value, write in _held_by(function):
            yield from self._value(value, f"{name}.{place}", key, write, depth - 1)
        names = function.__globals__
        for key in sorted(_names_of(function.__code__)):
            if key not in names or (id(names), key) in self._seen_globals:
                continue
            self._seen_globals.add((id(names), key))
            value = names[key]
            if inspect.isfunction(value):
                yield from self._function(value, f"global-{key}", depth - 1)
            elif isinstance(value, type):
                if is_the_users(value):
                    yield from self._class(value, depth - 1)
            else:
                write = functools.partial(set_item, names, key)
                yield from self._value(value, f"global-{key}", key, write, depth - 1)

    def _value(  # noqa: C901 - one row for each kind of value
        self, value: Any, name: str, spoken: str, write: Callable[[Any], None], depth: int
    ) -> Iterator[Place]:
        self.count += 1
        if self.count > MOST or id(value) in self._known or (value is not None and value is self._model):
            return
        if is_value(value):
            if not isinstance(value, bool | int | float | str | None):
                if id(value) in self._seen:
                    return
                self._seen.add(id(value))
            yield Place(name, spoken, value, functools.partial(give_back, value, write))
        elif is_variable(value):
            yield from self._variables([value], name, spoken)
        elif is_tf_generator(value):
            yield from self._variables([value._state_var], name, spoken)
        elif isinstance(value, keras.random.SeedGenerator):
            yield from self._variables([value.state], name, spoken, SeedState)
        elif isinstance(value, keras.metrics.Metric | keras.optimizers.Optimizer | keras.layers.Layer):
            yield from self._variables(value.variables, name, spoken)
        elif has_state_dict(value):
            yield Place(name, spoken, Stateful(value), write)
        elif isinstance(value, list | tuple | dict | set | deque):
            yield from self._items(value, name, spoken, depth)
        elif inspect.isroutine(value) or isinstance(value, functools.partial):
            yield from self._function(value, name, depth)
        elif hasattr(value, "__next__") and not hasattr(value, "read") and not _is_of_a_package(value):
            if id(value) not in self._seen:
                self._seen.add(id(value))
                yield Place(name, spoken, Stream(value), write)
        elif depth > 0 and is_the_users(type(value)) and hasattr(value, "__dict__") and not _is_of_a_package(value):
            yield from self._object(value, name, spoken, depth - 1, shared=True)

    def _items(self, value: Any, name: str, spoken: str, depth: int) -> Iterator[Place]:
        if depth <= 0 or id(value) in self._seen or isinstance(value, set):
            return
        self._seen.add(id(value))
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value))[:256]:
            if isinstance(key, str | int):
                write = functools.partial(set_item, value, key)
                yield from self._value(item, f"{name}.{key}", f"{spoken}[{key!r}]", write, depth - 1)

    def _variables(
        self, variables: Iterable[Any], name: str, spoken: str, kind: type[Assigned] = Assigned
    ) -> Iterator[Place]:
        for number, variable in enumerate(variables):
            if id(variable) not in self._known and id(getattr(variable, "_value", variable)) not in self._known:
                self._known.add(id(variable))
                yield Place(f"{name}.{number}", spoken, kind(variable), variable.assign)


def _set_argument(given: Any, index: int, value: Any) -> None:
    """Replace an argument of an operation of a functional model."""
    given._flat_arguments[index] = value
    given.args, given.kwargs = keras.tree.pack_sequence_as((given.args, given.kwargs), given._flat_arguments)


def _held_by(function: Any) -> Iterator[tuple[str, str, Any, Callable[[Any], None]]]:
    """Go through the values in the closure of a function, and those that its arguments have when not given."""
    for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        yield key, key, value, functools.partial(set_attribute, cell, "cell_contents")
    for key, value in _defaults_of(function).items():
        yield f"default.{key}", key, value, functools.partial(_set_default, function, key)


def _defaults_of(function: Any) -> dict[str, Any]:
    """Give the values that the arguments of a function have when they are not given."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    return dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)) | (function.__kwdefaults__ or {})


def _set_default(function: Any, name: str, value: Any) -> None:
    of_names = function.__kwdefaults__ or {}
    if name in of_names:
        of_names[name] = value
    else:
        defaults = {**_defaults_of(function), name: value}
        function.__defaults__ = tuple(item for key, item in defaults.items() if key not in of_names)


def _is_of_a_package(value: Any) -> bool:
    """Whether an object is of a package that knows itself what to do with it, as a file, a bar or a writer of logs."""
    module = sys.modules.get(type(value).__module__)
    path = getattr(module, "__file__", None) or ""
    return "site-packages" in path or "dist-packages" in path


@functools.cache
def _of_keras() -> frozenset[str]:
    """Name the attributes that Keras itself gives to every layer and model."""
    model = keras.Sequential(name="colabkit_attributes")
    model.compile(optimizer="sgd", loss="mse")
    layer = keras.layers.Layer(name="colabkit_attributes")
    return frozenset(vars(model)) | frozenset(vars(layer)) | {"loss_tracker"}


def _names_of(code: types.CodeType) -> set[str]:
    """Name the variables of the module that a function and those inside it may read or write."""
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names |= _names_of(inner)
    return names
