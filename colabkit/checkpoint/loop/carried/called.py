"""The user's functions that a loop may call: by name, registered in lists and objects, wrapped; what they enclose."""

from __future__ import annotations

import functools
import itertools
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.inside import attributes_of, is_data
from colabkit.checkpoint.loop.carried.user_loops import Variables, is_of_the_user, is_user_code
from colabkit.checkpoint.policy.code_flow import flow_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEPTH = 3  # of functions that call functions
_ITEMS = 64  # of a list of functions
_CONTAINERS = (list, tuple, dict, deque)
_COMPILERS = frozenset({"tensorflow", "jax", "jaxlib", "flax", "equinox"})


class Enclosed(Variables):
    """The variables that a function has from the one in which it was made.

    Args:
        function: The function.
        number: Which it is of those that were made at the same place.

    Attributes:
        function: As given.
    """

    def __init__(self, function: types.FunctionType, number: int) -> None:
        super().__init__(function.__globals__)
        self.function = function
        self._cells = cells_of(function)
        self._owner = f"{function.__qualname__}{f' {number}' if number > 1 else ''}"

    @property
    def is_global(self) -> bool:
        """They are of no module."""
        return False

    @property
    def place(self) -> str:
        """Where they are, the same in each process."""
        return f"{super().place}{self._owner}."

    def __contains__(self, name: str) -> bool:
        return name in self._cells and _has_content(self._cells[name])

    def __getitem__(self, name: str) -> Any:
        return self._cells[name].cell_contents

    def __setitem__(self, name: str, value: Any) -> None:
        self._cells[name].cell_contents = value

    def may_hold(self, name: str) -> bool:
        """Say whether a name belongs here."""
        return name in self._cells

    def holds_cell(self, cell: types.CellType) -> bool:
        """Say whether a variable is one of these."""
        return any(each is cell for each in self._cells.values())


def cells_of(function: types.FunctionType) -> dict[str, types.CellType]:
    """Name the variables that a function encloses."""
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def functions_in(value: Any, *, depth: int = _DEPTH, seen: set[int] | None = None) -> Iterator[types.FunctionType]:
    """Give a function of the user's, those that it calls or wraps, the methods of an object, and what is registered."""
    seen = set() if seen is None else seen
    if isinstance(value, types.MethodType):
        yield from functions_in(value.__self__, depth=depth, seen=seen)
        value = value.__func__
    value = value.func if isinstance(value, functools.partial) else value
    value = compiled_of(value) if is_compiled(value) else value
    if not depth or id(value) in seen:
        return
    seen.add(id(value))
    inner: list[Any] = []
    if isinstance(value, types.FunctionType):
        if not is_user_code(value.__code__.co_filename, value.__globals__):
            return
        yield value
        inner = [value.__globals__.get(name) for name in sorted(flow_of(value.__code__).loaded)]
        inner += [cell.cell_contents for cell in cells_of(value).values() if _has_content(cell)]
        inner = [each for each in inner if holds_functions(each)]
    elif isinstance(value, _CONTAINERS):
        depth, inner = depth + 1, _registered(value)
    elif is_of_the_user(kind := value if isinstance(value, type) else type(value)):
        for each in map(_method_of, list(vars(kind).values())):
            if isinstance(each, types.FunctionType):
                yield from functions_in(each, depth=depth, seen=seen)
        if not (isinstance(value, type) or is_data(kind)):
            inner = [each for each in attributes_of(value).values() if holds_functions(each)]
    for each in inner:
        yield from functions_in(each, depth=depth - 1, seen=seen)


def _method_of(item: Any) -> Any:
    """Return the function of a static method, a class method or a property."""
    if isinstance(item, staticmethod | classmethod):
        return item.__func__
    return item.fget if isinstance(item, property) else item


def holds_functions(value: Any) -> bool:
    """Say whether it is a function, or a list or dict of such, or of lists of such."""
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial) or is_compiled(value):
        return True
    return isinstance(value, _CONTAINERS) and bool(_registered(value))


def _registered(container: Any) -> list[Any]:
    """List what may be called of the items of a container, or of the lists in it."""
    items = list(itertools.islice(container.values() if isinstance(container, dict) else container, _ITEMS))
    return [each for each in items if _may_be_called(each) or (isinstance(each, _CONTAINERS) and _holds_calls(each))]


def _holds_calls(container: Any) -> bool:
    items = container.values() if isinstance(container, dict) else container
    return any(map(_may_be_called, itertools.islice(items, _ITEMS)))


def is_compiled(value: Any) -> bool:
    """Say whether it is what `tf.function`, `jax.jit` or their like have made of a function."""
    return type(value).__module__.split(".")[0] in _COMPILERS and isinstance(compiled_of(value), types.FunctionType)


def compiled_of(value: Any) -> Any:
    """Return the function that was compiled; None for all else."""
    return getattr(value, "python_function", None) or getattr(value, "__wrapped__", None)


def _may_be_called(value: Any) -> bool:
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial) or is_compiled(value):
        return True
    return not isinstance(value, type) and is_of_the_user(type(value)) and not is_data(type(value))


def _has_content(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it is not assigned yet
    except ValueError:
        return False
    return True
