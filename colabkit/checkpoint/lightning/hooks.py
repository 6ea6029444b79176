"""Where the callback stands in Lightning's loop over the batches of an epoch, for the time of one fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopHooks:
    """Stands in front of the two methods with which Lightning begins an epoch, and takes the next batch.

    Args:
        trainer: The Trainer; as long as this stands there, its own methods are called from here.
        before_epoch: Called before Lightning begins an epoch.
        epoch_begun: Called when it has begun, with the fetcher, which is still to be opened.
        before_batch: Called before a batch is asked for: there the state is whole.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        before_epoch: Callable[[], None],
        epoch_begun: Callable[[Any], None],
        before_batch: Callable[[], None],
    ) -> None:
        self._loop = loop = trainer.fit_loop.epoch_loop
        on_run_start, advance = loop.on_run_start, loop.advance

        def start(fetcher: Any) -> None:
            before_epoch()
            on_run_start(fetcher)
            epoch_begun(fetcher)

        def go_on(fetcher: Any) -> None:
            before_batch()
            advance(fetcher)

        loop.on_run_start, loop.advance = start, go_on

    def remove(self) -> None:
        """Leave Lightning's loop as it was."""
        for name in ("on_run_start", "advance"):
            vars(self._loop).pop(name, None)
        vars(self._loop._results).pop("update_metrics", None)
