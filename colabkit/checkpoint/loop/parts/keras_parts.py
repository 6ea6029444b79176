"""What a loop is given of Keras and TensorFlow: models, optimizers, metrics, modules, variables, random generators.

Each is the values of its variables. A model, and a module of TensorFlow, keeps more: which of its layers train, and
what a class of the user's counts in attributes (`self.beta`), where that has changed since the loop was made.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.state import kinds, pytree
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.errors import RunMismatchError

_STATE = ("variables", "assign", "state")  # of a model or an optimizer, a variable, a generator


def is_keras(value: Any) -> bool:
    """Say whether it is such a thing."""
    module = type(value).__module__
    known = any(kind.__module__.startswith(("keras.", "tensorflow.")) for kind in type(value).__mro__)
    return not module.startswith("torch") and known and any(map(functools.partial(hasattr, value), _STATE))


class KerasParts:
    """The things of Keras and TensorFlow among what a loop is given.

    Args:
        given: All that it is given.
        differs: Makes the error for a thing that is not as it was saved, of what it is and what was saved.
    """

    def __init__(self, given: list[Any], differs: Callable[[str, str], RunMismatchError]) -> None:
        self._things = {id(each): each for each in given if is_keras(each)}
        self._differs = differs
        self._own = {key: _attributes_of(each, self._variables) for key, each in self._things.items()}

    def take(self, value: Any) -> dict[str, Any]:
        """Return one of them as a checkpoint holds it."""
        taken: dict[str, Any] = {
            "keras": [kinds.read_variable(each) for each in variables_of(value)],
            "trains": self._trained_by(value),
        }
        if (own := self._own.get(id(value))) is not None:
            tensors: dict[str, Any] = {}
            taken["own"] = [own.capture(tensors), tensors]
        if (optimizer := self._own_optimizer(value)) is not None:
            taken["optimizer"] = {"class": type(optimizer).__name__, **self.take(optimizer)}
            taken["measured"] = {
                name: kinds.read_variable(each) for name, each in kinds.metric_variables(value).items()
            }
        if hasattr(value, "_flatten_layers"):
            taken["trainable"] = [bool(layer.trainable) for layer in value._flatten_layers()]
        return taken

    def give(self, value: Any, saved: dict[str, Any], place: str) -> None:
        """Put back what `take` returned.

        Raises:
            RunMismatchError: It has other variables.
        """
        arrays, flags = saved["keras"], saved.get("trainable", ())
        layers = value._flatten_layers() if flags else []
        for layer, flag in zip(layers, flags, strict=False):
            if bool(layer.trainable) != flag:
                layer.trainable = flag
        if hasattr(value, "build") and hasattr(value, "apply_gradients") and len(value.variables) < len(arrays):
            self._build(value, saved.get("trains"))
        variables = variables_of(value)
        shapes = [tuple(each.shape) for each in variables]
        if shapes != [tuple(array.shape) for array in arrays]:
            others = " of other shapes" if len(arrays) == len(shapes) else ""
            if len(shapes) < len(arrays) and hasattr(value, "layers"):
                others += "; a model that was never called has no weights yet: call it on one batch before the loop, "
                others += "as model(x[:1])"
            raise self._differs(f"{place} has {len(shapes)} variables", f"the run has saved {len(arrays)}{others}")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        kinds.finalize_keras(value)
        if "optimizer" in saved and (optimizer := self._own_optimizer(value)) is not None:
            name, before = type(optimizer).__name__, saved["optimizer"]["class"]
            if name != before:
                raise self._differs(f"{place}.optimizer is a {name}", f"the run has saved a {before}")
            self.give(optimizer, saved["optimizer"], f"{place}.optimizer")
            kinds.assign_measured(value, saved["measured"], place)
        if (own := self._own.get(id(value))) is not None and "own" in saved:
            own.restore(*saved["own"])

    def _own_optimizer(self, value: Any) -> Any:
        """Return the optimizer of a compiled model, for `train_on_batch`; None where it is given itself."""
        optimizer = kinds.compiled_optimizer(value)
        return None if id(optimizer) in self._things else optimizer

    def _variables(self) -> list[Any]:
        return [each for thing in self._things.values() for each in variables_of(thing)]

    def _models(self) -> list[Any]:
        return [each for each in self._things.values() if not hasattr(each, "apply_gradients")]

    def _build(self, optimizer: Any, trains: list[list[int]] | None) -> None:
        """Build an optimizer of Keras for the variables that it trained, or all of the first model's."""
        models = self._models()
        if trains:
            optimizer.build([variables_of(models[number])[at] for number, at in trains])
        elif layered := [each for each in models if hasattr(each, "layers") and hasattr(each, "trainable_variables")]:
            optimizer.build(layered[0].trainable_variables)

    def _trained_by(self, optimizer: Any) -> list[list[int]]:
        """Tell which variables of the given models an optimizer trains: the model's number, and theirs in it."""
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        variables = getattr(inner, "_trainable_variables", None) if hasattr(inner, "apply_gradients") else None
        numbers: dict[int, list[int]] = {}
        for number, model in enumerate(self._models()):
            for at, variable in enumerate(variables_of(model)):
                numbers.setdefault(id(variable), [number, at])
        trained = [numbers.get(id(variable)) for variable in variables or ()]
        return [each for each in trained if each is not None] if None not in trained else []


def variables_of(value: Any) -> list[Any]:
    """List the variables of a thing of Keras or TensorFlow: a variable is its own, and a generator has one."""
    return list(value.variables) if hasattr(value, "variables") else [kinds.variable_of(value)]


def _attributes_of(value: Any, variables: Callable[[], list[Any]]) -> Any:
    """Find what keeps the attributes of a model or a module; None for what has none of the user's."""
    tensorflow = sys.modules.get("tensorflow")
    if hasattr(value, "_flatten_layers") and hasattr(value, "metrics"):
        from colabkit.checkpoint.keras.host.own_state import OwnState

        own = OwnState(value, {}, variables)
        own.begin()
        own.settle()
        return own
    if hasattr(tensorflow, "Module") and isinstance(value, tensorflow.Module):  # type: ignore[union-attr]
        return _ModuleAttributes(value)
    return None


class _ModuleAttributes:
    """The numbers, texts and arrays in attributes of a module of TensorFlow that have changed.

    Args:
        module: The module, as it was built.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._first = {name: repr(kept) for name, kept in self._taken({}).items()}

    def capture(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Take them."""
        return {name: kept for name, kept in self._taken(tensors).items() if self._first.get(name) != repr(kept)}

    def restore(self, states: dict[str, Any], tensors: dict[str, Any]) -> None:
        """Put back what `capture` took."""
        for name, kept in states.items():
            setattr(self._module, name, pytree.unflatten(kept, tensors))
            self._first.pop(name, None)

    def _taken(self, tensors: dict[str, Any]) -> dict[str, Any]:
        taken = {}
        for name, value in vars(self._module).items():
            if not name.startswith("_") and not hasattr(value, "variables") and not kinds.is_variable(value):
                own: dict[str, Any] = {}
                try:
                    taken[name] = pytree.flatten(value, name, own)
                except (CheckpointError, TypeError, ValueError):  # a layer, a function
                    continue
                tensors.update(own)
        return taken
