"""What torch modules keep outside their state_dict: hidden states, counters, buffers that are not persistent.

A recurrent network that carries its hidden state from batch to batch keeps it in an attribute, and so do counters.
Plain values that an attribute holds when a training starts are what the user has set; what has changed since is state.
Tensors and arrays are state from the start, as another process may draw them anew: random features, masks, noise.
"""

from __future__ import annotations

import collections
import functools
import operator
import sys
import sysconfig
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.checkpoint.state import rng

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS = (bool, int, float, complex, str, bytes, type(None))
_SEQUENCES = (list, tuple, set, collections.deque)
_DEPTH = 4  # of objects in objects
_OF_LIGHTNING = {"_metric_attributes", "_param_requires_grad_state"}  # by the ids of objects, of this process
_DATA = {"Dataset", "DataLoader", "LightningDataModule"}
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
Marks = dict[Any, Any]


class LooseState:
    """Finds the attributes of a module, and of those in it, that change while it trains.

    Args:
        module: The module as it was built, before a state is restored to it.
        is_loaded: Each process loads it from the same files, so its tensors are no state before they change.
    """

    def __init__(self, module: Any, *, is_loaded: bool = False) -> None:
        self._module = module
        self._is_loaded = is_loaded
        self._first: Marks = {place: _mark(value) for place, value in _attributes(module).items()}
        self._restored: set[tuple[str, str]] = set()

    def changed(self) -> dict[str, dict[str, Any]]:
        """Return tensors, arrays and what differs from the start, by the module's name and the attribute's."""
        changes: dict[str, dict[str, Any]] = {}
        for place, value in _attributes(self._module).items():
            is_new = place in self._restored or place not in self._first or not _is_same(value, self._first[place])
            if is_new or (not self._is_loaded and _holds_array(value)):
                changes.setdefault(place[0], {})[place[1]] = value
        return changes

    def on_cpu(self, changes: dict[str, dict[str, Any]]) -> list[list[str]]:
        """Return the places whose tensors lie in the CPU's memory, such as a replay memory beside a model on a GPU."""
        return [[name, place] for name, values in changes.items() for place, value in values.items() if _on_cpu(value)]

    def restore(self, saved: dict[str, dict[str, Any]], *, on_cpu: Iterable[list[str]] = ()) -> None:
        """Put back what `changed` returned; tensors come to the device of the module's parameters.

        Args:
            saved: What `changed` returned.
            on_cpu: The places whose tensors stay on the CPU.
        """
        modules = dict(_modules(self._module))
        device = next((each.device for each in self._module.parameters()), None)
        stays = set(map(tuple, on_cpu))
        for name, values in saved.items():
            if (module := modules.get(name)) is None:
                continue
            for place, value in values.items():
                path, _, attribute = place.rpartition(".")
                try:
                    owner = operator.attrgetter(path)(module) if path else module
                    present = getattr(owner, attribute, None)
                    if _is_equal(present, value):  # it may have other names
                        continue
                    value = value if (name, place) in stays else to_device(value, device)  # noqa: PLW2901
                    if attribute not in vars(owner) or not fill(present, value):
                        setattr(owner, attribute, value)
                except AttributeError:
                    warn("%s is made while it trains, so what it kept is not put back: make it in __init__", place)
                    continue
                self._restored.add((name, place))


def find_attached(module: Any) -> dict[str, Any]:
    """Find what a module keeps in attributes, and in lists and dicts there, that its state_dict does not hold.

    Args:
        module: The module.

    Returns:
        By place: optimizers, schedulers, random generators, and modules that train. A frozen one, such as a teacher
        that is hidden in a list, is what the user loads.
    """
    import torch

    registered = {id(each) for each in module.modules()}
    attached: dict[str, Any] = {}
    seen: set[int] = set()
    for name, each in _modules(module):
        for attribute, value in vars(each).items():
            if attribute in _of_torch():
                continue
            for place, item in _items(value, f"{name}.{attribute}".removeprefix("."), seen):
                if id(item) not in registered and _is_attached(item, torch):
                    registered.add(id(item))
                    attached[place] = item
    return attached


def _items(value: Any, place: str, seen: set[int], depth: int = _DEPTH) -> list[tuple[str, Any]]:
    inside: list[tuple[Any, Any]] = []
    if type(value) in (list, tuple):
        inside = list(enumerate(value))
    elif type(value) is dict or is_of_the_user(value):
        inside = list((value if type(value) is dict else vars(value)).items())
    else:
        return [(place, value)]
    if not depth or id(value) in seen:
        return []
    seen.add(id(value))
    return [pair for key, item in inside for pair in _items(item, f"{place}.{key}", seen, depth - 1)]


def is_of_the_user(value: Any) -> bool:
    """Say whether it is an object of a class of the user's that is no data: a replay memory, an environment."""
    kind = type(value)
    if not hasattr(value, "__dict__") or isinstance(value, type) or hasattr(value, "forward"):
        return False
    if hasattr(value, "state_dict") or {each.__name__ for each in kind.__mro__} & _DATA:
        return False
    return is_in_user_code(kind)


def is_array_or_some(value: Any) -> bool:
    """Say whether it is a tensor or an array, or a container of plain values with some, which are saved as they are."""
    return is_value(value) and _holds_array(value)


def is_in_user_code(kind: type) -> bool:
    """Say whether a class is of no package that is installed."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return kind.__module__ == "__main__" or (file is not None and not file.startswith(_INSTALLED))


def _is_attached(value: Any, torch: Any) -> bool:
    if isinstance(value, torch.nn.Module):
        return any(parameter.requires_grad for parameter in value.parameters())
    keeps_itself = hasattr(value, "state_dict") and hasattr(value, "load_state_dict") and not isinstance(value, type)
    return rng.is_generator(value) or (keeps_itself and (is_of_torch(value) or is_in_user_code(type(value))))


def is_of_torch(value: Any) -> bool:
    """Say whether it is a scheduler, an optimizer or a scaler of torch."""
    return any(kind.__module__.startswith(("torch.optim.", "torch.amp.")) for kind in type(value).__mro__)


def _modules(module: Any) -> Any:
    for name, each in module.named_modules():
        yield name.replace("_orig_mod.", "").removesuffix("_orig_mod"), each


def _attributes(module: Any) -> Marks:
    import torch

    marks: Marks = {}
    for name, each in _modules(module):
        own = of_the_framework(each)
        for attribute, value in vars(each).items():
            if attribute not in own:
                marks |= {(name, place): item for place, item in _values(value, attribute, torch).items()}
        for attribute in each._non_persistent_buffers_set:
            if (buffer := each._buffers.get(attribute)) is not None:
                marks[name, attribute] = buffer
    return marks


def of_the_framework(module: Any) -> frozenset[str]:
    """Name the attributes that torch, or Lightning, keeps in a module for itself."""
    return _of_torch() | (_OF_LIGHTNING if hasattr(module, "automatic_optimization") else frozenset())


@functools.cache
def _of_torch() -> frozenset[str]:
    import torch

    return frozenset(vars(torch.nn.Module()))


def _values(value: Any, place: str, torch: Any, depth: int = _DEPTH) -> Marks:
    """Return a value by its place, or those that an object of the user's holds."""
    if _is_value(value, torch):
        return {place: value}
    if not depth or not is_of_the_user(value):
        return {}
    inside = [_values(item, f"{place}.{name}", torch, depth - 1) for name, item in vars(value).items()]
    return {at: item for each in inside for at, item in each.items()}


def is_value(value: Any) -> bool:
    """Say whether it is a tensor, an array, a plain value, or a container of such, which is saved as it is."""
    import torch

    return _is_value(value, torch)


def _is_value(value: Any, torch: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not isinstance(value, torch.nn.Parameter) and value.layout == torch.strided
    if isinstance(value, list | tuple | set | collections.deque):
        return all(_is_value(item, torch) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str | int) for key in value) and all(_is_value(v, torch) for v in value.values())
    return type(value) in _WORDS or isinstance(value, np.ndarray | np.generic)


def _mark(value: Any) -> Any:
    """Note what a value is without a copy of a tensor: which one it is, and how often it was written to."""
    if hasattr(value, "_version"):
        return weakref.ref(value), value._version
    if isinstance(value, _SEQUENCES):
        return [_mark(item) for item in value]
    if isinstance(value, dict):
        return {key: _mark(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _is_same(value: Any, mark: Any) -> bool:
    if hasattr(value, "_version"):
        return isinstance(mark, tuple) and mark[0]() is value and mark[1] == value._version
    if isinstance(value, _SEQUENCES):
        return isinstance(mark, list) and len(mark) == len(value) and all(map(_is_same, value, mark))
    if isinstance(value, dict):
        return (
            isinstance(mark, dict) and value.keys() == mark.keys() and all(_is_same(value[k], mark[k]) for k in value)
        )
    if isinstance(value, np.ndarray):
        return isinstance(mark, np.ndarray) and value.dtype == mark.dtype and np.array_equal(value, mark)
    return type(value) is type(mark) and bool(value == mark or (value != value and mark != mark))


def _on_cpu(value: Any) -> bool:
    if isinstance(value, _SEQUENCES):
        return all(map(_on_cpu, value))
    if isinstance(value, dict):
        return all(map(_on_cpu, value.values()))
    return not hasattr(value, "_version") or value.device.type == "cpu"


def _holds_array(value: Any) -> bool:
    if isinstance(value, _SEQUENCES):
        return any(map(_holds_array, value))
    if isinstance(value, dict):
        return any(map(_holds_array, value.values()))
    return hasattr(value, "_version") or isinstance(value, np.ndarray)


def _is_equal(now: Any, saved: Any) -> bool:
    """Say whether a tensor or an array is what was saved; False for all else, which is simply put back."""
    if isinstance(now, np.ndarray) and isinstance(saved, np.ndarray):
        return now.dtype == saved.dtype and now.shape == saved.shape and now.tobytes() == saved.tobytes()
    if not (hasattr(now, "_version") and hasattr(saved, "_version")) or now.requires_grad:
        return False
    alike = now.dtype == saved.dtype and now.shape == saved.shape
    return alike and bool((now.detach().cpu() == saved.cpu()).all())


def fill(now: Any, saved: Any) -> bool:
    """Fill a container that is there with what was in it, as it may have other names; says whether it could."""
    if isinstance(now, dict) and isinstance(saved, dict):
        now.clear()
        now.update(saved)
    elif (isinstance(now, list) and isinstance(saved, list)) or _are_deques(now, saved):
        now.clear()
        now.extend(saved)
    elif isinstance(now, set) and isinstance(saved, set):
        now.clear()
        now.update(saved)
    else:
        return False
    return True


def _are_deques(*values: Any) -> bool:
    return all(isinstance(each, collections.deque) for each in values)


def to_device(value: Any, device: Any) -> Any:
    """Bring the tensors in a value to a device; None leaves them where they are."""
    if hasattr(value, "_version"):
        return value if device is None else value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(item, device) for item in value))
    if isinstance(value, collections.deque):
        return collections.deque((to_device(item, device) for item in value), value.maxlen)
    if isinstance(value, _SEQUENCES):
        return type(value)(to_device(item, device) for item in value)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    return value
