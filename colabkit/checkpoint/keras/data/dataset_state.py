"""What a user's own dataset keeps: the order of its samples, counters, generators; and which data it is made of.

Most datasets of the user shuffle their indexes when they are made and at each epoch's end. An order that the process
drew is part of the state, whether it has changed since or not. All other arrays are the data, and are compared.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.checkpoint.keras.host.own_places import MOST, Walk
from colabkit.checkpoint.keras.host.own_values import (
    Assigned,
    Stateful,
    Stream,
    is_drawn,
    is_frame,
    is_path_that_is_gone,
    mark_of,
    plain,
    setting_of,
    unplain,
)
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.state.moments import is_a_moment
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit.checkpoint.keras.host.own_places import Place
    from colabkit.checkpoint.keras.host.own_values import Array

_NEW = object()
_LONGEST = 1 << 18  # items of a list that may be an order
_FEW = 64  # items of a dict that may be settings
_SMALL = 1 << 22  # bytes of an array whose rows may come in another order
_LARGEST = 1 << 26  # bytes that are saved of one value
_OF_KERAS = {"._workers", "._use_multiprocessing", "._max_queue_size"}


class DatasetState:
    """The values that a dataset of the user's own class keeps.

    Args:
        dataset: The dataset.
        prefix: What the names of its arrays in a state begin with.
        shuffles: It may have shuffled its arrays already, as Keras calls `on_epoch_end` once before the training.
        alone: Only its own attributes are its state: the training changes the notebook's variables meanwhile.

    Attributes:
        data: What tells its data from other data: a text for each array, list or frame, by its name.
        settings: The numbers, flags and words that it uses, as text, by what a user calls them.
    """

    def __init__(self, dataset: Any, *, prefix: str = "data/own", shuffles: bool = False, alone: bool = False) -> None:
        self._dataset = dataset
        self._prefix = prefix
        self._shuffles = shuffles
        self._alone = alone
        places = list(self._places())
        self._at_first = {place.name: mark_of(place.value) for place in places}
        self.data = {place.name: text for place in places if (text := self._describe(place.value))}
        self.settings = {
            place.spoken: text for place in places if place.name not in _OF_KERAS and (text := setting_of(place.value))
        }
        self._restored: set[str] = set()
        self._told: set[str] = set()

    def changed(self) -> list[str]:
        """Name what has changed since this object was made."""
        return [name for name, mark in self._marks().items() if self._at_first.get(name, _NEW) != mark]

    def capture(self, tensors: dict[str, Array]) -> dict[str, Any]:
        """Take what has changed, and every order of samples.

        Args:
            tensors: Arrays are added here, under names that begin with the prefix.
        """
        states: dict[str, Any] = {}
        for place in self._places():
            changed = place.name in self._restored or self._at_first.get(place.name, _NEW) != mark_of(place.value)
            if not (changed or self._is_kept(place.value) or is_drawn(place.value)) or is_a_moment(place.value):
                continue
            own: dict[str, Array] = {}
            try:
                states[place.name] = pytree.flatten(plain(place.value), f"{self._prefix}/{place.name}", own)
            except (CheckpointError, TypeError, ValueError, RuntimeError):
                self._tell(place, "a checkpoint cannot hold it")
                continue
            if sum(array.nbytes for array in own.values()) > _LARGEST:
                del states[place.name]
                self._tell(place, "it is larger than 64 MiB")
            else:
                tensors.update(own)
        return states

    def restore(self, states: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Give it back in place."""
        for place in self._places():
            if place.name not in states:
                continue
            value = unplain(pytree.unflatten(states[place.name], tensors))
            if not is_path_that_is_gone(value, place.value):
                place.write(value)
                self._restored.add(place.name)

    def _is_kept(self, value: Any) -> bool:
        return _is_an_order(value) or (self._shuffles and isinstance(value, np.ndarray) and value.nbytes <= _SMALL)

    def _describe(self, value: Any) -> str:
        if not self._shuffles or not isinstance(value, np.ndarray) or _is_an_order(value):
            return _described(value)
        if value.nbytes > _SMALL or value.ndim == 0 or value.dtype.hasobject:
            return ""
        return f"{value.shape} {zlib.crc32(repr(sorted(zlib.crc32(row.tobytes()) for row in value)).encode())}"

    def _marks(self) -> dict[str, Any]:
        return {place.name: mark_of(place.value) for place in self._places()}

    def _places(self) -> Iterator[Place]:
        walk = Walk(None, set(), {})
        for place in walk.of(self._dataset, "", shared=True):
            if place.name.startswith(".") or not self._alone:
                yield place
            if walk.count > MOST:
                return

    def _tell(self, place: Place, why: str) -> None:
        if place.name not in self._told:
            self._told.add(place.name)
            text = "%s changes while it trains and is not saved, since %s: after a kill it begins anew; %s"
            warn(text, place.spoken, why, "give the dataset get_state() and set_state(state)")


def _is_an_order(value: Any) -> bool:
    """Whether a value may be an order of samples: whole numbers in a row, a list of names, of names and labels."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.dtype.kind in "iuUS" and value.size > 1
    return isinstance(value, list) and 1 < len(value) <= _LONGEST and all(map(_is_a_name, value))


def _is_a_name(item: Any) -> bool:
    if isinstance(item, tuple | list):
        return all(isinstance(each, str | int | float | np.generic) for each in item)
    return isinstance(item, str | int | np.integer)


def _described(value: Any) -> str:
    """Tell data from other data, however it is ordered; empty for a value that is none."""
    if isinstance(value, Assigned | Stateful | Stream):
        return ""
    if _is_an_order(value):
        items = sorted(map(_spelled, value)) if isinstance(value, list) else np.sort(value)
        return f"{len(items)} {mark_of(np.asarray(items))}"
    if isinstance(value, dict) and 0 < len(value) <= _LONGEST:
        return _described_dict(value)
    if isinstance(value, list) and len(value) > _LONGEST:
        return f"{len(value)} {mark_of(value)}"
    if (isinstance(value, np.ndarray) and value.size > 1 and not value.dtype.hasobject) or is_frame(value):
        return str(mark_of(value))
    return ""


def _described_dict(value: dict[Any, Any]) -> str:
    """Describe the data in a dict, as parts by their names, or the labels of names."""
    parts = {str(key): text for key, item in value.items() if (text := _described(item))}
    if not parts and all(_is_a_name(item) for item in value.values()) and len(value) > _FEW:
        return _described([list(pair) for pair in value.items()])
    return str(sorted(parts.items())) if parts else ""


def _spelled(item: Any) -> str:
    """Spell a name; of a path only its end, as the folder is another on another machine."""
    if isinstance(item, tuple | list):
        return "\0".join(map(_spelled, item))
    return "/".join(item.replace("\\", "/").split("/")[-2:]) if isinstance(item, str) else str(item)
