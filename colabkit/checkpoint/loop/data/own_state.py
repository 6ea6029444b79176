"""What a dataset or a sampler of the user's keeps in its attributes and changes while it trains.

A sampler that counts what it has used, a dataset that draws its negative samples anew for each epoch: the same random
numbers give another order, or other samples, from another state.
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.checkpoint.loop.carried.inside import attributes_of
from colabkit.checkpoint.loop.carried.telling import PLAIN, digest_of, is_simple
from colabkit.checkpoint.loop.parts.in_place import put
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import loose, pytree
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 1 << 26
_SMALL = 1 << 20  # bytes of what has not changed, and is kept all the same
_MOST_VALUES = 100_000  # in lists of texts and the like
_MOST_NUMBERS = 1 << 21  # in lists of numbers, which become an array
_FEW = 64
_SAMPLED = 1 << 16  # numbers of a large array
_ROWS = "rows of numbers"
_DEPTH = 3
_INNER = ("batch_sampler", "sampler", "dataset")  # where torch's own classes have those that they wrap
_ERRORS = (ColabKitError, RuntimeError, TypeError, ValueError, AttributeError)


class OwnState:
    """The attributes of one object, of which those that change are kept.

    Args:
        owner: The dataset or sampler.
        place: Where it is, for messages.
        keeps_all: Also what has not changed since it was made, as a sampler may shuffle then.

    Attributes:
        owner: As given.
        place: As given.
    """

    def __init__(self, owner: Any, place: str, *, keeps_all: bool) -> None:
        self.owner = owner
        self.place = place
        self._keeps_all = keeps_all
        self._begun = {name: _mark_of(value) for name, value in _plain_attributes(owner).items()}
        self._changed: set[str] = set()
        self._unkept: set[str] = set()

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        attributes, room = _plain_attributes(self.owner), _MOST_BYTES
        self._changed |= {name for name, value in attributes.items() if _mark_of(value) != self._begun.get(name)}
        kept: dict[str, Any] = {"changed": sorted(self._changed & attributes.keys()), "values": {}}
        for name, value in attributes.items():
            if name in self._changed or (self._keeps_all and not isinstance(value, PLAIN)):
                content, size = self._encoded(name, value, room if name in self._changed else min(room, _SMALL))
                room -= size
                if content is not None:
                    kept["values"][name] = content
                elif name in self._changed:
                    self._tell(name)
        return kept if kept["values"] else {}

    def _encoded(self, name: str, value: Any, most: int) -> tuple[Any, int]:
        """Return what a checkpoint holds of an attribute, a copy, with its bytes; None of a larger one."""
        if (rows := _rows_of(value)) is not None:
            return ({_ROWS: rows}, rows.nbytes) if rows.nbytes <= most else (None, 0)
        if _count(value, _MOST_VALUES) > _MOST_VALUES or getattr(value, "nbytes", 0) > most:
            return None, 0
        tensors: dict[str, Any] = {}
        try:
            content = copy.deepcopy(encode(value, f"{self.place}.{name}"))  # that of an epoch's begin is kept for later
            pytree.flatten(content, name, tensors)
        except _ERRORS:
            return None, 0
        size = sum(each.nbytes for each in tensors.values())
        return (content, size) if size <= most else (None, 0)

    def _tell(self, name: str) -> None:
        if name not in self._unkept:
            self._unkept.add(name)
            text = "%s.%s changes while it trains and is too large to be kept, so a killed run has another one"
            warn(text, self.place, name)

    def give(self, saved: dict[str, Any]) -> None:
        """Put back what `take` returned; what was only drawn as it was made, where it is the same in another order."""
        now = _plain_attributes(self.owner)
        for name, value in self.differing(saved).items():
            if name not in now or put(now[name], value) is not now[name]:
                setattr(self.owner, name, value)
            self._changed.add(name)

    def differing(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Name what `give` would change, with the values that it would put there."""
        now, values = _plain_attributes(self.owner), {}
        for name, content in saved.get("values", {}).items():
            value = content[_ROWS].tolist() if isinstance(content, dict) and _ROWS in content else decode(content)
            if name in now and digest_of(now[name]) == digest_of(value):
                continue
            if name in saved["changed"] or (name in now and _is_reordered(now[name], value)):
                values[name] = value
        return values


def own_states(loader: Any, noted: dict[int, OwnState]) -> dict[str, OwnState]:
    """Find the datasets and samplers of the user's in a DataLoader, by their places.

    Args:
        loader: The loader.
        noted: Those that are noted as the training begins, by the ids of their owners; others are added.
    """
    states: dict[str, OwnState] = {}
    for steps, owner in owners_in(loader):
        place = ".".join(steps)
        if id(owner) not in noted:
            noted[id(owner)] = own_state(owner, place)
        states[f"{place} (own)"] = noted[id(owner)]
    return states


def own_state(owner: Any, place: str) -> OwnState:
    """Take note of the state of one."""
    return OwnState(owner, place, keeps_all=any(each.__name__ == "Sampler" for each in type(owner).__mro__))


def owners_in(data: Any, depth: int = _DEPTH) -> Iterator[tuple[list[Any], Any]]:
    """Give the datasets and samplers of the user's in a loader or in others, each with the steps to it."""
    for name in _INNER:
        inner = getattr(data, "__dict__", {}).get(name)
        if inner is None or not depth or isinstance(inner, list | tuple | dict | str):
            continue
        if loose.is_in_user_code(type(inner)) and not hasattr(inner, "state_dict"):
            yield [name], inner
        yield from (([name, *steps], owner) for steps, owner in owners_in(inner, depth - 1))


def _plain_attributes(owner: Any) -> dict[str, Any]:
    """Name the attributes that are plain values, arrays, tensors, and containers of them."""
    return {
        name: value
        for name, value in attributes_of(owner).items()
        if not (name.startswith("__") or isinstance(value, np.memmap) or callable(value)) and is_simple([value])
    }


def _mark_of(value: Any) -> tuple[int, str]:
    if isinstance(value, PLAIN):
        return 0, repr(value)
    if getattr(value, "nbytes", 0) > _MOST_BYTES:
        return id(value), str(value._version) if hasattr(value, "_version") else _sample_of(value)
    return id(value), digest_of(value)


def _sample_of(array: Any) -> str:
    """Tell a large array, which is not kept, from itself once much of it was written to; none on a disk."""
    base = array
    while base is not None:
        if isinstance(base, np.memmap):
            return ""
        base = getattr(base, "base", None)
    places = np.sort(np.random.default_rng(0).integers(0, array.size, _SAMPLED))
    return digest_of(array.flat[places])


def _rows_of(value: Any) -> Any:
    """Bring a list of numbers, or of lists of as many numbers each, into an array; None of another one."""
    if type(value) is not list or not _FEW < _count(value, _MOST_NUMBERS) <= _MOST_NUMBERS:
        return None
    leaves = value if type(value[0]) is not list else list(itertools.chain.from_iterable(value))
    kinds = set(map(type, leaves))
    if kinds not in ({int}, {float}) or (leaves is not value and set(map(type, value)) != {list}):
        return None
    try:
        rows = np.array(value)
    except (ValueError, OverflowError):  # lists of several lengths
        return None
    return rows if rows.dtype.kind in "if" and rows.size == len(leaves) else None


def _count(value: Any, most: int) -> int:
    """Count the values in lists and dicts, and stop where they are too many."""
    if not isinstance(value, list | tuple | dict | set | frozenset):
        return 1
    if len(value) > most:
        return len(value)
    count = 0
    for item in value.values() if isinstance(value, dict) else value:
        count += _count(item, most)
        if count > most:
            break
    return count


def _is_reordered(now: Any, then: Any) -> bool:
    """Say whether both hold the same, in another order."""
    if type(now) is not type(then):
        return False
    if isinstance(now, dict):
        return now.keys() == then.keys() and all(
            digest_of(now[key]) == digest_of(then[key]) or _is_reordered(now[key], then[key]) for key in now
        )
    if hasattr(now, "ndim"):
        return bool(now.ndim == 1 and now.shape == then.shape and sorted(now.tolist()) == sorted(then.tolist()))
    is_list = isinstance(now, list | tuple) and len(now) == len(then)
    return is_list and sorted(map(digest_of, now)) == sorted(map(digest_of, then))
