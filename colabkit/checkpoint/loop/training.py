"""The training behind a loop: it continues, gives the batches, saves between two steps, and ends.

A step is done when the next batch is asked for; then the state is whole and may be saved, before anything is read.

| phase   | the loop                        | what leads on                                                  |
|---------|---------------------------------|----------------------------------------------------------------|
| idle    | is not begun, or has ended      | `start`: between                                               |
| between | is between two steps or epochs  | a batch is given: in step; `release`: idle                     |
| in step | waits for the step of the user  | the next batch is asked for, or the loop is left: between      |

`release` comes with the end, a stop, an error, and a break out of a loop that is not nested in `each_epoch`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import counted
from colabkit._internal.log import warn
from colabkit._patches import tensorflow_random
from colabkit.checkpoint.loop.parts.attached import flat
from colabkit.checkpoint.loop.parts.gradients import PendingGradients
from colabkit.checkpoint.loop.parts.strays import StrayOptimizers, StrayReaders, StrayTensorFlow
from colabkit.checkpoint.loop.reader import left_by_break
from colabkit.checkpoint.loop.state import LoopState
from colabkit.checkpoint.memory_words import tell_if_out_of_memory
from colabkit.checkpoint.policy.signals import TIME_OVER
from colabkit.checkpoint.policy.time_limit import Forecast
from colabkit.checkpoint.time_use import FOR_LOADERS
from colabkit.errors import CheckpointError, ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.loop.state import LoopOptions
    from colabkit.checkpoint.run_store import RunStore


class LoopPhase(Enum):
    """What a loop is doing, as in the table above."""

    IDLE = "idle"
    BETWEEN = "between"
    IN_STEP = "in step"


class LoopTraining(LoopState):
    """The training of one loop: its batches, and when it saves.

    Args:
        run: The run that keeps the checkpoints.
        source: The data.
        parts: What is trained, and belongs to it.
        options: What was asked for.

    Attributes:
        phase: What it is doing.
        is_nested: Whether `each_epoch` stands around the loop: its epochs end behind the batches, not with the last.
        shows: Whether it may show itself in a notebook; `train` does that itself.
    """

    def __init__(self, run: RunStore, source: Source, parts: Parts, options: LoopOptions) -> None:
        super().__init__(run, source, parts, options)
        self.phase = LoopPhase.IDLE
        self.is_nested = False
        self.shows = True
        self._strays = StrayOptimizers(parts.optimizers, step=self._step_within, tell=self._tell_stray)
        self._readers = StrayReaders(self._tell_reader)
        self._tensorflow = StrayTensorFlow(flat(parts.given), step=self._step_within, tell=self._tell_tensorflow)
        self._forecast = Forecast(run.name, limit=options.limit, lasts=run.is_mirrored)

    # ---- the life of a loop ----

    def start(self) -> None:
        """Become the writer of the run, and continue it, or save its first state.

        Raises:
            CheckpointError: The loop runs already, or cannot be resumed as it is given.
        """
        self.stopped = ""
        name = self._run.name
        if self.phase is not LoopPhase.IDLE:
            raise CheckpointError(f"the loop of {name} runs already", hint="make another one with run.loop")
        self._begin_writing()
        try:
            self._continue_or_begin()
        except BaseException:
            self._names.forget()
            self._drawn.release()
            self._run.close()
            raise
        self.phase = LoopPhase.BETWEEN
        self._gradients = PendingGradients(self._parts.optimizers)
        self._strays.install()
        if self._resume is not None:
            self._gradients.give(self._resume.tree()["gradients"])
        if self.shows and self._is_chief:
            self.view.open_display(epochs=self.place.epochs)
        self._watch()
        tensorflow_random.watch(self._tell_draws)
        self._tensorflow.install()

    def next_epoch(self) -> bool:
        """Go to the next epoch, and save or stop where that is due; says whether the loop goes on."""
        self.view.end_epoch()
        if self._is_chief:
            self.step_clock.tell(self._run.name, FOR_LOADERS)
        place = self.place
        place.next_epoch()
        save, stop = self._decide(at_epoch=None if self.is_nested else place.epoch, ask=True)
        stop = stop and (self._signals.received != TIME_OVER or not place.is_at_end)
        if stop or (save and not place.is_at_end):
            self._save()
        if stop:
            self._stop()
        return not self.stopped

    def finish(self) -> None:
        """Save the end, where it is not saved; let others write."""
        saved, self._resume = self._resume, None
        further = saved is not None and self.place.is_within  # a later loop trains on from there
        is_saved = saved is not None and self._save_clock.saved_step == self.place.step and saved.meta["complete"]
        if not further and not is_saved:
            self._save(complete=True)
        self._meet()
        if further:
            self._names.forget()
        self._release(is_cut=False)
        self._run.tell("ended", f"is trained, {counted(self.place.epochs, 'epoch')}", self._measured())

    def release(self) -> None:
        """Let go of the training; what was saved stays. Twice is harmless."""
        self._release(is_cut=not left_by_break()[0])

    def _release(self, words: str = "", *, is_cut: bool = True) -> None:  # noqa: ARG002 - its display says how it ended
        if self.phase is LoopPhase.IDLE:
            return
        self.phase = LoopPhase.IDLE
        tensorflow_random.unwatch()
        self._tensorflow.release()
        self._signals.restore()
        self._batches.close()
        self._gradients.release()
        self._strays.release()
        self._names.release(is_cut=is_cut)
        self._drawn.release()
        self.view.journal.close()
        self._run.end_writing()
        self.view.close("" if self.place.is_at_end else "stopped")  # last, as it tells what is saved

    # ---- one epoch ----

    def epoch_batches(self, reader: Callable[[], Any]) -> Iterator[Any]:
        """Give the batches of the current epoch that are left, and save between them.

        Args:
            reader: Gives the generator that the user reads.
        """
        place, forecast = self.place, self._forecast
        forecast.epoch_begins(whole=self._is_chief and not place.step_in_epoch)
        self.view.begin_epoch(place.epoch, self.source.length, done=place.step_in_epoch)
        try:
            self._open_epoch(reader, nested=self.is_nested)
        except Exception as error:
            raise self._failed(error, self._batches.failed_to_open) from error
        self.step_clock.epoch_begins()
        try:
            while True:
                try:
                    batch = self._batches.fetch()
                except StopIteration:
                    break
                except Exception as error:
                    raise self._failed(error, self._batches.failed) from error
                self.source.seen(batch)
                self._gradients.mark()
                self._readers.step_begins()
                self._move(LoopPhase.IN_STEP)
                yield batch
                self._move(LoopPhase.BETWEEN)
                place.count_step()
                self.view.step(place.step_in_epoch)
                self._after_step()
                self.step_clock.stepped()
                if self.stopped:
                    return
        except GeneratorExit:
            self._left()
            raise
        place.is_read = True
        forecast.epoch_ends(place.epochs - place.epoch - 1)
        if self.is_nested and self._run.every.due_at_epoch(place.epoch + 1):
            self._save()

    def _after_step(self) -> None:
        self._readers.step_ends()
        if self.place.step == 1:
            self._parts.check_moves()
        save, stop = self._decide()
        if save:
            self._save()
        if stop:
            self._stop()

    def _left(self) -> None:
        """Save at a `break`, and at an error behind a step that is whole; a step that is not cannot be saved."""
        broke, body = left_by_break()
        if not broke and self.shows:  # `train` says it, and goes on
            tell_if_out_of_memory(self._given_run, body)
        place = self.place
        done = self._gradients.touched or (broke and not self._parts.optimizers)
        place.is_read = self.is_nested and broke
        if done:
            place.count_step()
        self._move(LoopPhase.BETWEEN)
        try:
            if (broke or (done and self._alone)) and self._save_clock.saved_step < place.step:
                self._save()
        except ColabKitError as error:
            warn("%s: the state at the end of the loop is not saved. %s", self._run.name, error)
        if not (self.is_nested and broke):
            self._release(is_cut=not broke)
            if not broke:
                self._run.tell("failed", f"failed at step {place.step}", self._measured())

    def _failed(self, error: Exception, translate: Callable[[Exception], Exception]) -> Exception:
        """Save where the data fails, as the state is that after a whole step; let go of everything."""
        step = self.place.step
        try:
            if self._save_clock.saved_step < step and self._alone:
                self._save()
        except ColabKitError as second:
            warn("%s: the state at the error is not saved. %s", self._run.name, second)
        translated = translate(error)
        self._release()
        self._run.tell("failed", f"failed at step {step}: {type(translated).__name__}")
        return translated

    def _move(self, phase: LoopPhase) -> None:
        """Go to a phase of a loop that has begun; `start` alone leads out of idle."""
        if self.phase is not LoopPhase.IDLE:
            self.phase = phase

    def log(self, values: dict[str, float]) -> None:
        """Keep what was measured in this step, or at the end of this epoch, and judge the state by it."""
        place, in_step = self.place, self.phase is LoopPhase.IN_STEP
        step = place.step + in_step
        if self._is_chief:
            self.view.log(step, values, epoch=None if in_step else place.epoch + 1)
        if self._best.metric in values:
            self._judge(values[self._best.metric], step=step, epoch=place.epoch)

    def _step_within(self) -> int | None:
        return self.place.step if self.phase is LoopPhase.IN_STEP else None

    def _tell_reader(self) -> None:
        self._warn(
            "%s: a DataLoader that the loop is not given is read in its steps, by an iterator from before it, whose "
            "place is not saved, so a killed run reads other batches. Give the loop the batches themselves: "
            "run.loop(loader, epochs=…), or run.loop(lambda: zip(first, second), epochs=…) for several",
        )

    def _tell_tensorflow(self, kind: str) -> None:
        self._warn(
            "%s: a tf.random.Generator draws in the steps and is not given to the loop, so a killed run draws other "
            "numbers. Give it: run.loop(data, …, generator=generator)"
            if kind == "Generator"
            else "%s: an iterator of tf.data is read in the steps, whose place is not saved, so a killed run reads "
            "other batches. Give the loop the dataset itself: run.loop(dataset, epochs=…)"
        )

    def _tell_stray(self, optimizer: Any) -> None:
        self._warn(
            "%s: the %s that steps in the loop is not given to it, so its state is not saved, and a killed run goes on "
            "with another. Give it, and what it trains: run.loop(data, …, decoder=decoder, optimizer=both)",
            type(optimizer).__name__,
        )

    def _is_running(self, frame: FrameType | None) -> bool:  # noqa: ARG002 - a generator is not among the callers
        return self.phase is not LoopPhase.IDLE
