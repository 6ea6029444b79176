"""Finds what a script may have drawn, in variables, objects, lists, closures, and in the data of later phases."""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.drawn.names import names_used
from colabkit.checkpoint.loop.drawn.reach import (
    held_by,
    held_by_data,
    held_by_module,
    held_by_modules,
    is_table,
    own_attributes,
)
from colabkit.checkpoint.loop.drawn.settings import texts_of_module
from colabkit.checkpoint.loop.drawn.values import KerasMember, is_array, is_drawn_number, memory_of
from colabkit.checkpoint.loop.parts.attached import flat, is_module, is_optimizer
from colabkit.checkpoint.loop.parts.keras_parts import is_keras, variables_of
from colabkit.checkpoint.state import loose, rng, user_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

_DEPTH = 6
_MOST_LOOKED_AT = 50_000
_FEWEST = 2
_MOST = 1 << 20  # numbers of a list that are compared
_DATA = frozenset({"Dataset", "DataLoader", "Sampler", "LightningDataModule", "DataLoaders"})
_OF_FRAMEWORKS = frozenset(
    {"transformers", "trl", "lightning", "pytorch_lightning", "fastai", "fastcore", "accelerate"}
)
_OF_NUMBERS = frozenset({"sklearn", "pandas", "scipy", "jax", "jaxlib", "tensorflow"})
_CONTAINERS = (list, tuple, dict, deque)
_NAMES = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Candidate:
    """What was found at a place.

    Attributes:
        kind: "module", "array", "generator", or "list" of what is compared alone: numbers, rows, an object.
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
        given: Modules, optimizers and all else that the training saves by itself, by name.
        data: Its data, which is compared elsewhere.

    Attributes:
        texts: How modules are set, by place.
    """

    def __init__(self, given: Mapping[str, Any], data: Iterable[Any]) -> None:
        self.texts: dict[str, str] = {}
        self._given = given
        self._variables = {id(each) for value in flat(dict(given)) if is_keras(value) for each in variables_of(value)}
        self._known: set[int] = set()
        self._used: set[str] = set()  # names of the user's loop and functions
        self._memory: list[tuple[int, int]] = []
        self._left = _MOST_LOOKED_AT
        for value in given.values():
            self._leave_out(value)
        self._of_data = [each for value in data for each in held_by_data(value)]
        self._memory += [memory_of(each) for each in self._of_data if is_array(each)]
        self._known.update(map(id, self._of_data))

    def _leave_out(self, value: Any) -> None:
        for each in (value, *flat(value)):
            self._known.add(id(each))
            if is_module(each):
                tensors = [*each.parameters(), *each.buffers()]
                self._known.update(map(id, (*each.modules(), *tensors)))
                self._memory += [memory_of(tensor) for tensor in tensors if is_array(tensor)]
                for module in each.modules():
                    for held in own_attributes(module).values():
                        self._leave_out_attribute(held)

    def _leave_out_attribute(self, value: Any, depth: int = _DEPTH) -> None:
        """Leave out arrays that an attribute of a given module holds, which are saved with it."""
        if loose.is_array_or_some(value):
            self._known.add(id(value))
        elif depth and loose.is_of_the_user(value):
            for item in vars(value).values():
                self._leave_out_attribute(item, depth - 1)

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
        for name, value in (*held_by_modules(), *more.items()):
            candidates |= dict(self._inside(value, name, seen, _DEPTH))
        for name, value in self._given.items():
            for at, module in enumerate(filter(is_module, flat(value))):
                candidates |= dict(self._inside_module(module, f"{name}[{at}]" if at else name, seen, _DEPTH))
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
        self._left -= 1
        value = value.item() if isinstance(value, np.generic) else value
        is_used = not (of_framework or self._used.isdisjoint(_NAMES.findall(place)))
        if is_used and type(value) is float and is_drawn_number(value):
            yield place, Candidate("list", [value], {})
        if not self._is_new(value, seen):
            return
        if _is_model(value):
            if members := self._members_of(value, seen):
                yield place, Candidate("module", value, members)
            yield from self._inside_module(value, place, seen, depth)
        elif rng.is_generator(value) or is_array(value) or _is_numbers(value):
            if not (of_framework or (is_data and rng.is_generator(value))):
                yield place, _as_candidate(value, is_data=is_data)
        elif _is_compared_alone(value):
            if not of_framework and (is_used or not isinstance(value, _CONTAINERS)):
                yield place, Candidate("list", value, {}, is_data)
        elif depth:
            kinds = type(value).__mro__
            is_data = is_data or bool({kind.__name__ for kind in kinds} & _DATA)
            if is_data:
                self._memory += [memory_of(each) for each in held_by_data(value) if is_array(each)]
            of_framework = of_framework or any(kind.__module__.split(".")[0] in _OF_FRAMEWORKS for kind in kinds)
            for step, item in held_by(value, is_data=is_data):
                yield from self._inside(
                    item, place + step, seen, depth - 1, is_data=is_data, of_framework=of_framework and not is_data
                )

    def _is_new(self, value: Any, seen: set[int]) -> bool:
        """Say whether something is to be looked at that was not before, and note it."""
        if isinstance(value, str | bytes | int | float | None) or id(value) in self._known or id(value) in seen:
            return False
        if is_keras(value) and (
            hasattr(value, "apply_gradients") or not self._variables.isdisjoint(map(id, variables_of(value)))
        ):
            return False  # an optimizer, or a part of what is given
        if is_optimizer(value) or self._left < 0:
            return False
        seen.add(id(value))
        return True

    def _inside_module(self, module: Any, place: str, seen: set[int], depth: int) -> Iterator[tuple[str, Candidate]]:
        if not is_module(module):
            return
        self.texts |= {place + step: text for step, text in texts_of_module(module)}
        for step, item in held_by_module(module):
            if depth and not isinstance(item, np.generic | str | bytes | int | float | None):
                yield from self._inside(item, place + step, seen, depth - 1)

    def _members_of(self, module: Any, seen: set[int]) -> dict[str, Any]:
        """Name the tensors of a module: parameters, buffers, and those in plain attributes; or Keras' variables."""
        if not is_module(module):
            return {str(at): KerasMember(each) for at, each in enumerate(variables_of(module))}
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


def _is_model(value: Any) -> bool:
    """Say whether it is a module of torch, or a model, metric or variable of Keras."""
    return is_module(value) or (is_keras(value) and not rng.is_generator(value))


def _as_candidate(value: Any, *, is_data: bool) -> Candidate:
    if rng.is_generator(value):
        return Candidate("generator", value, {})
    return Candidate("array", value, {"": value}, is_data) if is_array(value) else Candidate("list", value, {}, is_data)


def _is_numbers(value: Any) -> bool:
    if not (isinstance(value, list | tuple) and _FEWEST <= len(value) <= _MOST):
        return False
    return type(value[0]) in (int, float, np.int64) and all(type(each) in (int, float, np.int64) for each in value)


def _is_word(value: Any) -> bool:
    """Say whether it is a name, as of a class or file; a list of sentences is a log."""
    return isinstance(value, str) and " " not in value


def _is_compared_alone(value: Any) -> bool:
    """Say whether it is a table, a list of texts, or an object of numbers by a library, such as a frame."""
    if isinstance(value, _CONTAINERS):
        return len(value) >= _FEWEST and (is_table(value) or all(map(_is_word, value)))
    module = type(value).__module__
    is_of_numbers = module.split(".")[0] in _OF_NUMBERS or module.startswith("torch.distributions.")
    return is_of_numbers and not callable(value) and not isinstance(value, type)
