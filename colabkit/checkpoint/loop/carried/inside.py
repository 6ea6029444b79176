"""What is in a container, in an object of the user's, or hung on a function, and where each of it is written to."""

from __future__ import annotations

import argparse
import inspect
import itertools
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user, is_user_code
from colabkit.checkpoint.state import rng

if TYPE_CHECKING:
    from collections.abc import Callable

_ITEMS = 256  # of a container of objects
_DATA = {"Dataset", "DataLoader", "Sampler", "LightningDataModule"}
_ENVIRONMENTS = {"Env", "VectorEnv"}
_OF_MAKERS = {"spec", "_cached_spec", "metadata"}  # how an environment was made
_TRANSPARENT = {"builtins", "numpy", "collections", "types", "pathlib", "torch", "gym", "gymnasium"}
_SPACES = (argparse.Namespace, types.SimpleNamespace)
ABSENT = object()  # what is at a path where nothing is


def inside(value: Any) -> list[tuple[list[Any], Any, Callable[[Any], None] | None]] | None:
    """Give what is in a container, an object of the user's, or hung on a function; None where it is none of them."""
    if isinstance(value, dict):
        pairs = [(key, item) for key, item in value.items() if isinstance(key, str | int)][:_ITEMS]
        return [(["[", key], item, writer(value, ["[", key])) for key, item in pairs]
    if isinstance(value, list | deque | tuple):
        items = list(itertools.islice(value, _ITEMS))
        is_fixed = isinstance(value, tuple)
        return [(["[", at], item, None if is_fixed else writer(value, ["[", at])) for at, item in enumerate(items)]
    if isinstance(value, set | frozenset):
        return []
    if isinstance(value, types.MethodType):  # registered, as in `hooks.append(meter.update)`
        return [([".", "__self__"], value.__self__, None)]
    kind = value if isinstance(value, type) else type(value)
    is_own = isinstance(value, (*_SPACES, types.FunctionType)) or is_of_the_user(kind) or is_environment(kind)
    if not is_own or is_data(kind):
        return None
    return [
        ([".", key], item, writer(value, [".", key]))
        for key, item in attributes_of(value).items()
        if not (key.startswith("__") and key.endswith("__"))
        and not (isinstance(value, type) and is_of_code(item))
        and not (key in _OF_MAKERS and is_environment(kind))
    ]


def is_data(kind: type) -> bool:
    """Say whether a class is one of data, which is kept otherwise."""
    return bool({each.__name__ for each in kind.__mro__} & _DATA)


def is_environment(kind: type) -> bool:
    """Say whether a class is one of the environments of gymnasium and its like, also of those that wrap one."""
    is_one = bool({each.__name__ for each in kind.__mro__} & _ENVIRONMENTS)
    return is_one and hasattr(kind, "step") and hasattr(kind, "reset")


def is_foreign(item: Any) -> bool:
    """Say whether what an environment holds is an engine of its own, as an emulator: nobody sees into it."""
    if hasattr(item, "__dict__") or callable(item):
        return False
    return type(item).__module__.split(".")[0] not in _TRANSPARENT


def generators_in(value: Any, depth: int = 2) -> list[tuple[list[list[Any]], Any, Callable[[Any], None]]]:
    """Give the random generators that an object of a library holds, each with the steps to it."""
    generators: list[tuple[list[list[Any]], Any, Callable[[Any], None]]] = []
    for key, item in itertools.islice(attributes_of(value).items(), _ITEMS):
        step = [".", key]
        if rng.is_generator(item):
            generators.append(([step], item, writer(value, step)))
        elif depth > 1 and not callable(item) and hasattr(item, "__dict__") and not hasattr(item, "state_dict"):
            deeper = generators_in(item, depth - 1)
            generators += [([step, *steps], generator, write) for steps, generator, write in deeper]
    return generators


def is_of_code(item: Any) -> bool:
    """Say whether an item of a class is no value: a method, a property, a slot."""
    return callable(item) or inspect.isdatadescriptor(item) or isinstance(item, staticmethod | classmethod)


def has_attributes(value: Any) -> bool:
    """Say whether it is a function of the user's that something is hung on, as in `step.calls += 1`."""
    is_function = isinstance(value, types.FunctionType) and bool(vars(value))
    return is_function and is_user_code(value.__code__.co_filename, value.__globals__)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, also of one with `__slots__`, and the object of a method."""
    if isinstance(value, types.MethodType):
        return {"__self__": value.__self__}
    kinds = [kind for kind in type(value).__mro__ if "__slots__" in vars(kind)]
    slots = [name for kind in kinds for name, each in vars(kind).items() if inspect.ismemberdescriptor(each)]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return held | (dict(vars(value)) if hasattr(value, "__dict__") else {})


def writer(owner: Any, step: list[Any]) -> Callable[[Any], None]:
    """Return what writes an attribute or an item."""
    if step[0] == ".":
        return lambda value: setattr(owner, step[1], value)
    return lambda value: owner.__setitem__(step[1], value)


def at(owner: Any, step: list[Any]) -> Any:
    """Return what is at a step from an object; `ABSENT` where nothing is."""
    if step[0] == ".":
        return attributes_of(owner).get(step[1], ABSENT)
    try:
        return owner[step[1]]
    except (KeyError, IndexError, TypeError):
        return ABSENT
