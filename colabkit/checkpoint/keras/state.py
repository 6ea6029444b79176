"""The state of a Keras model in training: every variable that a step reads or writes.

Neither `.weights.h5` nor `.keras` files hold the seeds of dropout, nor the running sums of the metrics; without them a
resumed run drifts away from an uninterrupted one, or reports another loss for the epoch.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._patches.keras_lazy_tensorflow import without_tensorflow
from colabkit.checkpoint.keras import hidden_state
from colabkit.errors import CheckpointError, RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Keras counts names per process, so a rerun cell counts on: dense_1/kernel, adam/dense_1_kernel_momentum.
_NAME = re.compile(r"(.*?)/(\d{4})/(.*)")
_CALLBACK_SETTINGS = ("patience", "min_delta", "factor", "cooldown", "min_lr", "monitor", "baseline", "save_best_only")
_SETTINGS = ("/seed_generator_state", "/learning_rate")
_AUTO_NUMBER = re.compile(r"_\d+(?=[_/]|$)")


def variables(model: Any) -> Iterator[tuple[str, Any]]:
    """Go through all variables, each once, under a name that is the same in every process.

    The names begin with `model/`, `optimizer/`, `optimizers/NAME/`, `metrics/`, or `hidden/` for those that Keras does
    not list, then a running number, since paths alone repeat.
    """
    seen: set[int] = set()
    main = getattr(model, "optimizer", None)  # a model that is not compiled has none
    groups = {
        "metrics": model.metrics_variables,
        "model": model.variables,
        "optimizer": main.variables if main is not None else [],
        **{f"optimizers/{name}": optimizer.variables for name, optimizer in more_optimizers(model).items()},
    }
    for group, members in groups.items():
        number = 0
        for variable in members:
            if id(variable) not in seen:
                seen.add(id(variable))
                yield f"{group}/{number:04d}/{_AUTO_NUMBER.sub('', variable.path)}", variable
                number += 1
    for variable in list(model.variables):  # what lies under a variable of Keras is no other one
        seen.add(id(getattr(variable, "_value", None)))
    for number, (place, variable) in enumerate(hidden_state.variables(model, seen)):
        yield f"hidden/{number:04d}/{place}", variable


def more_optimizers(model: Any) -> dict[str, Any]:
    """Find the optimizers that a model with a `train_step` of its own keeps beside `model.optimizer`."""
    optimizers: dict[str, Any] = {}
    seen = {id(getattr(model, "optimizer", None))}
    for layer in model._flatten_layers():
        for name, value in vars(layer).items():
            several = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, item in [("", value), *several]:
                if isinstance(item, keras.optimizers.Optimizer) and id(item) not in seen:
                    seen.add(id(item))
                    optimizers[f"{len(optimizers)}_{name}{key}"] = item
    return optimizers


def trained_by(model: Any) -> dict[str, list[str]]:
    """Name the variables that each of `more_optimizers` trains; empty for one that has not trained yet."""
    names = {id(variable): name for name, variable in variables(model)}
    return {
        name: [names.get(id(variable), "") for variable in _trained(optimizer)]
        for name, optimizer in more_optimizers(model).items()
    }


def build_optimizers(model: Any, trained: Mapping[str, list[str]]) -> None:
    """Create the variables of `more_optimizers`, which Keras leaves to their first step.

    Args:
        model: The model.
        trained: What `trained_by` gave when it was saved.
    """
    named = dict(variables(model))
    for name, optimizer in more_optimizers(model).items():
        wanted = trained.get(name, [])
        if wanted and not optimizer.built and all(each in named for each in wanted):
            optimizer.build([named[each] for each in wanted])


def _trained(optimizer: Any) -> list[Any]:
    return list(getattr(getattr(optimizer, "inner_optimizer", optimizer), "_trainable_variables", None) or [])


def capture(model: Any, *, groups: tuple[str, ...], largest: int | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """Read the variables of some groups; what comes back may be a view of memory that training changes.

    Args:
        model: The model.
        groups: What the names begin with.
        largest: Leave out variables of more elements.
    """
    return {
        name: _read(variable)
        for name, variable in variables(model)
        if name.startswith(groups) and (largest is None or math.prod(variable.shape) <= largest)
    }


def _read(variable: Any) -> np.ndarray[Any, Any]:
    if keras.backend.backend() == "tensorflow":
        tensor = variable.value if isinstance(variable, keras.Variable) else variable
        tensor = tensor.read_value() if hasattr(tensor, "read_value") else tensor
        try:
            return np.asarray(memoryview(tensor))  # without a copy; .numpy() makes one
        except (TypeError, ValueError, BufferError):  # bfloat16 and the like have no buffer protocol
            pass
    return np.asarray(keras.ops.convert_to_numpy(getattr(variable, "value", variable)))


def apply(model: Any, tensors: Mapping[str, np.ndarray[Any, Any]], *, groups: tuple[str, ...]) -> list[str]:
    """Write saved values back into the variables of some groups.

    Args:
        model: The model.
        tensors: The saved values.
        groups: What the names begin with.

    Returns:
        The variables that keep what they have, since none was saved for them: those of a metric that is new, of a
        dropout that had the rate 0, a learning rate that was a schedule.

    Raises:
        CheckpointError: The checkpoint lacks a variable that a training cannot begin anew.
    """
    there = [(name, variable) for name, variable in variables(model) if name.startswith(groups)]
    saved = match(tensors, [name for name, _ in there])
    new = []
    for name, variable in there:
        value = tensors[saved[name]] if name in saved else None
        if value is None or tuple(value.shape) != tuple(variable.shape):
            if not (value is None and _may_differ(name)) and not name.startswith("metrics/"):
                raise CheckpointError(
                    f"the checkpoint has no value for {name}",
                    why="the model keeps more state than when it was saved",
                    hint="build and compile the model as it was, or open another run",
                )
            new.append(name)
        else:
            variable.assign(value)
    return new


def match(saved: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Find the saved name for each name: the numbers in them shift where a variable is new or gone.

    Example:
        >>> match(["metrics/0000/loss/total", "metrics/0001/top/total"], ["metrics/0000/top/total"])
        {'metrics/0000/top/total': 'metrics/0001/top/total'}
    """
    by_path: dict[tuple[str, str], list[str]] = {}
    for name in sorted(saved):
        if (parts := _NAME.fullmatch(name)) is not None:
            by_path.setdefault((parts[1], parts[3]), []).append(name)
    pairs = {}
    for name in names:
        parts = _NAME.fullmatch(name)
        waiting = by_path.get((parts[1], parts[3]), []) if parts is not None else []
        if waiting:
            pairs[name] = waiting.pop(0)
    return pairs


def _may_differ(name: str) -> bool:
    """Whether a run goes on without a variable: it belongs to a setting, not to what was learned."""
    return name.startswith(("metrics/", "hidden/", "optimizer")) or name.endswith(_SETTINGS)


def layout(model: Any) -> dict[str, str]:
    """Describe what the state looks like: each variable's name, shape and dtype, without the metrics."""
    return {
        name: f"{tuple(variable.shape)} {variable.dtype}"
        for name, variable in variables(model)
        if not name.startswith(("metrics/", "hidden/"))
    }


def settings(model: Any, callbacks: Iterable[Any] = ()) -> dict[str, str]:
    """Flatten the configuration of model, optimizer, loss and callbacks into `place: value`, to name what was changed.

    Args:
        model: A compiled model.
        callbacks: The callbacks of its fit; of Keras' own the plain settings are taken.
    """
    described: dict[str, Any] = {}
    for part, read in (
        ("model", lambda: json.loads(model.to_json())["config"]),
        ("compile", model.get_compile_config),
        ("optimizer", lambda: {"class_name": type(model.optimizer).__name__, "config": model.optimizer.get_config()}),
        (
            "optimizers",
            lambda: {
                name: {"class_name": type(each).__name__, "config": each.get_config()}
                for name, each in more_optimizers(model).items()
            },
        ),
        (
            "frozen",
            lambda: [layer.name for layer in model._flatten_layers() if not layer.trainable and layer.variables],
        ),
    ):
        try:
            with without_tensorflow():
                described[part] = read()
        except Exception:  # noqa: BLE001, S112 - a user's own class may not describe itself
            continue
    if isinstance(described.get("compile"), dict):
        described["compile"].pop("optimizer", None)
    described["callbacks"] = {
        type(callback).__name__: {
            name: value
            for name, value in vars(callback).items()
            if name in _CALLBACK_SETTINGS and isinstance(value, bool | int | float | str)
        }
        for callback in callbacks
        if type(callback).__module__.startswith("keras.")
    }
    flat: dict[str, str] = {}
    _flatten(described, "", flat)
    return flat


def _flatten(value: Any, place: str, flat: dict[str, str]) -> None:
    kind = value.get("class_name") if isinstance(value, dict) else None
    if kind in ("__numpy__", "__tensor__"):
        flat[place] = f"values {zlib.crc32(str(value).encode()):08x}"
    elif kind == "__lambda__":  # its code names the file it is of, which for a notebook is another in each process
        _flatten({key: item for key, item in value["config"].items() if key != "code"}, place, flat)
    elif isinstance(value, dict):
        for key, item in value.items():
            # Names count on in one process, and the learning rate is a variable that schedules change.
            if key not in ("name", "shared_object_id", "registered_name", "module", "build_config"):
                _flatten(item, f"{place}.{key}" if place else key, flat)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            _flatten(item, f"{place}[{index}]", flat)
    else:
        flat[place] = _AUTO_NUMBER.sub("", str(value))


def check_same_model(
    run: str,
    saved: Mapping[str, str],
    now: Mapping[str, str],
    *,
    said: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> None:
    """Refuse to continue with a model whose state looks different.

    Args:
        run: The run's name, for the message.
        saved: `layout` when the checkpoint was made.
        now: `layout` of the model in hand.
        said: `settings` then and now.

    Raises:
        RunMismatchError: They differ; the message names the first difference.
    """
    pairs = match(saved, now)
    gone = [name for name in saved if name not in pairs.values() and not name.endswith(_SETTINGS)]
    new = [name for name in now if name not in pairs and not name.endswith(_SETTINGS)]
    other = [(name, pair) for name, pair in pairs.items() if _shape(saved[pair], name) != _shape(now[name], name)]
    if not gone and not new and not other:
        return
    another = (
        f'run.phase("NAME").resume() trains it as a part of its own, which begins with this model\'s weights; {_WAYS}'
    )
    before, after = (each.get("optimizer.class_name", "") for each in said)
    before = before or said[0].get("compile.optimizer.class_name", "")
    if before and after and before != after:
        raise RunMismatchError(
            f"the run {run} was trained with the optimizer {before}, and this model has {after}",
            why=f"what {before} has learned of the gradients means nothing to {after}",
            hint=f"compile with {before}; {another}",
        )
    frozen = [name for name in (*gone, *new) if name.startswith("optimizer")]
    all_of_optimizer = len(frozen) == len(gone) + len(new) and all(name.startswith("optimizer") for name, _ in other)
    if said[0].get("frozen") != said[1].get("frozen") and all_of_optimizer:
        raise RunMismatchError(
            f"the run {run} was trained with other layers frozen",
            why=f"frozen were {said[0].get('frozen', 'none')}, now {said[1].get('frozen', 'none')}",
            hint=f'this is another fit: write callbacks=[run.phase("fine-tune").resume()]; {_WAYS}',
        )
    if before == after and before and len(frozen) == len(gone) + len(new) and not other:
        return  # the same optimizer with another setting, as a momentum: what is new in it begins anew
    if other:
        name, pair = other[0]
        why = f"{_path(name)} is {saved[pair]} in the run and {now[name]} in this model"
    elif new:
        why = f"{_path(new[0])} is not there in the run and {now[new[0]]} in this model"
    else:
        why = f"{_path(gone[0])} is {saved[gone[0]]} in the run and not there in this model"
    raise RunMismatchError(f"the run {run} belongs to another model", why=why, hint=f"build it as it was; {another}")


_WAYS = 'or go back to the end of an epoch with run.resume(at="epoch"), or open another run'


def _path(name: str) -> str:
    parts = _NAME.fullmatch(name)
    return parts[3] if parts is not None else name


def _shape(text: str, name: str) -> str:
    """Compare whole numbers of any width alike: another backend counts its steps in other integers."""
    shape, _, dtype = text.rpartition(" ")
    counts = dtype.startswith(("int", "uint")) and name.startswith(("optimizer", "model"))
    return shape if counts or name.endswith(_SETTINGS) else text


def changed_rates(
    model: Any, saved: Mapping[str, str], now: Mapping[str, str], tensors: Mapping[str, Any]
) -> dict[str, float]:
    """Find the learning rates that the code sets otherwise than when the state was written.

    Args:
        model: The model.
        saved: `settings` then.
        now: `settings` now.
        tensors: The saved variables; a rate that training moved, and the code did not, is not among the result.

    Returns:
        The new rate by the name of its variable.
    """
    rates = {}
    for name, _ in variables(model):
        if not name.endswith("/learning_rate"):
            continue
        group = name.split("/")[0] if name.startswith("optimizer/") else "optimizers." + name.split("/")[1]
        place = f"{group}.config.learning_rate"
        try:
            before, after = float(saved[place]), float(now[place])
        except (KeyError, ValueError):
            continue
        kept = match(tensors, [name]).get(name)
        moved = float(np.asarray(tensors[kept])) if kept is not None else None
        if before != after and moved != after:
            rates[name] = after
    return rates


def set_rates(model: Any, rates: Mapping[str, float]) -> None:
    """Give the optimizers the learning rates that `changed_rates` has found."""
    for name, variable in variables(model):
        if name in rates:
            variable.assign(rates[name])


def changed_settings(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the settings that changed since the checkpoint, as `place: before -> now`."""
    if not saved or not now:
        return []
    if "optimizer.class_name" not in saved and "compile.optimizer.class_name" in saved:  # written before 0.2
        saved = {
            place.removeprefix("compile.") if ".optimizer." in place else place: value for place, value in saved.items()
        }
        now = {place: value for place, value in now.items() if place in saved}
    pairs = [
        (place, saved.get(place, "(none)"), now.get(place, "(none)")) for place in sorted(saved.keys() | now.keys())
    ]
    return [f"{place}: {_short(before)} -> {_short(after)}" for place, before, after in pairs if before != after]


def _short(text: str) -> str:
    """Show a rate as it was written: 0.001, not the float32 next to it."""
    try:
        return f"{float(text):.6g}" if "." in text else text
    except ValueError:
        return text
