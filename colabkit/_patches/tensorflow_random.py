"""Draws of TensorFlow's `tf.random`, told where they happen: the state of such an operation cannot be saved.

Each of them asks `get_seed` first, and so does a `tf.data` pipeline that shuffles. After `tf.random.set_seed` the
numbers of code that runs eagerly follow from a generator of the context, which is saved with the other random states;
in a `tf.function`, and without a seed, nobody can save them. Seen in TensorFlow 2.16 to 2.21; not needed any more once
the kernels of random operations can tell their state.

Source:
    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/python/framework/random_seed.py
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SEEDS = "tensorflow.python.framework.random_seed"
_PIPELINES = "tensorflow.python.data."
_told: list[Callable[[str], None]] = []


def watch(told: Callable[[str], None]) -> None:
    """Call a function once, with what it is in words, when something is drawn that a new process would draw otherwise.

    Args:
        told: Takes the words.
    """
    seeds: Any = sys.modules.get(_SEEDS)
    if seeds is None:
        return
    _told[:] = [told]
    if hasattr(seeds.get_seed, "_colabkit"):
        return
    original = seeds.get_seed

    def get_seed(op_seed: Any) -> Any:
        if _told and (words := _lost(seeds, op_seed, sys._getframe(1).f_globals.get("__name__", ""))):
            _told.pop()(words)
        return original(op_seed)

    get_seed._colabkit = True  # type: ignore[attr-defined]
    seeds.get_seed = get_seed


def unwatch() -> None:
    """Tell nobody any more."""
    _told.clear()


def _lost(seeds: Any, op_seed: Any, caller: str) -> str:
    """Say what is drawn; empty where a new process draws the same."""
    eager = seeds.context.executing_eagerly()
    seeded = (seeds.context.global_seed() if eager else seeds.ops.get_default_graph().seed) is not None
    if caller.startswith(_PIPELINES):
        return "" if seeded or op_seed is not None else "a tf.data pipeline without a seed"
    if eager:
        return "" if seeded and op_seed is None else "tf.random"
    return "tf.random in a tf.function"


class _Objects:
    """Is told of each object that draws or reads; nobody is at first."""

    used: Callable[..., None] | None = None


def watch_objects(used: Callable[..., None] | None) -> None:
    """Call a function with each `tf.random.Generator` that draws, and each iterator of `tf.data` that is read.

    Args:
        used: Takes the object, and `is_shared`: whether it is TensorFlow's own generator; None for nobody any more.
    """
    _Objects.used = used
    module: Any = sys.modules.get("tensorflow.python.ops.stateful_random_ops")
    if used is not None and module is not None:
        _tell_of(module.Generator, "skip", lambda each: each is module.global_generator)
    iterators: Any = sys.modules.get("tensorflow.python.data.ops.iterator_ops")
    if used is not None and iterators is not None:
        _tell_of(iterators.OwnedIterator, "__next__", lambda _: False)


def _tell_of(kind: Any, name: str, is_shared: Callable[[Any], bool]) -> None:
    original = getattr(kind, name)
    if hasattr(original, "_colabkit"):
        return

    @functools.wraps(original)
    def method(self: Any, *args: Any, **options: Any) -> Any:
        if _Objects.used is not None:
            _Objects.used(self, is_shared=is_shared(self))
        return original(self, *args, **options)

    method._colabkit = True  # type: ignore[attr-defined]
    setattr(kind, name, method)
