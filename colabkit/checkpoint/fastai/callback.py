"""The callback that makes a fastai fit resumable: `learn.fit_one_cycle(5, cbs=run.resume_fastai())`.

The loop of fastai runs each of its parts through `Learner._with_events`. For the time of one fit the callback puts
itself there, so that epochs that are done are passed over without their events, and an epoch that was begun goes on
after the steps that are done. What is known of the loop is in this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import counted
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.fastai import state
from colabkit.checkpoint.fastai.best_files import BestFiles
from colabkit.checkpoint.fastai.fits import FitKind, RunFits
from colabkit.checkpoint.fastai.learner import LearnerState
from colabkit.checkpoint.fastai.saver import FitPlace, FitSaver, versions
from colabkit.checkpoint.policy import begun_again, set_order
from colabkit.checkpoint.policy.callers import frame_of_method
from colabkit.checkpoint.policy.save_triggers import SaveTriggers, session_left
from colabkit.checkpoint.policy.signals import TIME_OVER, StopSignals
from colabkit.checkpoint.policy.stopping import act_on_signal, wait_until_written
from colabkit.checkpoint.state import hardware
from colabkit.checkpoint.state.checks import changed_versions
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.run_store import RunStore

_EVENTS = frozenset({"before_fit", "after_batch", "after_epoch", "after_cancel_fit", "after_fit"})
_ALREADY_TRAINED = "%s: already trained for %s epochs; ask for more to continue%s"
_IN_PLACE_OF_THE_LOOP = (
    'write cbs=run.phase("NAME").resume_fastai(), with a name for each trial, fold or stage: run.phase(f"fold-{k}"); '
    "or, to train on in each round, make the callback before the loop: resume = run.resume_fastai(), cbs=resume"
)


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
        self._fits = RunFits(run)
        self._kind = FitKind.NEW  # of the present fit
        self._saver = FitSaver(run, self._fits)
        self._best_files = BestFiles()
        self._learner: LearnerState | None = None  # of the present fit
        self._begun: Checkpoint | None = None  # what the epoch that begins has to be brought to
        self._active = False
        self._begun_at = 0  # the step that this fit began at
        self._signals = StopSignals(self._is_running, limit=run.limit)

    def __repr__(self) -> str:
        return f"<resume {self._given.name}>"

    def __call__(self, event: str) -> None:
        """Take an event of fastai's loop."""
        if event in _EVENTS and (self._active or event == "before_fit"):
            getattr(self, f"_{event}")()

    @property
    def _place(self) -> FitPlace:
        return self._saver.place

    @property
    def _state(self) -> LearnerState:
        assert self._learner is not None  # noqa: S101 - made when the fit begins
        return self._learner

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
        self._begun_at = self._place.step
        learn._with_events = self._with_events
        self._saver.time.start()
        self._saver.clock.start(SaveTriggers(self._given.dir, session_left=session_left()))
        self._signals.install()

    def _start(self, learn: Any) -> None:
        """Begin the next fit of the run as what it is: new, continued, done, or another one."""
        saver, place = self._saver, self._place
        self._learner = LearnerState(learn, self, self._given, self._best_files)
        self._begun = None
        place.epoch = place.step_in_epoch = 0
        saver.forget_end_of_epoch()
        self._kind, saved = self._fits.next(learn)
        fit = self._given.dir, self._fits.identities[-1]
        is_begun_again = begun_again.note(fit, epochs=max(1, learn.n_epoch))
        if saved is None:
            if saver.clock.saved_step < place.step:
                saver.save(self._state, wait=True)
        elif self._kind is FitKind.CONTINUED:
            set_order.check(self._given.name, saved.meta, refuse=self._check_data)
            if self._check_data:
                self._state.give_data(saved, run=self._given.name)
            self._check(saved.meta)
            if is_begun_again and saved.meta["complete"] and learn.n_epoch <= saved.meta["epochs"]:
                begun_again.refuse(self._given.name, f"{saved.meta['epoch']} epochs", way=_IN_PLACE_OF_THE_LOOP)
            self._restore(learn, saved)
        elif self._kind is FitKind.DONE:
            notify("%s: this fit is done; a later one continues", self._given.name)
            place.epoch = learn.n_epoch
        else:
            place.step = saver.clock.saved_step = saved.meta["step"]
            saver.time.go_on(saved.meta["seconds"])

    def _restore(self, learn: Any, saved: Checkpoint) -> None:
        meta, epochs, name, place = saved.meta, learn.n_epoch, self._given.name, self._place
        self._state.give_drawn(saved)
        place.epoch, place.step_in_epoch = meta["epoch"], meta["step_in_epoch"]
        place.step = self._saver.clock.saved_step = meta["step"]
        self._saver.time.go_on(meta["seconds"])
        self.resumed_from = {"epoch": place.epoch, "step": place.step_in_epoch}
        if meta["complete"] and epochs <= meta["epochs"]:
            notify(_ALREADY_TRAINED, name, meta["epoch"], self._fits.or_another())
            place.epoch = epochs
        else:
            _tell_place(name, meta, epochs)
        _tell_other_epochs(name, meta["epochs"], epochs)
        self._state.give(saved, run=name, with_files=True)
        self._begun = saved if place.step_in_epoch or place.epoch >= epochs else None

    def _with_events(self, part: Callable[[], None], kind: str, *rest: Any) -> None:
        """Run a part of fastai's loop as `Learner._with_events` does, or pass over what is done."""
        learn = self.learn
        if kind == "epoch" and learn.epoch < self._place.epoch:
            state.advance_bars(self._state.others)
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
        self._saver.epoch_begins(left=learn.n_epoch - learn.epoch, whole=saved is None)
        if saved is None:
            self._state.epoch_begins()
            part()
            return
        done, steps = self._place.step_in_epoch, len(learn.dl)
        self._state.go_to_epoch_start(saved)
        batches = iter(learn.dl) if done < steps else iter(())
        for _ in range(done if done < steps else 0):
            next(batches)
        learn.n_iter = steps
        self._state.give(saved, run=self._given.name, is_last=True)  # again: the epoch's beginning has reset a part
        if done >= steps:
            self._saver.keep_end_of_epoch(self._state)
        for number, batch in enumerate(batches, done):
            learn.one_batch(number, batch)

    def _after_batch(self) -> None:
        learn, place, saver = self.learn, self._place, self._saver
        if not learn.training:
            signal = self._signals.received
            # With the time over, and nothing trained in this call, it ends the epoch at least.
            if signal is not None and not (signal == TIME_OVER and place.step == self._begun_at):
                saver.save_end_of_epoch(self._state)
                self._stop()
            return
        place.step += 1
        place.step_in_epoch = learn.iter + 1
        if place.step_in_epoch == learn.n_iter:
            saver.keep_end_of_epoch(self._state)
        stopping = self._signals.received is not None
        if stopping or saver.clock.due(place.step):
            saver.save(self._state, wait=stopping)
        if stopping:
            self._stop()

    def _after_epoch(self) -> None:
        learn, place = self.learn, self._place
        place.end_epoch(learn.epoch)
        self._saver.forget_end_of_epoch()
        stopping = self._signals.received is not None
        last = place.epoch >= learn.n_epoch  # saved in a moment, with what the ends of the callbacks change
        stopping = stopping and not (last and self._signals.received == TIME_OVER)
        if stopping or (not last and self._given.every.due_at_epoch(place.epoch)):
            self._saver.save(self._state, wait=stopping)
        if stopping:
            self._stop()

    def _after_cancel_fit(self) -> None:
        """Take note that a callback ended the fit, as EarlyStoppingCallback does."""
        self._place.end_epoch(self.learn.epoch)
        self._saver.forget_end_of_epoch()

    def _after_fit(self) -> None:
        self._release_learner(ended=True)
        saved, self._begun = self._begun, None
        if saved is not None:  # nothing was left to train, and the ends of the callbacks may have changed it
            self._state.give(saved, run=self._given.name, is_last=True)
        elif self._kind is not FitKind.DONE:
            self._saver.save(self._state, wait=False, complete=True)
            self._given.tell("ended", f"is trained, {counted(self._place.epoch, 'epoch')}")
        self._state.release(is_cut=False)
        self._given.end_writing()

    def _check(self, meta: dict[str, Any]) -> None:
        name = self._given.name
        if self._check_data:
            state.check_same_data(name, meta["data"], self._state.data)
        if changed := changed_versions(meta.get("versions", {}), versions()):
            warn("%s: versions changed, so bit-for-bit equality is not promised: %s", name, changed)
        hardware.tell(name, meta, frameworks=["torch"])

    # ---- stopping ----

    def _failed(self) -> None:
        """Save what an error in the validation or at the end of an epoch would lose, and let go of the learner."""
        if not self._active:
            return
        try:
            self._saver.save_end_of_epoch(self._state)
        except Exception as second:  # noqa: BLE001 - the first error is the one to see
            warn("%s: the state at the error is not saved. %s", self._given.name, second)
        finally:
            self._release_learner()
            self._state.release(is_cut=True)
            self._given.end_writing()
            self._given.tell("failed", f"failed at step {self._place.step}")

    def _release_learner(self, *, ended: bool = False) -> None:
        self._active = False
        if not ended:  # the same callback may be given again, to go on
            self._fits.read_again()
        self._signals.restore()
        vars(self.learn).pop("_with_events", None)

    def _is_running(self, frame: FrameType | None) -> bool:
        return self._active and _in_fit(self.learn, frame)

    def _stop(self) -> None:
        wait_until_written(self._given)
        self._release_learner()
        self._state.release(is_cut=True)
        self._given.end_writing()
        step = act_on_signal(self._given, self._signals)
        self.stopped = f"its time is over at step {step}"
        raise _cancelled()


def _tell_other_epochs(name: str, before: int, now: int) -> None:
    if now != before:
        warn("%s: %s epochs instead of %s; a schedule over them differs", name, now, before)


def _tell_place(name: str, meta: dict[str, Any], epochs: int) -> None:
    """Say where a fit goes on, and what that makes of one that was complete."""
    if meta["step_in_epoch"]:
        notify("%s: continuing in epoch %s of %s after step %s", name, meta["epoch"] + 1, epochs, meta["step_in_epoch"])
    else:
        notify("%s: continuing with epoch %s of %s", name, meta["epoch"] + 1, epochs)
    if meta["complete"]:
        notify(
            "%s: this continues the fit that is complete; for another fit of the same parameters, with %s "
            "epochs of its own, take run.phase('second').resume_fastai()",
            name,
            epochs,
        )


def _cancelled() -> Exception:
    """Return what ends a fit of fastai in good order."""
    from fastai.callback.core import CancelFitException

    error: Exception = CancelFitException()
    return error


def _in_fit(learn: Any, frame: FrameType | None = None) -> bool:
    """Say whether a `fit` of this learner is among the callers."""
    return frame_of_method("fit", of=lambda owner: owner is learn, frame=frame) is not None


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
