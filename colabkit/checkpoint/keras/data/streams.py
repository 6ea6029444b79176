"""Python generators as training data: read again up to where a run stopped, and compared with what was read."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras.data import Source
from colabkit.checkpoint.state import pytree, rng

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.data import Array

_REMEMBERED = 4096  # batches that may be read ahead of the training
_SAMPLE = 1 << 14  # elements of an array that tell it from another
_DEPTH = 3
_END = object()


class GeneratorData(Source):
    """A Python generator: one that gives again what it gave is read again up to where the run stopped.

    It begins with the random states with which it began before: those of the global generators, and those of the
    generators that its variables hold. Every batch is compared, not the first ones only.
    """

    kind = "a generator"
    is_a_stream = True

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        adapter = fit.iterator.data_adapter
        if not fit.iterator.steps_per_epoch:
            self.why_inexact = "a generator without steps_per_epoch lasts one epoch only"
            return
        self._generator = adapter.generator
        self._head: list[Any] = getattr(adapter, "_first_batches", [])  # that Keras has read to see what they are like
        self._begun: Iterator[Any] | None = None
        self._digests: dict[int, str] = {}
        self._held = generators_of(_users(adapter.generator))
        self._at_first = rng.capture(), [rng.generator_state(each) for each in self._held]
        self._told = False
        adapter.generator = self._read

    def identity(self) -> dict[str, Any]:
        """Tell that it is a generator."""
        return {"kind": self.kind, "seed": self.seed}

    def capture(self, tensors: dict[str, Array], *, steps: int = 0) -> Any:
        """Take what its batches were, and with which random states it began."""
        globals_, held = self._at_first
        tensors.update({f"data/{name}": value for name, value in globals_.items()})
        self._tell_new_generators()
        head = pytree.flatten(self._head, "data/head", tensors) if steps < len(self._head) else None
        return {
            "head": head,
            "batches": steps,
            "rest": self._digests.get(steps),
            "held": pytree.flatten(held, "data/held", tensors),
        }

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:  # noqa: ARG002
        """Read it again, and say whether it gave the same."""
        state = state or {}
        held = pytree.unflatten(state.get("held", []), tensors)
        if len(held) == len(self._held):
            for generator, kept in zip(self._held, held, strict=True):
                rng.set_generator_state(generator, kept)
        before = {name[len("data/") :]: value for name, value in tensors.items() if name.startswith("data/rng/")}
        now = rng.capture()
        if before:
            rng.restore(now | before)
            self._at_first = before, held
        if state.get("head"):
            self._replace_head(pytree.unflatten(state["head"], tensors))
        if steps:
            notify("reading %s batches of the generator again, up to where the run stopped", steps)
        self._begun = self._counted(self._generator())
        for _ in range(steps):
            next(self._begun, None)
        rng.restore(now)
        if state.get("rest") and state["rest"] != self._digests.get(steps):
            warn(
                "the generator gives different batches than when the run began, so it cannot resume at the same "
                "sample; training continues with what it gives. Give it a seed of its own to continue exactly"
            )

    def _replace_head(self, saved: list[Any]) -> None:
        """Give the first batches of the run, which Keras has read before anything could be restored."""
        digests = hashlib.sha256(), hashlib.sha256()
        for digest, batches in zip(digests, (saved, self._head), strict=True):
            for batch in batches:
                _add(digest, batch)
        if digests[0].digest() != digests[1].digest():
            warn(
                "the generator drew its first batches before it could be restored, so what else it drew for its first "
                "pass is not the same bit for bit; give it a seed of its own to continue exactly"
            )
        self._head[:] = saved

    def _tell_new_generators(self) -> None:
        if not self._told and len(generators_of(_users(self._generator))) > len(self._held):
            self._told = True
            warn("the generator makes random generators as it goes; unless they have a seed, it cannot be continued")

    def _read(self) -> Iterator[Any]:
        begun, self._begun = self._begun, None
        batches = begun or self._counted(self._generator())
        if keras.backend.backend() == "torch":
            return batches
        return watched(
            batches,
            "the generator draws from the global random generator while batches are read ahead, so a continued run is "
            "not the same bit for bit; let it draw from numpy.random.default_rng(seed)",
        )

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Pass batches on, and note what they are: after each of them, what all of them were."""
        digest = hashlib.sha256()
        self._digests[0] = ""
        for number, batch in enumerate(batches, 1):
            if number > len(self._head):
                _add(digest, batch)
            self._digests[number] = digest.hexdigest()[:16]
            self._digests.pop(number - _REMEMBERED, None)
            yield batch


def generators_of(generator: Any) -> list[Any]:
    """Find the random generators in the variables of a Python generator: its own, those around it and global ones.

    Args:
        generator: A generator; anything else has none.
    """
    if not inspect.isgenerator(generator) or generator.gi_frame is None:
        return []
    frame = generator.gi_frame
    names = set(frame.f_code.co_names)
    generators: dict[int, Any] = {}
    _look(dict(sorted(frame.f_locals.items())), generators, _DEPTH)
    _look({name: frame.f_globals[name] for name in sorted(names) if name in frame.f_globals}, generators, _DEPTH)
    inner = frame.f_locals.get(".0") or generator.gi_yieldfrom
    for each in [inner, *frame.f_locals.values()]:
        if inspect.isgenerator(each) and each is not generator:
            generators |= {id(held): held for held in generators_of(each)}
    return list(generators.values())


def _look(value: Any, generators: dict[int, Any], depth: int) -> None:
    if rng.is_generator(value):
        generators.setdefault(id(value), value)
    elif depth and isinstance(value, dict):
        for item in list(value.values())[:64]:
            _look(item, generators, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for item in value[:64]:
            _look(item, generators, depth - 1)
    elif depth and inspect.isfunction(value):
        for cell in value.__closure__ or ():
            try:
                _look(cell.cell_contents, generators, depth - 1)
            except ValueError:  # not set yet
                continue
    elif depth and type(value).__module__ == "__main__" and hasattr(value, "__dict__"):
        _look(dict(sorted(vars(value).items())), generators, depth - 1)


def _users(make: Any) -> Any:
    """Find the user's generator behind the function that Keras has made of it."""
    for cell in getattr(make, "__closure__", None) or ():
        if inspect.isgenerator(cell.cell_contents):
            return cell.cell_contents
    return None


def _add(digest: Any, batch: Any) -> None:
    for leaf in keras.tree.flatten(batch):
        if leaf is None:
            continue
        array = np.asarray(leaf) if not hasattr(leaf, "detach") else leaf.detach().cpu().numpy()
        digest.update(f"{array.shape} {array.dtype.str};".encode())
        if not array.dtype.hasobject:
            flat = array.reshape(-1)
            digest.update(np.ascontiguousarray(flat[:: max(1, flat.size // _SAMPLE)]).tobytes())


def watched(batches: Iterator[Any], words: str) -> Iterator[Any]:
    """Pass batches on, and warn once when they are made from a global random generator: they are read ahead.

    Args:
        batches: The batches.
        words: The warning.
    """
    told = False
    while True:
        before = None if told else rng.fingerprint()
        batch = next(batches, _END)
        if batch is _END:
            return
        if before is not None and rng.fingerprint() != before:
            told = True
            warn(words)
        yield batch
