"""Models that a later fit of the script trains, and random generators that it draws from later.

Their weights were drawn before this fit, and a new process draws others where no seed is set. So a checkpoint holds
those of models in the variables of the functions that called `fit`, and of the notebook or script, until a run trains
them here; and so it does with files of weights that the script has written.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._internal.display.few import few
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras import hidden_state
from colabkit.checkpoint.keras.code_fingerprint import held_by_layers, is_the_users
from colabkit.checkpoint.keras.host.own_places import Place, Walk
from colabkit.checkpoint.keras.host.own_values import Assigned, holds_arrays, is_array, mark_of, plain, unplain
from colabkit.checkpoint.state import pytree, rng, user_variables
from colabkit.checkpoint.state.written_files import WrittenFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from colabkit.checkpoint.format.file import Checkpoint

    Array = np.ndarray[Any, Any]

_MOST_BYTES = 1 << 26  # of all of them together; of larger ones it is told when they differ
_DEPTH = 2
_other_arrays: list[tuple[str, str, str, weakref.ref[Any]]] = []  # of a run: name, what told it then, and what it is
_trained_here: dict[int, Callable[[], Any]] = {}  # variables of the models that runs train in this process


class LaterModels:
    """The models and random generators in the user's variables that a fit does not train.

    Args:
        model: The model that it trains.
    """

    def __init__(self, model: Any) -> None:
        members = [member for layer in model._flatten_layers() for member in _members_of(layer).values()]
        _trained_here.update({id(each): _reference_to(each) for each in map(_value_of, members)})
        in_use = dict(user_variables.of_callers(sys._getframe(1), _inside))
        self._files = WrittenFiles()
        self._files.find(sys._getframe(1))
        arrays = {name: value for name, value in in_use.items() if is_array(value)}
        self._array_marks = {name: repr(mark_of(value)) for name, value in arrays.items()}
        self._arrays = {name: weakref.ref(value) for name, value in arrays.items()}
        self._generators = {name: value for name, value in in_use.items() if rng.is_generator(value)}
        self._at_first = {name: plain(value) for name, value in self._generators.items()}
        self._models = {
            name: {place: member for place, member in _members_of(value).items() if not _is_trained_here(member)}
            for name, value in in_use.items()
            if hasattr(value, "_flatten_layers")
        }
        self._values: dict[str, dict[str, Any]] = {}
        self._marks: dict[str, str] = {}  # of those that are too large
        left = _MOST_BYTES
        for name, members_of in self._models.items():
            values = {place: _read(member) for place, member in members_of.items()}
            left -= sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray))
            if left >= 0:
                self._values[name] = values
            else:
                self._marks[name] = repr(mark_of(values))

    def capture(self, tensors: dict[str, Array]) -> dict[str, Any]:
        """Give what they are.

        Args:
            tensors: Arrays are added here, under names that begin with `later/`.
        """
        now = {name: plain(value) for name, value in self._generators.items()}
        states = {"models": self._values, "generators": self._at_first, "generators_now": now}
        states["files"] = self._files.take()
        return {"marks": self._marks, "arrays": self._array_marks, "states": pytree.flatten(states, "later", tensors)}

    def restore(self, run: str, saved: Checkpoint) -> None:
        """Give models and generators what they were in the process that began the run, and tell of those that differ.

        Args:
            run: The run's name.
            saved: The checkpoint to go on from.
        """
        if (described := saved.meta.get("later")) is None:
            return
        marks = described["marks"]
        states = pytree.unflatten(described["states"], saved.tensors)
        _other_arrays.extend(
            (run, name, described["arrays"][name], reference)
            for name, reference in self._arrays.items()
            if described["arrays"].get(name) not in (None, self._array_marks[name])
        )
        self._array_marks |= {name: mark for name, mark in described["arrays"].items() if name in self._array_marks}
        drawn = states["generators_now" if saved.meta["complete"] else "generators"]
        for name in self._generators.keys() & drawn.keys():
            rng.set_generator_state(self._generators[name], unplain(drawn[name]))
        self._at_first |= {name: drawn[name] for name in self._generators.keys() & states["generators"].keys()}
        given = [name for name in self._models if name in states["models"] and self._give(name, states["models"][name])]
        files, other_files = self._files.give(states.get("files"))
        if given := given + files:
            text = (
                "%s: kept as the run began with them: %s. Drawn or set otherwise, they make a training of its own: %s"
            )
            notify(text, run, few(given, 5, between=", "), 'run.phase("NAME").resume()')
        if other := [name for name, mark in self._marks.items() if marks.get(name, mark) != mark]:
            text = "%s: other weights than when the run began, and too many to be kept with it: %s. %s"
            way = "Set a seed before they are drawn, or train them in a run of their own"
            warn(text, run, few(other, 5, between=", "), way)
        if other_files:
            text = "%s: the script has written other values than when the run began, so what loads them differs: %s. %s"
            warn(text, run, few(other_files, 5, between=", "), "Set a seed before they are drawn")

    def release(self) -> None:
        """Hold nothing of the user's any longer."""
        for held in (self._generators, self._at_first, self._models, self._values, self._arrays):
            held.clear()

    def tell_of_arrays(self, run: str) -> None:
        """Tell as another fit begins which arrays are others than as the run that is continued was begun."""
        before = {begun for begun, *_ in _other_arrays if begun != run}
        names = sorted(
            {
                name
                for _, name, mark, reference in _other_arrays
                if (value := reference()) is not None and repr(mark_of(value)) != mark
            }
        )
        _other_arrays.clear()
        if before and names:
            text = "%s: drawn anew in this process, so a fit that uses them differs from here on: %s. %s"
            way = f"They were others when {', '.join(sorted(before))} was begun: set a seed before they are drawn"
            warn(text, run, few(names, 5, between=", "), way)

    def _give(self, name: str, values: Mapping[str, Any]) -> bool:
        """Write the values of a model; says whether it had others. One of another form is another model."""
        now = self._values.get(name, {})
        if _forms_of(now) != _forms_of(values):
            return False
        changed = [place for place, value in values.items() if mark_of(value) != mark_of(now[place])]
        for place in changed:
            member = self._models[name][place]
            if isinstance(member, keras.initializers.Initializer):
                member.seed = values[place]
            elif isinstance(member, Place):
                member.write(unplain(values[place]))
            else:
                member.assign(values[place])
        self._values[name] = dict(values)
        return bool(changed)


def _forms_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        place: (value.shape, value.dtype.str) if isinstance(value, np.ndarray) else type(value)
        for place, value in values.items()
    }


def _reference_to(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:  # a list or dict
        return lambda: value


def _value_of(member: Any) -> Any:
    return member.value if isinstance(member, Place) else member


def _read(member: Any) -> Any:
    if isinstance(member, Place):
        return member.value.copy() if isinstance(member.value, np.ndarray) else plain(member.value)
    return member.seed if isinstance(member, keras.initializers.Initializer) else Assigned(member).read()


def _is_trained_here(member: Any) -> bool:
    value = _value_of(member)
    reference = _trained_here.get(id(value))
    return reference is not None and reference() is value


def _members_of(model: Any) -> dict[str, Any]:
    """Name the variables of a model or layer, and the initializers that draw those of a layer that is not built."""
    variables = list(model.variables)
    members = {f"{number:04d}": variable for number, variable in enumerate(variables)}
    listed = {id(each) for variable in variables for each in (variable, getattr(variable, "_value", None))}
    members |= {f"hidden/{place}": variable for place, variable in hidden_state.variables(model, listed)}
    for number, layer in enumerate(model._flatten_layers()):
        for name, value in vars(layer).items() if not layer.built else ():
            if isinstance(value, keras.initializers.Initializer) and isinstance(getattr(value, "seed", None), int):
                members[f"seed/{number}.{name}"] = value
    own = {f"{number}": layer for number, layer in enumerate(model._flatten_layers()) if is_the_users(type(layer))}
    walk = Walk(model, {id(variable) for variable in members.values()}, {})
    for name, part in (own | held_by_layers(model)).items():
        places = [place for place in walk.of(part, name, shared=False) if holds_arrays(place.value)]
        members |= {f"array/{place.name}": place for place in places}
    return members | {f"array/{place.name}": place for place in walk.of_operations()}


def _inside(value: Any, place: str, seen: set[int], depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    is_own = is_the_users(type(value)) and hasattr(value, "__dict__") and not isinstance(value, type)
    is_model = isinstance(value, keras.layers.Layer)
    is_plain = rng.is_generator(value) or is_array(value)
    if not (is_model or is_own or is_plain or isinstance(value, list | tuple | dict)):
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if is_model or is_plain:
        yield place, value
    elif isinstance(value, list | tuple | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items)[:256] if depth else ():
            if isinstance(key, str | int):
                yield from _inside(item, f"{place}[{key!r}]", seen, depth - 1)
    elif depth and not isinstance(value, keras.callbacks.Callback):
        for key, item in list(vars(value).items()):
            yield from _inside(item, f"{place}.{key}", seen, depth - 1)
