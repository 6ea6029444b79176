"""The callback itself: `L.Trainer(callbacks=[run.resume_lightning()])`.

Lightning's loop over the batches of an epoch begins with `on_run_start` and calls `advance` for each: there, before
the batch is asked for, the state is whole. For the time of one fit the callback stands in front of these two, so it
needs none of Lightning's own ways to restart, which start an epoch anew.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.lightning import progress
from colabkit.checkpoint.lightning.reopened import Reopened
from colabkit.checkpoint.loop.data import LoaderSource, open_source
from colabkit.checkpoint.loop.gradients import PendingGradients
from colabkit.checkpoint.loop.parts import Parts
from colabkit.checkpoint.loop.restoring import StateKind
from colabkit.checkpoint.loop.resumable import Resumable, give_generators, take_generators
from colabkit.checkpoint.lost_files import is_lost
from colabkit.checkpoint.policy.callers import frame_of_method
from colabkit.checkpoint.policy.save_clock import NEVER
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.view.trainer import EVERY, TrainerView, plain
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.run_store import RunStore

_SHARED = ("DDPStrategy",)


class ResumeLightning(Resumable):
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

    kind = StateKind(
        name="lightning", holds="fit", tree=frozenset({"parts", "gradients", "generators", "begin", "progress"})
    )

    def __init__(self, run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> None:
        super().__init__(run, check_data=check_data, best=best, limit=run.limit)
        self._least: dict[str, Any] = {}
        self._view: TrainerView | None = None
        self._shown_epoch: int | None = None
        self._trainer: Any = None
        self._sources: list[Source] = []
        self._reopened = Reopened(self._generators)
        self._done = self._inside = False

    def __repr__(self) -> str:
        return f"<resume {self._run.name}>"

    # ---- hooks ----

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
        self._stand_in_front(trainer)
        if not self._done and self._is_chief:
            self._show(trainer)
        self._watch()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Show the step, and log what it measured now and then."""
        if self._view is None:
            return
        self._view.step(batch_idx + 1, lambda: progress.of_step(trainer, outputs))
        if (step := self._steps_done() + 1) % EVERY == 0:  # this one is counted after this hook
            self._view.log(step, progress.of_step(trainer, outputs))

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
        if self._done and self._resume is not None:
            self._give(self._resume)
            self._resume.restore_random()
        else:
            self._inside = False
            self._end_epoch()
            self._save(complete=True)
            self._run.tell(
                "ended",
                f"is trained, {trainer.current_epoch} epoch{'s' * (trainer.current_epoch != 1)}",
                plain(progress.of_epoch(trainer)),
            )
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
        given: dict[str, Any] = {
            "model": module,
            "optimizers": list(trainer.optimizers),
            "schedulers": [config.scheduler for config in trainer.lr_scheduler_configs],
            "precision": trainer.precision_plugin,
        }
        if trainer.datamodule is not None:
            given["datamodule"] = trainer.datamodule
        for key, callback in progress.named(trainer, self).items():
            given |= {f"{key}/{name}": part for name, part in vars(callback).items() if _is_other(part, module)}
        self._parts = Parts(given, run=self._run.name)
        loaders = trainer.fit_loop._combined_loader.flattened
        self._sources = [open_source(loader) for loader in loaders]
        self._data = {
            f"loader {at}: {key}": value
            for at, source in enumerate(self._sources)
            for key, value in source.identity().items()
        }
        self._data["accumulation"] = trainer.accumulate_grad_batches
        self._time.start()
        self._resume, self._done, self._inside = None, False, False
        self._tell()
        saved = self._newest()
        if saved is not None:
            self._restore(saved)
        self._gradients = PendingGradients(self._parts.optimizers)

    def _tell(self) -> None:
        notes = [note for source in self._sources for note in source.notes()]
        lengths = {source.length for source in self._sources}
        if None in lengths:
            notes.append("a batch is read ahead where the loader has no length; random numbers of its samples differ")
        for note in dict.fromkeys(notes):
            self._warn("%s: %s", note)

    def _restore(self, saved: SavedState) -> None:
        meta, trainer = saved.meta, self._trainer
        self._give(saved)
        self._resume = saved
        self._go_on(saved)
        finished = trainer.fit_loop.done  # or fewer are asked for, and what was trained beyond them stays as it is
        limits = [trainer.max_epochs, trainer.max_steps]
        if finished or (meta["complete"] and limits == [meta["epochs"], meta.get("max_steps", trainer.max_steps)]):
            text = "trained for" if meta["complete"] else "beyond the epochs that are asked for, with"
            self._notify(f"%s: already {text} %s epochs; ask for more to continue", meta["epoch"])
            self._done = True
            if not finished:
                self._end_early(trainer)  # as it did, by EarlyStopping for one
            return
        if meta.get("cut"):
            self._warn("%s: it ended within epoch %s; the rest of that is not trained, a new one begins", meta["epoch"])
        progress.to_the_start_of_the_epoch(trainer)
        self._notify("%s: continuing in epoch %s after step %s", meta["epoch"] + 1, meta["step_in_epoch"])

    def _stand_in_front(self, trainer: Any) -> None:
        loop = trainer.fit_loop.epoch_loop
        on_run_start, advance = loop.on_run_start, loop.advance

        def start(fetcher: Any) -> None:
            if self._resume is not None and self._resume.meta["complete"]:
                self._resume.restore_random()  # more epochs were asked for: this one draws as the others did
            on_run_start(fetcher)
            self._begin_epoch(fetcher)

        def go_on(fetcher: Any) -> None:
            if self._inside:
                self._between_batches()
            self._inside = True
            advance(fetcher)

        loop.on_run_start, loop.advance = start, go_on

    def _show(self, trainer: Any) -> None:
        """Follow the training; a bar that says the same as our display rests meanwhile."""
        epochs = trainer.max_epochs if (trainer.max_epochs or 0) > 0 else None
        self._view = view = TrainerView(self._given_run, epochs=epochs)
        if self._resume is not None:
            view.journal.go_on(self._save_clock.saved_step, self._resume.meta["epoch"])
        if view.shown and (bar := trainer.progress_bar_callback) is not None:
            bar.disable()

    def _end_epoch(self) -> None:
        """Log and show what an epoch has measured, when all hooks of its end have logged."""
        if self._shown_epoch is not None:
            measured = progress.of_epoch(self._trainer)  # in all processes, as they may add it up
            if self._view is not None:
                self._view.log(self._steps_done(), measured, epoch=self._shown_epoch + 1)
                self._view.end_epoch()
        self._shown_epoch = None

    def _begin_epoch(self, fetcher: Any) -> None:
        saved, self._resume = self._resume, None
        trainer, self._inside = self._trainer, False
        self._end_epoch()
        self._shown_epoch = trainer.current_epoch
        if self._view is not None:
            done = saved.meta["step_in_epoch"] if saved is not None else 0
            self._view.begin_epoch(trainer.current_epoch, trainer.num_training_batches, done=done)
        if saved is not None:
            self._give(saved)  # again: the beginning has changed a part
            if saved.meta["complete"]:
                progress.begin_another_epoch(trainer)  # more of them were asked for
            self._gradients.give(saved.tree()["gradients"])
            if not saved.meta["complete"]:
                saved.restore_random()
        if saved is not None and saved.meta["step_in_epoch"]:
            self._go_to(fetcher, saved)
            return
        self._begin = rng.capture(), take_generators(self._generators())
        if saved is None:
            epoch = trainer.current_epoch
            save = self._save_clock.saved_step == NEVER or self._decide(at_epoch=epoch or None, ask=True)[0]
            first = self._save_clock.saved_step == NEVER
            if save:
                self._save()
            if first:
                self._run.written()
        self._open(fetcher)

    def _go_to(self, fetcher: Any, saved: SavedState) -> None:
        tree, done = saved.tree(), saved.meta["step_in_epoch"]
        self._begin = rng.of_epoch_start(saved.tensors), tree["begin"]
        give_generators(self._generators(), tree["begin"])
        rng.restore(self._begin[0])
        self._open(fetcher, tree.get("reopened", ()))
        if not self._skip_by_sampler(fetcher, done):
            for _ in range(done):
                next(fetcher)
        give_generators(self._generators(), tree["generators"])
        saved.restore_random()

    def _open(self, fetcher: Any, reopened: Iterable[Any] = ()) -> None:
        iter(fetcher)
        self._reopened = Reopened(self._generators, reopened)
        self._reopened.watch(fetcher.combined_loader)

    def _skip_by_sampler(self, fetcher: Any, done: int) -> bool:
        """Pass over batches without reading them, where there is one plain loader that this process reads."""
        modes = fetcher.combined_loader._iterator
        single = self._sources[0] if len(self._sources) == 1 else None
        if not isinstance(single, LoaderSource) or single.data.num_workers or fetcher.length is None:
            return False
        order = getattr(modes.iterators[0], "_sampler_iter", None)
        if order is None:
            return False
        for _ in range(done):
            next(order)
        modes._idx += done
        fetcher.fetched += done
        fetcher.done = fetcher.fetched >= fetcher.length
        return True

    def _between_batches(self) -> None:
        save, stop = self._decide()
        if save:
            self._save()
        if stop:
            self._stop()

    def _release(self, words: str = "") -> None:
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return
        self._signals.restore()
        self._gradients.release()
        loop = trainer.fit_loop.epoch_loop
        for name in ("on_run_start", "advance"):
            vars(loop).pop(name, None)
        vars(loop._results).pop("update_metrics", None)
        self._run.end_writing()
        view, self._view, self._shown_epoch = self._view, None, None
        if view is not None:  # last, as it tells what is saved
            if view.shown and (bar := trainer.progress_bar_callback) is not None:
                bar.enable()
            view.close(words)

    def _stop(self) -> None:
        trainer = self._trainer
        super()._stop()
        self._end_early(trainer)
        raise StopIteration  # the end of the data, for the loop over the batches

    def _end_early(self, trainer: Any) -> None:
        """Let the Trainer end before its last epoch, whatever it must train at least."""
        self._least = {name: getattr(trainer.fit_loop, name) for name in ("min_epochs", "min_steps")}
        vars(trainer.fit_loop).update(min_epochs=0, min_steps=None)
        trainer.should_stop = True

    def _is_running(self, frame: FrameType | None) -> bool:
        if self._trainer is None:
            return False
        loop = self._trainer.fit_loop
        return frame_of_method("run", of=lambda owner: owner is loop, frame=frame) is not None

    # ---- saving and restoring ----

    def _steps_done(self) -> int:
        """Batches of all epochs that are done."""
        total: int = self._trainer.fit_loop.epoch_loop.batch_progress.total.completed
        return total

    def _versions(self) -> dict[str, str]:
        names = [name for name in ("lightning", "pytorch_lightning") if hasattr(sys.modules.get(name), "__version__")]
        return pytree.versions(**{name: str(sys.modules[name].__version__) for name in names})

    def _generators(self) -> dict[str, Any]:
        return {
            f"{at}.{name}": each
            for at, source in enumerate(self._sources)
            for name, each in source.generators().items()
        }

    def _save_state(self, *, complete: bool) -> None:
        trainer = self._trainer
        assert self._parts is not None  # noqa: S101 - made when the fit starts
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed if self._inside else 0
        tensors: dict[str, Any] = dict(rng.capture())
        if done:
            tensors |= rng.at_epoch_start(self._begin[0])
        tree = {
            "parts": self._parts.take(),
            "gradients": self._gradients.take(),
            "generators": take_generators(self._generators()),
            "begin": self._begin[1] if done else {},
            "reopened": self._reopened.states if done else [],
            "progress": progress.take(trainer, self),
        }
        values = {name: value for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        self._submit(
            tree,
            tensors,
            epoch=trainer.current_epoch,
            step_in_epoch=done,
            epochs=trainer.max_epochs,
            max_steps=trainer.max_steps,
            complete=complete,
            cut=complete and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch,
            metrics={name: float(value) for name, value in values.items()},
        )

    def _give(self, saved: SavedState) -> None:
        assert self._parts is not None  # noqa: S101 - made when the fit starts
        tree = saved.tree()
        self._parts.give(tree["parts"])
        progress.give(self._trainer, self, tree["progress"])
        for checkpoint in self._trainer.checkpoint_callbacks:
            is_lost(getattr(checkpoint, "best_model_path", ""), owner=type(checkpoint).__name__)


def _is_other(part: Any, module: Any) -> bool:
    """Say whether an attribute of a callback is a module of its own, such as an average of the weights."""
    return hasattr(part, "named_parameters") and hasattr(part, "state_dict") and part is not module


def _check_supported(trainer: Any) -> None:
    if trainer.ckpt_path is not None:
        raise UnsupportedError(
            "run.resume_lightning() and ckpt_path= do the same thing",
            why="both would put a state back",
            hint="leave ckpt_path= out",
        )
    kind = type(trainer.strategy).__name__
    if trainer.world_size > 1 and kind not in _SHARED:
        raise UnsupportedError(
            f"run.resume_lightning() does not resume a training of {trainer.world_size} processes by {kind}",
            why="no process has the whole model there",
            hint="pass strategy='ddp', or continue with ckpt_path='last' and a ModelCheckpoint in run.dir",
        )
