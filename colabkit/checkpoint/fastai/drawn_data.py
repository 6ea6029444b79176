"""What a learner's data draws at random as it is made, which is another in each process: its split, and its figures.

`ImageDataLoaders.from_name_func(path, files, is_cat)` splits by `valid_pct=0.2` and no seed, so a new process would
train on what was held back. `Normalize()` measures the first batch. A run keeps which sample was in which part, and
what was measured, and gives them back. Loaders that have looked at their samples already, as those of texts and tables
do, are refused as other data where their split is another one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import notify
from colabkit.checkpoint.fastai.state import feed

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, Any]

_MOST_BYTES = 1 << 26
_FIGURES = 4096  # numbers of one


class DataParts:
    """The parts of a learner's data, each with the samples that it holds.

    Args:
        dls: The learner's loaders.
    """

    def __init__(self, dls: Any) -> None:
        loaders = list(getattr(dls, "loaders", []))
        parts: list[Any] = [getattr(loader, "dataset", None) for loader in loaders]
        is_plain = all(type(loader).__name__ == "TfmdDL" for loader in loaders)
        self._parts = parts if is_plain and all(hasattr(part, "tls") for part in parts) else []
        self._classes = repr(getattr(dls, "vocab", None))
        self._marks = [_marks_of(part.items) for part in self._parts]  # once: each save tells them

    def describe(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Tell which samples the parts hold.

        Args:
            tensors: A number for each of them is added here, under names that begin with `split/`.
        """
        hashed = [each for each in self._marks if each is not None]
        if not hashed or len(hashed) < len(self._marks) or sum(each.nbytes for each in hashed) > _MOST_BYTES:
            return {}
        tensors |= {f"split/{at}": each for at, each in enumerate(hashed)}
        return {"parts": len(hashed), "classes": self._classes}

    def give(self, run: str, described: Mapping[str, Any], tensors: Mapping[str, Array]) -> bool:
        """Put the samples back that the parts had when a run was begun; says whether they were others.

        Args:
            run: The run's name.
            described: What `describe` returned.
            tensors: With the arrays that it added.
        """
        if described.get("parts") != len(self._parts) or described["classes"] != self._classes:
            return False
        at_begin = [tensors[f"split/{at}"] for at in range(len(self._parts))]
        marks = [each for each in self._marks if each is not None]
        if len(marks) < len(self._marks) or all(map(np.array_equal, marks, at_begin)):
            return False
        if [len(each) for each in marks] != [len(each) for each in at_begin]:
            return False
        place = {int(mark): at for at, mark in enumerate(np.concatenate(marks))}
        marks_kept = {int(mark) for each in at_begin for mark in each}
        if len(place) != sum(map(len, marks)) or marks_kept != place.keys():
            return False  # samples that look alike, or others
        together = _joined([part.items for part in self._parts])
        for part, of_part in zip(self._parts, at_begin, strict=True):
            part.items = _chosen(together, [place[int(mark)] for mark in of_part])
        self._marks = list(at_begin)
        text = "%s: goes on with the samples that it was begun with, as they were split without a seed: %s in training"
        notify(text, run, len(at_begin[0]))
        return True


class BatchFigures:
    """What the transforms of a learner's batches hold as a fit begins, such as the mean that `Normalize()` measured.

    Args:
        dls: The learner's loaders.
    """

    def __init__(self, dls: Any) -> None:
        self._owners: dict[str, tuple[Any, str]] = {}
        seen: set[int] = set()
        for number, loader in enumerate(getattr(dls, "loaders", [])):
            for step in ("after_item", "before_batch", "after_batch"):
                for at, transform in enumerate(getattr(getattr(loader, step, None), "fs", [])):
                    if id(transform) in seen or hasattr(transform, "before_call"):  # those draw for each batch
                        continue
                    seen.add(id(transform))
                    for name, value in vars(transform).items():
                        if hasattr(value, "detach") and value.numel() <= _FIGURES:
                            self._owners[f"{number}.{step}.{at}.{type(transform).__name__}.{name}"] = transform, name
        self._values = {place: _array_of(*owner) for place, owner in self._owners.items()}

    def describe(self, tensors: dict[str, Any]) -> list[str]:
        """Name them.

        Args:
            tensors: They are added here, under names that begin with `figure/`.
        """
        tensors |= {f"figure/{place}": value for place, value in self._values.items()}
        return list(self._values)

    def give(self, run: str, described: list[str], tensors: Mapping[str, Array]) -> None:
        """Put back what they were when a run was begun, and say so.

        Args:
            run: The run's name.
            described: What `describe` returned.
            tensors: With the arrays that it added.
        """
        names: dict[str, None] = {}
        for place in described:
            kept, measured = tensors[f"figure/{place}"], self._values.get(place)
            if measured is None or measured.shape != kept.shape or np.array_equal(measured, kept):
                continue
            transform, name = self._owners[place]
            value = getattr(transform, name)
            value.detach().copy_(value.detach().new_tensor(kept.tolist()))
            self._values[place] = kept
            names[f"{type(transform).__name__}.{name}"] = None
        if names:
            notify("%s: kept as they were measured when it was begun: %s", run, ", ".join(names))


def _array_of(transform: Any, name: str) -> Array:
    value: Array = getattr(transform, name).detach().cpu().numpy().copy()
    return value


def _marks_of(items: Any) -> Array | None:
    """Hash each sample, shape (n,), uint64; None where that cannot be."""
    if hasattr(items, "iloc"):
        import pandas as pd

        try:
            hashed: Array = pd.util.hash_pandas_object(items).to_numpy()
        except TypeError:  # lists in its cells
            return None
        return hashed
    marks = []
    for item in items:
        digest = hashlib.blake2b(digest_size=8)
        if not feed(digest, item):
            return None
        marks.append(int.from_bytes(digest.digest(), "little"))
    return np.array(marks, np.uint64)


def _joined(parts: list[Any]) -> Any:
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts)
    return [item for part in parts for item in part]


def _chosen(items: Any, places: list[int]) -> Any:
    if hasattr(items, "iloc"):
        return items.iloc[places]
    from fastcore.foundation import L

    return L([items[place] for place in places], use_list=None)
