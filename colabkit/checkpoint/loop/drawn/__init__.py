"""What a script has drawn before a training: models of later phases, teachers, fixed noise, projections, splits.

Without a seed a new process draws others. They are found in the variables of the functions that called the training and
of the notebook or script, and are not what the training is given.

| found                                            | saved          | in a new process, where it is another one       |
|--------------------------------------------------|----------------|-------------------------------------------------|
| module, random generator                         | as it is       | gets the saved values                           |
| array or tensor of numbers as generators give    | as it is       | the same                                        |
| another array, a list, a table, a frame, data    | what tells it  | is left, and told                               |
| how a module is set                              | as text        | is left, and told with both values              |
| all that is beyond 64 MiB                        | what tells it  | is left, and told                               |

In the process that has trained the run so far all is left as it is. Only where the training was cut off there, and a
module is made anew by a cell that is run once more, it gets the saved values.
"""

from __future__ import annotations

import hashlib
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.display.few import few
from colabkit.checkpoint.loop.drawn.search import Candidate, Search
from colabkit.checkpoint.loop.drawn.values import (
    KerasMember,
    digest_of,
    digest_of_all,
    is_same,
    looks_drawn,
    version_of,
    write,
)
from colabkit.checkpoint.loop.parts import give_generator, take_generator
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.state.written_files import WrittenFiles
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MOST_BYTES = 1 << 26  # of all of them together
_SHOWN = 8
_ERRORS = (ColabKitError, RuntimeError, TypeError, ValueError, AttributeError, KeyError)
_trained_here: dict[tuple[int, str], _Past] = {}


class _Past:
    """What a process has last saved of a run.

    Args:
        is_cut: The training was not at its end then.
        candidates: What was found.
    """

    def __init__(self, candidates: Mapping[str, Candidate], *, is_cut: bool) -> None:
        self.is_cut = is_cut
        self._objects = {place: weakref.ref(each.value) for place, each in candidates.items() if each.kind == "module"}

    def holds(self, place: str, value: Any) -> bool:
        """Say whether something was there already."""
        reference = self._objects.get(place)
        return reference is not None and reference() is value


class DrawnBefore:
    """What the user's variables hold beside what a training is given, as it was drawn before.

    Args:
        run: The folder of the run.
        notify: Says a line with values.
        warn: The same, of what is not exact.
    """

    def __init__(self, run: Any, *, notify: Callable[..., None], warn: Callable[..., None]) -> None:
        self._key = (os.getpid(), str(run))
        self._notify = notify
        self._warn = warn
        self._candidates: dict[str, Candidate] = {}
        self._files = WrittenFiles()
        self._kept: set[str] = set()  # the places of what is saved as it is
        self._marks: dict[str, str] = {}  # what tells the others
        self._versions: dict[str, list[int]] = {}  # how often the tensors were written to
        self._texts: dict[str, str] = {}  # how modules are set
        self._begun: dict[str, Any] = {}  # what tells whether something changes while it trains
        self._random = _digest_of_random()  # a Trainer sets a seed of its own, later

    def find(self, given: Mapping[str, Any], data: Iterable[Any], *, more: Mapping[str, Any] | None = None) -> None:
        """Find it, before a state is put back.

        Args:
            given: Modules, optimizers and all else that the training saves by itself, by name.
            data: Its data.
            more: What to look into beside the variables.
        """
        try:
            search = Search(given, data)
            self._find(search.of_callers(sys._getframe(1), more or {}))
            self._files.find(sys._getframe(1))
            self._texts = search.texts
        except Exception as error:  # noqa: BLE001 - raised by code of the user's
            text = "%s: what the script has drawn before cannot be looked at, and is not kept: %s"
            self._warn(text, f"{type(error).__name__}: {error}")
            self.release()

    def _find(self, candidates: dict[str, Candidate]) -> None:
        self._candidates = candidates
        left = _MOST_BYTES
        sizes = {
            place: sum(each.nbytes for each in candidate.members.values()) for place, candidate in candidates.items()
        }
        for place in sorted(candidates, key=lambda each: sizes[each]):
            candidate = candidates[place]
            self._versions[place] = list(map(version_of, candidate.members.values()))
            self._begun[place] = _state_of(candidate)
            is_array = candidate.kind == "array"
            is_kept = candidate.kind in ("module", "generator") or (is_array and looks_drawn(candidate.value))
            is_kept &= not candidate.is_data
            left -= sizes[place] if is_kept else 0
            if is_kept and left >= 0:
                self._kept.add(place)
            else:
                self._marks[place] = _mark_of(candidate)

    def mark_again(self) -> None:
        """Note what is there now: a split has got its samples back since."""
        self._marks = {place: _mark_of(self._candidates[place]) for place in self._marks}

    # ---- saving ----

    def take(self, *, is_cut: bool, besides: Iterable[str] = ()) -> dict[str, Any]:
        """Return what a checkpoint holds of it.

        Args:
            is_cut: The training is not at its end.
            besides: Places of what is saved otherwise by now.
        """
        values, others = {}, tuple(besides)
        for place in list(self._kept):
            if _is_of(place, others):
                continue
            try:
                values[place] = _taken(self._candidates[place], place)
                pytree.flatten(values[place], place, {})
            except _ERRORS:  # of a kind that no checkpoint holds
                values.pop(place, None)
                self._kept.discard(place)
        _trained_here[self._key] = _Past(self._candidates, is_cut=is_cut)
        texts: dict[str, Any] = {"texts": dict(self._texts)} if self._texts else {}
        if not self._files.is_empty:
            texts["files"] = self._files.take()
        if not values and not self._marks:
            return texts
        return {
            "values": values,
            "versions": {place: self._versions[place] for place in values},
            "changed": [place for place in values if _state_of(self._candidates[place]) != self._begun[place]],
            "marks": {place: mark for place, mark in self._marks.items() if not _is_of(place, others)},
            "random": self._random,
            **texts,
        }

    # ---- restoring ----

    def give(self, saved: Mapping[str, Any] | None, *, or_else: str = "") -> None:
        """Put back what `take` returned, and tell of what is another one and stays so.

        Args:
            saved: What `take` returned; None of an older state.
            or_else: What else to do than to set a seed, in words.
        """
        past = _trained_here.get(self._key)
        if not saved or (past is not None and not past.is_cut):
            return
        given, others = [], []
        saved = {"values": {}, "marks": {}, "random": None, **saved}
        is_seeded = saved["random"] == self._random  # so what is another one at the start was set by the user
        for place, candidate in self._candidates.items():
            if past is not None and (candidate.kind != "module" or past.holds(place, candidate.value)):
                continue
            if place in saved["values"]:
                may_give = self._versions[place] == saved["versions"][place]
                may_give &= not is_seeded or place in saved["changed"]
                outcome = self._outcome(candidate, saved["values"][place], may_give=may_give)
                given += [place] if outcome == "given" else []
                others += [place] if outcome == "left" else []
            elif _differs(candidate, saved["marks"].get(place), self._marks.get(place) or _mark_of(candidate)):
                others.append(place)
        self._marks |= {place: mark for place, mark in saved["marks"].items() if place in self._marks}
        if past is None:
            files, other_files = self._files.give(saved.get("files"))
            given, others = given + files, others + other_files
        if given:
            text = "%s: kept as the run has them: %s. Drawn or set otherwise, they make a training of its own: %s"
            self._notify(text, few(sorted(given), _SHOWN), 'run.phase("NAME")')
        if others:
            text = "%s: another one than when the run was begun: %s. Set a seed before it is drawn%s"
            self._warn(text, few(sorted(others), _SHOWN), or_else)
        if past is None and (changes := self._changes(saved.get("texts", {}))):
            self._warn("%s: changed since the state was saved, and in effect from now on: %s", few(changes, _SHOWN))

    def _changes(self, before: Mapping[str, str]) -> list[str]:
        pairs = [(place, before[place], text) for place, text in sorted(self._texts.items()) if place in before]
        return [f"{place}: {then} -> {now}" for place, then, now in pairs if then != now]

    def _outcome(self, candidate: Candidate, saved: Any, *, may_give: bool) -> str:
        """Give one thing its saved values: says "same", "given" or "left"."""
        try:
            if candidate.kind == "generator":
                if repr(take_generator(candidate.value, "")) == repr(saved):
                    return "same"
                give_generator(candidate.value, saved)
                return "given"
            values = decode(saved)
            if values.keys() != candidate.members.keys() or any(
                map(_is_of_another_form, values.values(), _like(candidate, values))
            ):
                return "left"
            changed = [name for name, value in values.items() if not is_same(candidate.members[name], value)]
            if not changed or not may_give:
                return "left" if changed else "same"
            for name in changed:
                write(candidate.members[name], values[name])
        except _ERRORS:
            return "left"
        return "given"

    def release(self) -> None:
        """Hold nothing of the user's any longer."""
        self._candidates = {}
        self._kept.clear()


def _is_of(place: str, others: tuple[str, ...]) -> bool:
    return any(place == each or place.startswith((f"{each}.", f"{each}[")) for each in others)


def _taken(candidate: Candidate, place: str) -> Any:
    if candidate.kind == "generator":
        return take_generator(candidate.value, place)
    return {name: encode(_numbers_of(each), place) for name, each in candidate.members.items()}


def _numbers_of(member: Any) -> Any:
    if isinstance(member, KerasMember):
        return member.array
    return member.detach() if hasattr(member, "detach") else member


def _state_of(candidate: Candidate) -> Any:
    """Tell what is there from what it becomes as it is written to."""
    if candidate.kind == "generator":
        return repr(take_generator(candidate.value, ""))
    arrays = [digest_of(each) for each in candidate.members.values() if isinstance(each, np.ndarray | KerasMember)]
    return [*map(version_of, candidate.members.values()), *arrays]


def _differs(candidate: Candidate, before: str | None, now: str) -> bool:
    """Say whether the mark of something is another one; a list of another length has grown in between."""
    has_grown = candidate.kind == "list" and before is not None and before.partition(" ")[0] != now.partition(" ")[0]
    return before not in (None, now) and not has_grown


def _like(candidate: Candidate, values: Mapping[str, Any]) -> list[Any]:
    return [candidate.members[name] for name in values]


def _is_of_another_form(saved: Any, now: Any) -> bool:
    return tuple(saved.shape) != tuple(now.shape) or saved.dtype != now.dtype


def _has_items(value: Any) -> bool:
    """Say whether something has a length: a tensor of TensorFlow without a shape has none."""
    return getattr(value, "shape", None) is None or len(value.shape) > 0


def _mark_of(candidate: Candidate) -> str:
    """Tell what was found from another thing; of a list its length comes first, as it may have grown since."""
    if candidate.kind == "list":
        length = len(candidate.value) if hasattr(candidate.value, "__len__") and _has_items(candidate.value) else 1
        return f"{length} {digest_of_all(candidate.value)}"
    return " ".join(digest_of(each) for each in candidate.members.values())


def _digest_of_random() -> str:
    digest = hashlib.blake2b(digest_size=12)
    for name, state in sorted(rng.capture().items()):
        digest.update(name.encode() + np.ascontiguousarray(state).tobytes())
    return digest.hexdigest()
