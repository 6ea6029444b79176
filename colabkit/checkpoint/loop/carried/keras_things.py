"""The models, optimizers, metrics and variables of Keras and TensorFlow that a loop uses and is not given."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.parts.keras_parts import KerasParts, is_keras, variables_of
from colabkit.checkpoint.state import kinds
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMPARED = 1 << 22  # numbers of a variable that tell it from another


class KerasThings:
    """Takes them, and puts them back into what another process has made.

    Args:
        given: What the loop is given, which is saved otherwise.
    """

    def __init__(self, given: list[Any]) -> None:
        self._given = [each for each in given if is_keras(each)]
        self._variables = {id(variable) for each in self._given for variable in variables_of(each)}
        self._given_ids = {id(each) for each in self._given}
        self._parts = KerasParts(self._given, _differs)

    def begin(self, things: Iterable[Any]) -> None:
        """Note those that are there as the loop begins: which variables an optimizer trains is told by their number."""
        self._parts = KerasParts([*self._given, *things], _differs)

    def is_one(self, value: Any) -> bool:
        """Say whether a value is such a thing."""
        return is_keras(value)

    def is_given(self, value: Any) -> bool:
        """Say whether it is given, or a part of what is."""
        variables = variables_of(value)
        return id(value) in self._given_ids or (bool(variables) and self._variables.issuperset(map(id, variables)))

    def mark_of(self, value: Any) -> str:
        """Tell it from itself once its variables have changed."""
        return _digest_of(kinds.read_variable(each) for each in variables_of(value))

    def is_as_saved(self, value: Any, content: dict[str, Any]) -> bool:
        """Say whether its variables are those that `take` returned."""
        return self.mark_of(value) == _digest_of(map(np.asarray, content["keras"]))

    def take(self, value: Any) -> dict[str, Any]:
        """Return it as a checkpoint holds it."""
        return {"class": type(value).__qualname__, **self._parts.take(value)}

    def give(self, value: Any, content: dict[str, Any], place: str) -> None:
        """Put back what `take` returned.

        Raises:
            RunMismatchError: Another thing is there.
        """
        if not is_keras(value) or type(value).__qualname__ != content["class"]:
            raise _differs(f"{place} is a {type(value).__qualname__}", f"the run has saved a {content['class']}")
        if hasattr(value, "apply_gradients") and len(value.variables) < len(content["keras"]) and not content["trains"]:
            raise _differs(f"{place} has {len(value.variables)} variables", "it trains what nobody has found")
        self._parts.give(value, content, place)


def _differs(what: str, before: str) -> RunMismatchError:
    return RunMismatchError(what, why=before)


def _digest_of(arrays: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        some = array.reshape(-1)[:: max(1, array.size // _COMPARED)]
        digest.update(some.tobytes() if some.dtype.kind != "O" else repr(some.tolist()).encode())
    return digest.hexdigest()
