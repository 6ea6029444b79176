"""Loaders that begin again within an epoch, as the shorter ones of a CombinedLoader do.

A shuffled one draws its next order from the present random state, which training has brought there: so that state is
noted each time, and put back when a later process reads up to its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.parts import give_generators, take_generators
from colabkit.checkpoint.state import rng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CYCLES = "_MaxSizeCycle"


class Reopened:
    """With which random states the loaders of an epoch were opened again.

    Args:
        generators: Returns the generators of the loaders, by name.
        saved: What `states` was in an earlier process, for its way back to the place.

    Attributes:
        states: The global random states and those of the generators, in the order of the openings.
    """

    def __init__(self, generators: Callable[[], dict[str, Any]], saved: Iterable[Any] = ()) -> None:
        self.states: list[Any] = []
        self._generators = generators
        self._saved = list(saved)

    def watch(self, combined: Any) -> None:
        """Note from now on what opens loaders again, once the epoch has opened all."""
        if type(modes := combined._iterator).__name__ == _CYCLES:
            modes.iterables = [_Loader(loader, self._note) for loader in modes.iterables]

    def _note(self) -> None:
        if self._saved:
            state = self._saved.pop(0)
            rng.restore(state["random"])
            give_generators(self._generators(), state["generators"])
        else:
            state = {"random": dict(rng.capture()), "generators": take_generators(self._generators())}
        self.states.append(state)


class _Loader:
    def __init__(self, loader: Any, note: Callable[[], None]) -> None:
        self._loader = loader
        self._note = note

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)
