"""The callback that makes a fastai fit resumable: `learn.fit_one_cycle(5, cbs=run.resume_fastai())`.

The loop of fastai runs each of its parts through `Learner._with_events`. For the time of one fit the callback puts
itself there, so that epochs that are done are passed over without their events, and an epoch that was begun goes on
after the steps that are done. What is known of the loop is in this file.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify, warn
from colabkit.checkpoint.fastai import state
from colabkit.checkpoint.fastai.best_files import BestFiles
from colabkit.checkpoint.memory_words import telling_lack_of_memory
from colabkit.checkpoint.policy.save_triggers import SaveTriggers, session_left
from colabkit.checkpoint.policy.signals import TIME_OVER, StopSignals
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.state.loose import LooseState
from colabkit.checkpoint.state.pytree import Snapshot
from colabkit.errors import ColabKitError, CorruptCheckpointError, RunMismatchError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.run_store import RunStore

KIND = "fastai"
_NEEDED = {"step", "epoch", "step_in_epoch", "epochs", "fit", "complete", "seconds", "data", "layout", "state"}
_BEGIN = "begin/"
_passed: dict[str, list[str]] = {}  # by the run's folder: the fits that this process has trained or restored


class ResumeLearner:
    """Saves the state of a learner as it trains, and at the start of a fit continues from the newest saved state.

    It is no subclass of fastai's Callback, which rewrites the errors that leave it.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.

    Attributes:
        resumed_from: After the start of a fit: the `epoch` (from 0) and the `step` in it where the run was continued,
            or None in a new run.
        stopped: Why the fit ended before its last epoch, in words; empty where it did not.
    """

    name = "resume_fastai"
    order = 1000  # after all others, so that what they change is saved too

    def __init__(self, run: RunStore, *, check_data: bool) -> None:
        self.learn: Any = None
        self.resumed_from: dict[str, int] | None = None
        self.stopped = ""
        self._given = run
        self._check_data = check_data
        self._call = -1  # fine_tune calls fit twice, with the same callback
        self._fits: list[str] = []  # the identities of the run's fits; the last one is trained
        self._loose: LooseState | None = None
        self._best_files = BestFiles()
        self._read = False
        self._saved: Checkpoint | None = None
        self._begun: Checkpoint | None = None
        self._active = False
        self._is_complete = False
        self._others: list[Any] = []
        self._data: dict[str, Any] = {}
        self._begin: dict[str, Any] = {}
        self._end_of_epoch_state: dict[str, Any] | None = None
        self._owed_tensors: dict[str, Any] = {}
        self._epoch = self._step_in_epoch = self._step = 0
        self._saved_step = -1
        self._begun_at = 0
        self._spent = 0.0
        self._began = self._saved_at = time.monotonic()
        self._occasions: SaveTriggers | None = None
        self._signals = StopSignals(self._is_running, limit=run.limit)
        self._events: dict[str, Callable[[], None]] = {
            "before_fit": self._before_fit,
            "after_batch": self._after_batch,
            "after_epoch": self._after_epoch,
            "after_cancel_fit": self._after_cancel_fit,
            "after_fit": self._after_fit,
        }

    def __repr__(self) -> str:
        return f"<resume {self._given.name}>"

    def __call__(self, event: str) -> None:
        """Take an event of fastai's loop."""
        act = self._events.get(event)
        if act is not None and (self._active or event == "before_fit"):
            act()

    # ---- the life of a fit ----

    def _before_fit(self) -> None:
        learn = self.learn
        # get_preds and validate send this event too; the finder of learning rates trains, but brings all back.
        if self._active or not _in_fit(learn) or hasattr(learn, "lr_finder"):
            return
        if self.stopped:  # fine_tune goes on with its second fit
            raise _cancelled()
        _check_supported(learn)
        self._given.begin_writing()
        try:
            self._start(learn)
        except BaseException:
            self._given.close()
            raise
        self._active = True
        self._begun_at = self._step
        learn._with_events = self._with_events
        self._began = self._saved_at = time.monotonic()
        self._occasions = SaveTriggers(self._given.dir, session_left=session_left())
        self._signals.install()

    def _start(self, learn: Any) -> None:
        self._call += 1
        self._loose = LooseState(learn.model)
        self._others = [callback for callback in learn.cbs if callback is not self]
        self._data = state.identity(learn.dls)
        self._epoch = self._step_in_epoch = 0
        self._begun = self._end_of_epoch_state = None
        fit = state.fit_identity(learn, self._call)
        if not self._read:
            self._saved, self._read = self._given.newest(KIND), True
        saved, done = self._saved, _passed.setdefault(str(self._given.dir), [])
        if saved is None:
            self._fits.append(fit)
            done.append(fit)
            if self._saved_step < self._step or self._saved_step < 0:
                self._save(wait=True)
            return
        self._check_keys(saved.meta)
        state.check_same_model(self._given.name, saved.meta["layout"], state.layout(learn))
        before = saved.meta["fit"]  # all that checkpoints of version 0.1 say of their fits
        self._fits = list(saved.meta.get("fits") or [*map(str, range(before)), fit if before == self._call else ""])
        if fit == self._fits[-1]:
            self._saved = None
            done.append(fit)
            self._check(saved.meta)
            self._restore(learn, saved)
        elif fit in self._fits or not self._fits[-1]:
            notify("%s: this fit is done; a later one continues", self._given.name)
            self._epoch = learn.n_epoch
        else:
            self._saved = None
            self._begin_another(fit, saved.meta)
            done.append(fit)

    def _begin_another(self, fit: str, meta: dict[str, Any]) -> None:
        """Begin a fit of other parameters after one that is complete, as a script does that freezes and unfreezes.

        Raises:
            RunMismatchError: That fit is not complete, or its weights are not those of this learner.
        """
        name = self._given.name
        if not meta["complete"] or self._fits[-1] not in _passed[str(self._given.dir)]:
            raise RunMismatchError(
                f"the run {name} belongs to a fit that trains other parameters",
                why="other layers are frozen now"
                + (", and that fit is complete but was not gone through here" if meta["complete"] else ""),
                hint="freeze the layers as they were and run all the fits in order: those that are done only "
                f"load their weights; or give each its own: {name}.phase('fine-tune').resume_fastai()",
            )
        self._fits.append(fit)
        self._step = self._saved_step = meta["step"]
        self._spent = meta["seconds"]

    def _restore(self, learn: Any, saved: Checkpoint) -> None:
        meta, epochs, name = saved.meta, learn.n_epoch, self._given.name
        self._epoch, self._step_in_epoch = meta["epoch"], meta["step_in_epoch"]
        self._step = self._saved_step = meta["step"]
        self._spent = meta["seconds"]
        self.resumed_from = {"epoch": self._epoch, "step": self._step_in_epoch}
        if meta["complete"] and epochs <= meta["epochs"]:
            notify("%s: already trained for %s epochs; ask for more to continue", name, meta["epoch"])
            self._epoch = epochs
        elif self._step_in_epoch:
            notify("%s: continuing in epoch %s of %s after step %s", name, self._epoch + 1, epochs, self._step_in_epoch)
        else:
            notify("%s: continuing with epoch %s of %s", name, self._epoch + 1, epochs)
        if meta["complete"] and epochs > meta["epochs"]:
            notify(
                "%s: this continues the fit that is complete; for another fit of the same parameters, with %s "
                "epochs of its own, take run.phase('second').resume_fastai()",
                name,
                epochs,
            )
        if epochs != meta["epochs"]:
            warn("%s: %s epochs instead of %s; a schedule over them differs", name, epochs, meta["epochs"])
        self._apply(saved, with_files=True)
        self._begun = saved if self._step_in_epoch or self._epoch >= epochs else None

    def _with_events(self, part: Callable[[], None], kind: str, *rest: Any) -> None:
        """Run a part of fastai's loop as `Learner._with_events` does, or pass over what is done."""
        learn = self.learn
        if kind == "epoch" and learn.epoch < self._epoch:
            state.advance_bars(self._others)
            return
        original = type(learn)._with_events
        try:
            original(learn, (lambda: self._train(part)) if kind == "train" else part, kind, *rest)
        except Exception as error:
            if kind == "epoch" and not type(error).__name__.startswith("Cancel"):
                self._failed()
            raise
        except BaseException:
            if kind == "epoch":
                self._failed()
            raise

    def _train(self, part: Callable[[], None]) -> None:
        """Train an epoch; one that was begun by an earlier process goes on after the steps that are done.

        What was read of the data is read again, without training on it: that brings every kind of data loader, its
        workers and its random changes of the samples, to the place where it was.
        """
        learn = self.learn
        saved, self._begun = self._begun, None
        if saved is None:
            self._begin = state.generators(learn.dls)
            part()
            return
        done, steps = self._step_in_epoch, len(learn.dl)
        self._begin = {name[len(_BEGIN) :]: array for name, array in saved.tensors.items() if name.startswith(_BEGIN)}
        state.restore_generators(learn.dls, saved.tensors, prefix=_BEGIN)
        batches = iter(learn.dl) if done < steps else iter(())
        for _ in range(done if done < steps else 0):
            next(batches)
        learn.n_iter = steps
        self._apply(saved)  # again: the beginning of the epoch has reset a part
        if done >= steps:
            self._owe()
        for number, batch in enumerate(batches, done):
            learn.one_batch(number, batch)

    def _after_batch(self) -> None:
        learn = self.learn
        if not learn.training:
            signal = self._signals.received
            # With the time over, and nothing trained in this call, it ends the epoch at least.
            if signal is not None and not (signal == TIME_OVER and self._step == self._begun_at):
                self._save_owed()
                self._stop()
            return
        self._step += 1
        self._step_in_epoch = learn.iter + 1
        if self._step_in_epoch == learn.n_iter:
            self._owe()
        stopping = self._signals.received is not None
        if stopping or self._due():
            self._save(wait=stopping)
        if stopping:
            self._stop()

    def _after_epoch(self) -> None:
        learn = self.learn
        self._epoch, self._step_in_epoch, self._end_of_epoch_state = learn.epoch + 1, 0, None
        stopping = self._signals.received is not None
        last = self._epoch >= learn.n_epoch  # saved in a moment, with what the ends of the callbacks change
        stopping = stopping and not (last and self._signals.received == TIME_OVER)
        if stopping or (not last and self._given.every.due_at_epoch(self._epoch)):
            self._save(wait=stopping)
        if stopping:
            self._stop()

    def _after_cancel_fit(self) -> None:
        """Take note that a callback ended the fit, as EarlyStoppingCallback does."""
        self._epoch, self._step_in_epoch, self._end_of_epoch_state = self.learn.epoch + 1, 0, None

    def _after_fit(self) -> None:
        self._release_learner(ended=True)
        saved = self._begun
        self._begun = None
        if saved is not None:
            self._apply(saved)  # nothing was left to train, and the ends of the callbacks may have changed it
        elif self._saved is None:
            self._is_complete = True
            self._save(wait=False)
            self._given.tell("ended", f"is trained, {self._epoch} epoch{'s' * (self._epoch != 1)}")
        self._is_complete = False
        self._given.end_writing()

    # ---- saving ----

    def _due(self) -> bool:
        now = time.monotonic()
        if self._given.every.due(seconds=now - self._saved_at, steps=self._step - self._saved_step):
            return True
        if self._occasions is None or not (why := self._occasions.now(saved_at=self._saved_at)):
            return False
        notify("%s: %s; saving at step %s", self._given.name, why, self._step)
        return True

    def _take(self) -> tuple[dict[str, Any], dict[str, Any]]:
        learn = self.learn
        tensors: dict[str, Any] = dict(state.generators(learn.dls))
        if self._step_in_epoch:
            tensors |= {f"{_BEGIN}{name}": array for name, array in self._begin.items()}
        return tensors, pytree.flatten(self._capture_rest(), "fastai", tensors)

    def _capture_rest(self) -> dict[str, Any]:
        assert self._loose is not None  # noqa: S101 - made when the fit starts
        rest = state.capture_rest(self.learn, self._others)
        loose = state.encode(self._loose.changed())
        return rest | {"loose": loose, "best_files": self._best_files.capture(self._others)}

    def _owe(self) -> None:
        """Keep what the validation and the end of the epoch will change; the weights they leave alone."""
        self._end_of_epoch_state = None
        with telling_lack_of_memory(self._given, step=self._step):
            tensors, rest = self._take()
            self._owed_tensors = {name: array.copy() for name, array in tensors.items()}
            self._end_of_epoch_state = rest

    def _save_owed(self) -> None:
        if (rest := self._end_of_epoch_state) is not None and self._saved_step < self._step:
            self._submit(lambda: (self._owed_tensors, rest), wait=True)

    def _save(self, *, wait: bool) -> None:
        self._submit(self._take, wait=wait)

    def _submit(self, take: Callable[[], tuple[dict[str, Any], dict[str, Any]]], *, wait: bool) -> None:
        learn = self.learn
        with telling_lack_of_memory(self._given, step=self._step):
            tensors, rest = take()
            tensors = state.capture_model(learn) | tensors
            self._given.submit(Snapshot(step=self._step, tensors=tensors, meta=self._meta(learn, rest)))
        self._saved_step = self._step
        if wait:
            self._given.written()
        self._saved_at = time.monotonic()

    def _meta(self, learn: Any, rest: dict[str, Any]) -> dict[str, Any]:
        history = state.history(learn)
        return {
            "kind": KIND,
            "step": self._step,
            "epoch": self._epoch,
            "step_in_epoch": self._step_in_epoch,
            "epochs": learn.n_epoch,
            "fit": len(self._fits) - 1,
            "fits": self._fits,
            "complete": self._is_complete,
            "metrics": {name: values[-1] for name, values in history["values"].items() if values},
            "saved_at": time.time(),
            "seconds": self._spent + time.monotonic() - self._began,
            "history": history,
            "data": self._data,
            "layout": state.layout(learn),
            "versions": _versions(),
            "state": rest,
        }

    # ---- restoring ----

    def _check_keys(self, meta: dict[str, Any]) -> None:
        if missing := _NEEDED - meta.keys():
            raise CorruptCheckpointError(f"the checkpoint of {self._given.name} lacks {', '.join(sorted(missing))}")

    def _check(self, meta: dict[str, Any]) -> None:
        name = self._given.name
        if self._check_data:
            state.check_same_data(name, meta["data"], self._data)
        before = meta.get("versions", {})
        changed = [
            f"{part} {before[part]} -> {now}" for part, now in _versions().items() if before.get(part, now) != now
        ]
        if changed:
            warn("%s: versions changed, so bit-for-bit equality is not promised: %s", name, "; ".join(changed))

    def _apply(self, saved: Checkpoint, *, with_files: bool = False) -> None:
        learn = self.learn
        try:
            rest = pytree.unflatten(saved.meta["state"], saved.tensors)
            state.apply(learn, self._others, saved.tensors, rest)
            if with_files:
                self._best_files.restore(self._others, rest.get("best_files", {}))
            if self._loose is not None:
                self._loose.restore(state.decode(rest.get("loose", {})))
            state.restore_generators(learn.dls, saved.tensors)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
            raise RunMismatchError(
                f"the checkpoint of {self._given.name} does not fit this learner",
                why=f"{type(error).__name__}: {error}",
                hint="build the learner and its optimizer as they were, or open a run under another name",
            ) from error

    # ---- stopping ----

    def _failed(self) -> None:
        """Save what an error in the validation or at the end of an epoch would lose, and let go of the learner."""
        if not self._active:
            return
        try:
            self._save_owed()
        except Exception as second:  # noqa: BLE001 - the first error is the one to see
            warn("%s: the state at the error is not saved. %s", self._given.name, second)
        finally:
            self._release_learner()
            self._given.end_writing()
            self._given.tell("failed", f"failed at step {self._step}")

    def _release_learner(self, *, ended: bool = False) -> None:
        self._active = False
        if not ended:  # the same callback may be given again, to go on
            self._call, self._read = -1, False
        self._signals.restore()
        vars(self.learn).pop("_with_events", None)

    def _is_running(self, frame: FrameType | None) -> bool:
        return self._active and _in_fit(self.learn, frame)

    def _stop(self) -> None:
        try:
            self._given.written()
        except ColabKitError as error:
            warn("%s", error)
        self._release_learner()
        self._given.end_writing()
        step, name = self._given.status().saved_step, self._given.name
        self._given.tell("stopped", f"was stopped at step {step}, which is saved")
        self._signals.deliver(f"{name} is saved at step {step}; run it again and it continues there")
        self.stopped = f"its time is over at step {step}"
        raise _cancelled()


def _cancelled() -> Exception:
    """Return what ends a fit of fastai in good order."""
    from fastai.callback.core import CancelFitException

    error: Exception = CancelFitException()
    return error


def _in_fit(learn: Any, frame: FrameType | None = None) -> bool:
    """Say whether a `fit` of this learner is among the callers."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is learn:
            return True
        frame = frame.f_back
    return False


def _check_supported(learn: Any) -> None:
    from fastai.torch_core import num_distrib

    if num_distrib() > 1:
        raise UnsupportedError(
            "run.resume_fastai() does not resume a training of several processes",
            why="each would have to stop at the same step",
            hint="train in one process, or save with run.save yourself",
        )
    if hasattr(learn, "non_native_mixed_precision"):
        raise UnsupportedError(
            "run.resume_fastai() does not resume to_non_native_fp16()",
            why="it keeps a second copy of the weights that no one else can reach",
            hint="use learn.to_fp16() or learn.to_bf16()",
        )


def _versions() -> dict[str, str]:
    import fastai
    import fastcore

    return pytree.versions(fastai=fastai.__version__, fastcore=fastcore.__version__)
