"""One `fit` that saves as it goes: what its callback does when Keras tells it how far the training has come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import counted
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras import build, state
from colabkit.checkpoint.keras.data.validation import Validation
from colabkit.checkpoint.keras.fit import loop as fit_loop
from colabkit.checkpoint.keras.fit.data import FitData
from colabkit.checkpoint.keras.fit.progress import LookClock, Progress
from colabkit.checkpoint.keras.fit.saver import FitParts, FitSaver
from colabkit.checkpoint.keras.fit.setup import KIND, MODEL_GROUPS, FitSetup, OfCallback
from colabkit.checkpoint.keras.fit.states import FitEvent, FitState, FitStates
from colabkit.checkpoint.keras.fit.stopping import FitStopping
from colabkit.checkpoint.keras.host.host_state import HostState
from colabkit.checkpoint.policy import set_order
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.time_use import FOR_KERAS, StepClock
from colabkit.errors import DivergedError

if TYPE_CHECKING:
    import keras

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.keras.distributed import Watching, WorkerCoordinator
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.policy.save_triggers import SaveTriggers
    from colabkit.checkpoint.policy.signals import StopSignals
    from colabkit.checkpoint.run_store import RunStore


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What `run.resume` and `run.fit` were asked for; `run.resume` says what each means."""

    seed: int | None
    check_data: bool
    exact: bool
    best: BestMetric | None
    at: str


class ResumedFit(OfCallback):
    """One `fit` that continues a run; its states and what leads from one to another are the table of `fit_states.py`.

    Args:
        callback: The callback that resumes.
        fit: The running `fit`; None where it was not found.
        others: The other callbacks of this `fit`.
        workers: The workers that train it, and the run as this one sees it.
        options: What was asked for.
        signals: Remember that the training is to stop.

    Attributes:
        clock: Says when to save.
        saver: Saves, and knows for how long.
        stopping: Says whether to save and whether to stop, and why it did.
        steps_clock: Knows where the time goes.
    """

    def __init__(
        self,
        callback: keras.callbacks.Callback,
        fit: Fit | None,
        *,
        others: list[Any],
        workers: WorkerCoordinator,
        options: FitOptions,
        signals: StopSignals,
    ) -> None:
        super().__init__(callback)
        self._fit = fit
        self._workers = workers
        self._options = options
        self._states = FitStates()
        self._data = FitData(workers.run.name, exact=options.exact)
        self._validation = Validation(workers.run.name, fit.validation_data if fit is not None else None)
        self._progress = Progress(workers.run.name, options.best)
        self.clock = LookClock(workers.run.name, workers.run.every)
        self._unbuilt = not build.build(self._model, fit)
        self._host = HostState(callback, others)
        self._setup = FitSetup(callback, others, run=workers.run.dir)
        self.stopping = FitStopping(workers, signals, self.clock, self._progress)
        self._owed: Checkpoint | None = None  # in the restored states: what was restored
        parts = FitParts(
            data=self._data,
            host=self._host,
            setup=self._setup,
            progress=self._progress,
            clock=self.clock,
            validation=self._validation,
        )
        self.saver = FitSaver(callback, fit, run=workers.run, parts=parts)
        self.steps_clock = StepClock(lambda: self.saver.seconds)

    @property
    def _run(self) -> RunStore | Watching:
        return self._workers.run

    def begin(self) -> dict[str, int] | None:
        """Continue from the newest state, or save the first one; returns the epoch and the step of it to go on at."""
        model, options, workers = self._model, self._options, self._workers
        saved = workers.newest(KIND, between_epochs=options.at == "epoch")
        is_first = workers.trains_first_here()
        if saved is not None:
            set_order.check(self._run.name, saved.meta, refuse=options.check_data)
            if self._unbuilt and self._fit is not None:
                build.build_by_a_step(model, self._fit)
                self._unbuilt = False
            self._setup.compare(self._run.name, saved)
            if self._host.keep_constants(self._run.name, saved, code_changed=self._setup.code_changed, later=is_first):
                build.trace_anew(model, self._fit)
            self._setup.tell_changes(self._run.name, saved)
        seed = workers.seed(rng.peek() if options.seed is None else options.seed)
        self._data.attach(model, self._fit, saved, seed=seed, check_data=options.check_data)
        self._data.tell_draws(model)
        if saved is not None:
            self._restore(saved)
            if options.at == "epoch":
                self._run.forget_after(self._progress.step)
            return {"epoch": self._progress.epoch, "step": self._progress.step_in_epoch}
        self._states.move(FitEvent.BEGIN_NEW)
        self._host.tell_of_arrays(self._run.name)
        workers.begin_alike(model, groups=MODEL_GROUPS)
        if not self._unbuilt:
            self.saver.save(wait=True)
        return None

    def start_clocks(self, triggers: SaveTriggers) -> None:
        """Count the seconds of training, and those since the last save, from now on."""
        self.stopping.begin()
        if self._data.epochs is not None:
            self._data.epochs.time_steps(self.steps_clock)
        self._progress.time.start()
        self.clock.start(triggers)

    def before_epoch(self) -> None:
        """Restore a state between two epochs, before any callback sees that the epoch begins."""
        before = self._states.now
        self._states.move(FitEvent.BEFORE_EPOCH)
        if before is FitState.RESTORED_BETWEEN:
            self.give_what_is_owed()
            self._owed = None

    def give_what_is_owed(self) -> None:
        """Give the callbacks their state, also when no epoch was left: EarlyStopping brings the best weights back."""
        if self._owed is not None:
            self._host.restore(self._owed)
            rng.restore(self._owed.tensors)

    def epoch_begins(self, epoch: int) -> None:
        """Open the epoch; where an earlier process had begun it, after the steps that it did."""
        before, progress = self._states.now, self._progress
        progress.epoch = max(progress.epoch, epoch)  # a fit may begin at a later one: initial_epoch=
        self.clock.epoch_begins()
        owed = before is FitState.RESTORED_WITHIN and progress.step_in_epoch == self._data.steps
        self._states.move(FitEvent.END_OWED if owed else FitEvent.EPOCH_BEGINS)
        if self._data.source is not None:
            self._data.source.go_to(epoch=epoch, done=progress.step_in_epoch)
        saved, self._owed = self._owed, None
        if before is FitState.RESTORED_WITHIN and saved is not None and self._data.epochs is not None:
            self._setup.restore_model(saved)  # a callback may have changed it at the beginning
            self._host.restore(saved)
            self._host.restore_metrics(self._run.name, saved)
            self._model.stop_training = bool(saved.meta.get("stopped"))
            progress.logs = pytree.unflatten(saved.meta.get("logs", {}), saved.tensors)
            self._data.epochs.skip(progress.step_in_epoch, progress.logs, then=partial(rng.restore, saved.tensors))
        self._host.begin()

    def step_begins(self, batch: int) -> None:
        """Count the step before, where nobody else tells that it is done."""
        if self._fit is None and self._progress.step_in_epoch < batch:
            self.step_done(batch - 1, {})

    def step_done(self, batch: int, logs: Any) -> None:
        """Count a step, or the several of one execution, and save or stop where that is due."""
        # No method of a callback: Keras would wait for each step before it called that, where it can run ahead on JAX.
        if self.clock.rests(batch + 1) and not self.stopping.is_asked:
            self._progress.advance(batch + 1, logs)
            return
        self._count(batch, logs)
        due, stopping = self.stopping.decide()
        if self._unbuilt:  # the first step has made the variables
            self._unbuilt, due = False, True
            self._data.tell_draws(self._model)
        if self._data.epochs is not None and (stopping or due):
            self.saver.save(wait=stopping)
        if stopping:
            self.stopping.end(self._model, self._fit, self._data.epochs)
        else:
            self.clock.plan_look(self._progress, steps=self._data.steps, together=not self._workers.is_single)

    def _count(self, batch: int, logs: Any) -> None:
        is_last = self._data.count(self._progress, batch, logs)
        self._states.move(FitEvent.LAST_STEP if is_last else FitEvent.STEP)
        if is_last:
            self.saver.keep_end_of_epoch()

    def validation_begins(self) -> None:
        """Watch the validation of an epoch for errors, and fix the order of its samples."""
        validation = getattr(self._model, "_eval_epoch_iterator", None)
        if self._states.now in (FitState.EPOCH_END, FitState.END_OWED) and validation is not None:
            fit_loop.tell_failures_of(validation, self.failed)
            self._validation.begins(validation, seed=self._data.seed, epoch=self._progress.epoch)

    def validation_step_begins(self) -> None:
        """Stop in the validation, where a signal asks for it."""
        if self._states.now is FitState.IDLE or not self.stopping.is_asked_in_time:
            return
        if self._workers.is_single and not self.stopping.reason:
            if self._states.now is FitState.EPOCH_END and self.clock.saved_step < self._progress.step:
                self.saver.save(wait=True)
            self.stopping.end(self._model, self._fit, self._data.epochs)

    def epoch_ends(self, epoch: int, logs: dict[str, Any]) -> None:
        """Count the epoch, and save where that is due."""
        if self.stopping.reason:
            return
        if self._fit is None and (steps := self._callback.params.get("steps")):
            self._progress.advance(steps, {})
        self._states.move(FitEvent.EPOCH_ENDS)
        self.steps_clock.tell(self._run.name, FOR_KERAS)
        self.saver.forget_end_of_epoch()
        improved = self._progress.end_epoch(epoch, logs)
        stopping = self.stopping.decide(ask=True)[1] and not (self.saver.is_complete and self.stopping.is_time_over)
        if stopping or improved or self.saver.is_complete or self._run.every.due_at_epoch(self._progress.epoch):
            self.saver.save(wait=stopping)
        if stopping:
            self.stopping.end(self._model, self._fit, self._data.epochs)

    def train_ends(self) -> None:
        """Save what the callbacks have changed at the end, and let others write."""
        self.stopping.give_back(self._model)
        self._model.__dict__.pop("_should_eval", None)
        self._states.move(FitEvent.TRAIN_ENDS)
        if self.stopping.reason:
            return  # the state is saved, and a callback may just have brought back other weights
        saved, self._owed = self._owed, None
        if saved is not None:
            state.apply(self._model, saved.tensors, groups=("metrics/",))  # as the last epoch has left them
        if saved is not None and saved.meta.get("ended"):  # no epoch was left to train, and nothing was owed
            self._setup.restore_model(saved)
            rng.restore(saved.tensors)
        elif (
            self._model.stop_training
            or (saved is not None and saved.meta.get("stopped"))
            or self._host.callbacks.change_at_end
        ):
            self.saver.save(wait=False, ended=True)  # EarlyStopping brings back the best weights only now
        self._host.release()
        self._run.end_writing()
        self._workers.tell("ended", f"is trained, {counted(self._progress.epoch, 'epoch')}", self._progress.metrics)
        self._workers.note_trained()

    def failed(self, error: BaseException) -> None:
        """Save what an error would lose, as far as the state is that of a whole step."""
        self.stopping.give_back(self._model)
        failure = fit_loop.failure_of(error)
        try:
            if isinstance(error, DivergedError):
                return  # weights that are no numbers: what was saved before is what to go on from
            if failure.where == "after" and failure.batch + 1 > self._progress.step_in_epoch:
                self._count(failure.batch, failure.logs)
            elif failure.where == "data" and (self._model.steps_per_execution > 1 or self._data.loses_its_place):
                return
            whole = failure.leaves_a_whole_step(at_end=self._states.now is FitState.EPOCH_END)
            if self._data.epochs is not None and whole and self.clock.saved_step < self._progress.step:
                self.saver.save(wait=True)
                notify("%s: saved at step %s, after the error", self._run.name, self._progress.step)
        except Exception as second:  # noqa: BLE001 - the first error is the one to see
            warn("%s: the state at the error is not saved. %s", self._run.name, second)
        finally:
            self._host.release()
            self._run.end_writing()
            self._workers.tell("failed", f"failed at step {self._progress.step}: {type(error).__name__}")

    def _restore(self, saved: Checkpoint) -> None:
        meta, progress, epochs = saved.meta, self._progress, self._callback.params["epochs"]
        if self._setup.restore_model(saved):
            build.trace_anew(self._model, self._fit)
        self._owed = saved
        progress.restore(meta)
        self._validation.restore(saved)
        progress.step_in_epoch = self._data.adapt(meta["data"], progress.step_in_epoch)
        self.clock.saved_step = progress.step
        self._states.move(FitEvent.BEGIN_WITHIN if progress.step_in_epoch else FitEvent.BEGIN_BETWEEN)
        if progress.epoch >= epochs or (meta["complete"] and epochs <= meta["epochs"]):
            self._setup.tell_complete(self._workers, epochs=meta["epoch"], progress=progress)
            progress.epoch = epochs
        else:
            self._data.go_on(saved, progress, epochs=epochs)
        self._model._initial_epoch = progress.epoch  # as keras.callbacks.BackupAndRestore does
