"""Finds what a script may have drawn, in variables, objects, lists, closures, and in the data of later phases."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
import types
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.attached import flat, is_module, is_optimizer
from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user, is_user_code
from colabkit.checkpoint.loop.drawn.names import names_used
from colabkit.checkpoint.loop.drawn.values import is_array, is_drawn_number, memory_of
from colabkit.checkpoint.state import rng, user_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

_DEPTH = 3
_ITEMS = 256  # of a list that are looked into
_ROWS = 16  # a longer list of lists or dicts is a table, which is data
_FEWEST = 2
_MOST = 1 << 20  # numbers of a list that are compared
_DATA = frozenset({"Dataset", "DataLoader", "Sampler", "LightningDataModule", "DataLoaders"})
_OF_FRAMEWORKS = frozenset(
    {"transformers", "trl", "lightning", "pytorch_lightning", "fastai", "fastcore", "accelerate"}
)
_CONTAINERS = (list, tuple, deque, dict)


@dataclass(frozen=True)
class Candidate:
    """What was found at a place.

    Attributes:
        kind: "module", "array", "generator", or "list" of numbers.
        value: What is there.
        members: Of a module its tensors and arrays by name, those of the training itself left out.
        is_data: It belongs to data, which is compared and never written to.
    """

    kind: str
    value: Any
    members: Mapping[str, Any]
    is_data: bool = False


class Search:
    """Goes through what the user's variables hold beside what a training is given.

    Args:
        given: Modules, optimizers and all else that the training saves by itself.
        data: Its data, which is compared elsewhere.
    """

    def __init__(self, given: Iterable[Any], data: Iterable[Any]) -> None:
        self._known: set[int] = set()
        self._used: set[str] = set()  # names of the user's loop and functions
        self._memory: list[tuple[int, int]] = []
        for value in given:
            self._leave_out(value)
        self._of_data = [each for value in data for each in _held_by_data(value)]
        self._memory += [memory_of(each) for each in self._of_data if is_array(each)]
        self._known.update(map(id, self._of_data))

    def _leave_out(self, value: Any) -> None:
        for each in (value, *flat(value)):
            self._known.add(id(each))
            if is_module(each):
                tensors = [*each.parameters(), *each.buffers()]
                self._known.update(map(id, (*each.modules(), *tensors)))
                self._memory += [memory_of(tensor) for tensor in tensors if is_array(tensor)]

    def of_callers(self, frame: FrameType | None, more: Mapping[str, Any]) -> dict[str, Candidate]:
        """Return what is found, by its place.

        Args:
            frame: Where to begin.
            more: What else to look into, such as a Trainer.
        """
        self._used = names_used(frame)
        candidates = dict(user_variables.of_callers(frame, self._of_variable))
        seen = {
            id(each) for candidate in candidates.values() for each in (candidate.value, *candidate.members.values())
        }
        for name, value in (*_of_modules(), *more.items()):
            candidates |= dict(self._inside(value, name, seen, _DEPTH))
        return {
            place: dataclasses.replace(candidate, is_data=candidate.is_data or self._is_in_data(candidate))
            for place, candidate in candidates.items()
        }

    def _is_in_data(self, candidate: Candidate) -> bool:
        return candidate.kind == "array" and self._is_of_the_training(candidate.value)

    def _of_variable(self, value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Candidate]]:
        yield from self._inside(value, name, seen, _DEPTH)

    def _inside(
        self, value: Any, place: str, seen: set[int], depth: int, *, is_data: bool = False, of_framework: bool = False
    ) -> Iterator[tuple[str, Candidate]]:
        if type(value) is float and place.rpartition(".")[2] in self._used and is_drawn_number(value):
            yield place, Candidate("list", [value], {}, is_data)
        if isinstance(value, str | bytes | int | float | type | None) or id(value) in self._known or id(value) in seen:
            return
        if is_optimizer(value):
            return
        seen.add(id(value))
        if is_module(value):
            if members := self._members_of(value, seen):
                yield place, Candidate("module", value, members)
        elif rng.is_generator(value) or is_array(value) or _is_numbers(value):
            if not (of_framework or (is_data and rng.is_generator(value))):
                yield place, _as_candidate(value, is_data=is_data)
        elif depth:
            kinds = type(value).__mro__
            is_data = is_data or bool({kind.__name__ for kind in kinds} & _DATA)
            if is_data:
                self._memory += [memory_of(each) for each in _held_by_data(value) if is_array(each)]
            of_framework = of_framework or any(kind.__module__.split(".")[0] in _OF_FRAMEWORKS for kind in kinds)
            for step, item in _held_by(value, is_data=is_data):
                yield from self._inside(
                    item, place + step, seen, depth - 1, is_data=is_data, of_framework=of_framework and not is_data
                )

    def _members_of(self, module: Any, seen: set[int]) -> dict[str, Any]:
        """Name the tensors of a module: parameters, buffers, and those in plain attributes."""
        members: dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, each in module.named_modules():
            seen.add(id(each))
            for attribute, value in vars(each).items():
                if is_array(value):
                    members[f"{name}.{attribute}".removeprefix(".")] = value
        members = {name: each for name, each in members.items() if is_array(each) and id(each) not in self._known}
        seen.update(map(id, members.values()))
        return {name: each for name, each in members.items() if not self._is_of_the_training(each)}

    def _is_of_the_training(self, value: Any) -> bool:
        low, high = memory_of(value)
        return any(low < end and begin < high for begin, end in self._memory)


def _as_candidate(value: Any, *, is_data: bool) -> Candidate:
    if rng.is_generator(value):
        return Candidate("generator", value, {})
    return Candidate("array", value, {"": value}, is_data) if is_array(value) else Candidate("list", value, {}, is_data)


def _is_numbers(value: Any) -> bool:
    if not (isinstance(value, list | tuple) and _FEWEST <= len(value) <= _MOST):
        return False
    return type(value[0]) in (int, float, np.int64) and all(type(each) in (int, float, np.int64) for each in value)


def _held_by(value: Any, *, is_data: bool) -> Iterator[tuple[str, Any]]:
    """Give what a container, an object of the user's, a function or data holds, each with the step to it."""
    if isinstance(value, _CONTAINERS):
        items = list(itertools.islice(value.items() if isinstance(value, dict) else enumerate(value), _ITEMS))
        is_table = len(items) > _ROWS and isinstance(items[0][1], list | tuple | dict | str)
        yield from ((f"[{key!r}]", item) for key, item in items if isinstance(key, str | int) and not is_table)
    elif isinstance(value, functools.partial):
        yield from ((f".args[{at}]", item) for at, item in enumerate(value.args))
        yield from ((f".{key}", item) for key, item in value.keywords.items())
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, types.FunctionType):
        if is_user_code(value.__code__.co_filename, value.__globals__):
            yield from _held_by_function(value)
    elif hasattr(value, "__dict__") and (is_data or is_of_the_user(type(value))):
        yield from ((f".{key}", item) for key, item in list(vars(value).items()))


def _of_modules() -> Iterator[tuple[str, Any]]:
    """Give the variables of the user's modules that are imported."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and isinstance(file, str) and is_user_code(file, vars(module)):
            yield from ((f"{name}.{key}", item) for key, item in list(vars(module).items()) if not key.startswith("_"))


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


def _held_by_data(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Give data and what it holds: loaders, samplers, datasets in datasets, their arrays and generators."""
    yield value
    if is_array(value) or is_module(value) or not depth:
        return
    if isinstance(value, list | tuple | dict) and len(value) <= _ITEMS:
        items = list(value.values() if isinstance(value, dict) else value)
    elif isinstance(value, type | types.ModuleType | types.FunctionType):
        return
    else:
        items = list(getattr(value, "__dict__", {}).values())
    for item in items:
        if not isinstance(item, str | int | float | None):
            yield from _held_by_data(item, depth - 1)
