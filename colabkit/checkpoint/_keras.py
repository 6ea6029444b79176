"""The callback that makes a Keras `fit` resumable: `model.fit(..., callbacks=[run.resume()])`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import keras

from colabkit._tools.log import say, warn
from colabkit.checkpoint import _keras_data as data
from colabkit.checkpoint import _keras_state as state
from colabkit.checkpoint import _rng
from colabkit.checkpoint._signals import StopSignals
from colabkit.checkpoint.snapshot import Snapshot, versions
from colabkit.errors import ColabKitError, CorruptCheckpointError, RunMismatchError, UnsupportedError

if TYPE_CHECKING:
    from types import FrameType

    from colabkit.checkpoint.container import Checkpoint
    from colabkit.checkpoint.run import Run

KIND = "keras"
_NEEDED = {"step", "epoch", "step_in_epoch", "epochs", "complete", "seconds", "history", "data", "layout", "settings"}


class ResumeCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves the training state as it goes, and at the start of `fit` continues from the newest saved state.

    Args:
        run: The run that keeps the checkpoints.
        seed: Fixes the order of the samples; when None it follows from the state of Python's `random`.
        check_data: Refuse data other than what the run was trained on.
        exact: Refuse data whose order cannot be continued at any step.

    Attributes:
        resumed_from: After the start of `fit`: the `epoch` (from 0) and the `step` in it where the run was continued,
            or None in a new run.
    """

    def __init__(self, run: Run, *, seed: int | None, check_data: bool, exact: bool) -> None:
        super().__init__()
        self._run = run
        self._seed = seed
        self._check_data = check_data
        self._exact = exact
        self.resumed_from: dict[str, int] | None = None
        self._order: data.Order | None = None
        self._restored: Checkpoint | None = None
        self._data: dict[str, Any] = {}
        self._epoch = 0
        self._step_in_epoch = 0
        self._step = 0
        self._spent = 0.0
        self._began = self._saved_at = time.monotonic()
        self._saved_step = 0
        self._signals = StopSignals(self._is_running)

    # ---- the life of a fit ----

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._run.begin_writing()
        try:
            self._begin(data.running_fit(self.model))
        except BaseException:
            self._run.close()
            raise
        self._began = self._saved_at = time.monotonic()
        self._signals.install()

    def _begin(self, fit: data.Fit | None) -> None:
        data.build(self.model, fit)
        saved = self._run.newest(KIND)
        if saved is not None:
            self._check_model(saved.meta)
        why_inexact = data.why_inexact(fit)
        if fit is None or why_inexact:
            self._decline(why_inexact)
        else:
            self._take_over(fit, saved.meta if saved is not None else None)
        if saved is not None:
            self._restore(saved)
        else:
            self._save(wait=True)
        if fit is not None:
            # Last, so that what the other callbacks change at the end of an epoch is saved too. A new list, since
            # Keras is going through the old one just now.
            others = [callback for callback in fit.callbacks.callbacks if callback is not self]
            fit.callbacks.callbacks = [*others, self]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._order is not None:
            self._order.epoch, self._order.first_step = epoch, self._step_in_epoch
        if self._restored is not None:
            self._restore_late(self._restored)
            self._restored = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        done = batch + 1
        if self._order is not None and done > self._order.steps:  # the last execution of several steps may be short
            done = self._order.steps
        self._step += done - self._step_in_epoch
        self._step_in_epoch = done
        # After the last step the epoch still owes its validation and its callbacks: it is saved when they are done.
        can_save = self._order is not None and done < self._order.steps
        stopping = self._signals.received is not None
        if can_save and (stopping or self._due()):
            self._save(wait=stopping)
        if stopping:
            self._stop()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._signals.received is not None:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._epoch, self._step_in_epoch = epoch + 1, 0
        stopping = self._signals.received is not None
        if stopping or self._is_complete() or self._run.every.due_at_epoch(self._epoch):
            self._save(wait=stopping)
        if stopping:
            self._stop()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._signals.restore()
        self.model._initial_epoch = None  # noqa: SLF001 - set in _restore; a second fit must not see it
        if self._restored is not None:  # no epoch was left to train
            self._restore_late(self._restored)
        if self.model.stop_training:
            self._save(wait=False)  # EarlyStopping brings back the best weights only now
        self._run.end_writing()

    # ---- saving ----

    def _due(self) -> bool:
        now = time.monotonic()
        return self._run.every.due(seconds=now - self._saved_at, steps=self._step - self._saved_step)

    def _save(self, *, wait: bool) -> None:
        model = self.model  # on JAX this brings the state back into the model
        snapshot = Snapshot(step=self._step, tensors=state.capture(model) | _rng.capture(), meta=self._meta(model))
        self._run.submit(snapshot)
        self._saved_step = self._step
        if wait:
            self._run.written()
        self._saved_at = time.monotonic()

    def _meta(self, model: Any) -> dict[str, Any]:
        history = getattr(model, "history", None)
        return {
            "kind": KIND,
            "step": self._step,
            "epoch": self._epoch,
            "step_in_epoch": self._step_in_epoch,
            "epochs": self.params["epochs"],
            "complete": self._is_complete(),
            "saved_at": time.time(),
            "seconds": self._spent + time.monotonic() - self._began,
            "history": _plain_history(history),
            "data": self._data,
            "layout": state.layout(model),
            "settings": state.settings(model),
            "versions": versions(backend=keras.backend.backend()),
        }

    def _is_complete(self) -> bool:
        return self._step_in_epoch == 0 and (self._epoch >= self.params["epochs"] or bool(self.model.stop_training))

    # ---- restoring ----

    def _check_model(self, meta: dict[str, Any]) -> None:
        name = self._run.name
        if missing := _NEEDED - meta.keys():
            raise CorruptCheckpointError(f"the checkpoint of {name} lacks {', '.join(sorted(missing))}")
        state.check_same_model(name, meta["layout"], state.layout(self.model))
        if changed := state.changed_settings(meta["settings"], state.settings(self.model)):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            kept = "what is saved, such as a learning rate, goes on with its saved value"
            warn("%s: settings changed since the checkpoint: %s%s; %s", name, "; ".join(changed[:3]), more, kept)
        now = versions(backend=keras.backend.backend())
        if changed := state.changed_settings(meta["versions"], now):
            warn("%s: versions changed, so bit-for-bit equality is not promised: %s", name, "; ".join(changed))

    def _decline(self, why: str | None) -> None:
        if self._exact:
            raise UnsupportedError(
                "run.fit promises to continue at the exact sample, and cannot do so here",
                why=why or "",
                do="use model.fit(..., callbacks=[run.resume()]), which continues at whole epochs",
            )
        say("%s: a killed run continues at the start of its epoch, since %s", self._run.name, why)

    def _take_over(self, fit: data.Fit, meta: dict[str, Any] | None) -> None:
        before = meta["data"] if meta is not None else {}
        seed = before.get("seed", self._seed)
        order = data.take_over(fit, seed=_rng.peek() if seed is None else seed)
        now = {
            "fingerprint": data.fingerprint(fit),
            "seed": order.seed,
            "samples": order.samples,
            "batch_size": order.batch_size,
        }
        if before and self._check_data and before["fingerprint"] != now["fingerprint"]:
            raise RunMismatchError(
                f"the run {self._run.name} was trained on other data",
                why=f"its {before['samples']} samples have the fingerprint {before['fingerprint']}, the "
                f"{now['samples']} given now {now['fingerprint']}",
                do="pass the same data, open a run under another name, or use run.resume(check_data=False)",
            )
        if before and meta is not None and meta["step_in_epoch"] and before["batch_size"] != now["batch_size"]:
            raise RunMismatchError(
                f"the run {self._run.name} stopped in the middle of an epoch, in batches of {before['batch_size']}",
                why=f"batches of {now['batch_size']} do not continue it at the same sample",
                do=f"use batch_size={before['batch_size']}, or open a run under another name",
            )
        self._data, self._order = now, order

    def _restore(self, saved: Checkpoint) -> None:
        meta, epochs, name = saved.meta, self.params["epochs"], self._run.name
        state.apply(self.model, saved.tensors, groups=("model/", "optimizer/"))
        self._restored = saved
        self._epoch, self._step_in_epoch = meta["epoch"], meta["step_in_epoch"]
        self._step = self._saved_step = meta["step"]
        self.resumed_from = {"epoch": self._epoch, "step": self._step_in_epoch}
        self._spent = meta["seconds"]
        if self._epoch >= epochs or (meta["complete"] and epochs <= meta["epochs"]):
            say("%s: already trained, %s epochs; raise epochs= to go on", name, meta["epoch"])
            self._epoch = epochs
        elif self._step_in_epoch and self._order is None:
            raise UnsupportedError(
                f"the run {name} stopped in the middle of an epoch, and this data cannot continue it there",
                do="pass the arrays that it was begun with",
            )
        elif self._step_in_epoch:
            text = "%s: continuing in epoch %s of %s after step %s"
            say(text, name, self._epoch + 1, epochs, self._step_in_epoch)
        else:
            say("%s: continuing with epoch %s of %s", name, self._epoch + 1, epochs)
        self.model._initial_epoch = self._epoch  # noqa: SLF001 - as keras.callbacks.BackupAndRestore does

    def _restore_late(self, saved: Checkpoint) -> None:
        """Bring back what `fit` itself has reset since `on_train_begin`."""
        if self._step_in_epoch:
            state.apply(self.model, saved.tensors, groups=("metrics/",))
        if (history := getattr(self.model, "history", None)) is not None:
            history.epoch = list(saved.meta["history"].get("epoch", []))
            history.history = {key: list(values) for key, values in saved.meta["history"].get("values", {}).items()}
        _rng.restore(saved.tensors)

    # ---- stopping ----

    def _is_running(self, frame: FrameType | None) -> bool:
        return data.running_fit(self.model, frame) is not None

    def _stop(self) -> None:
        self._signals.restore()
        self.model._initial_epoch = None  # noqa: SLF001 - see on_train_end
        try:
            self._run.written()
        except ColabKitError as error:
            warn("%s", error)
        self._run.end_writing()
        step = self._run.status().saved_step
        self._signals.deliver(f"{self._run.name} is saved at step {step}; run the same again and it continues there")


def _plain_history(history: Any) -> dict[str, Any]:
    if history is None or not hasattr(history, "epoch"):  # before its own on_train_begin it has none
        return {}
    values = {key: [float(value) for value in series] for key, series in history.history.items()}
    return {"epoch": [int(epoch) for epoch in history.epoch], "values": values}
