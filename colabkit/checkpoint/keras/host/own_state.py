"""State in the user's own objects, which neither Keras nor a callback's `get_state()` knows of.

It is in attributes of models, layers, losses, metrics, optimizers and callbacks, and in the closures and the variables
of the notebook that the functions of a callback or a loss use. A value that has changed since the training began is
saved, and given back in place; what cannot be saved is named. What means something in one process only is left as the
new process made it: a moment of a clock, and the path of a file that is gone. An array of a layer, loss or optimizer
that training leaves alone is saved, too: without a seed each process draws another one, as a mask of the features that
a tree uses.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._internal.display.few import few
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras.code_fingerprint import compiled_parts, held_by_layers, is_the_users
from colabkit.checkpoint.keras.host.own_places import MOST, Place, Walk
from colabkit.checkpoint.keras.host.own_values import (
    STATE_DICT,
    Assigned,
    Stateful,
    as_torch,
    holds_arrays,
    is_drawn,
    is_numbers,
    is_path_that_is_gone,
    mark_of,
    plain,
    set_attribute,
    setting_of,
    unplain,
)
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.state.moments import is_a_moment
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from colabkit.checkpoint.format.file import Checkpoint

    Array = np.ndarray[Any, Any]

_NEW = object()
_SETTING = "setting-"


class OwnState:
    """The values that a training's own objects keep beside what Keras knows of.

    Args:
        model: The model.
        callbacks: The callbacks by their names; those with `get_state()` or `stateless = True` are left alone.
        known: Gives the variables that are saved otherwise.

    Attributes:
        constants: The arrays that training has left alone, of those that `capture` took last.
    """

    def __init__(self, model: Any, callbacks: Mapping[str, Any], known: Callable[[], Iterable[Any]]) -> None:
        self._model = model
        self._known = known
        self._layers = {
            f"{number}": layer for number, layer in enumerate(model._flatten_layers()) if is_the_users(type(layer))
        }
        self._others: dict[str, Any] = held_by_layers(model)
        optimizer = getattr(model, "optimizer", None)
        for name, part in [
            ("optimizer", optimizer),
            ("schedule", getattr(getattr(optimizer, "inner_optimizer", optimizer), "_learning_rate", None)),
            *((f"metric-{number}", metric) for number, metric in enumerate(model.metrics)),
            *((f"compiled-{number}", part) for number, part in enumerate(compiled_parts(model))),
            *(
                (f"compiled-{number}.fn", getattr(part, "fn", None))
                for number, part in enumerate(compiled_parts(model))
            ),
        ]:
            if part is not None and (inspect.isfunction(part) or is_the_users(type(part))):
                self._others[name] = part
        self._others |= {f"callback-{name}": each for name, each in callbacks.items() if _is_looked_at(each)}
        self._of_keras = list(_settings_of_keras(model)) if _runs_eagerly(model) else []
        self._at_first: dict[str, Any] = {}
        self._settings: dict[str, str] = {}
        self._taken: set[str] = set()  # what holds weights of the model as it was before it was restored
        self.constants: list[str] = []
        self._constants: set[str] = set()  # arrays of layers, losses and the optimizer, which may have been drawn
        self._new: set[str] = set()  # those of them that changed code makes otherwise
        self._settled: dict[str, Any] = {}
        self._restored: set[str] = set()
        self._moments: set[str] = set()
        self._told: set[str] = set()

    def begin(self) -> None:
        """Remember what they are before the training."""
        for place in self._places():
            self._at_first[place.name] = mark_of(place.value)
            if place.name.startswith(_SETTING):
                continue  # what the code has set otherwise is told with the setup
            is_name = place.name.endswith((".name", "._name"))  # Keras counts them on in one process
            if not is_name and (text := setting_of(place.value)):
                self._settings[place.name] = text
            elif isinstance(place.value, Assigned):
                if not is_drawn(place.value):
                    self._settings[place.name] = f"values {self._at_first[place.name][-1]}"
            elif self._is_of_the_model(place.value):
                self._taken.add(place.name)
            elif holds_arrays(place.value) and not place.part.startswith("callback-"):
                self._constants.add(place.name)
            elif holds_arrays(place.value) or is_numbers(place.value):
                self._settings[place.name] = f"values {zlib.crc32(repr(self._at_first[place.name]).encode())}"

    def keep_constants(self, run: str, saved: Checkpoint, *, code_changed: bool) -> bool:
        """Give back the arrays that training leaves alone, where they are others in this process; says whether one was.

        Args:
            run: The run's name.
            saved: The checkpoint to go on from.
            code_changed: The user has changed the code of the model: arrays that it makes otherwise are in effect.
        """
        states, constants = saved.meta.get("attributes") or {}, set(saved.meta.get("attribute_constants") or ())
        other = []
        for place in self._places():
            if place.name in constants & self._constants & states.keys():
                value = unplain(pytree.unflatten(states[place.name], saved.tensors))
                if mark_of(value) != self._at_first[place.name]:
                    other.append((place, value))
        spoken = few(sorted({place.spoken for place, _ in other}), 5, between=", ")
        if other and code_changed:
            self._new |= {place.name for place, _ in other}
            warn("%s: other arrays than when the state was saved, and in effect from now on: %s", run, spoken)
            return False
        for place, value in other:
            place.write(value)
            self._at_first[place.name] = mark_of(value)
        if other:
            text = (
                "%s: kept as the run began with them: %s. Drawn or set otherwise, they make a training of its own: %s"
            )
            notify(text, run, spoken, 'run.phase("NAME").resume()')
        return bool(other)

    def settings(self) -> dict[str, str]:
        """Give the plain values that the code has set and training has left alone, by their places."""
        return {
            place.name: self._settings[place.name]
            for place in self._places()
            if place.name in self._settings
            and place.name not in self._restored
            and self._at_first[place.name] == mark_of(place.value)
        }

    def compare(self, run: str, saved: Mapping[str, str]) -> None:
        """Tell what the code sets otherwise than when the state was written.

        Args:
            run: The run's name.
            saved: What `settings` gave then.
        """
        spoken = {place.name: place.spoken for place in self._places()}
        changed = {
            f"{spoken[name]}: {saved[name]} -> {text}" if not text.startswith("values ") else f"{spoken[name]}: values"
            for name, text in self._settings.items()
            if name in spoken and saved.get(name, text) != text
        }
        if changed:
            text = "%s: changed since the state was saved, and in effect from now on: %s"
            warn(text, run, few(sorted(changed), 5, between="; "))

    def _is_of_the_model(self, value: Any) -> bool:
        arrays = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        array = next((each for each in arrays if isinstance(each, np.ndarray) and each.size > 1), None)
        return array is not None and any(
            tuple(variable.shape) == array.shape and np.array_equal(keras.ops.convert_to_numpy(variable), array)
            for variable in self._model.variables
        )

    def settle(self) -> None:
        """Remember what they are before the first step: what is made anew by then need not be saved."""
        if self._settled:
            return
        for place in self._places():
            self._settled[place.name] = mark = mark_of(place.value)
            if self._at_first.get(place.name, _NEW) != mark and is_a_moment(place.value, of_any_clock=True):
                self._moments.add(place.name)

    def capture(self, tensors: dict[str, Array]) -> dict[str, Any]:
        """Take those that have changed.

        Args:
            tensors: Arrays are added here, under names that begin with `attributes/`.
        """
        states: dict[str, Any] = {}
        self.constants = []
        named = self._restored | self._taken | self._constants
        for place in self._places():
            mark = mark_of(place.value)
            always = place.name in named or is_drawn(place.value)
            if self._at_first.get(place.name, _NEW) == mark:
                if not always:
                    continue
                self.constants += [place.name] if place.name in self._constants else []
            if place.name in self._moments or is_a_moment(place.value):
                continue
            own: dict[str, Array] = {}
            try:
                states[place.name] = pytree.flatten(plain(place.value), f"attributes/{place.name}", own)
            except (CheckpointError, TypeError, ValueError, RuntimeError):  # the last three: a tensor of a graph
                if place.name not in self._told and self._settled and self._settled.get(place.name, _NEW) != mark:
                    self._told.add(place.name)
                    text = "%s is a %s, which a checkpoint cannot hold: after a kill it begins anew"
                    warn(text, place.spoken, type(getattr(place.value, "iterator", place.value)).__name__)
            else:
                tensors.update(own)
        return states

    def restore(self, states: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Give them back."""
        owners: dict[str, Any] = {}
        places = {place.name: place for place in self._places(owners)}
        for name, kept in states.items():
            if name in self._new:
                continue
            value = unplain(pytree.unflatten(kept, tensors))
            owner, _, attribute = name.rpartition(".")
            if isinstance(value, dict) and value.keys() == {STATE_DICT}:
                self._load(places.get(name), name, value[STATE_DICT])
            elif name in places:
                if is_path_that_is_gone(value, places[name].value):
                    continue
                places[name].write(value)
            elif owner in owners:  # an attribute that is made while it trains
                setattr(owners[owner], attribute, value)
            else:
                continue
            self._restored.add(name)

    @staticmethod
    def _load(place: Place | None, name: str, value: Any) -> None:
        if place is None or not isinstance(place.value, Stateful):
            text = "%s begins anew: it is made while the model trains, and nobody can make it as it was"
            warn(text, place.spoken if place is not None else name)
            return
        place.value.owner.load_state_dict(as_torch(value))

    def _places(self, owners: dict[str, Any] | None = None) -> Iterator[Place]:
        for name, owner, keys in self._of_keras:
            for key in keys:
                spoken = f"{getattr(owner, 'name', name)}.{key}"
                yield Place(f"{name}.{key}", spoken, getattr(owner, key), functools.partial(set_attribute, owner, key))
        known = {id(variable) for variable in self._known()}
        walk = Walk(self._model, known, {} if owners is None else owners)
        for number, (name, part) in enumerate([*self._layers.items(), *self._others.items()]):
            for place in walk.of(part, name, shared=number >= len(self._layers)):
                yield replace(place, part=name)
                if walk.count > MOST:
                    return
        yield from walk.of_operations()


def _runs_eagerly(model: Any) -> bool:
    """Say whether a setting counts that changes as the model trains; in a graph it stays what it was at first."""
    return keras.backend.backend() == "torch" or bool(getattr(model, "run_eagerly", False))


def _settings_of_keras(model: Any) -> Iterator[tuple[str, Any, list[str]]]:
    """Name the layers, the optimizer, the losses and metrics that are Keras' own, with the numbers they are made of.

    A callback may change them, such as the rate of a dropout.
    """
    parts = [(f"layer-{number}", layer) for number, layer in enumerate(model._flatten_layers(include_self=False))]
    parts += [("optimizer", getattr(model, "optimizer", None))]
    parts += [(f"compiled-{number}", part) for number, part in enumerate(compiled_parts(model))]
    for name, part in parts:
        if not hasattr(part, "get_config") or not hasattr(part, "__dict__") or is_the_users(type(part)):
            continue
        try:
            keys = list(part.get_config())
        except Exception:  # noqa: BLE001, S112 - built in another way than Keras builds it
            continue
        numbers = [key for key in keys if isinstance(vars(part).get(key), bool | int | float)]
        if numbers:
            yield _SETTING + name, part, numbers


def _is_looked_at(callback: Any) -> bool:
    if getattr(callback, "stateless", False) or (hasattr(callback, "get_state") and hasattr(callback, "set_state")):
        return False
    holds_functions = isinstance(callback, keras.callbacks.LambdaCallback | keras.callbacks.LearningRateScheduler)
    return is_the_users(type(callback)) or holds_functions
