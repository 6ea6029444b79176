"""The running `fit`: how its variables are built early, where an error left it, how its first epoch begins at any step.

`fit` has no public door for this: what it has just made is taken over in place. What is known of Keras' loop is in this
file and in `_patches/keras_steps.py`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from colabkit.checkpoint.keras.data.timed import TimedData
from colabkit.checkpoint.state import rng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.data import Source
    from colabkit.checkpoint.time_use import StepClock


def on_step_failure(fit: Fit, failed: Callable[[BaseException], None]) -> None:
    """Call a function when an error leaves the loop over an epoch's steps, or the callbacks of its end."""
    tell_failures_of(fit.iterator, failed)
    end = fit.callbacks.on_epoch_end

    def watched(*arguments: Any, **options: Any) -> None:
        try:
            end(*arguments, **options)
        except BaseException as error:
            failed(error)
            raise

    fit.callbacks.on_epoch_end = watched


def tell_failures_of(iterator: Any, failed: Callable[[BaseException], None]) -> None:
    """Call a function when an error leaves the loop over the steps of an iterator of Keras."""
    catching = type(iterator).catch_stop_iteration  # Keras keeps the iterator of a validation, and with it our last one

    @contextlib.contextmanager
    def watched() -> Iterator[None]:
        try:
            with catching(iterator):
                yield
        except BaseException as error:
            failed(error)
            raise

    iterator.catch_stop_iteration = watched


def end_early(model: Any, fit: Fit | None, cursor: EpochCursor | None, *, within: bool) -> None:
    """Let `fit` return: the epoch that was begun is neither validated nor ended, for it goes on another time.

    Args:
        model: The model that trains.
        fit: Its running `fit`; None where it was not found.
        cursor: What stands in for its loop; None where nothing does.
        within: Steps of an epoch are done.
    """
    model.stop_training = model.stop_evaluating = True
    model._should_eval = lambda *_: False
    if cursor is not None:
        cursor.end()
    if fit is not None and within:
        fit.callbacks.on_epoch_end = lambda *_, **__: None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where in the loop over the steps an error came from.

    Attributes:
        where: "step" while one is trained, "data" while its data was read or before it, "after" in the callbacks of a
            step that is done, "test" in the validation, "end" in the callbacks of the end of an epoch.
        batch: In "after": the number of the step in its epoch.
        logs: In "after": what the step gave.
    """

    where: str
    batch: int = 0
    logs: Any = None

    def leaves_a_whole_step(self, *, at_end: bool) -> bool:
        """Whether what was counted is the state of the model; `at_end`: the last step of the epoch is done."""
        return at_end if self.where in ("test", "end") else self.where != "step"


_PLACES = {
    "on_train_batch_begin": "data",
    "on_train_batch_end": "after",
    "evaluate": "test",
    "on_epoch_end": "end",
}


def failure_of(error: BaseException) -> Failure:
    """Find out from its traceback where an error came from."""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        here, name = frame.f_locals, frame.f_code.co_name
        if name in _PLACES and isinstance(here.get("self"), keras.callbacks.CallbackList | keras.Model):
            return Failure(where=_PLACES[name], batch=here.get("batch", 0), logs=here.get("logs"))
        if isinstance(here.get("self"), DataAdapter):
            return Failure(where="data")
        trace = trace.tb_next
    return Failure(where="step")


class EpochCursor:
    """Stands in for the loop over the steps of a `fit`, so that its first epoch begins where a run stopped.

    Args:
        model: The model that trains.
        fit: Its running `fit`, before the first epoch.
        source: The training data.
    """

    def __init__(self, model: Any, fit: Fit, source: Source) -> None:
        self._model = model
        self._callbacks = fit.callbacks
        self._iterator = fit.iterator
        self._source = source
        self._done = 0
        self._opened: Any = None
        self._continued = self._ended = False
        self._when_begun: Callable[[], None] | None = None
        self.steps_clock: StepClock | None = None
        self._timed: TimedData | None = None
        fit.iterator._enumerate_iterator = self._enumerate

    @property
    def steps(self) -> int | None:
        """Steps in an epoch; None while nobody can know."""
        return self._iterator.steps_per_epoch or self._iterator._num_batches or None

    @property
    def steps_seen(self) -> int:
        """Steps since the data began anew, which with `steps_per_epoch` is not the same as the epoch."""
        return int(self._iterator._steps_seen)

    def begin_at(self, *, steps: int | None, steps_seen: int, opened: Any) -> None:
        """Say what an interrupted `fit` had found out about the data.

        Args:
            steps: As the property was.
            steps_seen: As the property was.
            opened: The iterator over the data where it stopped; None to begin it with the next epoch.
        """
        self._continued = steps_seen > 0  # before the first step nothing was open
        if self._iterator._num_batches is None and not self._iterator.steps_per_epoch:
            self._iterator._num_batches = steps
        self._iterator._steps_seen = steps_seen
        self._iterator._current_iterator = self._opened = opened

    def time_steps(self, clock: StepClock) -> None:
        """Let a clock know of each step, and of how long it waits for its data."""
        self.steps_clock, self._timed = clock, TimedData(clock.waited)

    def _handed(self, iterator: Any, size: int) -> Any:
        return iterator if self._timed is None else self._timed.of(iterator, size)

    def _stepped(self) -> None:
        if self.steps_clock is not None:
            self.steps_clock.stepped()

    def end(self) -> None:
        """Give no more steps."""
        self._ended = True

    def skip(self, done: int, logs: dict[str, Any], *, then: Callable[[], None]) -> None:
        """Let the coming epoch begin after some of its steps.

        `fit` takes the logs of an epoch from its last step, and there may be none left. So it is first given one step
        that trains nothing, which no callback sees, and whose logs are those of the last step that was done.

        Args:
            done: Steps of the epoch that are done.
            logs: What the last of them gave.
            then: Called when the data is open again, before the next step.
        """
        self._done, self._when_begun = done, then
        model, callbacks = self._model, self._callbacks
        train = model.train_function

        def give_logs(*arguments: Any) -> Any:
            model.train_function = train
            return (logs, arguments[0]) if keras.backend.backend() == "jax" else logs

        end = callbacks.on_train_batch_end

        def unseen(*_: Any, **__: Any) -> None:
            pass

        def unseen_end(*_: Any, **__: Any) -> None:
            del callbacks.on_train_batch_begin
            callbacks.on_train_batch_end = end

        model.train_function = give_logs
        callbacks.on_train_batch_begin, callbacks.on_train_batch_end = unseen, unseen_end

    def _enumerate(self) -> Iterator[tuple[int, int, Any]]:
        done, self._done = self._done, 0
        size = self._iterator.steps_per_execution
        if done:
            yield done - 1, done - 1, iter([None] * size)
        self._iterator.data_adapter.on_epoch_begin()
        if self.steps_clock is not None:
            self.steps_clock.epoch_begins()
        if self.steps is None or done < self.steps:
            yield from self._rest(done, self.steps, size)
        else:
            self._begun()
            self._open_anew()
        self._iterator.data_adapter.on_epoch_end()

    def _begun(self) -> None:
        call, self._when_begun = self._when_begun, None
        if call is not None:
            call()

    def _rest(self, done: int, steps: int | None, size: int) -> Iterator[tuple[int, int, Any]]:
        """As `EpochIterator._enumerate_iterator` does it, from a step on."""
        data, opened = self._iterator, self._opened if done else None
        self._opened = None
        if steps is None:
            batches = iter(data._get_iterator()) if opened is None else opened
            self._begun()
            while True:
                data._steps_seen = done + size
                yield done, done + size - 1, self._handed(batches, size)
                self._stepped()
                if self._ended:
                    return
                done += size
        if opened is None and (data._current_iterator is None or data.steps_per_epoch is None):
            # In the training that was stopped this stream was open already; torch draws a number when it opens one.
            drawn = rng.capture() if self._continued and data.steps_per_epoch else None
            data._current_iterator = iter(data._get_iterator())
            data._steps_seen = done
            if drawn is not None:
                rng.restore(drawn)
        self._continued = False
        self._begun()
        for step in range(done, steps, size):
            if data._num_batches and data._steps_seen >= data._num_batches:
                if data.steps_per_epoch:
                    data._interrupted_warning()
                break
            data._steps_seen += size
            yield step, step + size - 1, self._handed(data._current_iterator, size)
            self._stepped()
            if self._ended:
                return
        self._open_anew()

    def _open_anew(self) -> None:
        """Begin the data anew where its last batch is read, as Keras does before the epoch ends."""
        data = self._iterator
        if self._source.reopens and data._num_batches and data._steps_seen >= data._num_batches:
            self._source.closing()
            data._current_iterator = iter(data._get_iterator())
            data._steps_seen = 0
