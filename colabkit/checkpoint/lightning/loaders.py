"""The loaders of a fit, and how the fetcher of a later process comes to the place in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.lightning.reopened import Reopened
from colabkit.checkpoint.loop.data import LoaderSource, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.loop.data.own_state import OwnState


class FitLoaders:
    """The loaders of one fit, as Lightning combines them.

    Args:
        loaders: All of them, in Lightning's order.
        before: Those of the epoch before, which know what their datasets had when the fit began.
    """

    def __init__(self, loaders: Iterable[Any], before: FitLoaders | None = None) -> None:
        self._own: dict[int, OwnState] = {} if before is None else before._own
        self._sources: list[Source] = [open_source(loader, self._own) for loader in loaders]
        self._reopened = Reopened(self.generators)

    def identity(self) -> dict[str, Any]:
        """Describe them, so that other data is noticed."""
        return {
            f"loader {at}: {key}": value
            for at, source in enumerate(self._sources)
            for key, value in source.identity().items()
        }

    def notes(self) -> list[str]:
        """Say what cannot be continued exactly, each once."""
        notes = [note for source in self._sources for note in source.notes()]
        if None in {source.length for source in self._sources}:
            notes.append("a batch is read ahead where the loader has no length; random numbers of its samples differ")
        return list(dict.fromkeys(notes))

    def generators(self) -> dict[str, Any]:
        """Return their random generators, by a name that the next process gives them too."""
        return {
            f"{at}.{name}": each
            for at, source in enumerate(self._sources)
            for name, each in source.generators().items()
        }

    @property
    def reopened(self) -> list[Any]:
        """With which random states the shorter ones were opened again in this epoch."""
        return self._reopened.states

    def open(self, fetcher: Any, reopened: Iterable[Any] = ()) -> None:
        """Open an epoch at its beginning.

        Args:
            fetcher: Lightning's, which reads the batches.
            reopened: What `reopened` was in an earlier process.
        """
        iter(fetcher)
        self._reopened = Reopened(self.generators, reopened)
        self._reopened.watch(fetcher.combined_loader)

    def skip(self, fetcher: Any, done: int) -> None:
        """Come to the place where so many batches are done."""
        if not self._skip_by_sampler(fetcher, done):
            for _ in range(done):
                next(fetcher)

    def _skip_by_sampler(self, fetcher: Any, done: int) -> bool:
        """Pass over batches without reading them, where there is one plain loader that this process reads."""
        modes = fetcher.combined_loader._iterator
        single = self._sources[0] if len(self._sources) == 1 else None
        if not isinstance(single, LoaderSource) or single.data.num_workers or fetcher.length is None:
            return False
        order = getattr(modes.iterators[0], "_sampler_iter", None)
        if order is None:
            return False
        for _ in range(done):
            next(order)
        modes._idx += done
        fetcher.fetched += done
        fetcher.done = fetcher.fetched >= fetcher.length
        return True
