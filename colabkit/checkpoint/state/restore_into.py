"""Fill a restored state into the objects that it was saved from: torch modules, JAX trees, tuples with names."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.state import kinds, rng
from colabkit.checkpoint.state.kinds import jax_tree
from colabkit.checkpoint.state.torch import to_torch
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator


def restore_into(template: Any, saved: Any, place: str = "state", *, anew: bool = False) -> Any:
    """Give a saved state the types of a template.

    Args:
        template: What was given to `Run.save`, made anew: the same dicts, lists, tuples and dataclasses, with torch
            modules and optimizers, which are loaded in place, and tensors and JAX arrays, whose kind and device the
            saved values get.
        saved: What was restored.
        place: Where it is in the state, for messages.
        anew: Make dicts and lists anew, which stand elsewhere, too: what holds them is made anew.

    Returns:
        The state. Dicts and lists of the template hold it too, but for one that stands in two places.

    Raises:
        RunMismatchError: The two have another shape; the message names the place.
    """
    filling = _Filling(template, anew=anew)
    restored = filling.give(template, saved, place)
    filling.finish()
    return restored


class _Filling:
    """Fills dicts, lists and arrays in place, once all of the state has turned out to fit.

    Args:
        template: The whole of it; what stands in it twice is left as it is.
        anew: So is all else.
    """

    def __init__(self, template: Any, *, anew: bool) -> None:
        self._anew = anew
        self._times = collections.Counter(map(id, _containers(template)))
        self._fills: list[tuple[Any, Any]] = []

    def finish(self) -> None:
        """Fill them."""
        for target, content in self._fills:
            target.clear()
            getattr(target, "extend" if hasattr(target, "extend") else "update")(content)

    def give(self, template: Any, saved: Any, place: str) -> Any:
        """Give one value its type."""
        if template is None:
            return saved
        if (filled := _fill_object(template, saved, place)) is not None:
            return filled
        if saved is None and callable(template):  # a function in a JAX tree
            return template
        if dataclasses.is_dataclass(template) and not isinstance(template, type):
            return self._give_dataclass(template, saved, place)
        if isinstance(template, dict):
            return self._give_dict(template, saved, place)
        if type(template) is list and isinstance(saved, list) and len(saved) != len(template) and _is_plain(template):
            return self._filled(template, saved)  # it has grown
        if isinstance(template, list | tuple):
            if not isinstance(saved, list | tuple) or len(saved) != len(template):
                raise _differs(place, f"{len(template)} items", saved)
            items = [self.give(item, saved[index], f"{place}/{index}") for index, item in enumerate(template)]
            if type(template) is list:
                return self._filled(template, items)
            return template._make(items) if hasattr(template, "_make") else type(template)(items)
        if isinstance(template, set | collections.deque) and type(saved) is type(template):
            return self._filled(template, saved)
        return _like(template, saved, place)

    def _give_dataclass(self, template: Any, saved: Any, place: str) -> Any:
        names = [each.name for each in dataclasses.fields(template)]
        _same_keys(names, saved, place)
        values = {name: self.give(getattr(template, name), saved[name], f"{place}/{name}") for name in names}
        if all(each.init for each in dataclasses.fields(template)):
            return dataclasses.replace(template, **values)
        made = copy.copy(template)
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    def _give_dict(self, template: dict[Any, Any], saved: Any, place: str) -> Any:
        may_grow = not template or isinstance(template, collections.Counter | collections.defaultdict)
        if not (may_grow and isinstance(saved, dict)):
            _same_keys(template, saved, place)
        items = {key: self.give(template.get(key), item, f"{place}/{key}") for key, item in saved.items()}
        return self._filled(template, items)

    def _filled(self, template: Any, content: Any) -> Any:
        if self._times[id(template)] < 2 and not self._anew:
            self._fills.append((template, content))
            return template
        made = copy.copy(template)
        self._fills.append((made, content))
        return made


def _fill_object(template: Any, saved: Any, place: str) -> Any:
    """Fill a module, an optimizer, a generator, a variable, an estimator or a JAX node; None for another thing."""
    if hasattr(template, "load_state_dict"):
        return _load(template, saved, place)
    if kinds.keras_variables(template) is not None:
        kinds.assign_keras(template, saved, place)
        return template
    if kinds.is_variable(template):
        return _assign(template, saved, place)
    if rng.is_generator(template):
        return _set_generator(template, saved, place)
    if kinds.is_estimator(template) and type(saved) is type(template):
        vars(template).clear()
        vars(template).update(vars(saved))
        return template
    return jax_tree.rebuild(template, saved, functools.partial(restore_into, anew=True), place)


def _containers(value: Any) -> Iterator[Any]:
    """Give the dicts, lists, sets and deques of a state, as often as they stand in it."""
    if isinstance(value, dict | list | set | collections.deque):
        yield value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name, None) for each in dataclasses.fields(value)}
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


def _assign(variable: Any, saved: Any, place: str) -> Any:
    """Give a variable of TensorFlow or Keras, or a generator of theirs, its value."""
    state = kinds.variable_of(variable)
    if tuple(getattr(saved, "shape", ("?",))) != tuple(state.shape):
        raise _differs(place, f"the shape {tuple(state.shape)}", saved)
    state.assign(saved)
    return variable


def _set_generator(generator: Any, saved: Any, place: str) -> Any:
    try:
        rng.set_generator_state(generator, saved)
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
        raise RunMismatchError(
            f"{place} does not fit this {type(generator).__name__}",
            why=str(error).splitlines()[0],
            hint="make it as it was, as by numpy.random.default_rng(0)",
        ) from error
    return generator


def _is_plain(template: list[Any]) -> bool:
    """Tell whether a list holds values only, nothing that is loaded in place or has a device."""
    return all(item is None or isinstance(item, bool | int | float | str | bytes | list | dict) for item in template)


def _like(template: Any, saved: Any, place: str) -> Any:
    module = type(template).__module__.split(".")[0]
    if module not in ("jax", "jaxlib", "torch"):
        return saved
    if tuple(getattr(saved, "shape", ())) != tuple(template.shape):
        raise _differs(place, f"the shape {tuple(template.shape)}", saved)
    if module == "torch":
        tensor = saved if hasattr(saved, "detach") else to_torch(saved)  # a sparse one comes back as such
        return tensor.to(device=template.device, dtype=template.dtype)
    import jax

    if isinstance(saved, jax_tree.WeakScalar):
        saved = jax.numpy.asarray(saved.item())
    return jax.device_put(saved, template.sharding)


def _load(target: Any, saved: Any, place: str) -> Any:
    try:
        target.load_state_dict(_tensors(saved))
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunMismatchError(
            f"{place} does not fit this {type(target).__name__}",
            why=str(error).splitlines()[0],
            hint="build it as it was, or open a run under another name",
        ) from error
    return target


def _tensors(saved: Any) -> Any:
    """Make torch tensors of all arrays: that is what a state_dict holds."""
    if isinstance(saved, dict):
        return {key: _tensors(item) for key, item in saved.items()}
    if isinstance(saved, list | tuple):
        return type(saved)(_tensors(item) for item in saved)
    return to_torch(saved) if hasattr(saved, "dtype") else saved


def _same_keys(names: Any, saved: Any, place: str) -> None:
    if not isinstance(saved, dict) or set(names) != set(saved):
        raise _differs(place, f"the keys {', '.join(map(str, names))}", saved)


def _differs(place: str, expected: str, saved: Any) -> RunMismatchError:
    keys = f"the keys {', '.join(map(str, saved))}" if isinstance(saved, dict) else type(saved).__name__
    actual = f"the shape {tuple(saved.shape)}" if getattr(saved, "shape", ()) else keys
    return RunMismatchError(
        f"{place} is not as it was saved",
        why=f"the given one has {expected}, the saved one {actual}",
        hint="build the state as it was, or leave out into= to get plain values",
    )
