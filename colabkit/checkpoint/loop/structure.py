"""How a training is built: a later process begins with what was built at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint.loop.parts import Parts


class BuiltStructure:
    """Knows the groups and parameters of a training as they were when it began."""

    def __init__(self) -> None:
        self._first: list[Any] | None = None
        self._is_told = False

    def tell_changes(self, parts: Parts, warn: Callable[..., None], *, is_rebuilt_later: bool) -> None:
        """Say once that the training is built otherwise by now, so that a later process cannot go on from here.

        Args:
            parts: What the training consists of.
            warn: Takes the words.
            is_rebuilt_later: What was added is added again where the training goes on.
        """
        structure = parts.structure()
        if self._first is None:
            self._first = structure
        elif self._first != structure and not (self._is_told or is_rebuilt_later):
            self._is_told = True
            warn(
                "%s: the training has changed how its model or optimizer is built (%s). A killed run goes on from here "
                "only where your lines build it so before the training begins; else make each part a phase: "
                "run.phase('fine-tune').loop(…)",
                "another optimizer, or other groups in it" if structure[0] != self._first[0] else "other parameters",
            )
