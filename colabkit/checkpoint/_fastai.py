"""The callback that makes a fastai fit resumable: `learn.fit_one_cycle(5, cbs=run.resume_fastai())`.

The loop of fastai runs each of its parts through `Learner._with_events`. For the time of one fit the callback puts
itself there, so that epochs that are done are passed over without their events, and an epoch that was begun goes on
after the steps that are done. What is known of the loop is in this file.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from colabkit._tools.log import say, warn
from colabkit.checkpoint import _fastai_state as state
from colabkit.checkpoint import snapshot
from colabkit.checkpoint._signals import StopSignals
from colabkit.checkpoint.occasions import Occasions, session_left
from colabkit.checkpoint.snapshot import Snapshot
from colabkit.errors import ColabKitError, CorruptCheckpointError, RunMismatchError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from colabkit.checkpoint.container import Checkpoint
    from colabkit.checkpoint.run import Run

KIND = "fastai"
_NEEDED = {"step", "epoch", "step_in_epoch", "epochs", "fit", "complete", "seconds", "data", "layout", "state"}
_BEGIN = "begin/"


class ResumeLearner:
    """Saves the state of a learner as it trains, and at the start of a fit continues from the newest saved state.

    It is no subclass of fastai's Callback, which rewrites the errors that leave it.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.

    Attributes:
        resumed_from: After the start of a fit: the `epoch` (from 0) and the `step` in it where the run was continued,
            or None in a new run.
    """

    name = "resume_fastai"
    order = 1000  # after all others, so that what they change is saved too

    def __init__(self, run: Run, *, check_data: bool) -> None:
        self.learn: Any = None
        self.resumed_from: dict[str, int] | None = None
        self._given = run
        self._check_data = check_data
        self._fit = -1  # fine_tune calls fit twice, with the same callback
        self._read = False
        self._saved: Checkpoint | None = None
        self._begun: Checkpoint | None = None
        self._active = False
        self._whole = False
        self._others: list[Any] = []
        self._data: dict[str, Any] = {}
        self._begin: dict[str, Any] = {}
        self._owed: dict[str, Any] | None = None
        self._owed_tensors: dict[str, Any] = {}
        self._epoch = self._step_in_epoch = self._step = 0
        self._saved_step = -1
        self._spent = 0.0
        self._began = self._saved_at = time.monotonic()
        self._occasions: Occasions | None = None
        self._signals = StopSignals(self._is_running)
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
        _check_supported(learn)
        self._given.begin_writing()
        try:
            self._start(learn)
        except BaseException:
            self._given.close()
            raise
        self._active = True
        learn._with_events = self._with_events
        self._began = self._saved_at = time.monotonic()
        self._occasions = Occasions(self._given.dir, session_left=session_left())
        self._signals.install()

    def _start(self, learn: Any) -> None:
        self._fit += 1
        self._others = [callback for callback in learn.cbs if callback is not self]
        self._data = state.identity(learn.dls)
        self._epoch = self._step_in_epoch = 0
        self._begun = self._owed = None
        if not self._read:
            self._saved, self._read = self._given.newest(KIND), True
            if self._saved is not None:
                self._check(learn, self._saved.meta)
        saved = self._saved
        if saved is None:
            if self._saved_step < self._step or self._saved_step < 0:
                self._save(wait=True)
            return
        if saved.meta["fit"] > self._fit:
            say("%s: this fit is done; a later one goes on", self._given.name)
            self._epoch = learn.n_epoch
            return
        self._saved = None
        self._restore(learn, saved)

    def _restore(self, learn: Any, saved: Checkpoint) -> None:
        meta, epochs, name = saved.meta, learn.n_epoch, self._given.name
        self._epoch, self._step_in_epoch = meta["epoch"], meta["step_in_epoch"]
        self._step = self._saved_step = meta["step"]
        self._spent = meta["seconds"]
        self.resumed_from = {"epoch": self._epoch, "step": self._step_in_epoch}
        if meta["complete"] and epochs <= meta["epochs"]:
            say("%s: already trained, %s epochs; ask for more of them to go on", name, meta["epoch"])
            self._epoch = epochs
        elif self._step_in_epoch:
            say("%s: continuing in epoch %s of %s after step %s", name, self._epoch + 1, epochs, self._step_in_epoch)
        else:
            say("%s: continuing with epoch %s of %s", name, self._epoch + 1, epochs)
        if epochs != meta["epochs"]:
            warn("%s: %s epochs instead of %s; a schedule over them is another one", name, epochs, meta["epochs"])
        self._apply(saved)
        self._begun = saved if self._step_in_epoch or self._epoch >= epochs else None

    def _with_events(self, part: Callable[[], None], kind: str, *rest: Any) -> None:
        """Run a part of fastai's loop as `Learner._with_events` does, or pass over what is done."""
        learn = self.learn
        if kind == "epoch" and learn.epoch < self._epoch:
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
            if self._signals.received is not None:
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
        self._epoch, self._step_in_epoch, self._owed = learn.epoch + 1, 0, None
        stopping = self._signals.received is not None
        last = self._epoch >= learn.n_epoch  # saved in a moment, with what the ends of the callbacks change
        if stopping or (not last and self._given.every.due_at_epoch(self._epoch)):
            self._save(wait=stopping)
        if stopping:
            self._stop()

    def _after_cancel_fit(self) -> None:
        """Take note that a callback ended the fit, as EarlyStoppingCallback does."""
        self._epoch, self._step_in_epoch, self._owed = self.learn.epoch + 1, 0, None

    def _after_fit(self) -> None:
        self._release_learner()
        saved = self._begun
        self._begun = None
        if saved is not None:
            self._apply(saved)  # nothing was left to train, and the ends of the callbacks may have changed it
        elif self._saved is None:
            self._whole = True
            self._save(wait=False)
        self._whole = False
        self._given.end_writing()

    # ---- saving ----

    def _due(self) -> bool:
        now = time.monotonic()
        if self._given.every.due(seconds=now - self._saved_at, steps=self._step - self._saved_step):
            return True
        if self._occasions is None or not (why := self._occasions.now(saved_at=self._saved_at)):
            return False
        say("%s: %s; saving at step %s", self._given.name, why, self._step)
        return True

    def _take(self) -> tuple[dict[str, Any], dict[str, Any]]:
        learn = self.learn
        tensors: dict[str, Any] = dict(state.generators(learn.dls))
        if self._step_in_epoch:
            tensors |= {f"{_BEGIN}{name}": array for name, array in self._begin.items()}
        return tensors, snapshot.take_apart(state.capture_rest(learn, self._others), "fastai", tensors)

    def _owe(self) -> None:
        """Keep what the validation and the end of the epoch will change; the weights they leave alone."""
        tensors, self._owed = self._take()
        self._owed_tensors = {name: array.copy() for name, array in tensors.items()}

    def _save_owed(self) -> None:
        if self._owed is not None and self._saved_step < self._step:
            self._submit(self._owed_tensors, self._owed, wait=True)

    def _save(self, *, wait: bool) -> None:
        tensors, rest = self._take()
        self._submit(tensors, rest, wait=wait)

    def _submit(self, tensors: dict[str, Any], rest: dict[str, Any], *, wait: bool) -> None:
        learn = self.learn
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
            "fit": self._fit,
            "complete": self._whole,
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

    def _check(self, learn: Any, meta: dict[str, Any]) -> None:
        name = self._given.name
        if missing := _NEEDED - meta.keys():
            raise CorruptCheckpointError(f"the checkpoint of {name} lacks {', '.join(sorted(missing))}")
        state.check_same_model(name, meta["layout"], state.layout(learn))
        if self._check_data:
            state.check_same_data(name, meta["data"], self._data)
        before = meta.get("versions", {})
        changed = [
            f"{part} {before[part]} -> {now}" for part, now in _versions().items() if before.get(part, now) != now
        ]
        if changed:
            warn("%s: versions changed, so bit-for-bit equality is not promised: %s", name, "; ".join(changed))

    def _apply(self, saved: Checkpoint) -> None:
        learn = self.learn
        try:
            rest = snapshot.put_together(saved.meta["state"], saved.tensors)
            state.apply(learn, self._others, saved.tensors, rest)
            state.restore_generators(learn.dls, saved.tensors)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
            raise RunMismatchError(
                f"the checkpoint of {self._given.name} does not fit this learner",
                why=f"{type(error).__name__}: {error}",
                do="build the learner and its optimizer as they were, or open a run under another name",
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

    def _release_learner(self) -> None:
        self._active = False
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
        self._signals.deliver(f"{name} is saved at step {step}; run the same again and it continues there")


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
            do="train in one process, or save with run.save yourself",
        )
    if hasattr(learn, "non_native_mixed_precision"):
        raise UnsupportedError(
            "run.resume_fastai() does not resume to_non_native_fp16()",
            why="it keeps a second copy of the weights that no one else can reach",
            do="use learn.to_fp16() or learn.to_bf16()",
        )


def _versions() -> dict[str, str]:
    import fastai
    import fastcore

    return snapshot.versions(fastai=fastai.__version__, fastcore=fastcore.__version__)
