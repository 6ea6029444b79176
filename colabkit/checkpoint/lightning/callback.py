"""The callback itself: `L.Trainer(callbacks=[run.resume_lightning()])`.

Lightning's loop over the batches of an epoch begins with `on_run_start` and calls `advance` for each: there, before
the batch is asked for, the state is whole. For the time of one fit the callback stands in front of these two
(`hooks.py`), so it needs none of Lightning's own ways to restart, which start an epoch anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import counted
from colabkit.checkpoint.lightning import progress
from colabkit.checkpoint.lightning.hooks import LoopHooks
from colabkit.checkpoint.lightning.loaders import FitLoaders
from colabkit.checkpoint.lightning.state import FitPhase, FitState, held_of, parts_of
from colabkit.checkpoint.lightning.view import FitView
from colabkit.checkpoint.loop.parts import Parts, give_generators, take_generators
from colabkit.checkpoint.loop.parts.gradients import PendingGradients
from colabkit.checkpoint.policy import begun_again
from colabkit.checkpoint.policy.callers import frame_of_method
from colabkit.checkpoint.policy.save_clock import NEVER
from colabkit.checkpoint.state import rng
from colabkit.checkpoint.view.trainer import plain
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from types import FrameType

    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.run_store import RunStore

_SHARED = ("DDPStrategy",)
_BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
_OF_A_TUNER = (".lr_find_", ".scale_batch_size_")  # the Trainer keeps the name of what the tuner has read and removed

_IN_PLACE_OF_THE_LOOP = (
    'write callbacks=[run.phase("NAME").resume_lightning()], with a name for each trial, fold or stage: '
    'run.phase(f"fold-{k}"); or, to train on in each round, a Trainer of its own with max_epochs=i + 1'
)


class ResumeLightning(FitState):
    """Saves the state of a fit as it trains, and at the start of a fit continues from the newest saved state.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.
        best: By which logged metric the best state is kept.

    Attributes:
        resumed_from: After the start: the `epoch` (from 0) and the `step` (batch) in it where the run was continued, or
            None in a new run.
        stopped: Why the fit ended before its last epoch, in words; empty where it did not.
    """

    def __init__(self, run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> None:
        super().__init__(run, check_data=check_data, best=best)
        self._hooks: LoopHooks | None = None
        self._view: FitView | None = None
        self._is_begun_again = False
        self._least: dict[str, Any] = {}  # what the Trainer must train at least, where it ends before that

    def __repr__(self) -> str:
        return f"<resume {self._run.name}>"

    # ---- hooks ----

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Refuse a loop around the fit, for which the Trainer itself has no epoch left."""
        epochs = max(1, trainer.max_steps if (trainer.max_epochs or -1) < 0 else trainer.max_epochs)
        self._is_begun_again = begun_again.note(self._given_run.dir, epochs=epochs)
        if self._is_begun_again and trainer.fit_loop.done:
            self._refuse_another_round(trainer.current_epoch)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Continue, or begin."""
        self._release()
        self.stopped = ""
        _check_supported(trainer)
        self._begin_writing()
        try:
            self._start(trainer, module)
        except BaseException:
            self._run.close()
            raise
        self._hooks = LoopHooks(
            trainer, before_epoch=self._before_epoch, epoch_begun=self._begin_epoch, before_batch=self._before_batch
        )
        if self._phase is not FitPhase.COMPLETE:
            self._view = FitView(trainer, self._given_run if self._is_chief else None)
            if self._resume is not None:
                self._view.go_on(self._save_clock.saved_step, self._resume.meta["epoch"])
        self._watch()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Show the step, and log what it measured now and then."""
        if self._view is not None:  # this one is counted after this hook
            self._view.step(outputs, in_epoch=batch_idx + 1, step=self._steps_done() + 1)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Judge whether this state is the best one."""
        metric = self._best.metric
        if metric is None or self._trainer is None or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(metric)
        if value is not None:
            self._judge(value, step=self._steps_done(), epoch=trainer.current_epoch)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Save the end, or bring it back where it was reached before."""
        vars(trainer.fit_loop).update(self._least)
        self._least = {}
        if self._trainer is None:
            return
        if self._phase is FitPhase.COMPLETE and self._resume is not None:
            self._give(self._resume, is_last=True)
            self._resume.restore_random()
        else:
            self._phase = FitPhase.BETWEEN
            if self._view is not None:
                self._view.end_epoch(self._steps_done())
            self._save(complete=True)
            epochs = counted(trainer.current_epoch, "epoch")
            self._run.tell("ended", f"is trained, {epochs}", plain(progress.of_epoch(trainer)))
        self._meet()
        self._release()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Let go of the Trainer; what was saved stays."""
        if self._trainer is not None:
            self._run.tell("failed", f"failed: {type(exception).__name__}")
        self._release("stopped")

    # ---- the life of a fit ----

    def _start(self, trainer: Any, module: Any) -> None:
        self._trainer = trainer
        self._parts = Parts(parts_of(trainer, module, self), run=self._run.name)
        self._loaders = FitLoaders(trainer.fit_loop._combined_loader.flattened)
        self._time.start()
        self._resume, self._phase = None, FitPhase.BETWEEN
        for note in self._loaders.notes():
            self._warn("%s: %s", note)
        data = list(trainer.fit_loop._combined_loader.flattened)
        callbacks = progress.named(trainer, self)
        self._drawn.find(self._parts.given, data, more=callbacks)
        saved = self._newest()
        held = held_of(trainer, module, callbacks)
        given = {**self._parts.given, "trainer": trainer, "callbacks": trainer.callbacks}
        self._names.begin_held(held, given, [*data, *self._loaders.generators().values()])
        if saved is not None:
            self._restore(saved)
        self._gradients = PendingGradients(self._parts.optimizers)

    def _restore(self, saved: SavedState) -> None:
        meta, trainer = saved.meta, self._trainer
        progress.restore_groups(trainer, self, saved.tree()["progress"])
        self._give(saved)
        progress.load_data_again(trainer, saved.tree()["progress"])
        self._resume = saved
        self._go_on(saved)
        finished = trainer.fit_loop.done  # or fewer are asked for, and what was trained beyond them stays as it is
        limits = [trainer.max_epochs, trainer.max_steps]
        if finished or (meta["complete"] and limits == [meta["epochs"], meta.get("max_steps", trainer.max_steps)]):
            if meta["complete"] and self._is_begun_again:
                self._refuse_another_round(meta["epoch"])
            text = "trained for" if meta["complete"] else "beyond the epochs that are asked for, with"
            self._notify(f"%s: already {text} %s epochs; ask for more to continue", meta["epoch"])
            self._phase = FitPhase.COMPLETE
            if not finished:
                self._least = progress.end_early(trainer)  # as it did, by EarlyStopping for one
            return
        if meta.get("cut"):
            self._warn("%s: it ended within epoch %s; the rest of that is not trained, a new one begins", meta["epoch"])
        progress.to_the_start_of_the_epoch(trainer)
        self._notify("%s: continuing in epoch %s after step %s", meta["epoch"] + 1, meta["step_in_epoch"])

    def _refuse_another_round(self, epochs: int) -> None:
        begun_again.refuse(self._given_run.name, f"{epochs} epochs", way=_IN_PLACE_OF_THE_LOOP)

    def _before_epoch(self) -> None:
        if self._resume is not None and self._resume.meta["complete"]:
            self._resume.restore_random()  # more epochs were asked for: this one draws as the others did

    def _begin_epoch(self, fetcher: Any) -> None:
        """Begin an epoch, or go on in the middle of one; a new one may be due to be saved."""
        saved, self._resume = self._resume, None
        trainer, self._phase = self._trainer, FitPhase.BETWEEN
        self._loaders = FitLoaders(
            trainer.fit_loop._combined_loader.flattened, self._loaders
        )  # it may have loaded others
        if self._view is not None:
            self._view.end_epoch(self._steps_done())
            self._view.begin_epoch(done=saved.meta["step_in_epoch"] if saved is not None else 0)
        if saved is not None:
            self._give(saved, is_last=True)  # again: the beginning has changed a part
            self._gradients.give(saved.tree()["gradients"])
            if saved.meta["complete"]:
                progress.begin_another_epoch(trainer)  # more of them were asked for
            else:
                saved.restore_random()
        if saved is not None and saved.meta["step_in_epoch"]:
            self._go_to(fetcher, saved)
            return
        if saved is not None:
            give_generators(self._loaders.generators(), saved.tree()["generators"])
        self._begin = rng.capture(), take_generators(self._loaders.generators())
        if saved is None:
            is_first = self._save_clock.saved_step == NEVER
            if is_first or self._decide(at_epoch=trainer.current_epoch or None, ask=True)[0]:
                self._save()
            if is_first:
                self._run.written()
        self._loaders.open(fetcher)

    def _go_to(self, fetcher: Any, saved: SavedState) -> None:
        """Go on behind the batches of an epoch that an earlier process has trained on."""
        tree, loaders = saved.tree(), self._loaders
        self._begin = rng.of_epoch_start(saved.tensors), tree["begin"]
        give_generators(loaders.generators(), tree["begin"])
        rng.restore(self._begin[0])
        loaders.open(fetcher, tree.get("reopened", ()))
        loaders.skip(fetcher, saved.meta["step_in_epoch"])
        self._names.give(tree.get("names"), is_last=True)  # again: code that reads the data may have changed them
        give_generators(loaders.generators(), tree["generators"])
        saved.restore_random()

    def _before_batch(self) -> None:
        if self._phase is FitPhase.WITHIN:
            save, stop = self._decide()
            if save:
                self._save()
            if stop:
                self._stop()
        self._phase = FitPhase.WITHIN

    def _release(self, words: str = "") -> None:
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        self._signals.restore()
        self._gradients.release()
        self._drawn.release()
        self._names.release(is_cut=bool(words))
        if self._hooks is not None:
            self._hooks.remove()
        self._run.end_writing()
        view, self._view, self._hooks = self._view, None, None
        if view is not None:  # last, as it tells what is saved
            view.close(words)

    def _stop(self) -> None:
        trainer = self._trainer
        super()._stop()
        self._least = progress.end_early(trainer)
        raise StopIteration  # the end of the data, for the loop over the batches

    def _is_running(self, frame: FrameType | None) -> bool:
        loop = getattr(self._trainer, "fit_loop", None)
        return loop is not None and frame_of_method("run", of=lambda owner: owner is loop, frame=frame) is not None


def _check_supported(trainer: Any) -> None:
    if trainer.ckpt_path is not None and not Path(trainer.ckpt_path).name.startswith(_OF_A_TUNER):
        raise UnsupportedError(
            "run.resume_lightning() and ckpt_path= do the same thing",
            why="both would put a state back",
            hint="leave ckpt_path= out",
        )
    names = {type(each).__name__ for each in trainer.callbacks}
    kinds = {type(each).__name__ for each in trainer.lightning_module.modules()}
    if "StochasticWeightAveraging" in names and any(kind.endswith(_BATCH_NORMS) for kind in kinds):
        raise UnsupportedError(
            "run.resume_lightning() does not resume StochasticWeightAveraging of a model with batch norm",
            why="its last epoch measures the norms anew, and cannot be begun in its middle",
            hint="take callbacks=[EMAWeightAveraging()], or WeightAveraging, which resume exactly",
        )
    kind = type(trainer.strategy).__name__
    if trainer.world_size > 1 and kind not in _SHARED:
        raise UnsupportedError(
            f"run.resume_lightning() does not resume a training of {trainer.world_size} processes by {kind}",
            why="no process has the whole model there",
            hint="pass strategy='ddp', or continue with ckpt_path='last' and a ModelCheckpoint in run.dir",
        )
