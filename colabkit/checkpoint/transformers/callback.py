"""The callback itself: `Trainer(..., callbacks=[run.resume_transformers()])`.

A Trainer asks its loader for the batches of a step, trains, logs, evaluates, saves, and asks again: then the state is
whole. So for the time of one training the callback stands where the loader stands (`batches.py`), and in front of
`Trainer._run_epoch`, to pass over epochs that are done and to begin in the middle of one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback

from colabkit.checkpoint.loop.data import LoaderSource
from colabkit.checkpoint.loop.parts import Parts
from colabkit.checkpoint.policy import begun_again
from colabkit.checkpoint.policy.callers import frame_of_method
from colabkit.checkpoint.policy.signals import TIME_OVER
from colabkit.checkpoint.transformers import trainer_state
from colabkit.checkpoint.transformers.batches import EpochBatches, Place
from colabkit.checkpoint.transformers.hooks import TrainerHooks, starts_where_it_is
from colabkit.checkpoint.transformers.state import TrainingState
from colabkit.checkpoint.transformers.view import TrainingLog
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from types import FrameType

    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.run_store import RunStore

_IN_PLACE_OF_THE_LOOP = (
    'write callbacks=[run.phase("NAME").resume_transformers()], with a name for each trial, fold or stage: '
    'run.phase(f"fold-{k}"); or, to train on in each round, a Trainer of its own with num_train_epochs=i + 1'
)


def make(run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> ResumeTrainer:
    """Make the callback."""
    return ResumeTrainer(run, check_data=check_data, best=best)


class ResumeTrainer(TrainingState, TrainerCallback):  # type: ignore[misc] # transformers is not typed here
    """Saves the state of a Trainer as it trains, and at the start of a training continues from the newest state.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.
        best: By which metric of the evaluations the best state is kept.

    Attributes:
        resumed_from: After the start: the `epoch` (from 0) and the `step` (of the optimizer, in it) where the run was
            continued, or None in a new run.
        stopped: Why the training ended before its last step, in words; empty where it did not.
    """

    stateless = True

    def __init__(self, run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> None:
        super().__init__(run, check_data=check_data, best=best)
        self._hooks: TrainerHooks | None = None
        self._view: TrainingLog | None = None
        self._done = False  # nothing was left to train
        self._time_agreed = False  # among several processes, that it is over

    def __repr__(self) -> str:
        return f"<resume {self._run.name}>"

    # ---- events ----

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Continue, or begin."""
        frame = _training_frame()
        if frame is None:
            return
        trainer = frame.f_locals["self"]
        self._release()
        self.stopped, self._time_agreed = "", False
        _check_supported(trainer, frame.f_locals.get("resume_from_checkpoint"))
        self._begin_writing()
        try:
            self._start(trainer, args, state)
        except BaseException:
            self._run.close()
            raise
        self._hooks = TrainerHooks(trainer, passes_over=lambda number: number < self._epoch, run_epoch=self._run_epoch)
        if self._resume is not None:
            self._hooks.leave_out_first_evaluation()
        if not self._done and self._is_chief:
            self._view = TrainingLog(trainer, self._given_run, self)
            if self.resumed_from is not None:
                self._view.go_on(self._save_clock.saved_step, self._epoch)
        self._watch()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the step, and end the training where its time is over."""
        if self._trainer is None:
            return
        if self._view is not None:
            self._view.step(self._place.done)
        over = self._signals.received == TIME_OVER if self._alone else self._time_agreed
        if over and state.global_step < state.max_steps:
            self.stopped = f"its time is over at step {state.global_step}"
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take note that what comes is of the whole epoch; in the middle of one, save and let go."""
        if self._view is not None:
            self._view.epoch_ends()
        if self._trainer is not None and self.stopped and not self._is_epoch_done:
            self._save()
            self._stop()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Note the metrics that `colabkit runs` shows."""
        self._metrics |= {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        if self._view is not None:
            self._view.log(state.global_step, logs or {})

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Judge whether this state is the best one."""
        metric = self._best.metric
        if self._trainer is not None and metric in (metrics or {}):
            self._judge(metrics[metric], step=state.global_step, epoch=self._epoch)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save the end, or bring it back where it was reached before."""
        if self._trainer is None:
            return
        if self._done and self._resume is not None:
            self._give(self._resume, is_last=True)  # the end of a training logs once more
            self._resume.restore_random()
        else:
            if self._is_epoch_done:
                self._epoch, self._place = self._epoch + 1, Place()
            self._save(complete=not self.stopped)
            if self.stopped:
                self._stop()
                return
            self._run.tell("ended", f"is trained, {state.global_step} steps", trainer_state.measured(self._metrics))
        self._meet()
        self._release()

    # ---- the life of a training ----

    def _start(self, trainer: Any, args: Any, state: Any) -> None:
        self._trainer = trainer
        self._parts = Parts(trainer_state.parts_of(trainer), run=self._run.name)
        self._state = trainer_state.TrainerState(trainer)
        [loader] = self._loaders_read()
        self._time.start()
        is_begun_again = begun_again.note(self._given_run.dir, epochs=max(1, state.max_steps))
        self._epoch, self._place, self._done, self._resume = 0, Place(), False, None
        source = LoaderSource(loader, self._own)
        for note in [*trainer_state.notes(trainer), *source.notes()]:
            self._warn("%s: %s", note)
        self._drawn.find(self._parts.given, [loader, trainer.train_dataset], more={"trainer": trainer})
        saved = self._newest()
        given = {**self._parts.given, "trainer": trainer, "callbacks": trainer.callback_handler.callbacks}
        data = [loader, *source.generators().values()]
        self._names.begin_held(trainer_state.held_of(trainer, self), given, data)
        if saved is None:
            self._save()
            self._run.written()
        else:
            if is_begun_again and saved.meta["complete"] and state.max_steps <= saved.meta["max_steps"]:
                begun_again.refuse(self._run.name, f"{saved.meta['step']} steps", way=_IN_PLACE_OF_THE_LOOP)
            self._restore(saved, args, state)

    def _restore(self, saved: SavedState, args: Any, state: Any) -> None:
        meta = saved.meta
        if state.max_steps != meta["max_steps"] and not meta["complete"]:
            self._warn("%s: %s steps instead of %s; a schedule over them differs", state.max_steps, meta["max_steps"])
        self._give(saved)
        self._resume = saved
        self._epoch, self._metrics = meta["epoch"], dict(meta.get("metrics", {}))
        self._go_on(saved, batches_per_step=args.gradient_accumulation_steps)
        if meta["complete"] and state.max_steps <= meta["max_steps"]:
            self._notify("%s: already trained, %s steps; ask for more epochs or steps to go on", meta["step"])
            self._done, self._epoch = True, sys.maxsize
            self._trainer._tr_loss -= self._trainer._tr_loss  # the end has added it up
        elif meta["step"] >= state.max_steps:  # what was trained beyond them stays as it is
            self._notify("%s: it is at step %s, and %s are asked for: nothing to do", meta["step"], state.max_steps)
            self._done, self._epoch = True, sys.maxsize
        else:
            self._notify("%s: continuing at step %s of %s", meta["step"], state.max_steps)
        if not meta["step"] and not self._done:  # as a new training goes on from here, its first evaluation included
            saved.restore_random()
            self._resume = None

    def _run_epoch(self, run_epoch: Any, given: dict[str, Any]) -> None:
        """Train an epoch by the Trainer's own method from the place on, or pass over it."""
        if given["epoch"] < self._epoch:
            if self._done:
                self._trainer.control.should_training_stop = True  # of a stream there are endless epochs to pass over
            return
        saved, self._resume = self._resume, None
        self._epoch, self._place = given["epoch"], Place()
        if saved is not None:
            self._give(saved, is_last=True)  # again: the beginning has changed a part
            saved.restore_random()
            self._place = Place(saved.tree()["place"], saved.tensors)
        elif self._epoch and self._decide(at_epoch=self._epoch, ask=True)[0]:
            self._save()
        resume = (lambda: self._go_on_behind(saved)) if self._place.done and saved is not None else None
        loader = given["train_dataloader"]
        batches = EpochBatches(loader, self._place, resume=resume, boundary=self._after_batch, own=self._own)
        given |= batches.given_to_trainer(self._epoch, run=self._run.name)
        if self._view is not None:
            self._view.begin_epoch(self._epoch, given["num_update_steps_per_epoch"], done=self._place.done)
        try:
            with starts_where_it_is():
                run_epoch(**given)
        except BaseException as error:
            if self._trainer is not None:
                self._run.tell("failed", f"failed: {type(error).__name__}")
            self._release("stopped")
            raise

    def _after_batch(self, place: Place) -> None:
        if place.done % self._trainer.args.gradient_accumulation_steps:
            return
        save, stop = self._decide()
        if save:
            self._save()
        if stop and self._signals.received == TIME_OVER:
            self._time_agreed = True  # it ends a training in `on_step_end`
        elif stop:
            self._stop()

    def _release(self, words: str = "") -> None:
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        self._signals.restore()
        self._drawn.release()
        self._names.release(is_cut=bool(words))
        self._own = {}
        if self._hooks is not None:
            self._hooks.remove()
        self._run.end_writing()
        view, self._view, self._hooks = self._view, None, None
        if view is not None:  # last, as it tells what is saved
            view.close(words)

    def _is_running(self, frame: FrameType | None) -> bool:
        return self._trainer is not None and _training_frame(frame) is not None


def _training_frame(frame: FrameType | None = None) -> FrameType | None:
    """Find the frame in which a Trainer trains, among the callers."""
    return frame_of_method("_inner_training_loop", of=lambda owner: isinstance(owner, Trainer), frame=frame)


def _check_supported(trainer: Any, resumed: Any) -> None:
    why = ""
    if resumed is not None:
        raise UnsupportedError(
            "run.resume_transformers() and resume_from_checkpoint= do the same thing",
            why="both would put a state back",
            hint="leave resume_from_checkpoint= out",
        )
    loader = type(trainer.callback_handler.train_dataloader).__name__
    if trainer.args.world_size > 1 and loader == "DataLoaderDispatcher":
        why = (
            "a stream that one process reads for all; accelerator_config={'dispatch_batches': False} gives each its own"
        )
    elif trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        why = "a model that is spread over devices by DeepSpeed or FSDP"
    elif trainer.state.is_hyper_param_search:
        why = "a search, in which each trial is a training of its own"
    if why:
        raise UnsupportedError(
            "run.resume_transformers() does not resume this training",
            why=why,
            hint="train without that, or use trainer.train(resume_from_checkpoint=True) with output_dir=run.dir",
        )
