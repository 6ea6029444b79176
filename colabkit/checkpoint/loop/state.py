"""The state of a loop: what its checkpoints hold, and how a new process comes to the place of one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried import CarriedNames
from colabkit.checkpoint.loop.fetching import BatchFetcher
from colabkit.checkpoint.loop.parts import give_generators, take_generators
from colabkit.checkpoint.loop.place import LoopPlace
from colabkit.checkpoint.loop.reader import numbers_anew
from colabkit.checkpoint.loop.restoring import StateKind
from colabkit.checkpoint.loop.resumable import Resumable
from colabkit.checkpoint.policy import begun_again
from colabkit.checkpoint.state import rng
from colabkit.checkpoint.time_use import StepClock
from colabkit.checkpoint.view.training import TrainingView
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.run_store import RunStore

_IN_PLACE_OF_THE_OUTER_LOOP = (
    "give all epochs to one loop: loop = run.loop(…, epochs=N), and `for epoch in loop.each_epoch():` in place of the "
    'outer one; for trials or folds, run.phase("NAME").loop(…), with a name for each'
)


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """What `run.loop` was asked for.

    Attributes:
        epochs: How many there are.
        check_data: Refuse data other than what the run was trained on.
        best: By which metric the best state is kept.
        limit: When to save and end before the last epoch; None for never.
    """

    epochs: int
    check_data: bool
    best: BestMetric | None
    limit: TimeLimit | None


class LoopState(Resumable):
    """What is saved of a loop: the user's parts, the place in the data, and the random states.

    In the middle of an epoch those of its beginning are saved too: with them a new process reads up to the place.

    Args:
        run: The run that keeps the checkpoints.
        source: The data.
        parts: What is trained, and belongs to it.
        options: What was asked for.

    Attributes:
        place: How far the loop has come.
        view: What was measured.
        step_clock: Where the time goes.
    """

    kind = StateKind(
        name="loop",
        holds="loop",
        tree=frozenset({"parts", "gradients", "generators", "begin", "position"}),
        meta=frozenset({"epochs"}),
    )
    _or_give_it = ", or give it to run.loop"
    _parts: Parts

    def __init__(self, run: RunStore, source: Source, parts: Parts, options: LoopOptions) -> None:
        super().__init__(run, check_data=options.check_data, best=options.best, limit=options.limit)
        self.place = LoopPlace(options.epochs)
        self.view = TrainingView(run)
        self.step_clock = StepClock(lambda: self._saving)
        self._saving = 0.0  # seconds
        self._begin: tuple[dict[str, Any], dict[str, Any]] = ({}, {})  # random states, of the global and own generators
        self._batches = BatchFetcher(source, self.step_clock)
        self._parts = parts
        self._is_begun_again = False
        self._names = CarriedNames(run.dir, notify=self._notify, warn=self._warn)

    @property
    def source(self) -> Source:
        """The data."""
        return self._batches.source

    def _identity(self) -> dict[str, Any]:
        return self.source.identity()

    def _loaders_read(self) -> list[Any]:
        return [self.source.data]

    # ---- restoring ----

    def _continue_or_begin(self) -> None:
        self._time.start()
        self._is_begun_again = begun_again.note(self._run.dir, epochs=self.place.epochs)
        data = [self.source.data, *self.source.generators().values()]
        self._drawn.find(self._parts.given, data)
        accumulates = getattr(getattr(self.source.data, "gradient_state", None), "num_steps", 1) > 1
        if accumulates and not self._parts.has_accelerator:
            raise CheckpointError(
                "the loop is not given the Accelerator, which counts the batches between two steps",
                hint="pass it with the rest: run.loop(loader, accelerator=accelerator, model=model, …)",
            )
        for note in self.source.notes():
            self._warn("%s: %s", note)
        saved = self._newest()
        self._names.begin(self._parts.given, data)
        if saved is None:
            self._save()
            self._run.written()  # a run that has begun is never begun again with other random numbers
            return
        self._restore(saved)

    def _restore(self, saved: SavedState) -> None:
        meta, place, tree = saved.meta, self.place, saved.tree()
        self._parts.give(tree["parts"], tree.get("shared"))
        place.restore(meta)
        self._go_on(saved)
        self.view.journal.go_on(place.step, place.epoch)
        if meta["complete"] and place.epochs <= meta["epochs"]:
            if self._is_begun_again:
                begun_again.refuse(self._run.name, f"{meta['epochs']} epochs", way=_IN_PLACE_OF_THE_OUTER_LOOP)
            self._notify("%s: already trained for %s epochs; ask for more to continue", meta["epochs"])
            place.epoch = place.epochs
        elif place.is_at_end and place.is_within:
            self._notify("%s: it is in epoch %s, and %s asked for: nothing to do", place.epoch + 1, place.epochs)
        elif place.step_in_epoch:
            where = place.epoch + 1, place.epochs, place.step_in_epoch
            self._notify("%s: continuing in epoch %s of %s after step %s", *where)
        else:
            self._notify("%s: continuing with epoch %s of %s", place.epoch + 1, place.epochs)
        self._names.give(tree.get("names"), is_last=place.is_at_end or not place.is_within)
        self._restore_random(saved)
        self.source.open_again(meta["epoch"], meta.get("first"))
        self._restore_random(saved)
        self._resume = saved

    def _open_epoch(self, reader: Callable[[], Any], *, nested: bool) -> None:
        """Open the current epoch, at its beginning or where an earlier process has come to.

        Args:
            reader: Gives the generator that the user reads.
            nested: Code of the user stands before the batches of the epoch, and may have changed the state.
        """
        saved, self._resume = self._resume, None
        self._names.begin_epoch()
        if saved is not None and self.place.is_within:
            self._open_within(saved, reader, nested=nested)
            return
        self.place.is_read = False
        self._begin = rng.capture(), take_generators(self.source.generators())
        self._batches.open(self.place.epoch)

    def _open_within(self, saved: SavedState, reader: Callable[[], Any], *, nested: bool) -> None:
        place, source = self.place, self.source
        tree = saved.tree()
        if nested:
            self._parts.give(tree["parts"], tree.get("shared"))
        if numbers_anew(reader()):
            self._warn("%s: enumerate(loop) begins at 0 again; loop.step, and loop.batch in the epoch, count on")
        self._names.give(tree.get("names"), is_last=True)
        if saved.is_resized:
            self._begin = rng.capture(), take_generators(source.generators())
        else:
            self._begin = rng.of_epoch_start(saved.tensors), tree["begin"]
            give_generators(source.generators(), tree["begin"])
            rng.restore(self._begin[0])
        if place.is_read:
            self._batches.open_nothing()
        else:
            self._batches.open(place.epoch)
            shared_by = saved.processes if saved.is_resized else None
            place.step_in_epoch = self._batches.skip(place.step_in_epoch, tree["position"], shared_by=shared_by)
            self._names.give(tree.get("names"), is_last=True)  # again: code that reads the data may have changed them
        self._restore_random(saved)

    def _restore_random(self, saved: SavedState) -> None:
        if not saved.is_resized:
            give_generators(self.source.generators(), saved.tree()["generators"])
        saved.restore_random()

    def _check(self, saved: SavedState, *, ignored: Iterable[str] = ()) -> None:
        meta, epochs = saved.meta, self.place.epochs
        size, before = self._data.identity.get("batch_size"), meta["data"].get("batch_size")
        if size != before:
            ignored = {"steps", "batch_size", *ignored}
        super()._check(saved, ignored=ignored)
        if size != before:
            self._notify("%s: batches of %s instead of %s", size, before)
        if epochs != meta["epochs"] and not meta["complete"]:
            self._warn("%s: %s epochs instead of %s; a schedule over them differs", epochs, meta["epochs"])

    def _tell_draws(self, words: str) -> None:
        self._warn(
            "%s: the loop draws from %s, whose state cannot be saved, so a continued run is not the same bit for bit. "
            "To be exact, draw from keras.random or NumPy; what is drawn outside of a tf.function is exact after "
            "tf.random.set_seed(1)",
            words,
        )

    def _shares_out(self, saved: SavedState) -> bool:
        return self.source.replicas is not None and "world size" in saved.meta["data"]

    # ---- saving ----

    def _save(self, *, complete: bool = False) -> None:
        began = time.monotonic()
        try:
            super()._save(complete=complete)
        finally:
            self._saving += time.monotonic() - began

    def _save_state(self, *, complete: bool) -> None:
        tensors: dict[str, Any] = dict(rng.capture())
        inside = self.place.step_in_epoch > 0
        if inside:
            tensors |= rng.at_epoch_start(self._begin[0])
        tree = {
            "parts": self._parts.take(),
            "shared": self._parts.shared(),
            "gradients": self._gradients.take(),
            "generators": take_generators(self.source.generators()),
            "begin": self._begin[1] if inside else {},
            "position": self.source.position() if inside else {},
            "names": self._names.take(),
        }
        metrics, first = dict(self._measured()), self.source.first  # a copy: the state is written later
        self._submit(tree, tensors, **self.place.meta(), complete=complete, metrics=metrics, first=first)

    def _steps_done(self) -> int:
        return self.place.step

    def _measured(self) -> dict[str, float]:
        return self.view.journal.latest
