"""The callback that makes a Keras `fit` resumable: `model.fit(..., callbacks=[run.resume()])`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._tools import keras_steps
from colabkit._tools.log import say, warn
from colabkit.checkpoint import _keras_fit, _rng, snapshot
from colabkit.checkpoint import _keras_state as state
from colabkit.checkpoint._keras_callbacks import Callbacks
from colabkit.checkpoint._keras_code import fingerprints
from colabkit.checkpoint._keras_data import Source, source_of
from colabkit.checkpoint._keras_together import Together, Watching
from colabkit.checkpoint._signals import StopSignals
from colabkit.checkpoint.occasions import Occasions, session_left
from colabkit.checkpoint.snapshot import Snapshot, versions
from colabkit.errors import ColabKitError, CorruptCheckpointError, RunMismatchError, UnsupportedError

if TYPE_CHECKING:
    from types import FrameType

    from colabkit.checkpoint.container import Checkpoint
    from colabkit.checkpoint.policy import Best
    from colabkit.checkpoint.run import Run

    Array = np.ndarray[Any, Any]

KIND = "keras"
_NEEDED = {"step", "epoch", "step_in_epoch", "epochs", "complete", "seconds", "history", "data", "layout", "settings"}
_LOOK_EVERY = 0.1  # seconds between two looks at what may call for a save
_MODEL = ("model/", "optimizer/", "optimizers/")


class ResumeCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the training state as it goes, and at the start of `fit` continues from the newest saved state.

    A state is one of three: between two steps of an epoch; after the last step of an epoch, when its validation and
    the callbacks of its end are still owed; between two epochs. In the first two the epoch was begun by an earlier
    process, so what the callbacks did at its beginning is part of the state and is not done again.

    Args:
        run: The run that keeps the checkpoints.
        seed: Fixes the order of the samples; when None it follows from the state of Python's `random`.
        check_data: Refuse data other than what the run was trained on.
        exact: Refuse data whose order cannot be continued at any step.
        best: By which metric the best state is chosen, which stays however old it is.

    Attributes:
        resumed_from: After the start of `fit`: the `epoch` (from 0) and the `step` in it where the run was continued,
            or None in a new run.
    """

    def __init__(self, run: Run, *, seed: int | None, check_data: bool, exact: bool, best: Best | None = None) -> None:
        super().__init__()
        self._run: Run | Watching = run
        self._given = run
        self._together: Together | None = None
        self._seed = seed
        self._check_data = check_data
        self._exact = exact
        self._by = best
        self._best: dict[str, Any] | None = None
        self._metrics: dict[str, float] = {}
        self._occasions: Occasions | None = None
        self.resumed_from: dict[str, int] | None = None
        self._fit: keras_steps.Fit | None = None
        self._source: Source | None = None
        self._epochs: _keras_fit.Epochs | None = None
        self._others = Callbacks([])
        self._restored: Checkpoint | None = None
        self._owed: tuple[dict[str, Array], dict[str, Any]] | None = None
        self._logs: dict[str, Any] = {}
        self._code: dict[str, str] = {}
        self._settings: dict[str, str] = {}
        self._epoch = 0
        self._step_in_epoch = 0
        self._step = 0
        self._spent = 0.0
        self._began = self._saved_at = time.monotonic()
        self._saved_step = 0
        self._look_at, self._look_at_step = 0.0, 0
        self._signals = StopSignals(self._is_running)

    # ---- the life of a fit ----

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._together = together = Together(self._given, self.model)
        self._run = together.run
        self._run.begin_writing()
        try:
            self._begin(keras_steps.running_fit(self.model), together)
        except BaseException:
            self._run.close()
            raise
        self._occasions = Occasions(self._given.dir, session_left=session_left())
        self._began = self._saved_at = time.monotonic()
        self._signals.install()

    def _begin(self, fit: keras_steps.Fit | None, together: Together) -> None:
        self._fit = fit
        _keras_fit.build(self.model, fit)
        others = [callback for callback in fit.callbacks.callbacks if callback is not self] if fit is not None else []
        self._others = Callbacks(others)
        self._code = fingerprints(self.model, others)
        self._settings = state.settings(self.model)  # as given, before a callback changes the learning rate
        saved = together.newest(KIND)
        if saved is not None:
            self._check(saved.meta)
        seed = together.seed(_rng.peek() if self._seed is None else self._seed)
        self._take_over(fit, saved.meta if saved is not None else None, seed=seed)
        if saved is not None:
            self._restore(saved)
        else:
            together.begin_alike(self.model, groups=_MODEL)
            self._save(wait=True)
        if fit is not None:
            # Last, so that what the other callbacks change is saved too; first as well, to restore before they see an
            # epoch. A new list, since Keras is going through the old one just now.
            fit.callbacks.callbacks = [_First(self), *others, self]
            keras_steps.tell_steps(fit, self._step_done, last=True)
            _keras_fit.tell_failures(fit, self._failed)

    def before_epoch(self) -> None:
        """Restore a state between two epochs, before any callback sees that the epoch begins."""
        if self._restored is not None and not self._step_in_epoch:
            self._restore_rest(self._restored)
            _rng.restore(self._restored.tensors)
            self._restored = None

    def before_train_end(self) -> None:
        """Give the callbacks their state when no epoch was left: EarlyStopping brings the best weights back."""
        if self._restored is not None:
            self._restore_rest(self._restored)
            _rng.restore(self._restored.tensors)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._look_at_step = 0
        if self._source is not None:
            self._source.go_to(epoch=epoch, done=self._step_in_epoch)
        saved, self._restored = self._restored, None
        if saved is not None and self._epochs is not None:  # in an epoch that was begun before
            state.apply(self.model, saved.tensors, groups=_MODEL)  # a callback may have changed it at the beginning
            self._restore_rest(saved)
            state.apply(self.model, saved.tensors, groups=("metrics/",))
            self.model.stop_training = bool(saved.meta.get("stopped"))
            self._logs = snapshot.put_together(saved.meta.get("logs", {}), saved.tensors)
            tensors = saved.tensors
            self._epochs.skip(self._step_in_epoch, self._logs, then=lambda: _rng.restore(tensors))
        self._others.begin()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._fit is None and self._step_in_epoch < batch:  # nobody else tells of a step that is done
            self._step_done(batch - 1, {})

    def _step_done(self, batch: int, logs: Any) -> None:
        # No method of a callback: Keras would wait for each step before it called that, where it can run ahead on JAX.
        if batch + 1 < self._look_at_step and time.monotonic() < self._look_at and self._signals.received is None:
            self._advance(batch + 1, logs)
            return
        self._count(batch, logs)
        due, stopping = self._decide()
        if self._epochs is not None and (stopping or due):
            self._save(wait=stopping)
        if stopping:
            self._stop()
        self._plan_look()

    def _advance(self, done: int, logs: Any) -> None:
        self._step += done - self._step_in_epoch
        self._step_in_epoch = done
        self._logs = logs or {}  # on JAX they may still be computed

    def _plan_look(self) -> None:
        """Note until when, and before which step of the epoch, nothing is due: most steps ask for no more than that."""
        every = self._run.every
        self._look_at = time.monotonic() + _LOOK_EVERY
        if every.seconds is not None:
            self._look_at = min(self._look_at, self._saved_at + every.seconds)
        last = self._epochs.steps if self._epochs is not None else None
        self._look_at_step = sys.maxsize if last is None else last
        if every.steps is not None:
            due_in = every.steps - (self._step - self._saved_step)
            self._look_at_step = min(self._look_at_step, self._step_in_epoch + due_in)
        if self._together is not None and not self._together.alone:
            self._look_at_step = 0  # the workers ask each other at steps that all of them know

    def _count(self, batch: int, logs: Any) -> None:
        """Count a step, or the several of one execution, that is done."""
        done, steps = batch + 1, self._epochs.steps if self._epochs is not None else None
        if steps is not None:
            done = min(done, steps)  # the last execution of several steps may be short
        self._advance(done, logs)
        if done == steps:
            tensors, states = self._take_small()
            tensors |= state.capture(self.model, groups=("optimizer",), largest=1)  # callbacks may change its rate
            self._owed = {name: tensor.copy() for name, tensor in tensors.items()}, states

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._owed is not None and (validation := getattr(self.model, "_eval_epoch_iterator", None)) is not None:
            _keras_fit.tell_failures_of(validation, self._failed)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._signals.received is not None and (self._together is None or self._together.alone):
            if self._owed is not None and self._saved_step < self._step:
                self._save(wait=True)
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._fit is None and (steps := self.params.get("steps")):
            self._advance(steps, {})
        self._epoch, self._step_in_epoch, self._owed, self._logs = epoch + 1, 0, None, {}
        improved = self._judge(logs or {})
        _, stopping = self._decide(ask=True)
        if stopping or improved or self._is_complete() or self._run.every.due_at_epoch(self._epoch):
            self._save(wait=stopping)
        if stopping:
            self._stop()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._signals.restore()
        self.model._initial_epoch = None  # set in _restore; a second fit must not see it
        saved, self._restored = self._restored, None
        if saved is not None and saved.meta.get("ended"):  # no epoch was left to train, and nothing was owed
            state.apply(self.model, saved.tensors, groups=_MODEL)
            _rng.restore(saved.tensors)
        elif (
            self.model.stop_training or (saved is not None and saved.meta.get("stopped")) or self._others.change_at_end
        ):
            self._save(wait=False, ended=True)  # EarlyStopping brings back the best weights only now
        self._run.end_writing()

    # ---- saving ----

    def _decide(self, *, ask: bool = False) -> tuple[bool, bool]:
        """Say whether to save and whether to stop; where several workers train, all say the same."""
        due, signal = self._due(), self._signals.received or 0
        if self._together is not None:
            due, signal = self._together.decide(due=due, signal=signal, step=self._step, ask=ask)
        if signal:  # never set to None here: a signal may have come since it was read
            self._signals.received = signal
        return due, signal != 0

    def _due(self) -> bool:
        now = time.monotonic()
        if self._run.every.due(seconds=now - self._saved_at, steps=self._step - self._saved_step):
            return True
        if self._occasions is None or not (why := self._occasions.now(saved_at=self._saved_at)):
            return False
        say("%s: %s; saving at step %s", self._run.name, why, self._step)
        return True

    def _judge(self, logs: dict[str, Any]) -> bool:
        """Remember what an epoch has measured; says whether its state is the best so far."""
        self._metrics = {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
        by = self._by
        if by is None:
            return False
        if (value := self._metrics.get(by.metric)) is None:
            self._by = None
            there = ", ".join(self._metrics)
            warn("%s: the best state is not kept: no epoch measures %s, only %s", self._run.name, by.metric, there)
            return False
        better = by.judge(value, self._best, step=self._step, epoch=self._epoch)
        self._best = better or self._best
        return better is not None

    def _failed(self, error: BaseException) -> None:
        """Save what an error would lose, as far as the state is that of a whole step."""
        self._signals.restore()
        failure = _keras_fit.failure_of(error)
        try:
            if failure.where == "after" and failure.batch + 1 > self._step_in_epoch:
                self._count(failure.batch, failure.logs)
            elif failure.where == "data" and (
                self.model.steps_per_execution > 1 or self._source is None or self._source.capture({}) is not None
            ):
                return  # nobody can say how far it had come
            whole = self._owed is not None if failure.where in ("test", "end") else failure.where != "step"
            if self._epochs is not None and whole and self._saved_step < self._step:
                self._save(wait=True)
                say("%s: saved at step %s, after the error", self._run.name, self._step)
        except Exception as second:  # noqa: BLE001 - the first error is the one to see
            warn("%s: the state at the error is not saved. %s", self._run.name, second)
        finally:
            self.model._initial_epoch = None  # see on_train_end
            self._run.end_writing()

    def _take_small(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Take what validation would change, and what is not worth a second copy of the model."""
        tensors: dict[str, Array] = state.capture(self.model, groups=("metrics/",)) | _rng.capture()
        callbacks = self._others.capture(tensors)
        source = self._source.capture(tensors) if self._source is not None else None
        return tensors, {"callbacks": callbacks, "data_state": source}

    def _save(self, *, wait: bool, ended: bool = False) -> None:
        model = self.model
        if self._fit is not None:
            keras_steps.wait_for_callbacks(self._fit)  # what they change is part of the state
        small, states = self._owed or self._take_small()
        tensors = state.capture(model, groups=_MODEL) | small
        states = {**states, "logs": snapshot.take_apart(keras_steps.plain_logs(self._logs), "logs", tensors)}
        self._run.submit(Snapshot(step=self._step, tensors=tensors, meta=self._meta(model, states, ended=ended)))
        self._saved_step = self._step
        if wait:
            self._run.written()
        self._saved_at = time.monotonic()

    def _meta(self, model: Any, states: dict[str, Any], *, ended: bool) -> dict[str, Any]:
        return {
            "kind": KIND,
            "step": self._step,
            "epoch": self._epoch,
            "step_in_epoch": self._step_in_epoch,
            "steps": self._epochs.steps if self._epochs is not None else None,
            "steps_seen": self._epochs.steps_seen if self._epochs is not None else 0,
            "epochs": self.params["epochs"],
            "complete": self._is_complete(),
            "stopped": bool(model.stop_training),
            "ended": ended,
            "metrics": self._metrics,
            "best": self._best,
            "saved_at": time.time(),
            "seconds": self._spent + time.monotonic() - self._began,
            "history": _plain_history(getattr(model, "history", None)),
            "data": self._source.identity() if self._source is not None else {},
            "optimizers": state.trained_by(model),
            "layout": state.layout(model),
            "settings": self._settings,
            "versions": versions(backend=keras.backend.backend()),
            "code": self._code,
            **states,
        }

    def _is_complete(self) -> bool:
        return self._step_in_epoch == 0 and (self._epoch >= self.params["epochs"] or bool(self.model.stop_training))

    # ---- restoring ----

    def _check(self, meta: dict[str, Any]) -> None:
        name = self._run.name
        if missing := _NEEDED - meta.keys():
            raise CorruptCheckpointError(f"the checkpoint of {name} lacks {', '.join(sorted(missing))}")
        state.build_optimizers(self.model, meta.get("optimizers", {}))
        here, before = keras.backend.backend(), meta["versions"].get("backend")
        if before not in (None, here) and meta["layout"] != state.layout(self.model):
            raise RunMismatchError(
                f"the run {name} was trained on Keras' {before} backend",
                why=f"its variables have other types on {here}",
                do=f"set KERAS_BACKEND={before} before Keras is imported, or open a run under another name",
            )
        state.check_same_model(name, meta["layout"], state.layout(self.model))
        if changed := state.changed_settings(meta["settings"], self._settings):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            kept = "what is saved, such as a learning rate, goes on with its saved value"
            warn("%s: settings changed since the checkpoint: %s%s; %s", name, "; ".join(changed[:3]), more, kept)
        now = versions(backend=keras.backend.backend())
        if changed := state.changed_settings(meta["versions"], now):
            warn("%s: versions changed, so bit-for-bit equality is not promised: %s", name, "; ".join(changed))
        before = meta.get("code", {})
        if changed := sorted(part for part, code in self._code.items() if before.get(part, code) != code):
            warn("%s: the code changed since the checkpoint, of %s", name, ", ".join(changed))

    def _take_over(self, fit: keras_steps.Fit | None, meta: dict[str, Any] | None, *, seed: int) -> None:
        source = source_of(fit, seed=seed, saved=meta["data"] if meta is not None else {})
        if fit is None or source is None or source.why_inexact:
            self._decline(source.why_inexact if source is not None else None)
            return
        if source.caveat:
            if self._exact:
                self._decline(source.caveat)
            warn("%s: continues at the exact batch, but not bit for bit: %s", self._run.name, source.caveat)
        in_epoch = meta is not None and meta["step_in_epoch"] > 0
        source.check(self._run.name, in_epoch=in_epoch, check_data=self._check_data)
        self._source, self._epochs = source, _keras_fit.Epochs(self.model, fit, source)

    def _decline(self, why: str | None) -> None:
        why = why or "colabkit does not know this version of Keras"
        if self._exact:
            raise UnsupportedError(
                "run.fit promises to continue at the exact sample, and cannot do so here",
                why=why,
                do="use model.fit(..., callbacks=[run.resume()]), which continues at whole epochs",
            )
        say("%s: a killed run continues at the start of its epoch, since %s", self._run.name, why)

    def _restore(self, saved: Checkpoint) -> None:
        meta, epochs, name = saved.meta, self.params["epochs"], self._run.name
        state.apply(self.model, saved.tensors, groups=_MODEL)
        self._restored = saved
        self._epoch, self._step_in_epoch = meta["epoch"], meta["step_in_epoch"]
        self._step = self._saved_step = meta["step"]
        self.resumed_from = {"epoch": self._epoch, "step": self._step_in_epoch}
        self._spent = meta["seconds"]
        self._metrics = dict(meta.get("metrics") or {})
        self._best = meta.get("best")
        if self._epoch >= epochs or (meta["complete"] and epochs <= meta["epochs"]):
            say("%s: already trained, %s epochs; raise epochs= to go on", name, meta["epoch"])
            self._epoch = epochs
        elif self._step_in_epoch and self._epochs is None:
            raise UnsupportedError(
                f"the run {name} stopped in the middle of an epoch, and this data cannot continue it there",
                do="pass data of the kind that it was begun with",
            )
        elif self._step_in_epoch:
            text = "%s: continuing in epoch %s of %s after step %s"
            say(text, name, self._epoch + 1, epochs, self._step_in_epoch)
        else:
            say("%s: continuing with epoch %s of %s", name, self._epoch + 1, epochs)
        if self._epoch < epochs and self._source is not None and self._epochs is not None:
            data_state, done = meta.get("data_state"), self._step_in_epoch
            self._source.restore(data_state, saved.tensors, steps=self._step, done=done)
            seen = int(meta.get("steps_seen") or 0)
            self._epochs.begin_at(steps=meta.get("steps"), steps_seen=seen, opened=self._source.opened)
        self.model._initial_epoch = self._epoch  # as keras.callbacks.BackupAndRestore does

    def _restore_rest(self, saved: Checkpoint) -> None:
        """Bring back what `fit` and the callbacks themselves have reset since `on_train_begin`."""
        if (history := getattr(self.model, "history", None)) is not None:
            history.epoch = list(saved.meta["history"].get("epoch", []))
            history.history = {key: list(values) for key, values in saved.meta["history"].get("values", {}).items()}
        self._others.restore(saved.meta.get("callbacks", {}), saved.tensors)

    # ---- stopping ----

    def _is_running(self, frame: FrameType | None) -> bool:
        return keras_steps.running_fit(self.model, frame) is not None

    def _stop(self) -> None:
        self._signals.restore()
        self.model._initial_epoch = None  # see on_train_end
        try:
            self._run.written()
        except ColabKitError as error:
            warn("%s", error)
        self._run.end_writing()
        step = self._run.status().saved_step
        self._signals.deliver(f"{self._run.name} is saved at step {step}; run the same again and it continues there")


class _First(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells the callback that resumes before the others are told."""

    def __init__(self, resume: ResumeCallback) -> None:
        super().__init__()
        self._resume = resume

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._resume.before_epoch()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._resume.before_train_end()


def _plain_history(history: Any) -> dict[str, Any]:
    if history is None or not hasattr(history, "epoch"):  # before its own on_train_begin it has none
        return {}
    values = {key: [np.asarray(value).tolist() for value in series] for key, series in history.history.items()}
    return {"epoch": [int(epoch) for epoch in history.epoch], "values": values}
