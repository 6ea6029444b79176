"""What is in a container, in an object of the user's, or hung on a function, and where each of it is written to."""

from __future__ import annotations

import argparse
import inspect
import itertools
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user, is_user_code

if TYPE_CHECKING:
    from collections.abc import Callable

_ITEMS = 256  # of a container of objects
_DATA = {"Dataset", "DataLoader", "Sampler", "LightningDataModule"}
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
    kind = value if isinstance(value, type) else type(value)
    is_own = isinstance(value, (*_SPACES, types.FunctionType)) or is_of_the_user(kind)
    if not is_own or {each.__name__ for each in kind.__mro__} & _DATA:
        return None
    return [
        ([".", key], item, writer(value, [".", key]))
        for key, item in attributes_of(value).items()
        if not (key.startswith("__") and key.endswith("__")) and not (isinstance(value, type) and _is_of_code(item))
    ]


def _is_of_code(item: Any) -> bool:
    return callable(item) or inspect.isdatadescriptor(item) or isinstance(item, staticmethod | classmethod)


def has_attributes(value: Any) -> bool:
    """Say whether it is a function of the user's that something is hung on, as in `step.calls += 1`."""
    is_function = isinstance(value, types.FunctionType) and bool(vars(value))
    return is_function and is_user_code(value.__code__.co_filename, value.__globals__)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, also of one with `__slots__`."""
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
