"""What the user gives a loop: each thing as what a checkpoint holds, and put back in place.

A module, an optimizer, a scheduler keeps being the same object; so do dicts and lists, whose values are replaced.
"""

from __future__ import annotations

import functools
import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.parts import sharing
from colabkit.checkpoint.loop.parts.attached import (
    attached_to,
    flat,
    is_module,
    is_optimizer,
    optimizers_in,
    plain_keys,
    tensors_in,
)
from colabkit.checkpoint.loop.parts.in_place import CONTAINERS, JAX, arrays_in, give_value, take_value, without
from colabkit.checkpoint.loop.parts.keras_parts import KerasParts, is_keras
from colabkit.checkpoint.loop.parts.modules import ModulePart
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import hardware, kinds, rng
from colabkit.checkpoint.state.kinds import jax_tree
from colabkit.errors import CheckpointError, RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_IF_IT_CHANGES = (
    "Where the training itself changes it (add_param_group, another optimizer, pruning), do that before it begins, "
    "with requires_grad_(False) for what waits, or make each part a phase: run.phase('fine-tune').loop(…)"
)


class Parts:
    """The named parts of a training's state.

    Args:
        given: What the user gave, by name.
        run: The run's name, for messages.

    Raises:
        CheckpointError: One of them cannot be put back, or not be saved.
    """

    def __init__(self, given: Mapping[str, Any], *, run: str) -> None:
        for name, value in given.items():
            _check_can_be_put_back(name, value)
        self._given = {**given, **attached_to(given)}
        self._names = frozenset(given)
        self._run = run
        self._modules: dict[int, ModulePart] = {}
        self._keras = KerasParts(flat(self._given), self._differs)
        self._first = {at: leaf for name, value in given.items() for at, leaf in arrays_in(value, name).items()}
        self._first_leaves = _jax_leaves(self._given)
        self.optimizers = optimizers_in(self._given)
        self._settings = {place: _settings(one) for place, one in self._named_optimizers()}
        self._check_is_held()

    @property
    def given(self) -> Mapping[str, Any]:
        """What the user gave, and what hangs on it, by name."""
        return self._given

    @property
    def has_accelerator(self) -> bool:
        """Whether an Accelerator is among them."""
        return any(map(_is_accelerator, flat(self._given)))

    @property
    def frameworks(self) -> list[str]:
        """Those that compute with them."""
        return hardware.frameworks_of(flat(self._given))

    def take(self) -> dict[str, Any]:
        """Return the parts as a checkpoint holds them.

        Raises:
            CheckpointError: A value that cannot be saved; the message names its place.
        """
        return {name: self._take(value, name) for name, value in self._given.items()}

    def shared(self) -> dict[str, str]:
        """Name the places that hold an object which stands in another place of what was given, too."""
        return sharing.shared_places(self._given)

    def give(self, saved: Mapping[str, Any], shared: Mapping[str, str] | None = None) -> None:
        """Put back what `take` returned; nothing is changed where it does not fit.

        Args:
            saved: What `take` returned.
            shared: What `shared` returned then; None where that is not known.

        Raises:
            RunMismatchError: The parts are others; the message names the first.
        """
        if missing := sorted(saved.keys() - self._given.keys()):
            raise self._differs(f"the loop is not given {missing[0]}=", f"the run has saved {', '.join(sorted(saved))}")
        if more := sorted(self._names - saved.keys()):
            raise self._differs(f"{more[0]}= is new", f"the run has saved {', '.join(sorted(saved))}")
        given = {name: value for name, value in self._given.items() if name in saved}  # what is attached is new
        for name, value in given.items():
            self._check(value, saved[name], name)
        if shared is not None:
            sharing.part(given, shared)
        for name, value in given.items():
            if self._give(value, saved[name], name) is not value:
                raise self._differs(f"{name}= is {_words(value)}", f"the run has saved {_words(saved[name]['value'])}")
        sharing.join(given, shared or {})

    def changed_settings(self, saved: Mapping[str, Any]) -> list[str]:
        """Name the settings of optimizers that differ from those that the run began with: the run keeps its own."""
        changes = []
        for place, groups in self.settings().items():
            for number, (now, before) in enumerate(zip(groups, saved.get(place, []), strict=False)):
                changes += [
                    f"{place} group {number} {key}: {before[key]} -> {now[key]}"
                    for key in now
                    if key in before and before[key] != now[key]
                ]
        return changes

    def settings(self) -> dict[str, Any]:
        """Return what the optimizers were built with: learning rates, decays."""
        return self._settings

    def structure(self) -> list[Any]:
        """Describe how the modules and optimizers are built, which has to be the same in the process that goes on."""
        groups = [[_class_of(each), [len(group["params"]) for group in each.param_groups]] for each in self.optimizers]
        return [
            groups,
            [[name for name, _ in each.named_parameters()] for each in flat(self._given) if is_module(each)],
        ]

    def check_moves(self) -> None:
        """Notice JAX arrays that were not replaced in what the loop was given.

        Raises:
            CheckpointError: No array of it is another one after a step.
        """
        if self._first_leaves and _jax_leaves(self._given) == self._first_leaves:
            raise CheckpointError(
                "the first step has changed no JAX array of the loop's state",
                why="JAX makes new arrays, and the loop holds those it was given",
                hint="keep them in a dict that you assign to: state = {'params': params, 'opt': opt}; "
                "run.loop(data, state=state); in the loop: state['params'] = optax.apply_updates(...)",
            )
        self._first_leaves = []

    def _check_is_held(self) -> None:
        """Refuse an optimizer that trains what nothing of the given holds, so that it would not be saved."""
        held = {each for part in flat(self._given) for each in tensors_in(part)} if self.optimizers else set()
        for name, optimizer in self._named_optimizers():
            trained = [each for group in optimizer.param_groups for each in group["params"]]
            lost = [each for each in trained if ("object", id(each)) not in held]
            lost = [each for each in lost if ("memory", each.data_ptr()) not in held]
            if lost:
                raise CheckpointError(
                    f"{name}= trains {len(lost)} of {len(trained)} parameters that are not given",
                    why=f"the first has the shape {tuple(lost[0].shape)}; what is not given is not saved, so a killed "
                    "run would go on with other values of it",
                    hint="give the module or the tensor that they belong to, too, such as run.loop(data, model=model, "
                    "decoder=decoder, …); for a trainer make it a part of its module",
                )

    # ---- one value ----

    def _take(self, value: Any, place: str) -> Any:
        if is_module(value):
            return {"module": self._module(value, place).take()}
        if is_keras(value):
            return self._keras.take(value)
        if _is_accelerator(value):
            return {"accelerator": [value.step, bool(value.gradient_state.sync_gradients)]}
        if (generator := take_generator(value, place)) is not None:
            return {"generator": generator}
        if hasattr(value, "state_dict"):
            return {"state": [_class_of(value), encode(value.state_dict(), place)]}
        if (isinstance(value, dict) or type(value) in (list, tuple)) and any(map(_is_stateful, flat(value))):
            if isinstance(value, dict):
                keys = plain_keys(value)
                return {"dict": [[key, self._take(value[own], f"{place}/{key}")] for key, own in keys.items()]}
            return {"list": [self._take(item, f"{place}/{at}") for at, item in enumerate(value)]}
        replaced = [at for at, leaf in arrays_in(value, place).items() if self._first.get(at, leaf) is not leaf]
        return {"value": take_value(value, place), "replaced": replaced}

    def _check(self, value: Any, saved: Any, place: str) -> None:
        kind, content = next(iter(saved.items()))
        if kind == "module" and is_module(value):
            self._module(value, place).check(content, self._run)
        elif kind == "dict" and isinstance(value, dict):
            keys = plain_keys(value)
            for key, item in content:
                if key in keys:
                    self._check(value[keys[key]], item, f"{place}/{key}")
        elif kind == "list" and isinstance(value, list | tuple):
            if len(content) != len(value):
                raise self._differs(f"{place} has {len(value)} items", f"the run has saved {len(content)}")
            for at, item in enumerate(content):
                self._check(value[at], item, f"{place}/{at}")
        elif (
            kind in ("module", "state", "keras", "generator", "accelerator")
            and next(iter(self._kind_of(value, place))) != kind
        ):
            raise self._differs(f"{place} is a {type(value).__name__}", f"the run has saved another thing ({kind})")

        elif kind == "state" and content[0] != _class_of(value):
            raise self._differs(f"{place} is a {_class_of(value)}", f"the run has saved a {content[0]}")

    def _kind_of(self, value: Any, place: str) -> dict[str, Any]:
        if hasattr(value, "state_dict") and not is_module(value):
            return {"state": None}
        taken: dict[str, Any] = self._take(value, place)
        return taken

    def _give(self, value: Any, saved: Any, place: str) -> Any:
        """Put a value back; return it, or what replaces it in the dict or list that holds it."""
        kind, content = next(iter(saved.items()))
        if kind == "module":
            self._module(value, place).give(content)
        elif kind == "keras":
            self._keras.give(value, saved, place)
        elif kind == "generator":
            self._load(functools.partial(give_generator, value), content, place)
        elif kind == "accelerator":
            value.step = content[0]
            value.gradient_state._set_sync_gradients(content[1])
        elif kind == "state":
            self._load(value.load_state_dict, decode(content[1]), place)
        elif kind == "dict":
            keys = plain_keys(value)
            for key, item in content:
                own = keys.get(key, key)
                value[own] = self._give(value.get(own), item, f"{place}/{key}")
        elif kind == "list":
            items = [self._give(value[at], item, f"{place}/{at}") for at, item in enumerate(content)]
            if isinstance(value, list):
                value[:] = items
        else:
            return give_value(without(value, saved.get("replaced", []), place), content, place)
        return value

    def _load(self, load: Callable[[Any], object], state: Any, place: str) -> None:
        try:
            load(state)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise RunMismatchError(
                f"{place} does not take the state that the run {self._run} has saved of it",
                why=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                hint=f"build it as it was, or open a run under another name. {_IF_IT_CHANGES}",
            ) from error

    def _module(self, value: Any, place: str) -> ModulePart:
        if id(value) not in self._modules:
            self._modules[id(value)] = ModulePart(value, place)
        return self._modules[id(value)]

    # ---- all of them ----

    def _named_optimizers(self) -> list[tuple[str, Any]]:
        optimizers = []
        for name, value in self._given.items():
            inside = optimizers_in(value)
            optimizers += [(name if len(inside) == 1 else f"{name}/{at}", one) for at, one in enumerate(inside)]
        return optimizers

    def _differs(self, what: str, why: str) -> RunMismatchError:
        return RunMismatchError(
            f"{what}, unlike in the run {self._run}",
            why=why,
            hint=f"give the loop what it was given before, or open a run under another name. {_IF_IT_CHANGES}",
        )


# ---- kinds of values ----


def _jax_leaves(given: Mapping[str, Any]) -> list[int]:
    if "jax" not in sys.modules:
        return []
    import jax

    return [id(leaf) for leaf in jax.tree.leaves(given) if type(leaf).__module__.split(".")[0] in JAX]


def _is_stateful(value: Any) -> bool:
    return hasattr(value, "state_dict") or rng.is_generator(value) or is_keras(value) or _is_accelerator(value)


def _is_accelerator(value: Any) -> bool:
    """Say whether it is an Accelerator, which counts the batches between two steps of the optimizer."""
    return hasattr(value, "gradient_state") and hasattr(value, "prepare") and hasattr(value, "step")


def _words(value: Any) -> str:
    """Name a value for a message, by its shape where it has one."""
    value = decode(value) if isinstance(value, dict) else value
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + ("" if shape is None else f" of {value.dtype} with the shape {tuple(shape)}")


def _class_of(value: Any) -> str:
    return type(getattr(value, "optimizer", value) if is_optimizer(value) else value).__name__


def _settings(optimizer: Any) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in group.items() if isinstance(value, int | float | str) and key != "initial_lr"}
        for group in optimizer.param_groups
    ]


def _check_can_be_put_back(name: str, value: Any) -> None:
    if hasattr(value, "state_dict") and not hasattr(value, "load_state_dict"):
        raise CheckpointError(
            f"{name}= has state_dict() and no load_state_dict(), so it cannot be put back",
            hint="give it that method, or pass what it is made of",
        )
    if _is_stateful(value) or isinstance(value, (*CONTAINERS, np.ndarray)) or hasattr(value, "detach"):
        return
    if value is None or kinds.is_estimator(value) or jax_tree.is_changed_in_place(value):
        return
    kind = type(value).__name__
    is_whole = isinstance(value, tuple) or kinds.is_whole(value) or jax_tree.is_node(value)
    jax = type(value).__module__.split(".")[0] in JAX or is_whole
    raise CheckpointError(
        f"{name}= is a {kind}, which cannot be put back in place",
        why="what is given to a loop is changed in place, and such a value cannot be",
        hint="leave it out, as names that your loop assigns go on by themselves; or keep it in a dict: "
        f"state = {{'{name}': {name}}}; run.loop(data, state=state); and read and write state['{name}'] in the loop"
        if jax or isinstance(value, bool | int | float | str | bytes)
        else (
            "pass "
            if callable(value)
            else f"pass vars({name}), where it keeps plain values and containers of them; or "
        )
        + "an object with state_dict() and load_state_dict(), or a dict of plain values and arrays",
    )


# ---- random generators of the user's ----


def take_generator(value: Any, place: str) -> Any:
    """Return the state of a random generator, or what data says of its own; None for anything else."""
    if not rng.is_generator(value):
        return value.take() if hasattr(value, "take") and hasattr(value, "give") else None
    if isinstance(value, np.random.Generator):
        return encode(value.bit_generator.state, place)
    if isinstance(value, np.random.RandomState):
        if value.get_state(legacy=False)["bit_generator"] != "MT19937":
            raise CheckpointError(
                f"{place} is a RandomState of another generator than MT19937, to which NumPy gives no state back",
                hint="use numpy.random.default_rng(0), or RandomState(0)",
            )
        return encode(list(value.get_state(legacy=True)), place)
    if isinstance(value, random.Random):
        version, words, gauss = value.getstate()
        return [version, np.array(words, np.uint32), gauss]
    return value.get_state().numpy().copy()


def give_generator(value: Any, saved: Any) -> None:
    """Put back what `take_generator` returned."""
    if hasattr(value, "give"):
        value.give(saved)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = decode(saved)
    elif isinstance(value, np.random.RandomState):
        value.set_state(tuple(decode(saved)))
    elif isinstance(value, random.Random):
        value.setstate((saved[0], tuple(int(word) for word in saved[1]), saved[2]))
    else:
        import torch

        value.set_state(torch.from_numpy(np.array(saved)))


def take_generators(generators: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of random generators, by their names."""
    return {place: take_generator(each, place) for place, each in generators.items()}


def give_generators(generators: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Put back what `take_generators` returned."""
    for place, each in generators.items():
        if place in saved:
            give_generator(each, saved[place])
