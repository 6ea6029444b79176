"""Values that are neither arrays nor plain, and still have a safe form: collections, frames, sparse arrays, models.

Each is taken apart into arrays and plain values under a tag, and put together again by it; nothing is pickled, and
nothing is imported but the package that the value is of.
"""

from __future__ import annotations

import datetime as dt
import importlib
import pathlib
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit.checkpoint.state import rng
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = object()
_SKLEARN = re.compile(r"sklearn(\.\w+)+")
_NAME = re.compile(r"\w+")
AS_BYTES = "USMmc"
"""Kinds of NumPy's types that safetensors has none for: text, bytes, dates, spans of time, complex numbers."""


def encode(value: Any, place: str, *, flatten: Callable[[Any, str, dict[str, Any]], Any]) -> tuple[str, Any] | None:
    """Give the tag of a value and what it is made of; None for a value of another kind.

    Args:
        value: The value.
        place: Where it is in the state, for messages.
        flatten: Takes a part of it apart, or refuses it with a CheckpointError.

    Raises:
        CheckpointError: It is of a kind that has no safe form in this case.
    """
    kind = type(value)
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind](value)
    if isinstance(value, pathlib.PurePath):
        return "$path", str(value)
    if rng.is_generator(value):
        return "$generator", rng.generator_state(value)
    root = kind.__module__.split(".")[0]
    if root == "pandas" and kind.__name__ in ("DataFrame", "Series"):
        return _encode_pandas(value, place)
    if root == "scipy" and hasattr(value, "tocoo"):
        return "$sparse", _encode_sparse(value)
    if root == "torch" and getattr(value, "is_sparse", False):
        value = value.detach().coalesce()
        return "$torch_sparse", [value.indices(), value.values(), list(value.shape)]
    if (parts := keras_variables(value)) is not None:
        own = {f"{number:04d}/{each.path}": _read(each) for number, each in enumerate(parts)}
        return "$keras", own | {f"{_METRICS}{name}": _read(each) for name, each in _metric_variables(value).items()}
    if root == "sklearn" and hasattr(value, "get_params"):
        return _encode_sklearn(value, place, flatten)
    return None


def decode(tag: str, content: Any) -> Any:
    """Put together what `encode` took apart; `NOTHING` for a tag of another kind."""
    read = _READ.get(tag)
    return NOTHING if read is None else read(content)


def bytes_of(array: Any) -> list[Any]:
    """Take an array of text, dates or complex numbers apart, of which the format knows no type: type, shape, bytes."""
    import numpy as np

    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    return [little.dtype.str, list(array.shape), little.reshape(-1).view(np.uint8)]


def _from_bytes(content: list[Any]) -> Any:
    import numpy as np

    kind, shape, data = content
    if np.dtype(kind).kind not in AS_BYTES:
        raise ValueError(f"an array of {kind} was not saved so")
    return np.array(data).view(kind).reshape(shape)[()]


def keras_variables(value: Any) -> list[Any] | None:
    """List the variables of a Keras model, layer, optimizer or metric, each once; None for anything else."""
    keras = sys.modules.get("keras")
    if keras is None or not hasattr(keras, "Model"):
        return None
    if not isinstance(value, keras.layers.Layer | keras.optimizers.Optimizer | keras.metrics.Metric):
        return None
    return list({id(each): each for each in value.variables}.values())


def _metric_variables(value: Any) -> dict[str, Any]:
    """Name the variables in which a model's metrics add up what `train_on_batch` reports; they are none of its own."""
    metrics = getattr(value, "metrics_variables", None) if getattr(value, "compiled", False) else None
    own = {id(each) for each in value.variables} if metrics else set()
    return {each.path: each for each in metrics or () if id(each) not in own}


def assign_keras(value: Any, saved: Any, place: str) -> None:
    """Give a Keras model, layer, optimizer or metric the values that were saved of one like it.

    Raises:
        CheckpointError: It has other variables.
    """
    saved = saved if isinstance(saved, dict) else {}
    measured = {name.removeprefix(_METRICS): each for name, each in saved.items() if name.startswith(_METRICS)}
    variables = keras_variables(value) or []
    values = [each for name, each in saved.items() if not name.startswith(_METRICS)]
    shapes = [tuple(each.shape) for each in variables]
    if shapes != [tuple(getattr(each, "shape", ("?",))) for each in values]:
        kind = type(value).__name__
        raise CheckpointError(
            f"{place} does not fit this {kind}",
            why=f"it has {len(variables)} variables, and {len(values)} were saved, or their shapes differ",
            hint="build it as it was, an optimizer with optimizer.build(model.trainable_variables)",
        )
    for variable, array in zip(variables, values, strict=True):
        variable.assign(array)
    now = _metric_variables(value)
    for name, variable in now.items():
        if name in measured and tuple(variable.shape) == measured[name].shape:
            variable.assign(measured[name])
    finalize_keras(value)
    if lost := sorted({name.split("/")[0] for name in measured if name not in now and measured[name].any()}):
        text = "%s: what %s has measured begins anew, as Keras makes such metrics at the first batch; weights are exact"
        warn(text, place, ", ".join(lost))


def finalize_keras(value: Any) -> bool:
    """Let layers make anew what they have made of their variables, as `adapt` does; says whether that is another.

    Args:
        value: A Keras model or layer whose variables were written; anything else is left alone.
    """
    changed = False
    layers = value._flatten_layers() if hasattr(value, "_flatten_layers") else ()  # noqa: SLF001 - no public walk
    for layer in layers:
        if type(layer).__name__ == "Normalization" and hasattr(layer, "adapt_mean"):
            from keras.ops import convert_to_numpy

            before = [convert_to_numpy(each) for each in (layer.mean, layer.variance)]
            layer.finalize_state()
            after = [convert_to_numpy(each) for each in (layer.mean, layer.variance)]
            changed |= any((old != new).any() for old, new in zip(before, after, strict=True))
    return changed


def _read(variable: Any) -> Any:
    import numpy as np

    return np.array(variable.numpy())


_METRICS = "metrics/"
_COLLECTIONS: dict[type, Callable[[Any], tuple[str, Any]]] = {
    OrderedDict: lambda value: ("$ordered", dict(value)),
    Counter: lambda value: ("$counter", dict(value)),
    deque: lambda value: ("$deque", [list(value), value.maxlen]),
    set: lambda value: ("$set", sorted(value, key=repr)),
    frozenset: lambda value: ("$frozenset", sorted(value, key=repr)),
    complex: lambda value: ("$complex", [value.real, value.imag]),
    range: lambda value: ("$range", [value.start, value.stop, value.step]),
    dt.datetime: lambda value: ("$datetime", value.isoformat()),
    dt.date: lambda value: ("$date", value.isoformat()),
    defaultdict: lambda value: ("$ordered", dict(value)),
}


def _encode_pandas(value: Any, place: str) -> tuple[str, Any]:
    def column(series: Any) -> Any:
        array = series.to_numpy()
        if array.dtype.hasobject:
            if not all(isinstance(item, str) for item in array):
                raise CheckpointError(
                    f"{place} cannot be saved",
                    why=f"the column {series.name!r} holds Python objects, or texts and missing values together",
                    hint="convert it first, as with .astype(str) or .fillna(...)",
                )
            return [str(item) for item in array]
        return array

    index = column(value.index.to_series())
    if type(value).__name__ == "Series":
        return "$series", [value.name, index, column(value)]
    return "$frame", [list(value.columns), index, [column(value.iloc[:, at]) for at in range(value.shape[1])]]


def _frame(content: Any) -> Any:
    import pandas as pd

    columns, index, values = content
    frame = pd.DataFrame(dict(enumerate(values)), index=index)
    frame.columns = columns
    return frame


def _series(content: Any) -> Any:
    import pandas as pd

    name, index, values = content
    return pd.Series(values, index=index, name=name)


def _encode_sparse(value: Any) -> list[Any]:
    coo = value.tocoo()
    return [
        value.format,
        list(value.shape),
        coo.row,
        coo.col,
        coo.data,
        type(value).__name__.endswith("array"),
    ]


def _sparse(content: Any) -> Any:
    import scipy.sparse

    kind, shape, rows, columns, values, is_array = content
    make = scipy.sparse.coo_array if is_array else scipy.sparse.coo_matrix
    return make((values, (rows, columns)), shape=tuple(shape)).asformat(str(kind))


def _torch_sparse(content: Any) -> Any:
    import torch

    from colabkit.checkpoint.state.torch import to_torch

    indices, values, shape = content
    return torch.sparse_coo_tensor(to_torch(indices), to_torch(values), shape, check_invariants=True).coalesce()


def _encode_sklearn(value: Any, place: str, flatten: Callable[[Any, str, dict[str, Any]], Any]) -> tuple[str, Any]:
    kept = {}
    for name, item in vars(value).items():
        try:
            flatten(item, place, {})
        except CheckpointError as error:
            if name.startswith("_") or name == "loss_function_":  # made anew by the next fit
                continue
            raise CheckpointError(
                f"{place} cannot be saved",
                why=f"{type(value).__name__}.{name} is a {type(item).__name__}, which has no form without pickle",
                hint="save its parameters and the data it was fitted on, or a file of skops.io in run.dir",
            ) from error
        kept[name] = item
    return "$sklearn", [type(value).__module__, type(value).__qualname__, kept]


def _sklearn(content: Any) -> Any:
    module, name, kept = content
    if not _SKLEARN.fullmatch(str(module)) or not _NAME.fullmatch(str(name)):
        raise ValueError(f"{module}.{name} is not of scikit-learn")
    base = importlib.import_module("sklearn.base").BaseEstimator
    kind = getattr(importlib.import_module(str(module)), str(name))
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ValueError(f"{module}.{name} is not an estimator")  # noqa: TRY004 - the content is wrong
    made: Any = object.__new__(kind)
    vars(made).update(kept)
    return made


_READ: dict[str, Callable[[Any], Any]] = {
    "$bytes_of": _from_bytes,
    "$ordered": OrderedDict,
    "$counter": Counter,
    "$deque": lambda content: deque(content[0], content[1]),
    "$set": set,
    "$frozenset": frozenset,
    "$complex": lambda content: complex(*content),
    "$range": lambda content: range(*content),
    "$datetime": dt.datetime.fromisoformat,
    "$date": dt.date.fromisoformat,
    "$path": pathlib.Path,
    "$generator": lambda content: content,
    "$frame": _frame,
    "$series": _series,
    "$sparse": _sparse,
    "$torch_sparse": _torch_sparse,
    "$keras": lambda content: content,
    "$sklearn": _sklearn,
}
