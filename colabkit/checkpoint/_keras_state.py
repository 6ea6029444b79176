"""The state of a Keras model in training: every variable that a step reads or writes.

Neither `.weights.h5` nor `.keras` files hold the seeds of dropout, nor the running sums of the metrics; without them a
resumed run drifts away from an uninterrupted one, or reports another loss for the epoch.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit.errors import CheckpointError, RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Keras counts names per process, so a rerun cell counts on: dense_1/kernel, adam/dense_1_kernel_momentum.
_AUTO_NUMBER = re.compile(r"_\d+(?=[_/]|$)")


def variables(model: Any) -> Iterator[tuple[str, Any]]:
    """Go through all variables, each once, under a name that is the same in every process.

    The names begin with `model/`, `optimizer/`, `optimizers/NAME/` or `metrics/`, then a running number, since paths
    alone repeat.
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


def more_optimizers(model: Any) -> dict[str, Any]:
    """Find the optimizers that a model with a `train_step` of its own keeps beside `model.optimizer`."""
    found: dict[str, Any] = {}
    seen = {id(getattr(model, "optimizer", None))}
    for layer in model._flatten_layers():
        for name, value in vars(layer).items():
            several = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, item in [("", value), *several]:
                if isinstance(item, keras.optimizers.Optimizer) and id(item) not in seen:
                    seen.add(id(item))
                    found[f"{len(found)}_{name}{key}"] = item
    return found


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
        tensor = variable.value
        tensor = tensor.read_value() if hasattr(tensor, "read_value") else tensor
        try:
            return np.asarray(memoryview(tensor))  # without a copy; .numpy() makes one
        except (TypeError, ValueError, BufferError):  # bfloat16 and the like have no buffer protocol
            pass
    return np.asarray(keras.ops.convert_to_numpy(variable.value))


def apply(model: Any, tensors: Mapping[str, np.ndarray[Any, Any]], *, groups: tuple[str, ...]) -> None:
    """Write saved values back into the variables of some groups.

    Raises:
        CheckpointError: The checkpoint lacks a variable of the model.
    """
    for name, variable in variables(model):
        if name.startswith(groups):
            if name not in tensors:
                raise CheckpointError(
                    f"the checkpoint has no value for {name}",
                    why="the model keeps more state than when it was saved",
                    do="build and compile the model as it was, or open another run",
                )
            variable.assign(tensors[name])


def layout(model: Any) -> dict[str, str]:
    """Describe what the state looks like: each variable's name, shape and dtype, without the metrics."""
    return {
        name: f"{tuple(variable.shape)} {variable.dtype}"
        for name, variable in variables(model)
        if not name.startswith("metrics/")
    }


def settings(model: Any) -> dict[str, str]:
    """Flatten the configuration of model, optimizer and loss into `place: value`, to name what was changed."""
    found: dict[str, str] = {}
    try:
        described = {"model": json.loads(model.to_json())["config"], "compile": model.get_compile_config()}
    except Exception:  # noqa: BLE001 - a user's own class may not describe itself; then there is nothing to compare
        return found
    _flatten(described, "", found)
    return found


def _flatten(value: Any, place: str, found: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            # Names count on in one process, and the learning rate is a variable that schedules change.
            if key not in ("name", "shared_object_id", "registered_name", "module", "build_config"):
                _flatten(item, f"{place}.{key}" if place else key, found)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            _flatten(item, f"{place}[{index}]", found)
    else:
        found[place] = _AUTO_NUMBER.sub("", str(value))


def check_same_model(run: str, saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to continue with a model whose state looks different.

    Args:
        run: The run's name, for the message.
        saved: `layout` when the checkpoint was made.
        now: `layout` of the model in hand.

    Raises:
        RunMismatchError: They differ; the message names the first difference.
    """
    if saved == now:
        return
    for name in [*now, *saved]:
        before, after = saved.get(name, "not there"), now.get(name, "not there")
        if before != after:
            raise RunMismatchError(
                f"the run {run} belongs to another model",
                why=f"{name.split('/', 2)[-1]} is {before} in the run and {after} in this model",
                do="build the model as it was, or open a run under another name",
            )
    raise RunMismatchError(
        f"the run {run} belongs to another model", why="its layers come in another order", do="build it as it was"
    )


def changed_settings(saved: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the settings that changed since the checkpoint, as `place: before -> now`."""
    if not saved or not now:
        return []
    return [
        f"{place}: {saved.get(place, '(none)')} -> {now.get(place, '(none)')}"
        for place in sorted(saved.keys() | now.keys())
        if saved.get(place) != now.get(place)
    ]
