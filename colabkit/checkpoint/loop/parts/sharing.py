"""Dicts, lists, sets and deques that stand in several places of a state, as the weights of a target network at first.

Filled in place, two names of one dict would both get the values of the last. So a state says which of its places are
one object; where the program begins with one and the run has parted them, each place gets an object of its own.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.parts.attached import plain_keys
from colabkit.checkpoint.loop.parts.in_place import CONTAINERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def shared_places(given: Mapping[str, Any]) -> dict[str, str]:
    """Name the places where an object stands again, each with the first place of it."""
    first: dict[int, str] = {}
    again = {}
    for place, _, _, value in _walk(given):
        if first.setdefault(id(value), place) != place:
            again[place] = first[id(value)]
    return again


def part(given: Mapping[str, Any], shared: Mapping[str, str]) -> None:
    """Give the places that hold one object here, and did not where it was saved, one each."""
    first: dict[int, str] = {}
    for place, holder, key, value in _walk(given):
        if first.setdefault(id(value), place) != place and place not in shared and holder is not given:
            holder[key] = copy.copy(value)


def join(given: Mapping[str, Any], shared: Mapping[str, str]) -> None:
    """Give the places that held one object where it was saved the same one."""
    values = {place: value for place, _, _, value in _walk(given)} if shared else {}
    for place, holder, key, _ in _walk(given) if shared else ():
        if (first := values.get(shared.get(place, ""))) is not None and holder is not given:
            holder[key] = first


def _walk(value: Any, place: str = "", above: frozenset[int] = frozenset()) -> Iterator[tuple[str, Any, Any, Any]]:
    """Give each container in dicts and lists, with what holds it and by which key; one that holds itself once."""
    if isinstance(value, list):
        items: Any = enumerate(list(value))
    elif hasattr(value, "keys"):
        items = [(key, value[key]) for key in plain_keys(value).values()]
    else:
        return
    for key, item in items:
        if isinstance(item, CONTAINERS) and id(item) not in above:
            at = f"{place}/{key!r}"
            yield at, value, key, item
            yield from _walk(value[key], at, above | {id(item)})
