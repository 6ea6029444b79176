"""Where the callback stands in the loop of a Trainer, for the time of one training."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from transformers import trainer as trainer_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class TrainerHooks:
    """Stands in front of a Trainer's epochs; `remove` leaves the Trainer as it was.

    Args:
        trainer: The Trainer.
        passes_over: Says whether an epoch is done, by its number from 0: its events are left out.
        run_epoch: Called instead of the Trainer's own method for an epoch, with that method and what it is given.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        passes_over: Callable[[int], bool],
        run_epoch: Callable[[Any, dict[str, Any]], None],
    ) -> None:
        self._trainer = trainer
        self._begun = 0  # epochs that the Trainer has begun
        self._evaluates_at_start = False
        own, handler = trainer._run_epoch, trainer.callback_handler
        on_epoch_begin = handler.on_epoch_begin

        def begin_epoch(args: Any, state: Any, control: Any) -> Any:
            self._begun += 1
            return control if passes_over(self._begun - 1) else on_epoch_begin(args, state, control)

        handler.on_epoch_begin = begin_epoch
        trainer._run_epoch = lambda **given: run_epoch(own, given)
        trainer._load_rng_state = lambda _: None

    def leave_out_first_evaluation(self) -> None:
        """Let the Trainer not evaluate at its start: an earlier process has done that."""
        args = self._trainer.args
        self._evaluates_at_start, args.eval_on_start = args.eval_on_start, False

    def remove(self) -> None:
        """Leave the Trainer as it was."""
        for name in ("_run_epoch", "_load_rng_state"):
            vars(self._trainer).pop(name, None)
        vars(self._trainer.callback_handler).pop("on_epoch_begin", None)
        if self._evaluates_at_start:
            self._trainer.args.eval_on_start = True


@contextlib.contextmanager
def starts_where_it_is() -> Iterator[None]:
    """Let the Trainer pass over no batches of a loader that begins at the place by itself."""
    original = trainer_module.skip_first_batches
    trainer_module.skip_first_batches = lambda loader, _: loader
    try:
        yield
    finally:
        trainer_module.skip_first_batches = original
