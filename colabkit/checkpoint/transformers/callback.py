"""The callback itself: `Trainer(..., callbacks=[run.resume_transformers()])`.

A Trainer asks its loader for the batches of a step, trains, logs, evaluates, saves, and asks again: then the state is
whole. So for the time of one training the callback stands where the loader stands (`batches.py`), and in front of
`Trainer._run_epoch`, to pass over epochs that are done and to begin in the middle of one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback
from transformers import trainer as trainer_module

from colabkit.checkpoint.loop.data import LoaderSource
from colabkit.checkpoint.loop.parts import Parts
from colabkit.checkpoint.loop.restoring import StateKind
from colabkit.checkpoint.loop.resumable import Resumable
from colabkit.checkpoint.lost_files import is_lost
from colabkit.checkpoint.policy.callers import frame_of_method
from colabkit.checkpoint.policy.signals import TIME_OVER
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.transformers import trainer_state
from colabkit.checkpoint.transformers.batches import EpochBatches, Place
from colabkit.checkpoint.view.trainer import TrainerView
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from types import FrameType

    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.run_store import RunStore

_BARS = ("ProgressCallback", "NotebookProgressCallback")
_PROVED = ("Trainer", "Seq2SeqTrainer", "SFTTrainer", "UnslothTrainer", "UnslothSFTTrainer")


def make(run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> ResumeTrainer:
    """Make the callback."""
    return ResumeTrainer(run, check_data=check_data, best=best)


class ResumeTrainer(Resumable, TrainerCallback):  # type: ignore[misc] # transformers is not typed here
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

    kind = StateKind(
        name="transformers",
        holds="Trainer",
        tree=frozenset({"parts", "trainer", "state", "callbacks", "place"}),
        meta=frozenset({"max_steps"}),
    )

    def __init__(self, run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> None:
        super().__init__(run, check_data=check_data, best=best, limit=run.limit)
        self._view: TrainerView | None = None
        self._bars: list[Any] = []
        self._between = self._time_agreed = False
        self._trainer: Any = None
        self._attributes: trainer_state.Attributes | None = None
        self._epoch = self._begun = 0
        self._place = Place()
        self._done = False
        self._metrics: dict[str, float] = {}

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
        self._stand_in_front(trainer)
        if not self._done and self._is_chief:
            self._show(trainer, state)
        self._watch()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the step, and end the training where its time is over."""
        if self._trainer is None:
            return
        if self._view is not None:
            self._view.step(self._place.done // args.gradient_accumulation_steps)
        over = self._signals.received == TIME_OVER if self._alone else self._time_agreed
        if over and state.global_step < state.max_steps:
            self.stopped = f"its time is over at step {state.global_step}"
            control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take note that what comes is of the whole epoch; in the middle of one, save and let go."""
        self._between = True
        if self._trainer is not None and self.stopped and self._place.done < self._steps_in_epoch():
            self._save()
            self._stop()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Note the metrics that `colabkit runs` shows."""
        self._metrics |= {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        if self._view is not None:
            epoch = self._epoch + 1 if self._between else None
            self._view.log(state.global_step, trainer_state.measured(logs or {}), epoch=epoch)

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
            self._give(self._resume)  # the end of a training logs once more
            self._resume.restore_random()
        else:
            if self._place.done >= self._steps_in_epoch():
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
        given = {"model": trainer.model, "optimizer": trainer.optimizer, "scheduler": trainer.lr_scheduler}
        if (scaler := getattr(trainer.accelerator, "scaler", None)) is not None:
            given["scaler"] = scaler
        self._parts = Parts(given, run=self._run.name)
        self._attributes = trainer_state.Attributes(trainer)
        loader = trainer.callback_handler.train_dataloader
        source = LoaderSource(getattr(loader, "base_dataloader", loader))
        self._data = source.identity() | {"accumulation": args.gradient_accumulation_steps}
        self._time.start()
        self._epoch = self._begun = 0
        self._place, self._done, self._resume = Place(), False, None
        if type(trainer).__name__ not in _PROVED:
            self._warn(
                "%s: exactness is proved for Trainer and SFTTrainer; what a %s keeps beside its numbers is not saved",
                type(trainer).__name__,
            )
        for note in source.notes():
            self._warn("%s: %s", note)
        saved = self._newest()
        if saved is None:
            self._save()
            self._run.written()
        else:
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
            return
        self._eval_on_start, args.eval_on_start = args.eval_on_start, False

    def _stand_in_front(self, trainer: Any) -> None:
        """Pass over epochs that are done, and begin in the middle of one."""
        run_epoch, handler = trainer._run_epoch, trainer.callback_handler
        on_epoch_begin = handler.on_epoch_begin

        def begin_epoch(args: Any, state: Any, control: Any) -> Any:
            self._begun += 1
            return control if self._begun <= self._epoch else on_epoch_begin(args, state, control)

        def run(**given: Any) -> None:
            if given["epoch"] >= self._epoch:
                self._run_epoch(run_epoch, given)
            elif self._done:
                trainer.control.should_training_stop = True  # of a stream there are endless epochs to pass over

        handler.on_epoch_begin = begin_epoch
        trainer._run_epoch = run
        trainer._load_rng_state = lambda _: None

    def _run_epoch(self, run_epoch: Any, given: dict[str, Any]) -> None:
        saved, self._resume = self._resume, None
        self._epoch = given["epoch"]
        self._place = Place()
        if saved is not None:
            self._give(saved)  # again: the beginning has changed a part
            saved.restore_random()
            self._place = Place(saved.tree()["place"], saved.tensors)
        elif given["epoch"] and self._decide(at_epoch=given["epoch"], ask=True)[0]:
            self._save()
        inside = self._place.done > 0
        resume = (lambda: rng.restore(saved.tensors)) if inside and saved is not None else None
        batches = EpochBatches(given["train_dataloader"], self._place, resume=resume, boundary=self._after_batch)
        given |= {
            "train_dataloader": batches,
            "epochs_trained": given["epoch"],
            "steps_trained_in_current_epoch": self._place.done,
            "resume_from_checkpoint": self._run.name if inside else None,
        }
        original = trainer_module.skip_first_batches
        trainer_module.skip_first_batches = lambda loader, _: loader  # it begins there by itself
        if self._view is not None:
            self._view.end_epoch()
            self._between = False
            accumulated = self._trainer.args.gradient_accumulation_steps
            steps = given["num_update_steps_per_epoch"]
            self._view.begin_epoch(self._epoch, trainer_state.known(steps), done=self._place.done // accumulated)
        try:
            run_epoch(**given)
        except BaseException as error:
            if self._trainer is not None:
                self._run.tell("failed", f"failed: {type(error).__name__}")
            self._release("stopped")
            raise
        finally:
            trainer_module.skip_first_batches = original

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

    def _show(self, trainer: Any, state: Any) -> None:
        """Follow the training; a bar that says the same as our display rests meanwhile."""
        epochs = trainer_state.known(state.num_train_epochs)
        view = TrainerView(self._given_run, epochs=epochs)
        if self.resumed_from is not None:
            step = self._save_clock.saved_step or -1  # of step 0 all is logged again, the first evaluation too
            view.journal.go_on(step, self._epoch)
        if view.shown:
            callbacks = trainer.callback_handler.callbacks
            later = callbacks[callbacks.index(self) :]  # the others have drawn already, and the list is gone through
            self._bars = [one for one in later if type(one).__name__ in _BARS]
            for bar in self._bars:
                callbacks.remove(bar)
        self._view, self._between = view, False

    def _release(self, words: str = "") -> None:
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        self._signals.restore()
        for name in ("_run_epoch", "_load_rng_state"):
            vars(trainer).pop(name, None)
        vars(trainer.callback_handler).pop("on_epoch_begin", None)
        if getattr(self, "_eval_on_start", False):
            trainer.args.eval_on_start = True
        if self._bars:  # another list: they take no part in the event that is going on
            trainer.callback_handler.callbacks = [*trainer.callback_handler.callbacks, *self._bars]
            self._bars = []
        self._run.end_writing()
        view, self._view = self._view, None
        if view is not None:  # last, as it tells what is saved
            view.end_epoch()
            view.close(words)

    def _is_running(self, frame: FrameType | None) -> bool:
        return self._trainer is not None and _training_frame(frame) is not None

    # ---- saving and restoring ----

    def _steps_in_epoch(self) -> int:
        try:
            return len(self._trainer.callback_handler.train_dataloader)
        except TypeError:
            return sys.maxsize

    def _steps_done(self) -> int:
        steps: int = self._trainer.state.global_step
        return steps

    def _versions(self) -> dict[str, str]:
        import accelerate
        import transformers

        return pytree.versions(transformers=transformers.__version__, accelerate=accelerate.__version__)

    def _save_state(self, *, complete: bool) -> None:
        trainer = self._trainer
        assert self._parts is not None  # noqa: S101 - made when the training starts
        assert self._attributes is not None  # noqa: S101 - same
        tree = {
            "parts": self._parts.take(),
            "trainer": self._attributes.take(),
            "state": trainer_state.take_state(trainer.state),
            "callbacks": trainer_state.take_callbacks(trainer.callback_handler.callbacks),
            "place": self._place.take(),
        }
        self._submit(
            tree,
            dict(rng.capture()) | self._place.tensors,
            epoch=self._epoch,
            step_in_epoch=self._place.done,
            epochs=trainer.state.num_train_epochs,
            max_steps=trainer.state.max_steps,
            complete=complete,
            metrics=self._metrics,
        )

    def _give(self, saved: SavedState) -> None:
        trainer, tree = self._trainer, saved.tree()
        assert self._parts is not None  # noqa: S101 - made when the training starts
        assert self._attributes is not None  # noqa: S101 - same
        self._parts.give(tree["parts"])
        self._attributes.give(tree["trainer"])
        trainer_state.give_state(trainer.state, tree["state"])
        if is_lost(trainer.state.best_model_checkpoint, owner="the Trainer"):
            trainer.state.best_model_checkpoint = None  # as its own resume does; looking for it at the end would fail
        trainer_state.give_callbacks(trainer.callback_handler.callbacks, tree["callbacks"])


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
