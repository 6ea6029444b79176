"""The loop itself: batches, the place in them, and when to save.

A step is done when the next batch is asked for; then the state is whole and may be saved, before anything is read.

| place                         | `epoch`, `step_in_epoch` | a new process                                    |
|-------------------------------|--------------------------|--------------------------------------------------|
| between two steps of epoch e  | e, steps done            | reads up to there, restores the random states    |
| after the last one, in nested | e, all steps             | gives no batch, runs what follows the inner loop |
| between two epochs            | e + 1, 0                 | begins epoch e + 1                               |
| at the end                    | epochs, 0, complete      | restores, gives no batch                         |
"""

from __future__ import annotations

import dis
import inspect
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from colabkit._internal import log
from colabkit._internal.display.show import Shown
from colabkit._internal.display.training_display import TrainingDisplay
from colabkit._internal.log import warn
from colabkit.checkpoint.loop.gradients import PendingGradients
from colabkit.checkpoint.loop.reader import numbers_anew
from colabkit.checkpoint.loop.resumable import Resumable, give_generators, of_the_epoch, take_generators
from colabkit.checkpoint.loop.worker_deaths import WorkerDeaths
from colabkit.checkpoint.management.history import saved_words
from colabkit.checkpoint.memory_words import tell_if_out_of_memory
from colabkit.checkpoint.policy.save_triggers import session_left
from colabkit.checkpoint.policy.signals import TIME_OVER
from colabkit.checkpoint.policy.time_limit import Forecast
from colabkit.checkpoint.state import rng
from colabkit.checkpoint.time_use import FOR_LOADERS, StepClock
from colabkit.checkpoint.view.journal import Journal
from colabkit.errors import CheckpointError, ColabKitError, CorruptCheckpointError, DataError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from types import FrameType

    from colabkit._internal.display.show import Facts
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.time_use import TimeUse
    from colabkit.tracking import Tracker

KIND = "loop"
_YIELDS = {"YIELD_VALUE", "RESUME"}  # where a generator waits, and is closed
_BREAKS = {"POP_TOP", "POP_ITER", "END_FOR", "SWAP"}  # what runs when a `for` is left by break or return


class Loop(Resumable, Shown):
    """The batches of some epochs, resumable; made by `Run.loop`.

    Attributes:
        epoch: The current epoch, from 0.
        step: Steps that are done, over all epochs and processes; 0 in the first one.
        epochs: How many there are.
        stopped: Why it ended before its last epoch, in words; empty where it did not.
        resumed_from: Once it has begun: the `epoch` (from 0) and the `step` in it where the run was continued, or None
            in a new run.
    """

    _kind, _holds = KIND, "loop"
    _tree_keys = frozenset({"parts", "gradients", "generators", "begin", "position"})
    _parts: Parts

    def __init__(
        self,
        run: RunStore,
        source: Source,
        parts: Parts,
        *,
        epochs: int,
        check_data: bool,
        best: BestMetric | None,
        limit: TimeLimit | None = None,
    ) -> None:
        super().__init__(run, check_data=check_data, best=best, limit=limit)
        self._forecast = Forecast(run.name, limit=limit, lasts=run.is_mirrored)
        self.epoch = self.step = 0
        self.epochs = epochs
        self._source = source
        self._parts = parts
        self._journal = Journal(run.dir)
        self._deaths = WorkerDeaths()
        self._running = self._started = self._nested = self._in_body = False
        self._step_in_epoch = 0
        self._batches: Any = None
        self._reading: Any = None
        self._ended = False  # the batches of this epoch are over, by a break perhaps
        self._display: TrainingDisplay | None = None
        self._saving = 0.0  # seconds
        self._clock = StepClock(lambda: self._saving)
        self._shows = True
        self._told: dict[str, float] = {}  # what was logged in this epoch, each by its newest value

    def prepare(self, *, trackers: Sequence[Tracker | str], show: bool) -> None:
        """Say where metrics go besides, and whether it shows itself in a notebook."""
        self._journal.more, self._shows = trackers, show

    def _facts(self) -> Facts:
        return f"Loop of {self._run.name}", [
            ("epoch", f"{min(self.epoch + 1, self.epochs)} of {self.epochs}"),
            ("step", self.step),
            ("ended early", self.stopped),
            ("time", self.time_use if self.time_use.seconds else None),
        ]

    def _line(self) -> str:
        return f"<loop of {self._run.name}: epoch {self.epoch + 1} of {self.epochs}, step {self.step}>"

    # ---- for the user ----

    def __iter__(self) -> Iterator[Any]:
        """Give the batches of all epochs, or of one epoch inside `each_epoch`."""
        batches = self._read()
        self._reading = weakref.ref(batches)
        return batches

    def _read(self) -> Generator[Any]:
        if self._nested:
            yield from self._one_epoch()
            return
        self._start()
        while self.epoch < self.epochs:
            yield from self._one_epoch()
            if self.stopped or not self._next_epoch():
                return
        self._finish()

    def each_epoch(self) -> Iterator[int]:
        """Give the number of each epoch that is not over, for an inner loop over its batches and what follows it.

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
        self._start()
        self._nested = True
        try:
            while self.epoch < self.epochs:
                yield self.epoch
                if self.stopped or not self._next_epoch():
                    return
        except GeneratorExit:
            self._release()
            raise
        finally:
            self._nested = False
        self._finish()

    @property
    def batch(self) -> int:
        """How many batches of this epoch are done, for `enumerate(loop, loop.batch)`."""
        return self._step_in_epoch

    @property
    def time_use(self) -> TimeUse:
        """Where the time of the steps went: waiting for data, computing, saving."""
        return self._clock.use

    @property
    def ends_epoch(self) -> bool:
        """Whether the current batch is the last one of its epoch.

        Raises:
            DataError: The data does not know its length.
        """
        if (length := self._source.length) is None:
            raise DataError(
                "the data does not know how many batches an epoch has",
                hint="write two loops: for epoch in loop.each_epoch(): for batch in loop: …; what follows the inner "
                "one is done at the end of each epoch",
            )
        return self._step_in_epoch + 1 >= length

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
        if self.stopped:
            return  # the epoch goes on another time, and logs this then
        self._told |= values
        step = self.step + self._in_body
        if self._is_chief:
            self._journal.log(step, None if self._in_body else self.epoch + 1, values)
        if self._by is not None and self._by.metric in values:
            self._judge(values[self._by.metric], step=step, epoch=self.epoch)

    def load_best(self) -> dict[str, Any]:
        """Put the best state, which `best=` keeps, into everything that the loop was given.

        Returns:
            What made it the best: its `metric`, `mode`, `value`, `step` and `epoch`.

        Raises:
            CheckpointError: The run keeps no best state, or it cannot be read.
        """
        newest = self._given_run.newest(KIND)
        if newest is None or not newest.meta.get("best"):
            raise CheckpointError(
                f"the run {self._run.name} keeps no best state",
                hint='pass best="val_loss" to run.loop, and log it: loop.log(val_loss=…)',
            )
        self._give(self._given_run.best_state(newest))
        note: dict[str, Any] = newest.meta["best"]
        return note

    # ---- the life of a loop ----

    def _start(self) -> None:
        self.stopped = ""
        if self._running:
            raise CheckpointError(f"the loop of {self._run.name} runs already", hint="make another one with run.loop")
        self._begin_writing()
        try:
            if not self._started:
                self._prepare()
        except BaseException:
            self._run.close()
            raise
        self._started = self._running = True
        self._gradients = PendingGradients(self._parts.optimizers)
        if self._resume is not None:
            self._gradients.give(self._tree(self._resume)["gradients"])
        # On a terminal and in a log the user's own prints have the word.
        if self._shows and self._is_chief and log.in_notebook() and log.is_watched():
            self._display = TrainingDisplay(
                self._run.name,
                epochs=self.epochs,
                saved=lambda: saved_words(self._given_run),
                session_left=session_left(),
            )
        self._watch()

    def _prepare(self) -> None:
        self._began = self._saved_at = time.monotonic()
        self._data = self._source.identity()
        accumulates = getattr(getattr(self._source.data, "gradient_state", None), "num_steps", 1) > 1
        if accumulates and not self._parts.has_accelerator:
            raise CheckpointError(
                "the loop is not given the Accelerator, which counts the batches between two steps",
                hint="pass it with the rest: run.loop(loader, accelerator=accelerator, model=model, …)",
            )
        for note in self._source.notes():
            self._warn("%s: %s", note)
        saved = self._newest()
        if saved is None:
            self._save()
            self._run.written()  # a run that has begun is never begun again with other random numbers
            return
        self._restore(saved)

    def _restore(self, saved: Checkpoint) -> None:
        meta = saved.meta
        if "epochs" not in meta:
            raise CorruptCheckpointError(f"the checkpoint of {self._run.name} lacks epochs")
        self._give(saved)
        self.epoch, self._step_in_epoch = meta["epoch"], meta["step_in_epoch"]
        self._ended = meta.get("ended", False)
        self.step = self._saved_step = meta["step"]
        self._spent, self._best = meta["seconds"], meta.get("best")
        self.resumed_from = {"epoch": self.epoch, "step": self._step_in_epoch}
        self._journal.go_on(self.step, self.epoch)
        if meta["complete"] and self.epochs <= meta["epochs"]:
            self._notify("%s: already trained for %s epochs; ask for more to continue", meta["epochs"])
            self.epoch = self.epochs
        elif self.epoch >= self.epochs and (self._step_in_epoch or self._ended):
            self._notify("%s: it is in epoch %s, and %s asked for: nothing to do", self.epoch + 1, self.epochs)
        elif self._step_in_epoch:
            place = self.epoch + 1, self.epochs, self._step_in_epoch
            self._notify("%s: continuing in epoch %s of %s after step %s", *place)
        else:
            self._notify("%s: continuing with epoch %s of %s", self.epoch + 1, self.epochs)
        self._restore_random(saved)
        self._source.open_again(meta["epoch"], meta.get("first"))
        self._restore_random(saved)
        self._resume = saved

    def _check(self, meta: dict[str, Any], *, ignored: Iterable[str] = ()) -> None:
        size, before = self._data.get("batch_size"), meta["data"].get("batch_size")
        if size != before:
            ignored = {"steps", "batch_size", *ignored}
        super()._check(meta, ignored=ignored)
        if size != before:
            self._notify("%s: batches of %s instead of %s", size, before)
        if self.epochs != (epochs := meta.get("epochs")) and not meta["complete"]:
            self._warn("%s: %s epochs instead of %s; a schedule over them differs", self.epochs, epochs)

    def _can_share_out(self, saved: Checkpoint) -> bool:
        return self._source.replicas is not None and "world size" in saved.meta["data"]

    def _one_epoch(self) -> Iterator[Any]:
        source, gradients, deaths = self._source, self._gradients, self._deaths
        self._told = {}
        self._forecast.epoch_begins(whole=self._is_chief and not self._step_in_epoch)
        if self._display is not None:
            self._display.begin_epoch(self.epoch, source.length, done=self._step_in_epoch)
        try:
            batches = self._begin_epoch()
        except Exception as error:
            raise self._failed(error, self._batches) from error
        clock = self._clock
        clock.epoch_begins()
        try:
            while True:
                deaths.fetching, began = True, time.monotonic()
                try:
                    if deaths.pending is not None:
                        raise deaths.pending
                    batch = next(batches)
                    clock.waited(time.monotonic() - began)
                except StopIteration:
                    break
                except Exception as error:
                    raise self._failed(error, batches) from error
                finally:
                    deaths.fetching = False
                source.seen(batch)
                gradients.mark()
                self._in_body = True
                yield batch
                self._in_body = False
                self.step += 1
                self._step_in_epoch += 1
                if self._display is not None:
                    self._display.step(self._step_in_epoch, self._told)
                self._after_step()
                clock.stepped()
                if self.stopped:
                    return
        except GeneratorExit:
            self._left()
            raise
        self._ended = True
        self._forecast.epoch_ends(self.epochs - self.epoch - 1)
        if self._nested and self._run.every.due_at_epoch(self.epoch + 1):
            self._save()

    def _begin_epoch(self) -> Iterator[Any]:
        source, saved = self._source, self._resume
        self._resume = None
        if saved is None or not (self._step_in_epoch or self._ended):
            self._ended = False
            self._begin = rng.capture(), take_generators(source.generators())
            batches = self._batches = source.begin(self.epoch)
            self._deaths.install()
            return batches
        if self._nested:
            self._give(saved)  # again: what stands before the inner loop may have changed it
        if numbers_anew(self._reading()):
            self._warn("%s: enumerate(loop) begins at 0 again; loop.step, and loop.batch in the epoch, count on")
        tree, begin = self._tree(saved), of_the_epoch(saved)
        resized = self._resized(saved)
        if not resized:
            self._begin = begin, tree["begin"]
            give_generators(source.generators(), tree["begin"])
            rng.restore(begin)
        else:
            self._begin = rng.capture(), take_generators(source.generators())
        if self._ended:
            self._restore_random(saved)
            return iter(())
        self._batches = source.begin(self.epoch)
        self._deaths.install()
        shared = saved.meta.get("workers", 1) if resized else None
        batches, self._step_in_epoch = source.skip(
            self._batches, self._step_in_epoch, tree["position"], shared_by=shared
        )
        self._restore_random(saved)
        return batches

    def _after_step(self) -> None:
        if self.step == 1:
            self._parts.check_moves()
        save, stop = self._decide()
        if save:
            self._save()
        if stop:
            self._stop()

    def _next_epoch(self) -> bool:
        """Go to the next epoch; says whether the loop goes on."""
        if self._display is not None:
            self._display.end_epoch(self._told)
        if self._is_chief:
            self._clock.tell(self._run.name, FOR_LOADERS)
        self.epoch += 1
        self._step_in_epoch, self._ended = 0, False
        save, stop = self._decide(at_epoch=None if self._nested else self.epoch, ask=True)
        stop = stop and (self._signals.received != TIME_OVER or self.epoch < self.epochs)
        if stop or (save and self.epoch < self.epochs):
            self._save()
        if stop:
            self._stop()
        return not self.stopped

    def _finish(self) -> None:
        saved, self._resume = self._resume, None
        further = saved is not None and (self._step_in_epoch > 0 or self._ended)  # a later loop trains on from there
        if not further and (saved is None or self._saved_step != self.step or not saved.meta["complete"]):
            self._save(complete=True)
        self._meet()
        self._release()
        self._run.tell("ended", f"is trained, {self.epochs} epoch{'s' * (self.epochs != 1)}", self._journal.latest)

    def _left(self) -> None:
        """Save at a `break`, and at an error behind a step that is whole; a step that is not cannot be saved."""
        broke, body = _is_break()
        if not broke and self._shows:  # `train` says it, and goes on
            tell_if_out_of_memory(self._given_run, body)
        done = self._gradients.touched or (broke and not self._parts.optimizers)
        self._in_body = False
        self._ended = self._nested and broke
        if done:
            self.step += 1
            self._step_in_epoch += 1
        try:
            if (broke or (done and self._alone)) and self._saved_step < self.step:
                self._save()
        except ColabKitError as error:
            warn("%s: the state at the end of the loop is not saved. %s", self._run.name, error)
        if not (self._nested and broke):
            self._release()
            if not broke:
                self._run.tell("failed", f"failed at step {self.step}", self._journal.latest)

    def _failed(self, error: Exception, batches: Any) -> Exception:
        """Save where the data fails, as the state is that after a whole step; let go of everything."""
        self._deaths.fetching = False
        try:
            if self._saved_step < self.step and self._alone:
                self._save()
        except ColabKitError as second:
            warn("%s: the state at the error is not saved. %s", self._run.name, second)
        translated = self._source.failed(error, batches)
        self._release()
        self._run.tell("failed", f"failed at step {self.step}: {type(translated).__name__}")
        return translated

    def _release(self, words: str = "") -> None:  # noqa: ARG002 - its display says how it ended by the epoch
        if not self._running:
            return
        self._running = self._started = False
        self._signals.restore()
        self._deaths.restore()
        self._gradients.release()
        self._journal.close()
        self._run.end_writing()
        if self._display is not None:  # last, as it tells what is saved
            self._display.close("" if self.epoch >= self.epochs else "stopped")

    def _is_running(self, frame: FrameType | None) -> bool:  # noqa: ARG002 - a generator is not among the callers
        return self._running

    # ---- saving and restoring ----

    def _steps_done(self) -> int:
        return self.step

    def _measured(self) -> dict[str, float]:
        return self._journal.latest

    def _save(self, *, complete: bool = False) -> None:
        began = time.monotonic()
        try:
            super()._save(complete=complete)
        finally:
            self._saving += time.monotonic() - began

    def _save_state(self, *, complete: bool) -> None:
        tensors: dict[str, Any] = dict(rng.capture())
        inside = bool(self._step_in_epoch)
        if inside:
            tensors |= self._random_of_the_epoch()
        tree = {
            "parts": self._parts.take(),
            "gradients": self._gradients.take(),
            "generators": take_generators(self._source.generators()),
            "begin": self._begin[1] if inside else {},
            "position": self._source.position() if inside else {},
        }
        self._submit(
            tree,
            tensors,
            epoch=self.epoch,
            step_in_epoch=self._step_in_epoch,
            ended=self._ended,
            epochs=self.epochs,
            complete=complete,
            metrics=self._journal.latest,
            first=self._source.first,
        )

    def _give(self, saved: Checkpoint) -> None:
        self._parts.give(self._tree(saved)["parts"])

    def _restore_random(self, saved: Checkpoint) -> None:
        if not self._resized(saved):
            give_generators(self._source.generators(), self._tree(saved)["generators"])
        super()._restore_random(saved)


def _is_break() -> tuple[bool, FrameType | None]:
    """Say whether the `for` that reads this generator is being left by break or return, not by an error; and its frame.

    A bar around the loop is a generator too, and is closed by the `for` that reads it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        operation = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        closed = frame.f_code.co_flags & inspect.CO_GENERATOR and operation in _YIELDS
        if frame.f_code.co_filename != __file__ and not closed:
            return operation in _BREAKS, frame
        frame = frame.f_back
    return False, None
