"""How far the search looks: into containers, objects, classes, functions, generators that run, and data."""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import types
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.inside import attributes_of
from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user, is_user_code
from colabkit.checkpoint.loop.drawn.values import is_array
from colabkit.checkpoint.loop.parts.attached import is_module

if TYPE_CHECKING:
    from collections.abc import Iterator

ITEMS = 256  # of a list that are looked into
_ROWS = 16  # a longer list of lists or dicts is a table
_DATA_DEPTH = 3
_CONTAINERS = (list, tuple, deque, dict)
_SPACES = (argparse.Namespace, types.SimpleNamespace)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OF_CLASSES = (
    types.FunctionType,
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    types.MemberDescriptorType,
)


def held_by(value: Any, *, is_data: bool) -> Iterator[tuple[str, Any]]:
    """Give what a container, an object or a class of the user's, a function or data holds, each with the step to it.

    Args:
        value: It.
        is_data: It belongs to data, so its class may be any.
    """
    if isinstance(value, _CONTAINERS):
        if not is_table(value):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"[{key!r}]", item) for key, item in _first(items) if isinstance(key, str | int))
    elif isinstance(value, functools.partial):
        yield from ((f".args[{at}]", item) for at, item in enumerate(value.args))
        yield from ((f".{key}", item) for key, item in value.keywords.items())
        yield ".func", value.func
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, types.FunctionType):
        if is_user_code(value.__code__.co_filename, value.__globals__):
            yield from _held_by_function(value)
    elif isinstance(value, types.GeneratorType):
        if value.gi_frame is not None and is_user_code(value.gi_code.co_filename, value.gi_frame.f_globals):
            yield from ((f".{key}", item) for key, item in value.gi_frame.f_locals.items())
    elif isinstance(value, type):
        yield from _held_by_class(value)
    elif is_data or isinstance(value, _SPACES) or is_of_the_user(type(value)):
        yield from ((f".{key}", item) for key, item in attributes_of(value).items())
        yield from _held_by_class(type(value))


def is_table(value: Any) -> bool:
    """Say whether a container holds more rows, texts or things than are looked into one by one."""
    items = iter(value.values() if isinstance(value, dict) else value)
    return len(value) > ITEMS or (len(value) > _ROWS and isinstance(next(items), list | tuple | dict | str))


def held_by_module(module: Any) -> Iterator[tuple[str, Any]]:
    """Give what a module and those in it hold beside tensors: what the user hangs on them, classes, hooks."""
    for name, each in module.named_modules():
        start = f".{name}" if name else ""
        if is_of_the_user(type(each)):
            yield from ((f"{start}.{key}", item) for key, item in own_attributes(each).items())
        yield from ((start + step, item) for step, item in _held_by_class(type(each)))
        hooks = [hook for kind in _HOOKS for hook in vars(each).get(kind, {}).values()]
        yield from ((f"{start}.hook {at}", hook) for at, hook in enumerate(hooks))


def own_attributes(module: Any) -> dict[str, Any]:
    """Return the attributes of a module that are not torch's own."""
    return {key: item for key, item in vars(module).items() if not key.startswith("_") and key != "training"}


def held_by_modules() -> Iterator[tuple[str, Any]]:
    """Give the variables of the user's modules that are imported."""
    for name, module in list(sys.modules.items()):
        file = str(getattr(module, "__file__", ""))
        is_file = Path(file).is_absolute()  # torch.ops says "_ops.py"
        if is_file and name not in ("__main__", "__mp_main__") and is_user_code(file, vars(module)):
            yield from ((f"{name}.{key}", item) for key, item in list(vars(module).items()) if not key.startswith("__"))


def held_by_data(value: Any, depth: int = _DATA_DEPTH) -> Iterator[Any]:
    """Give data and what it holds: loaders, samplers, datasets in datasets, their arrays and generators."""
    yield value
    if is_array(value) or is_module(value) or not depth:
        return
    if isinstance(value, list | tuple | dict) and len(value) <= ITEMS:
        items = list(value.values() if isinstance(value, dict) else value)
    elif isinstance(value, type | types.ModuleType | types.FunctionType):
        return
    else:
        items = list(getattr(value, "__dict__", {}).values())
    for item in items:
        if not isinstance(item, str | int | float | None):
            yield from held_by_data(item, depth - 1)


def _first(items: Any) -> list[tuple[Any, Any]]:
    return list(itertools.islice(items, ITEMS))


def _held_by_class(kind: type) -> Iterator[tuple[str, Any]]:
    """Give what the body of a class of the user's assigns, and what its methods hold."""
    for each in kind.__mro__:
        if is_of_the_user(each):
            for key, item in list(vars(each).items()):
                if isinstance(item, types.FunctionType) or not (key.startswith("__") or isinstance(item, _OF_CLASSES)):
                    yield f".{key}", item


def _held_by_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield f".{name}", cell.cell_contents
        except ValueError:  # it is not assigned yet
            continue
    for at, item in enumerate(function.__defaults__ or ()):
        yield f".default {at}", item
    for key, item in (*(function.__kwdefaults__ or {}).items(), *vars(function).items()):
        yield f".{key}", item
