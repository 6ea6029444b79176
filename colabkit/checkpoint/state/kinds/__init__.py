"""Values that are neither arrays nor plain, and still have a safe form: collections, frames, sparse arrays, models.

Each is taken apart into arrays and plain values under a tag, and put together again by it; nothing is pickled, and
nothing is imported but the package that the value is of.
"""

from __future__ import annotations

import datetime as dt
import decimal
import importlib
import pathlib
import re
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit.checkpoint.state import rng
from colabkit.checkpoint.state.kinds import frames, jax_tree
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = object()
_SKLEARN = re.compile(r"sklearn(\.\w+)+")
_NAME = re.compile(r"\w+")
_OPTIMIZERS = "sklearn.neural_network._stochastic_optimizers"
_MADE_ANEW = ("loss_function_", "_loss_function_")  # by the next fit
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
    if _is_pandas(value):
        return "$table", frames.encode(value, place)
    if _is_sparse(value):
        return "$sparse", _encode_sparse(value)
    if kind.__module__.split(".")[0] == "torch" and getattr(value, "is_sparse", False):
        value = value.detach().coalesce()
        return "$torch_sparse", [value.indices(), value.values(), list(value.shape)]
    if (parts := keras_variables(value)) is not None:
        own = {f"{number:04d}/{each.path}": read_variable(each) for number, each in enumerate(parts)}
        if (optimizer := compiled_optimizer(value)) is not None:
            named = f"{_OPTIMIZER}{type(optimizer).__name__}"
            own |= {f"{named}/{number:04d}": read_variable(each) for number, each in enumerate(optimizer.variables)}
        own |= {f"{_METRICS}{name}": read_variable(each) for name, each in metric_variables(value).items()}
        return "$keras", own
    if is_variable(value):
        return "$variable", read_variable(variable_of(value))
    if is_estimator(value) or kind.__module__ == _OPTIMIZERS:
        return _encode_sklearn(value, place, flatten)
    return None


def is_whole(value: Any) -> bool:
    """Say whether `encode` takes it with all that it is, and `decode` gives it back: a frame, an estimator, a date."""
    kind = type(value)
    if kind in _WHOLE or isinstance(value, pathlib.PurePath):
        return True
    return _is_pandas(value) or _is_sparse(value) or is_estimator(value)


def is_estimator(value: Any) -> bool:
    """Say whether it is an estimator of scikit-learn."""
    return type(value).__module__.split(".")[0] == "sklearn" and hasattr(value, "get_params")


def _is_pandas(value: Any) -> bool:
    kind = type(value)
    return kind.__module__.split(".")[0] == "pandas" and kind.__name__ in ("DataFrame", "Series")


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "scipy" and hasattr(value, "tocoo")


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


def compiled_optimizer(value: Any) -> Any:
    """Return the optimizer of a compiled model, with which `train_on_batch` trains; None for anything else."""
    return getattr(value, "optimizer", None) if getattr(value, "compiled", False) else None


def metric_variables(value: Any) -> dict[str, Any]:
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
    trained = {name: each for name, each in saved.items() if name.startswith(_OPTIMIZER)}
    values = [each for name, each in saved.items() if name not in trained and not name.startswith(_METRICS)]
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
    finalize_keras(value)
    _assign_optimizer(value, trained, place)
    assign_measured(value, measured, place)


def _assign_optimizer(model: Any, saved: dict[str, Any], place: str) -> None:
    optimizer = compiled_optimizer(model)
    if not saved or optimizer is None:
        return
    before = next(iter(saved)).split("/")[1]
    if type(optimizer).__name__ == before and len(optimizer.variables) < len(saved):
        optimizer.build(model.trainable_variables)
    shapes = [tuple(each.shape) for each in optimizer.variables]
    if type(optimizer).__name__ != before or shapes != [array.shape for array in saved.values()]:
        raise CheckpointError(
            f"{place}.optimizer is not as it was saved",
            why=f"it is a {type(optimizer).__name__}, and the state of a {before} was saved, or of other variables",
            hint="compile the model as it was",
        )
    for variable, array in zip(optimizer.variables, saved.values(), strict=True):
        variable.assign(array)


def assign_measured(value: Any, measured: dict[str, Any], place: str) -> None:
    """Give a model's metrics what they had added up, and tell of those that it makes at its first batch only."""
    now = metric_variables(value)
    for name, variable in now.items():
        if name in measured and tuple(variable.shape) == measured[name].shape:
            variable.assign(measured[name])
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


def is_variable(value: Any) -> bool:
    """Say whether it is a variable of TensorFlow or Keras, or a random generator of theirs, which keeps one."""
    made = any(kind.__module__.startswith(_OF_KERAS) for kind in type(value).__mro__)
    return made and hasattr(variable_of(value), "assign")


def variable_of(value: Any) -> Any:
    """Return the variable itself."""
    return value if hasattr(value, "assign") else getattr(value, "_state_var", getattr(value, "state", None))


def read_variable(variable: Any) -> Any:
    """Copy the value of a variable of TensorFlow or Keras into an array."""
    import numpy as np

    return np.array(variable.numpy() if hasattr(variable, "numpy") else variable)


_METRICS = "metrics/"
_OPTIMIZER = "optimizer/"
_OF_KERAS = ("keras.", "tensorflow.")
_WHOLE = {bytearray, complex, range, dt.datetime, dt.date, dt.timedelta, decimal.Decimal}
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
    dt.timedelta: lambda value: ("$timedelta", [value.days, value.seconds, value.microseconds]),
    decimal.Decimal: lambda value: ("$decimal", str(value)),
    bytearray: lambda value: ("$bytearray", bytes(value)),
    defaultdict: lambda value: ("$ordered", dict(value)),
}


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
    generators = {name: item for name, item in vars(value).items() if rng.is_generator(item)}
    for name, item in vars(value).items():
        if name in generators:
            continue
        try:
            flatten(item, place, {})
        except CheckpointError as error:
            if name in _MADE_ANEW:
                continue
            raise CheckpointError(
                f"{place} cannot be saved",
                why=f"{type(value).__name__}.{name} is a {type(item).__name__}, which has no form without pickle",
                hint="save its parameters and the data it was fitted on, or a file of skops.io in run.dir",
            ) from error
        kept[name] = item
    distinct = list({id(item): item for item in generators.values()}.values())
    numbers = {name: [id(each) for each in distinct].index(id(item)) for name, item in generators.items()}
    random = [[rng.generator_state(each) for each in distinct], numbers]
    return "$sklearn", [type(value).__module__, type(value).__qualname__, kept, *([random] if generators else [])]


def _sklearn(content: Any) -> Any:
    module, name, kept, *random = content
    if not _SKLEARN.fullmatch(str(module)) or not _NAME.fullmatch(str(name)):
        raise ValueError(f"{module}.{name} is not of scikit-learn")
    base = importlib.import_module("sklearn.base").BaseEstimator
    kind = getattr(importlib.import_module(str(module)), str(name))
    if not (isinstance(kind, type) and (issubclass(kind, base) or module == _OPTIMIZERS)):
        raise ValueError(f"{module}.{name} is not an estimator")
    made: Any = object.__new__(kind)
    vars(made).update(kept)
    for states, numbers in random:
        generators = [rng.make_generator(state) for state in states]
        vars(made).update({each: generators[number] for each, number in numbers.items()})
    return made


_READ: dict[str, Callable[[Any], Any]] = {
    "$bytes_of": _from_bytes,
    "$function": lambda _: None,
    "$weak": lambda content: content.view(jax_tree.WeakScalar),
    "$ordered": OrderedDict,
    "$counter": Counter,
    "$deque": lambda content: deque(content[0], content[1]),
    "$set": set,
    "$frozenset": frozenset,
    "$complex": lambda content: complex(*content),
    "$range": lambda content: range(*content),
    "$datetime": dt.datetime.fromisoformat,
    "$date": dt.date.fromisoformat,
    "$timedelta": lambda content: dt.timedelta(*content),
    "$decimal": decimal.Decimal,
    "$bytearray": bytearray,
    "$path": pathlib.Path,
    "$generator": lambda content: content,
    "$table": frames.decode,
    "$frame": _frame,  # this and the next: of 0.x, without the names of the axes
    "$series": _series,
    "$sparse": _sparse,
    "$torch_sparse": _torch_sparse,
    "$keras": lambda content: content,
    "$variable": lambda content: content,
    "$sklearn": _sklearn,
}
