"""The loop that `Run.loop` makes, as its user sees it; the training behind it is in `training.py`."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown
from colabkit.checkpoint.loop.restoring import tree_of
from colabkit.checkpoint.loop.training import LoopTraining
from colabkit.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from colabkit._internal.display.show import Facts
    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.loop.state import LoopOptions
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.time_use import TimeUse
    from colabkit.tracking import Tracker


class Loop(Shown):
    """The batches of some epochs, resumable; made by `Run.loop`.

    Attributes:
        epoch: The current epoch, from 0.
        step: Steps that are done, over all epochs and processes; 0 in the first one.
        epochs: How many there are.
        stopped: Why it ended before its last epoch, in words; empty where it did not.
        resumed_from: Once it has begun: the `epoch` (from 0) and the `step` in it where the run was continued, or None
            in a new run.
    """

    def __init__(self, run: RunStore, source: Source, parts: Parts, options: LoopOptions) -> None:
        self._run = run
        self._parts = parts
        self._training = LoopTraining(run, source, parts, options)
        self._reading: Any = None  # a weak reference to the generator that the user reads

    def prepare(self, *, trackers: Sequence[Tracker | str], show: bool) -> None:
        """Say where metrics go besides, and whether it shows itself in a notebook."""
        self._training.view.journal.more, self._training.shows = trackers, show

    def _facts(self) -> Facts:
        return f"Loop of {self._run.name}", [
            ("epoch", f"{min(self.epoch + 1, self.epochs)} of {self.epochs}"),
            ("step", self.step),
            ("ended early", self.stopped),
            ("time", self.time_use if self.time_use.seconds else None),
        ]

    def _line(self) -> str:
        return f"<loop of {self._run.name}: epoch {self.epoch + 1} of {self.epochs}, step {self.step}>"

    # ---- its place ----

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return self._training.place.epoch

    @property
    def epochs(self) -> int:
        """How many there are."""
        return self._training.place.epochs

    @property
    def step(self) -> int:
        """Steps that are done, over all epochs and processes."""
        return self._training.place.step

    @property
    def batch(self) -> int:
        """How many batches of this epoch are done, for `enumerate(loop, loop.batch)`."""
        return self._training.place.step_in_epoch

    @property
    def stopped(self) -> str:
        """Why it ended before its last epoch, in words; empty where it did not."""
        return self._training.stopped

    @property
    def resumed_from(self) -> dict[str, int] | None:
        """Where the run was continued; None in a new run."""
        return self._training.resumed_from

    # ---- its batches ----

    def __iter__(self) -> Iterator[Any]:
        """Give the batches of all epochs, or of one epoch inside `each_epoch`."""
        batches = self._read()
        self._reading = weakref.ref(batches)
        return batches

    def __len__(self) -> int:
        """Say how many batches there are: of all epochs, or of one inside `each_epoch`, for a bar around the loop.

        Raises:
            TypeError: The data does not know it.
        """
        length = self._training.source.length
        if length is None:
            raise TypeError("the data does not know how many batches an epoch has")
        return length if self._training.is_nested else length * self.epochs

    def __bool__(self) -> bool:
        return True

    def _read(self) -> Generator[Any]:
        training = self._training
        if training.is_nested:
            yield from training.epoch_batches(self._reading)
            return
        training.start()
        while not training.place.is_at_end:
            yield from training.epoch_batches(self._reading)
            if training.stopped or not training.next_epoch():
                return
        training.finish()

    def each_epoch(self, start: int = 0) -> Iterator[int]:
        """Give the number of each epoch that is not over, for an inner loop over its batches and what follows it.

        Args:
            start: The number of the first epoch, as `enumerate` takes it.

        Example:
            ```python
            loop = run.loop(loader, epochs=3, model=model, optimizer=optimizer, scheduler=scheduler)
            for epoch in loop.each_epoch():
                for batch in loop:
                    train(batch)
                scheduler.step()
                loop.log(val_loss=evaluate())
            ```
        """
        training = self._training
        training.start()
        training.is_nested = True
        try:
            while not training.place.is_at_end:
                yield start + training.place.epoch
                if training.stopped or not training.next_epoch():
                    return
        except GeneratorExit:
            training.release()
            raise
        finally:
            training.is_nested = False
        training.finish()

    @property
    def time_use(self) -> TimeUse:
        """Where the time of the steps went: waiting for data, computing, saving."""
        return self._training.step_clock.use

    @property
    def ends_epoch(self) -> bool:
        """Whether the current batch is the last one of its epoch.

        Raises:
            DataError: The data does not know its length.
        """
        if (length := self._training.source.length) is None:
            raise DataError(
                "the data does not know how many batches an epoch has",
                hint="write two loops: for epoch in loop.each_epoch(): for batch in loop: …; what follows the inner "
                "one is done at the end of each epoch",
            )
        return self.batch + 1 >= length

    def log(self, **metrics: Any) -> None:
        """Log metrics of this step, or of the epoch after an inner loop, into the run's log and TensorBoard's files.

        Args:
            metrics: Numbers, or arrays and tensors of one.

        Raises:
            DataError: One of them is not a number.
        """
        values = {}
        for name, value in metrics.items():
            try:
                values[name] = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise DataError(
                    f"{name}={value!r:.40} is not a number", hint="log float(value), or its mean"
                ) from error
        if not self.stopped:  # else the epoch goes on another time, and logs this then
            self._training.log(values)

    def load_best(self) -> dict[str, Any]:
        """Put the best state, which `best=` keeps, into everything that the loop was given.

        Returns:
            What made it the best: its `metric`, `mode`, `value`, `step` and `epoch`.

        Raises:
            CheckpointError: The run keeps no best state, or it cannot be read.
        """
        kind = LoopTraining.kind
        newest = self._run.newest(kind.name)
        if newest is None or not newest.meta.get("best"):
            raise CheckpointError(
                f"the run {self._run.name} keeps no best state",
                hint='pass best="val_loss" to run.loop, and log it: loop.log(val_loss=…)',
            )
        tree = tree_of(self._run.best_state(newest), kind, run=self._run.name)
        self._parts.give(tree["parts"], tree.get("shared"))
        note: dict[str, Any] = newest.meta["best"]
        return note
