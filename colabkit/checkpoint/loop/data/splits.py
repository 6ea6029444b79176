"""Which samples the splits of a program hold: one without a seed is drawn anew in each process, so a run keeps its own.

After `train, val = random_split(data, [0.8, 0.2])` a new process would train on what was held back. It goes on with the
samples of the first one where all parts of the split are known, as then none of them is left as it was drawn anew:

| the program holds                                             | in a new process                                    |
|---------------------------------------------------------------|-----------------------------------------------------|
| every `Subset` and sampler of the data in variables           | each gets its samples back, in place                |
| parts that nothing names, lists of what is held back          | nothing is given back: the data is refused as other |
| the same names once more, drawn anew (folds)                  | told                                                |
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.display.few import few
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.loop.carried.inside import attributes_of
from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user
from colabkit.checkpoint.state import user_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

    Array = np.ndarray[Any, Any]

_FEWEST = 8  # samples of a part
_MOST_BYTES = 1 << 26  # of all parts together
_DEPTH = 3
_ITEMS = 64  # of a list or dict of loaders
_given_back: dict[str, weakref.ref[Any]] = {}  # by name, what has got its samples back in this process last
_restored: weakref.WeakSet[Any] = weakref.WeakSet()  # all that has


class Part:
    """A part of the data: a `Subset`, or a sampler that passes over chosen samples.

    Args:
        holder: What holds its `indices`.
        of: How many samples the whole has. Two data sets of as many are the same files, with and without augmentation.
    """

    def __init__(self, holder: Any, of: int) -> None:
        self._reference = weakref.ref(holder)
        self.of = of

    @property
    def holder(self) -> Any:
        """What holds its `indices`; None where the program holds it no longer."""
        return self._reference()

    @property
    def samples(self) -> Array | None:
        """The numbers of its samples, shape (n,), int64; None where they are something else."""
        return _samples_in(getattr(self.holder, "indices", None))

    def put(self, samples: Array) -> None:
        """Write other samples, in place where that can be: the program may hold the list itself."""
        indices = self.holder.indices
        if type(indices) is list:
            indices[:] = samples.tolist()
        elif hasattr(indices, "detach"):
            indices.copy_(indices.new_tensor(samples.tolist()))
        elif isinstance(indices, np.ndarray) and indices.flags.writeable:
            indices[:] = samples
        else:
            self.holder.indices = samples


def _samples_in(indices: Any) -> Array | None:
    try:
        numbers = indices.detach().cpu().numpy() if hasattr(indices, "detach") else np.asarray(indices)
    except (TypeError, ValueError, RuntimeError):
        return None
    is_list = numbers.ndim == 1 and numbers.dtype.kind in "iu" and len(numbers) >= _FEWEST
    return numbers.astype(np.int64) if is_list else None


class Splits:
    """The parts that a program's variables hold of its data, as a training begins.

    Args:
        loaders: Those that the training reads; None before it begins, when nothing is looked for.
    """

    def __init__(self, loaders: Iterable[Any] | None = None) -> None:
        is_sought = loaders is not None and "torch.utils.data" in sys.modules
        self._parts = _parts_in(sys._getframe(1), loaders or ()) if is_sought else {}
        self._samples = {name: part.samples for name, part in self._parts.items()}  # once: each save tells them

    def describe(self, tensors: dict[str, Any]) -> dict[str, int]:
        """Give how many samples each whole has, by the names of its parts.

        Args:
            tensors: The numbers of the samples are added here, under names that begin with `split/`.
        """
        described: dict[str, int] = {}
        left = _MOST_BYTES
        for name, samples in self._samples.items():
            if samples is not None and (left := left - samples.nbytes) >= 0:
                tensors[f"split/{name}"] = samples
                described[name] = self._parts[name].of
        return described

    def give(self, run: str, described: Mapping[str, int], tensors: Mapping[str, Array]) -> bool:
        """Put the samples back that the parts had when a run was begun; says whether they were others.

        Args:
            run: The run's name.
            described: What `describe` returned.
            tensors: With the arrays that it added.
        """
        saved = {name: tensors[f"split/{name}"] for name in described}
        differing = [name for name in self._parts if self._differs(name, saved)]
        sizes = {self._parts[name].of for name in differing}
        parts = {name: part for name, part in self._parts.items() if part.of in sizes}
        if not differing or not all(_are_known(parts, saved, described, size) for size in sizes):
            return False
        for name, part in parts.items():
            part.put(saved[name])
            self._samples[name] = saved[name]
            _given_back[name] = weakref.ref(part.holder)
            _restored.add(part.holder)
        text = "%s: goes on with the samples that it was begun with, as they were chosen without a seed: %s"
        notify(text, run, few(sorted(differing), 5, between=", "))
        return True

    def tell_of_those_drawn_again(self, run: str) -> None:
        """Tell of parts that are drawn once more, behind some that have got their samples back: of the next fold."""
        drawn = [
            name
            for name, part in self._parts.items()
            if name in _given_back and _given_back[name]() not in (None, part.holder)
        ]
        if drawn:
            text = "%s: drawn anew in this process, while earlier ones have the samples of the first process: %s. %s"
            warn(text, run, few(sorted(drawn), 5, between=", "), "Split with a seed, as KFold(…, random_state=0)")

    def _differs(self, name: str, saved: Mapping[str, Array]) -> bool:
        samples = self._samples[name]
        return samples is not None and name in saved and not np.array_equal(samples, saved[name])


def _are_known(parts: Mapping[str, Part], saved: Mapping[str, Array], described: Mapping[str, int], size: int) -> bool:
    """Say whether all that a program holds of a whole gets its samples back, so that none is left from another draw."""
    of_it = {name: part for name, part in parts.items() if part.of == size}
    samples = {name: part.samples for name, part in of_it.items()}
    for name, now in samples.items():
        if now is None or name not in saved or len(now) != len(saved[name]) or described[name] != size:
            return False
    held = {id(each) for each in (*(part.holder for part in of_it.values()), *_restored)}
    kind = sys.modules["torch.utils.data"].Subset
    if any(type(each) is kind and id(each) not in held and _size_of_whole(each) == size for each in gc.get_objects()):
        return False
    drawn = np.concatenate([now for now in samples.values() if now is not None])
    is_all = len(drawn) == size == len(np.unique(drawn))
    return is_all or not _lists_of_samples(size, {id(part.holder.indices) for part in of_it.values()})


def _size_of_whole(dataset: Any) -> int:
    subset = sys.modules["torch.utils.data"].Subset
    for _ in range(_DEPTH):
        if not isinstance(dataset, subset):
            break
        dataset = dataset.dataset
    try:
        return len(dataset)
    except (TypeError, NotImplementedError, AttributeError):
        return 0


def _lists_of_samples(count: int, held: set[int]) -> bool:
    """Say whether a variable of the user's holds numbers of samples that belong to no part."""
    for _, value in user_variables.of_callers(sys._getframe(1), _itself):
        is_list = type(value) is list and len(value) >= _FEWEST and all(type(each) is int for each in value[:_FEWEST])
        if id(value) in held or not (is_list or isinstance(value, np.ndarray) or hasattr(value, "detach")):
            continue
        samples = _samples_in(value)
        if samples is None or not 0 <= samples.min() <= samples.max() < count:
            continue
        if len(np.unique(samples)) == len(samples):
            return True
    return False


# ---- in the variables of the user's functions ----


def _parts_in(frame: FrameType | None, loaders: Iterable[Any]) -> dict[str, Part]:
    parts = dict(user_variables.of_callers(frame, _inside))
    seen = {id(part.holder) for part in parts.values()}
    for at, loader in enumerate(loaders):
        parts |= dict(_inside(loader, f"loader {at}", seen))
    return parts


def _itself(value: Any, name: str, _: set[int]) -> Iterator[tuple[str, Any]]:
    yield name, value


def _inside(value: Any, place: str, seen: set[int], depth: int = _DEPTH) -> Iterator[tuple[str, Part]]:
    torch_data = sys.modules["torch.utils.data"]
    if isinstance(value, torch_data.Subset):
        if id(value) not in seen:
            seen.add(id(value))
            yield place, Part(value, _size_of_whole(value))
            yield from _inside(value.dataset, f"{place}.dataset", seen, depth)
    elif isinstance(value, torch_data.DataLoader):
        yield from _inside(value.dataset, f"{place}.dataset", seen, depth)
        sampler = getattr(getattr(value, "batch_sampler", None), "sampler", None) or value.sampler
        if hasattr(sampler, "indices") and id(sampler) not in seen:
            seen.add(id(sampler))
            yield f"{place}.sampler", Part(sampler, _size_of_whole(value.dataset))
    elif depth and isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for _, (key, item) in zip(range(_ITEMS), list(items), strict=False):
            yield from _inside(item, f"{place}[{key!r}]", seen, depth - 1)
    elif depth and not isinstance(value, type) and is_of_the_user(type(value)) and id(value) not in seen:
        seen.add(id(value))
        for name, item in attributes_of(value).items():
            yield from _inside(item, f"{place}.{name}", seen, depth - 1)
