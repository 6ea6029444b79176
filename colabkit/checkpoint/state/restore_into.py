"""Fill a restored state into the objects that it was saved from: torch modules, JAX trees, tuples with names."""

from __future__ import annotations

import dataclasses
from typing import Any

from colabkit.checkpoint.state import kinds, rng
from colabkit.checkpoint.state.torch import to_torch
from colabkit.errors import RunMismatchError


def restore_into(template: Any, saved: Any, place: str = "state") -> Any:
    """Give a saved state the types of a template.

    Args:
        template: What was given to `Run.save`, made anew: the same dicts, lists, tuples and dataclasses, with torch
            modules and optimizers, which are loaded in place, and tensors and JAX arrays, whose kind and device the
            saved values get.
        saved: What was restored.
        place: Where it is in the state, for messages.

    Raises:
        RunMismatchError: The two have another shape; the message names the place.
    """
    if template is None:
        return saved
    if hasattr(template, "load_state_dict"):
        return _load(template, saved, place)
    if kinds.keras_variables(template) is not None:
        kinds.assign_keras(template, saved, place)
        return template
    if rng.is_generator(template):
        rng.set_generator_state(template, saved)
        return template
    if dataclasses.is_dataclass(template) and not isinstance(template, type):
        names = [each.name for each in dataclasses.fields(template)]
        _same_keys(names, saved, place)
        return dataclasses.replace(
            template, **{name: restore_into(getattr(template, name), saved[name], f"{place}/{name}") for name in names}
        )
    if isinstance(template, dict):
        _same_keys(template, saved, place)
        return type(template)({key: restore_into(item, saved[key], f"{place}/{key}") for key, item in template.items()})
    if type(template) is list and isinstance(saved, list) and len(saved) != len(template) and _is_plain(template):
        return saved  # it has grown
    if isinstance(template, list | tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(template):
            raise _differs(place, f"{len(template)} items", saved)
        items = [restore_into(item, saved[index], f"{place}/{index}") for index, item in enumerate(template)]
        return template._make(items) if hasattr(template, "_make") else type(template)(items)
    return _like(template, saved, place)


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
