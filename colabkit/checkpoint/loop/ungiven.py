"""What the user's variables hold beside what a training is given: models of later phases, copies, memories, counters.

Without a seed each process draws another `net2 = Net()` or `fixed_noise = torch.randn(64, 100)`; an average of the
weights, a replay memory or a list of losses changes as the training goes. All of it is found at the start, in the
variables of the functions that called the training and of the notebook or script, and saved with the state.
"""

from __future__ import annotations

import sys
import weakref
import zlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.display.few import few
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.loop.attached import flat, is_module, is_optimizer
from colabkit.checkpoint.loop.data import find_generators
from colabkit.checkpoint.loop.parts import is_generator
from colabkit.checkpoint.state import loose, user_variables
from colabkit.checkpoint.state.moments import is_a_moment
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.run_store import RunStore

_DEPTH = 4
_MOST = 2000  # places that are looked at
_MOST_BYTES = 1 << 26  # of all of them together
_LARGE_ARRAY = 1 << 20  # bytes; a larger one that does not train is data, most often
_MOST_ITEMS = 1000  # of a container; one with more arrays is data, until it changes
_SAMPLED = 1 << 16  # numbers that tell a large one from another
_DATA = {"Dataset", "DataLoader", "LightningDataModule", "DataLoaders", "Sampler"}
_KEPT_OTHERWISE = ("transformers", "trl", "lightning", "pytorch_lightning", "fastai", "fastcore", "accelerate")
_PLAIN = (bool, int, float, str, type(None))
_ended: dict[str, dict[str, Callable[[], Any]]] = {}  # by the run's folder: what was there as it ended in this process


@dataclass(frozen=True)
class _Leaf:
    """A value, where it is, and how it is replaced where it cannot be changed in place."""

    place: str
    value: Any
    write: Callable[[Any], None] | None = None
    owner: Any = None  # whose attribute it is

    @property
    def is_drawn(self) -> bool:
        """Whether another process may draw it anew; a plain value is what the user has set, until it changes."""
        if isinstance(self.value, list | tuple | deque | dict) and len(self.value) > _MOST_ITEMS:
            return False
        return is_module(self.value) or is_generator(self.value) or loose.holds_array(self.value)


class UngivenState:
    """The state in the user's variables that a training is not given.

    Args:
        run: The run.
    """

    def __init__(self, run: RunStore) -> None:
        self._run = run.name
        self._folder = str(run.dir)
        self._parts: Parts  # what the training is given, from `find` on
        self._known: set[int] = set()
        self._roots: dict[str, Any] = {}
        self._first: dict[str, Any] = {}
        self._large: dict[str, Any] = {}  # what tells those that are too large
        self._restored: set[str] = set()
        self._told: set[str] = set()

    def find(self, parts: Parts, data: Iterable[Any]) -> None:
        """Find it in the variables of the callers, as the training begins.

        Args:
            parts: What the training is given.
            data: Its data, which is compared elsewhere.
        """
        self._parts, self._first, self._large = parts, {}, {}
        self._restored, self._told = set(), set()
        self._known = set(_ids_of(parts.given, data))
        frame = sys._getframe(1)
        self._roots = dict(user_variables.of_callers(frame, lambda value, name, _: iter([(name, value)])))
        left = _MOST_BYTES
        for leaf in self._leaves():
            size = _size_of(leaf.value)
            if leaf.is_drawn and (size > left or (size > _LARGE_ARRAY and not _trains(leaf.value))):
                self._large[leaf.place] = _sample_of(leaf.value)
            else:
                left -= size
                self._first[leaf.place] = _mark_of(leaf.value)

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it, and tell of what changes and cannot be saved."""
        taken: dict[str, Any] = {}
        for leaf in self._leaves():
            if leaf.place in self._large:
                if self._large[leaf.place] != _sample_of(leaf.value):
                    self._tell(leaf, "is too large to be saved unasked")
                continue
            changed = leaf.place not in self._first or not _is_same(leaf.value, self._first[leaf.place])
            if not (leaf.is_drawn or changed or leaf.place in self._restored) or is_a_moment(leaf.value):
                continue
            try:
                taken[leaf.place] = self._parts.take_one(leaf.value, leaf.place)
            except (CheckpointError, RuntimeError, TypeError, ValueError):
                if changed:
                    self._tell(leaf, f"is a {type(leaf.value).__name__} that cannot be saved")
        return {"values": taken, "large": {place: repr(sample) for place, sample in self._large.items()}}

    def give(self, saved: Mapping[str, Any] | None, *, complete: bool = False, goes_on: bool = False) -> bool:
        """Put back what `take` returned, and tell of what was drawn anew.

        Args:
            saved: What `take` returned; None of an older state.
            complete: The training has ended: what lives on since then in this process is left as it is.
            goes_on: More is asked for now.

        Returns:
            Whether the state is one that this process has not come to by itself.
        """
        if complete and goes_on and self._folder in _ended:
            return False
        if saved is None:
            return True
        here = _ended.get(self._folder, {}) if complete else {}
        restored: list[str] = []
        drawn_anew: list[str] = []
        for leaf in self._leaves():
            if leaf.place in self._large and saved["large"].get(leaf.place, "") not in (
                "",
                repr(self._large[leaf.place]),
            ):
                drawn_anew.append(leaf.place)
            if (content := saved["values"].get(leaf.place)) is None:
                continue
            if leaf.place in here and here[leaf.place]() is (leaf.value if leaf.owner is None else leaf.owner):
                continue
            try:
                restored += [leaf.place] if self._give(leaf, content) and leaf.is_drawn else []
            except (CheckpointError, ValueError, TypeError, RuntimeError):  # another thing of that name
                continue
            self._restored.add(leaf.place)
        if restored and not self._told >= set(restored):
            self._told |= set(restored)
            notify("%s: kept as the run has them: %s", self._run, few(restored, 5, between=", "))
        if drawn_anew and not self._told >= set(drawn_anew):
            self._told |= set(drawn_anew)
            text = "%s: drawn or set anew in this process, and too large to be kept unasked: %s. A training that uses "
            text += "them differs from here on. Set a seed before they are drawn, or give them: run.loop(…, name=name)"
            warn(text, self._run, few(drawn_anew, 5, between=", "))
        if complete:
            self.ended()
        return True

    def ended(self) -> None:
        """Remember what is there as the training ends: its later life in this process is the user's."""
        leaves = self._leaves()
        _ended[self._folder] = {
            leaf.place: _reference_to(leaf.value if leaf.owner is None else leaf.owner) for leaf in leaves
        }

    def release(self) -> None:
        """Hold nothing of the user's any longer."""
        self._roots, self._first, self._known = {}, {}, set()

    def _give(self, leaf: _Leaf, content: Any) -> bool:
        """Put one value back; says whether it was another."""
        before = self._parts.take_one(leaf.value, leaf.place)
        if _is_equal(before, content):
            return False
        self._parts.check_one(leaf.value, content, leaf.place)
        given = self._parts.give_one(leaf.value, content, leaf.place)
        if given is not leaf.value and leaf.write is not None:
            leaf.write(given)
        return True

    def _tell(self, leaf: _Leaf, why: str) -> None:
        if leaf.place not in self._told:
            self._told.add(leaf.place)
            text = (
                "%s: %s changes while it trains, and %s, so a killed run goes on with another. Give it to the training"
            )
            warn(text, self._run, leaf.place, why)

    # ---- what there is ----

    def _leaves(self) -> Iterator[_Leaf]:
        seen = set(self._known)
        count = 0
        for name, value in self._roots.items():
            for leaf in self._inside(value, name, None, seen, _DEPTH):
                yield leaf
                count += 1
                if count > _MOST:
                    return

    def _inside(
        self,
        value: Any,
        place: str,
        write: Callable[[Any], None] | None,
        seen: set[int],
        depth: int,
        owner: Any = None,
    ) -> Iterator[_Leaf]:
        if isinstance(value, _PLAIN):
            if write is not None:  # a name is the loop's, see `loop_names.py`
                yield _Leaf(place, value, write, owner)
            return
        if id(value) in seen or is_optimizer(value) or isinstance(value, type):
            return
        seen.add(id(value))
        if is_module(value):
            members = [*value.parameters(), *value.buffers()]
            if not members or any(id(each) not in seen for each in members):
                seen.update(map(id, [*members, *value.modules()]))
                yield _Leaf(place, value)
        elif is_generator(value) or _is_array(value) or _keeps_itself(value):
            yield _Leaf(place, value)
        else:
            yield from self._of_object(value, place, seen, depth)

    def _of_object(self, value: Any, place: str, seen: set[int], depth: int) -> Iterator[_Leaf]:
        if isinstance(value, list | tuple | dict | set | deque):
            yield from self._items(value, place, seen, depth)
        elif {kind.__name__ for kind in type(value).__mro__} & _DATA:
            generators = find_generators(value, place)
            yield from (_Leaf(at, each) for at, each in generators.items() if id(each) not in seen)
            seen.update(map(id, generators.values()))
        elif depth and _is_own(value) and id(vars(value)) not in seen:
            for key, item in list(vars(value).items()):
                yield from self._inside(item, f"{place}.{key}", _setter(value, key), seen, depth - 1, value)

    def _items(self, value: Any, place: str, seen: set[int], depth: int) -> Iterator[_Leaf]:
        if not isinstance(value, tuple) and _is_plain(value):
            yield _Leaf(place, value)
        elif depth and not isinstance(value, set):
            for key, item in list(value.items() if isinstance(value, dict) else enumerate(value))[:256]:
                if isinstance(key, str | int):
                    write = None if isinstance(value, tuple | deque) else _item_setter(value, key)
                    yield from self._inside(item, f"{place}[{key!r}]", write, seen, depth - 1, value)


def _ids_of(given: Mapping[str, Any], data: Iterable[Any]) -> Iterator[int]:
    waiting: list[Any] = [given]
    while waiting:
        value = waiting.pop()
        yield id(value)
        if isinstance(value, dict | list | tuple):
            waiting += value.values() if isinstance(value, dict) else value
    for each in flat(dict(given)):
        if is_module(each):
            yield from map(id, [*each.modules(), *each.parameters(), *each.buffers()])
    for each in data:
        yield id(each)
        dataset = getattr(each, "dataset", None)
        for owner in (dataset, getattr(each, "sampler", None)):
            yield id(owner)
            yield from map(id, getattr(owner, "__dict__", {}).values())
            yield from map(id, getattr(owner, "tensors", ()))
        yield from map(id, find_generators(each, "data").values())


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and not value.dtype.hasobject
    return hasattr(value, "detach") and hasattr(value, "_version") and str(value.layout) == "torch.strided"


def _is_plain(value: Any, depth: int = _DEPTH) -> bool:
    """Say whether a container holds plain values and arrays alone, and is not so large that it is data."""
    if isinstance(value, list | tuple | set | deque | dict):
        items = value.values() if isinstance(value, dict) else value
        keys = not isinstance(value, dict) or all(isinstance(key, str | int | float | tuple) for key in value)
        return depth > 0 and keys and all(_is_plain(item, depth - 1) for item in items)
    return isinstance(value, (*_PLAIN, np.generic, bytes)) or _is_array(value)


def _is_own(value: Any) -> bool:
    kinds = {kind.__module__.split(".")[0] for kind in type(value).__mro__}
    return loose.is_of_the_user(value) and not kinds & set(_KEPT_OTHERWISE)


def _keeps_itself(value: Any) -> bool:
    """Say whether it is a scheduler or a scaler, or an object of the user's that tells its state."""
    if isinstance(value, dict) or not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
        return False
    is_data = {kind.__name__ for kind in type(value).__mro__} & _DATA
    return not is_data and (loose.is_of_torch(value) or loose.is_in_user_code(type(value)))


def _setter(owner: Any, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(owner, name, value)


def _item_setter(owner: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: owner.__setitem__(key, value)


def _tensors_of(value: Any) -> list[Any]:
    if is_module(value):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, list | tuple | set | deque | dict):
        return [each for item in (value.values() if isinstance(value, dict) else value) for each in _tensors_of(item)]
    return [value] if _is_array(value) else []


def _size_of(value: Any) -> int:
    return sum(each.nbytes for each in _tensors_of(value))


def _trains(value: Any) -> bool:
    return is_module(value) or any(getattr(each, "requires_grad", False) for each in _tensors_of(value))


def _sample_of(value: Any) -> Any:
    """Tell a large thing from another by some of its numbers."""
    samples = []
    for each in _tensors_of(value):
        flat_ = each.detach().reshape(-1) if hasattr(each, "detach") else each.reshape(-1)
        some = flat_[:: max(1, len(flat_) * 4 // _SAMPLED)]
        some = some.float().cpu().numpy() if hasattr(some, "detach") else some
        samples.append((tuple(each.shape), zlib.crc32(np.ascontiguousarray(some).tobytes())))
    return samples


def _mark_of(value: Any) -> Any:
    if is_module(value) or is_generator(value):
        return None  # always saved
    if hasattr(value, "state_dict"):
        return repr(value.state_dict())
    return loose.mark_of(value)


def _is_same(value: Any, mark: Any) -> bool:
    if is_module(value) or is_generator(value):
        return True
    if hasattr(value, "state_dict"):
        return bool(repr(value.state_dict()) == mark)
    return loose.is_same(value, mark)


def _is_equal(first: Any, second: Any) -> bool:
    """Compare what `take_one` gives of two things."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_is_equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_is_equal, first, second))
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        first, second = np.asarray(first), np.asarray(second)
        return bool(first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes())
    return bool(first == second)


def _reference_to(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:  # a list or dict
        return lambda: value
