"""The data of the running `fit`, and its loop over the steps: how exactly both can be continued, said at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras import build
from colabkit.checkpoint.keras.data import Source, source_of
from colabkit.checkpoint.keras.fit import loop as fit_loop
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.keras.fit.progress import Progress


class FitData:
    """The data of one `fit`.

    Args:
        run: The run's name, for messages.
        exact: Refuse data whose order cannot be continued at any step.

    Attributes:
        source: The data; None where it is continued at whole epochs.
        epochs: The loop over its steps; None there too.
        seed: The seed of the order of its samples.
    """

    def __init__(self, run: str, *, exact: bool) -> None:
        self._run = run
        self._exact = exact
        self.source: Source | None = None
        self.epochs: fit_loop.EpochCursor | None = None
        self.seed = 0

    @property
    def steps(self) -> int | None:
        """Steps in an epoch; None while nobody can know."""
        return self.epochs.steps if self.epochs is not None else None

    def attach(self, model: Any, fit: Fit | None, saved: Checkpoint | None, *, seed: int, check_data: bool) -> None:
        """Recognize the data, and take over the loop where it can be continued at any step.

        Args:
            model: The model that trains.
            fit: Its running `fit`; None where it was not found.
            saved: The checkpoint to go on from; None in a new run.
            seed: Fixes the order of the samples in a new run.
            check_data: Refuse other data than the run was trained on.

        Raises:
            RunMismatchError: It is other data.
            UnsupportedError: Exactness was asked for and cannot be had.
        """
        meta = saved.meta if saved is not None else None
        before = meta["data"] if meta is not None else {}
        self.seed = int(before.get("seed", seed))
        source = source_of(fit, seed=seed, saved=before)
        if fit is None or source is None or source.why_inexact:
            self._fall_back_to_epoch(source.why_inexact if source is not None else None)
            return
        if source.caveat:
            if self._exact:
                self._fall_back_to_epoch(source.caveat)
            warn("%s: continues at the exact batch, but not bit for bit: %s", self._run, source.caveat)
        if saved is not None:
            source.take_over(self._run, saved.tensors)
        in_epoch = meta is not None and meta["step_in_epoch"] > 0
        source.check(self._run, in_epoch=in_epoch, check_data=check_data)
        self.source, self.epochs = source, fit_loop.EpochCursor(model, fit, source)

    def _fall_back_to_epoch(self, why: str | None) -> None:
        why = why or "colabkit does not know this version of Keras"
        if self._exact:
            raise UnsupportedError(
                "run.fit promises to continue at the exact sample, and cannot do so here",
                why=why,
                hint="use model.fit(..., callbacks=[run.resume()]), which continues at whole epochs",
            )
        notify("%s: a killed run continues at the start of its epoch, since %s", self._run, why)

    def tell_draws(self, model: Any) -> None:
        """Say, or refuse, that the model draws numbers of `tf.random`, as soon as its step is known."""
        if keras.backend.backend() != "tensorflow" or (drawn := build.drawn_by_tensorflow(model)) is None:
            return
        why = f"the model draws from tf.random ({drawn}), whose state cannot be saved"
        how = "draw from keras.random with a keras.random.SeedGenerator of the layer"
        if self._exact:
            raise UnsupportedError(
                "run.fit promises to continue exactly, and cannot do so here",
                why=why,
                hint=f"{how}, or use run.resume()",
            )
        warn("%s: a continued run is not the same bit for bit: %s; %s", self._run, why, how)

    def adapt(self, saved: Mapping[str, Any], done: int) -> int:
        """Return the step of the epoch to go on at, where the batches may have another size than before."""
        if self.source is None:
            return done
        before, now = saved.get("batch_size"), self.source.identity().get("batch_size")
        if before and now and before != now:
            warn("%s: batches of %s instead of %s, from the next sample on", self._run, now, before)
        return self.source.adapt(done)

    def count(self, progress: Progress, batch: int, logs: Any) -> bool:
        """Count a step, or the several of one execution; says whether it was the last one of the epoch."""
        done, steps = batch + 1, self.steps
        if steps is not None:
            done = min(done, steps)  # the last execution of several steps may be short
        progress.advance(done, logs)
        return done == steps

    def go_on(self, saved: Checkpoint, progress: Progress, *, epochs: int) -> None:
        """Bring the data and the loop to where they were, and tell where that is.

        Args:
            saved: The checkpoint.
            progress: Where the run goes on.
            epochs: Epochs in all.

        Raises:
            UnsupportedError: It stopped within an epoch, where this data cannot go on.
        """
        epoch, done, meta = progress.epoch + 1, progress.step_in_epoch, saved.meta
        if not done:
            notify("%s: continuing with epoch %s of %s", self._run, epoch, epochs)
        elif self.epochs is None:
            raise UnsupportedError(
                f"the run {self._run} stopped in the middle of an epoch, and this data cannot continue it there",
                hint="pass data of the kind that it was begun with",
            )
        else:
            notify("%s: continuing in epoch %s of %s after step %s", self._run, epoch, epochs, done)
        if self.source is not None and self.epochs is not None:
            self.source.restore(meta.get("data_state"), saved.tensors, steps=progress.step, done=done)
            if self.source.draws_ahead and "/" in self._run:  # a phase: others may follow
                text = (
                    "%s: the layers in the tf.data pipeline draw as batches are read ahead, so a later fit on it is "
                    "not the same bit for bit. To be exact, put them into the model, or make the pipeline and its "
                    "layers anew for each fit"
                )
                warn(text, self._run)
            seen = int(meta.get("steps_seen") or 0)
            self.epochs.begin_at(steps=meta.get("steps"), steps_seen=seen, opened=self.source.opened)

    @property
    def steps_seen(self) -> int:
        """Steps since the data began anew."""
        return self.epochs.steps_seen if self.epochs is not None else 0

    @property
    def loses_its_place(self) -> bool:
        """Whether nobody can say how far the data had come when reading it failed."""
        return self.source is None or self.source.is_a_stream

    def identity(self) -> dict[str, Any]:
        """Tell what identifies the data, as plain values."""
        return self.source.identity() if self.source is not None else {}
