"""The names that the user's `for` carries along and that a loop is not given: the best loss so far, a list, a count.

| the name, or what it holds                                     | saved                | in a new process             |
|----------------------------------------------------------------|----------------------|------------------------------|
| is assigned in the `for` and read later                        | always               | gets the saved value         |
| is filled or written to, an attribute of the user's own object | once it has changed  | the same, as the same object |
| is a model, optimizer, metric or variable of Keras             | once it has changed  | the same, as the same object |
| the same, and no checkpoint holds it                           | told once it changed | told again                   |
| is read alone                                                  | by `drawn`           | see there                    |

In the process that has trained so far, a loop that begins again leaves what was set since. Only where it was stopped,
or failed, and a name is again what it was before the loop (a cell that is run once more) it gets the saved value.
"""

from __future__ import annotations

import inspect
import os
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.held import HeldObjects, modules_of
from colabkit.checkpoint.loop.carried.inside import ABSENT
from colabkit.checkpoint.loop.carried.keras_things import KerasThings
from colabkit.checkpoint.loop.carried.pieces import Piece, Pieces, words_of
from colabkit.checkpoint.loop.carried.roots import Root, roots_of
from colabkit.checkpoint.loop.carried.user_loops import running
from colabkit.checkpoint.loop.carried.words import CarriedWords
from colabkit.checkpoint.loop.parts.attached import flat, is_module
from colabkit.checkpoint.state.moments import is_a_moment
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from colabkit.checkpoint.loop.carried.user_loops import UserLoop, Variables

_MOST_BYTES = 1 << 26  # of all of them together
_SMALL = 1 << 16  # bytes of what may be read in a later cell only
_IN_A_NOTEBOOK = ("In", "Out", "_", "__", "___")
_ERRORS = (ColabKitError, RuntimeError, TypeError, ValueError, AttributeError, KeyError)


@dataclass
class _Past:
    """How the last loop of a run has ended in this process, and what its names held when it began."""

    is_cut: bool
    first: dict[str, str]


_past: dict[tuple[int, str], _Past] = {}


class CarriedNames:
    """The names of the user's loops over the batches of a run, as long as they run.

    Args:
        run: The folder of the run.
        notify: Says a line with values.
        warn: The same, of what is not exact.
        whose: "loop", or "training" by a trainer of another library.
    """

    def __init__(
        self, run: Any, *, notify: Callable[..., None], warn: Callable[..., None], whose: str = "loop"
    ) -> None:
        self._key = (os.getpid(), str(run))
        self._is_of_a_trainer = whose != "loop"
        self._words = CarriedWords(self._key, notify, warn, whose)
        self._held: HeldObjects | None = None  # as long as it runs
        self._outer: UserLoop | None = None  # over the epochs, or over all batches
        self._inner: UserLoop | None = None  # over the batches of an epoch, where it is another
        self._pieces = Pieces([], set(), set())
        self._marks: dict[str, str] = {}  # as the loop has begun
        self._changed: set[str] = set()

    # ---- the user's loops ----

    def begin(self, given: Mapping[str, Any], data: list[Any]) -> None:
        """Find the `for` that reads the loop, and what the modules that it is given keep beside their state.

        Args:
            given: What the loop is given, which is saved otherwise.
            data: What it reads, with its generators.
        """
        self._outer = self._safely(running, sys._getframe(1)) or None
        self.begin_held(HeldObjects(modules_of(given)), given, data)

    def begin_held(self, held: HeldObjects, given: Mapping[str, Any], data: list[Any]) -> None:
        """Look at objects and functions of the user's that a trainer calls, with what a loop reads.

        Args:
            held: The objects and functions.
            given: What is saved otherwise.
            data: What is read, with its generators.
        """
        self._held = held
        self._safely(self._begin, given, data)

    def _safely(self, work: Callable[..., Any], *values: Any) -> Any:
        """Do what looks into objects of the user's, which may be of any kind: none of them ends the training."""
        try:
            return work(*values)
        except Exception as error:  # noqa: BLE001 - raised by code of the user's
            self._words.give_up(error)
            self.forget()
            return {}

    def _begin(self, given: Mapping[str, Any], data: list[Any]) -> None:
        modules = [each for each in flat(dict(given)) if is_module(each)]
        tensors = [each for part in modules for each in (*part.parameters(), *part.buffers())]
        parts = _all_in(dict(given))
        objects = [*parts, *tensors, *(each for part in modules for each in part.modules()), *data]
        objects += [vars(each) for each in parts if hasattr(each, "__dict__")]
        objects += [each.owner for each in data if hasattr(each, "differing")]  # which the loop's data keeps itself
        memory = {each.untyped_storage().data_ptr() for each in tensors if str(each.layout) == "torch.strided"} - {0}
        keras, ids = KerasThings(flat(dict(given))), set(map(id, objects))
        self._pieces = Pieces(modules, ids, memory, keras, with_optimizers=self._is_of_a_trainer)
        self._pieces.keras.begin([piece.value for _, piece, _ in self._found() if piece.kind in ("keras", "module")])
        self._note()

    def begin_epoch(self) -> None:
        """Find the `for` that reads the batches of an epoch, in the one over the epochs."""
        if self._outer is None:
            return
        inner = self._safely(running, sys._getframe(1)) or None
        self._inner = None if inner is None or inner.is_at_the_place_of(self._outer) else inner
        if self._inner is not None:
            self._safely(self._note)

    def release(self, *, is_cut: bool) -> None:
        """Hold nothing of the user's any longer, and remember how the loop has ended.

        Args:
            is_cut: It was stopped or has failed, and is to be continued.
        """
        if self._held is not None:
            _past[self._key] = _Past(is_cut, dict(self._marks))
        self.forget()

    def forget(self) -> None:
        """Hold nothing of the user's any longer."""
        self._outer = self._inner = self._held = None
        self._pieces = Pieces([], set(), set())

    def _roots(self) -> list[Root]:
        if self._held is None:
            return []
        roots: dict[tuple[str, str], Root] = {}
        if self._outer is not None:
            roots = roots_of(self._outer, self._inner, self._pieces.given_ids)
        self._held.add_to(roots)
        return list(roots.values())

    def _found(self) -> Iterator[tuple[Root, Piece, str]]:
        """Give the pieces of the names that the loops use, each with its place."""
        for root in self._roots():
            if root.name not in _IN_A_NOTEBOOK:
                for piece in root.pieces(self._pieces):
                    yield root, piece, f"{root.variables.place}{piece.place}"

    def _note(self) -> None:
        """Note what the names hold as the loop begins; what an epoch sets anew before its batches is noted again."""
        for root, piece, place in self._found():
            is_anew = root.is_assigned and not root.is_carried
            if piece.kind != "other" and (is_anew or place not in self._marks):
                self._marks[place] = self._pieces.mark_of(piece)

    # ---- saving ----

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of them, and tell of what it cannot hold."""
        kept: dict[str, Any] = {} if self._held is None else self._safely(self._take_all)
        return kept

    def _take_all(self) -> dict[str, Any]:
        taken: list[tuple[int, str, dict[str, Any]]] = []
        filled: list[str] = []  # what is in these now goes with them, or not at all
        for root, piece, place in self._found():
            if place not in self._marks and place.startswith(tuple(filled)):
                continue
            if self._is_state(root, piece, place):
                taken += self._take(root, piece)
                filled += [f"{place}["] if piece.kind == "filled" else []
        room, values = _MOST_BYTES, []
        for size, shown, entry in sorted(taken, key=lambda each: each[0]):
            room -= size
            if room >= 0:
                values.append(entry)
            elif entry["is carried"]:
                self._words.tell(shown, "is too large to be kept unasked")
        return {"values": values, "unkept": self._words.unkept}

    def _is_state(self, root: Root, piece: Piece, place: str) -> bool:
        is_carried = root.is_carried and piece.is_whole
        is_idle = root.is_assigned and not root.is_needed  # but in a later cell, perhaps
        if is_a_moment(piece.value) or (is_idle and not (root.variables.is_global and piece.size <= _SMALL)):
            return False
        if self._pieces.is_of_the_model(piece.value):
            if is_carried:
                self._words.tell(
                    root.shows(piece), "holds tensors of the model itself, of which it needs a copy.deepcopy()"
                )
            return False
        if piece.kind == "data":
            return True
        if piece.kind == "foreign":
            self._words.tell_unkept(piece, root.shows(piece))
            return False
        if piece.kind == "filled" and self._marks.get(place) == self._pieces.mark_of(piece):
            return False  # as long as it was: what is in it are pieces of their own
        if piece.is_whole and isinstance(piece.value, types.GeneratorType):
            if inspect.getgeneratorstate(piece.value) == inspect.GEN_SUSPENDED:
                self._words.tell(root.shows(piece), "is a generator, whose place nobody can save; give it to run.loop")
            return False
        if piece.kind == "made":
            return is_carried and root.is_assigned and self._marks.get(place) != self._pieces.mark_of(piece)
        if piece.kind == "other" or (root.is_assigned and (piece.is_whole or root.is_needed)):
            return piece.kind != "other" or is_carried
        if place not in self._changed and self._pieces.mark_of(piece) != self._marks.get(place):
            self._changed.add(place)
        return place in self._changed

    def _take(self, root: Root, piece: Piece) -> list[tuple[int, str, dict[str, Any]]]:
        is_carried = root.is_carried or not root.is_assigned
        is_assigned = root.is_assigned and piece.is_whole
        try:
            content, size = self._pieces.take(piece, is_assigned=is_assigned)
        except _ERRORS:
            if is_carried:
                self._words.tell_unkept(piece, root.shows(piece))
            return []
        if piece.kind == "data" and not content:
            return []
        if root.is_assigned and not root.is_needed and size > _SMALL:
            return []
        if is_carried and piece.has_graph:
            self._words.tell(
                root.shows(piece), "is a tensor with the graph of earlier steps; add up numbers: loss.item()"
            )
        entry = {
            "space": root.variables.place,
            "path": piece.path,
            "kind": piece.kind,
            "content": content,
            "is assigned": is_assigned,
            "is carried": is_carried,
        }
        return [(size, root.shows(piece), entry)]

    # ---- restoring ----

    def give(self, saved: Mapping[str, Any] | None, *, is_last: bool) -> None:
        """Put back what `take` returned.

        Args:
            saved: What `take` returned; None of an older state.
            is_last: No code of the user's runs between this and the next step.
        """
        if saved and self._held is not None:
            self._safely(self._give_all, saved, is_last)

    def _give_all(self, saved: Mapping[str, Any], is_last: bool) -> None:
        past, spaces = _past.get(self._key), self._spaces()
        for entry in saved["values"]:
            if (variables := spaces.get(entry["space"])) is None:
                continue
            place = f"{entry['space']}{words_of(entry['path'])}"
            now = Piece.at_path(variables, entry["path"], entry["kind"])
            shown = f"{variables.module}{now.place}"
            self._changed.add(place)
            if now.value is not ABSENT and self._pieces.is_as_saved(now, entry["content"]):
                if self._words.outcomes.get(shown) == "lost":  # it was not there yet
                    del self._words.outcomes[shown]
                continue
            if past is not None and now.value is not ABSENT and not self._is_as_before(past, place, now):
                outcome = "left"
            else:
                outcome = "restored" if self._give(now, entry) else "lost"
            if entry["is carried"]:
                self._words.outcomes[shown] = outcome
        if is_last:
            self._words.say(saved["unkept"] if past is None else {})

    def _spaces(self) -> dict[str, Variables]:
        loops = [each for each in (self._outer, self._inner) if each is not None]
        spaces = {root.variables.place: root.variables for root in self._roots()}
        return (
            spaces
            | {each.variables.place: each.variables for each in loops}
            | (self._held.spaces() if self._held else {})
        )

    def _is_as_before(self, past: _Past, place: str, now: Piece) -> bool:
        """Say whether a loop that was cut off begins again with what it had begun with."""
        return past.is_cut and past.first.get(place) == self._pieces.mark_of(now)

    def _give(self, now: Piece, entry: Mapping[str, Any]) -> bool:
        try:
            self._pieces.give(now, entry["content"], is_assigned=entry["is assigned"])
        except _ERRORS:
            return False
        return True


def places_in(taken: Mapping[str, Any]) -> list[str]:
    """Name the places, in words, of what a checkpoint holds of names."""
    values = taken.get("values", ())
    return [(each["space"][1:] if each["space"].startswith(".") else "") + words_of(each["path"]) for each in values]


def _all_in(value: Any) -> list[Any]:
    """List a value, and what is in its dicts, lists and tuples."""
    if isinstance(value, dict | list | tuple):
        items = value.values() if isinstance(value, dict) else value
        return [value, *(each for item in items for each in _all_in(item))]
    return [value]
