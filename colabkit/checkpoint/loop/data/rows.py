"""Which samples a dataset of torch holds: lists of files, labels and rows that a split without a seed draws anew."""

from __future__ import annotations

import hashlib
import itertools
import os
import zlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKERS = "workers"
"""The name of their number in the identity of data; it depends on the machine where it is `os.cpu_count()`."""
_FEWEST = 8  # a list of classes or of mean values is no list of samples
_MOST_ITEMS = 300_000  # beyond them every n-th is looked at: then another order and other samples look alike
_COLUMNS = 16  # of an array, of each row
_DEPTH = 3
_OF_ARROW = 64  # rows that are read of a dataset on the disk
_ARROW = "rows of the table"
_DRAWN = "Data that is drawn without a seed is other data in each process: draw it by random.Random(0)"
_PLAIN = (str, bytes, bool, int, float, type(None), PurePath, np.generic)


def fingerprint(dataset: Any, *samplers: Any) -> dict[str, list[Any]]:
    """Describe the lists and arrays of samples that a dataset and its samplers keep.

    Args:
        dataset: A dataset of torch: `Subset`, `TensorDataset`, `ImageFolder`, one of the user, with others inside.
        samplers: Those that pass over samples, such as a `SubsetRandomSampler`.

    Returns:
        By name (`indices`, `dataset.files`): how many samples, a hash of them in their order, and one without it (None
        where only some were looked at). The same lists in another process, and below another folder, give the same.
    """
    described: dict[str, list[Any]] = {}
    _describe(dataset, "", _DEPTH, described, set())
    for sampler in samplers:
        inside = getattr(sampler, "indices", None)
        if inside is not None and (row := _describe_values(inside)) is not None:
            described["sampler.indices"] = row
    return described


def check_samples(
    run: str, before: Mapping[str, Any], now: Mapping[str, Any], *, ignored: frozenset[str] = frozenset(), refuse: bool
) -> None:
    """Compare the data of a run with that of this process; say where the same samples come otherwise.

    Args:
        run: The run's name, for messages.
        before: What `Source.identity` told when the state was saved, of one loader or, as `loader 0: rows`, of several.
        now: What it tells now.
        ignored: Names in it that may differ.
        refuse: Refuse other data.

    Raises:
        RunMismatchError: It is other data, or comes in other batches.
    """
    samples = _compare(before, now)
    changed = {
        key: f"{key}: {before[key]} -> {value}"
        for key, value in now.items()
        if before.get(key, value) != value and key.rpartition(": ")[2] not in ignored | {"rows"}
    }
    for key in samples.same:
        changed.pop(key, None)
    for key in [key for key in changed if key.rpartition(": ")[2] == WORKERS]:
        del changed[key]
        warn(
            "%s: the data is read by %s worker processes instead of %s: what samples draw at random, as to augment "
            "them, is shared out otherwise and differs from here on; num_workers=%s gives the same",
            run,
            now[key],
            before[key],
            before[key],
        )
    if refuse and samples.others and all(key.endswith("content") for key in changed):
        raise RunMismatchError(
            f"the run {run} was trained on other samples",
            why=f"what the dataset keeps as {', '.join(samples.others)} is not what it was when the run was begun: "
            "a split, a choice or a shuffle without a seed is another one in each process",
            hint="give it a seed, such as train_test_split(…, random_state=0), random_split(…, "
            "generator=torch.Generator().manual_seed(0)), random.Random(0).shuffle(files) or "
            "np.random.default_rng(0).permutation(n), and open a run under another name; check_data=False goes on "
            "with these samples, among them some that were held back before",
        )
    if refuse and changed:
        raise RunMismatchError(
            f"the run {run} was trained on other data, or in other batches",
            why="; ".join(changed.values()),
            hint="pass what it was begun with, or check_data=False to go on with this, or open a run under another "
            "name" + (f". {_DRAWN}" if all(key.endswith("content") for key in changed) else ""),
        )
    if samples.reordered:
        warn(
            "%s: what the dataset keeps as %s has another order than when the run was begun, so the order of the "
            "samples, or what is numbered by it, differs from here on. To be exact, sort it (a set of text comes in "
            "another order in each process), or shuffle it with a seed",
            run,
            ", ".join(samples.reordered),
        )


@dataclass(frozen=True)
class _Comparison:
    """What two descriptions of data have in common.

    Attributes:
        others: Lists that hold other samples.
        reordered: Lists that hold the same samples in another order.
        same: Names in the description that differ, and mean the same samples all the same.
    """

    others: tuple[str, ...]
    reordered: tuple[str, ...]
    same: frozenset[str]


def _compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> _Comparison:
    others: list[str] = []
    reordered: list[str] = []
    same: set[str] = set()
    for key, lists in now.items():
        if key.rpartition(": ")[2] != "rows":
            continue
        was = before.get(key) or {}
        differing = {name for name, row in lists.items() if name in was and was[name][:2] != row[:2]}
        for name in sorted(differing):
            count, _, unordered = lists[name]
            if was[name][0] == count:  # another length is told by the number of samples
                (reordered if unordered is not None and was[name][2] == unordered else others).append(name)
        if not differing and any(name in was and name.rpartition(".")[2] == _ARROW for name in lists):
            same.add(key.removesuffix("rows") + "content")  # a fingerprint of Hugging Face may be drawn anew
    return _Comparison(tuple(others), tuple(reordered), frozenset(same))


def _describe(owner: Any, place: str, depth: int, described: dict[str, list[Any]], seen: set[int]) -> None:
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if (row := _of_arrow(owner)) is not None:
        described[place + _ARROW] = row
        return
    for name, value in list(getattr(owner, "__dict__", {}).items()):
        if name.startswith("__"):
            continue
        if (row := _describe_values(value)) is not None:
            described[place + name] = row
        elif depth and _is_inside(value):
            _describe(value, f"{place}{name}.", depth - 1, described, seen)
        elif depth and type(value) in (list, tuple) and len(value) < _FEWEST:  # tensors, datasets that are joined
            for at, item in enumerate(value):
                if (row := _describe_values(item)) is not None:
                    described[f"{place}{name}.{at}"] = row
                elif _is_inside(item):
                    _describe(item, f"{place}{name}.{at}.", depth - 1, described, seen)


def _is_inside(value: Any) -> bool:
    """Say whether it is an object that may keep samples: a dataset, or a class of the user's that reads them."""
    kind = type(value)
    if isinstance(value, type) or callable(getattr(value, "forward", None)) or not hasattr(value, "__dict__"):
        return False
    if hasattr(kind, "__getitem__") or hasattr(kind, "__iter__"):
        return not isinstance(value, _PLAIN) and not hasattr(value, "detach")
    return kind.__module__ == "__main__"


def _describe_values(value: Any) -> list[Any] | None:
    """Hash what holds one value or row a sample; None for everything else."""
    if isinstance(value, range):
        value = np.arange(value.start, value.stop, value.step) if len(value) <= _MOST_ITEMS else None
    if type(value) in (list, tuple):
        return _of_list(value)
    if hasattr(value, "detach") or isinstance(value, np.ndarray):
        return _of_array(value)
    if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "index"):
        return _of_frame(value)
    return None


def _of_list(values: list[Any] | tuple[Any, ...]) -> list[Any] | None:
    if len(values) < _FEWEST or any(item is None or not _is_plain(item) for item in values[:_FEWEST]):
        return None
    whole = len(values) <= _MOST_ITEMS
    some = values if whole else values[:: -(-len(values) // _MOST_ITEMS)]
    try:
        texts = _below_a_folder(some)
    except TypeError:  # an item of another kind further on
        return None
    ordered = hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]
    return [len(values), ordered, sum(map(zlib.crc32, texts)) % 2**48 if whole else None]


def _is_plain(item: Any) -> bool:
    if isinstance(item, _PLAIN):
        return True
    if type(item) in (list, tuple):
        return all(_is_plain(each) for each in item)
    return type(item) is dict and all(_is_plain(each) for each in item.values())


def _below_a_folder(items: Any) -> list[bytes]:
    """Write items as bytes, with paths relative to the folder that all of them share."""
    strings: list[str] = []
    texts = [_text(item, strings) for item in items]
    paths = [text for text in strings if text.startswith("/")] or (strings if len(strings) == len(texts) else [])
    shared = os.path.commonprefix(paths).rpartition("/")[0]  # noqa: RUF071 - cut at a slash
    return [(text.replace(shared, "", 1) if shared else text).encode("utf-8", "surrogatepass") for text in texts]


def _text(item: Any, strings: list[str]) -> str:
    if isinstance(item, str | PurePath):
        strings.append(item if isinstance(item, str) else item.as_posix())
        return strings[-1]
    if isinstance(item, np.generic):
        return repr(item.item())
    if isinstance(item, bytes):
        return f"{len(item)} bytes {zlib.crc32(item)}"
    if item is None or isinstance(item, bool | int | float):
        return repr(item)
    if type(item) in (list, tuple):
        return "\1".join([_text(each, strings) for each in item])
    if type(item) is dict:
        return "\2".join([f"{key}\1{_text(value, strings)}" for key, value in item.items()])
    raise TypeError(type(item).__name__)


def _of_array(values: Any) -> list[Any] | None:
    shape = tuple(values.shape)
    if not shape or shape[0] < _FEWEST or (isinstance(values, np.ndarray) and values.dtype.hasobject):
        return _of_list(values.tolist()) if isinstance(values, np.ndarray) and len(shape) == 1 else None
    step = -(-shape[0] // (256 if isinstance(values, np.memmap) else _MOST_ITEMS))
    try:
        some = values[::step].reshape(len(range(0, shape[0], step)), -1)
        some = some[:, :: -(-some.shape[1] // _COLUMNS)]
        if hasattr(some, "detach"):
            some = some.detach().cpu()
            some = (some.float() if some.is_floating_point() and some.element_size() < 4 else some).numpy()
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # sparse, quantised, on a device that is gone
        return None
    content = np.ascontiguousarray(some)
    rows = np.array([zlib.crc32(row.data) for row in content.view(np.uint8).reshape(len(content), -1)], np.uint64)
    unordered = int(rows.sum() % 2**48) if step == 1 else None
    return [shape[0], hashlib.sha256(rows.tobytes()).hexdigest()[:16], unordered]


def _of_frame(frame: Any) -> list[Any] | None:
    import pandas as pd

    if len(frame) < _FEWEST:
        return None
    some = frame if len(frame) <= _MOST_ITEMS else frame.iloc[:: -(-len(frame) // _MOST_ITEMS)]
    try:
        rows = pd.util.hash_pandas_object(some, index=False).to_numpy()
    except TypeError:  # lists in its cells
        rows = pd.util.hash_pandas_object(some.index.to_series(), index=False).to_numpy()
    unordered = int(rows.sum(dtype=np.uint64) % 2**48) if len(some) == len(frame) else None
    return [len(frame), hashlib.sha256(rows.tobytes()).hexdigest()[:16], unordered]


def _of_arrow(dataset: Any) -> list[Any] | None:
    """Hash some rows of a dataset of Hugging Face, whose own fingerprint is drawn where a function had no hash."""
    if not isinstance(getattr(dataset, "_fingerprint", None), str) or not hasattr(dataset, "with_format"):
        return None
    count = len(dataset)
    chosen = list(itertools.islice(range(0, count, max(1, count // _OF_ARROW)), _OF_ARROW))
    try:
        rows = dataset.with_format("arrow")[chosen].to_pylist()
        texts = _below_a_folder([{name: _without_place(cell) for name, cell in row.items()} for row in rows])
    except Exception:  # noqa: BLE001 - of any version; then its own fingerprint decides
        return None
    return [count, hashlib.sha256(b"\0".join(texts)).hexdigest()[:16], None]


def _without_place(cell: Any) -> Any:
    """Leave out where a picture or sound lies whose bytes are there."""
    if isinstance(cell, dict) and cell.get("bytes") is not None:
        return cell["bytes"]
    return cell if _is_plain(cell) else repr(cell)
