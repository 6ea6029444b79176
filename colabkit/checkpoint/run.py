"""A run: one training that may take several processes, and the folder that outlives them."""

from __future__ import annotations

import atexit
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from colabkit._tools.files import FileLock, unpublished, writing_to
from colabkit._tools.log import prepare, say, warn
from colabkit._tools.optional import require
from colabkit.checkpoint import manifest, snapshot
from colabkit.checkpoint.into import fill
from colabkit.checkpoint.mirror import Mirror, open_mirror
from colabkit.checkpoint.place import place_of
from colabkit.checkpoint.policy import Every, parse_best, parse_every
from colabkit.checkpoint.reader import Reader
from colabkit.checkpoint.writer import Writer
from colabkit.errors import (
    AddressError,
    CheckpointError,
    ColabKitError,
    CorruptCheckpointError,
    RunBusyError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.checkpoint.container import Checkpoint
    from colabkit.storage import Storage

_locks: dict[Path, FileLock] = {}  # one a folder: opening a run twice in one process is not two writers


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A state that was restored.

    Attributes:
        step: Steps trained when it was saved.
        state: What was given to `Run.save`; arrays come back as NumPy arrays.
    """

    step: int
    state: Any


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a run stands.

    Attributes:
        dir: The run's folder.
        saved_step: Steps trained at the newest checkpoint here that is known to be whole; None when there is none.
        checkpoints: How many checkpoint files are here.
        bytes: Their size together.
        error: What failed last, with the local write or with the mirror; None when the last try of both went well.
        mirror: Where the copies go; None for a run that is only here.
        mirrored_step: The furthest step that was copied there, as far as this process knows.
        confirmed_step: The furthest that would survive the loss of this machine, because the mirror was seen to have
            it. None also where the storage cannot tell.
        pending: What is still to be copied, in words; empty when there is nothing.
    """

    dir: Path
    saved_step: int | None
    checkpoints: int
    bytes: int
    error: str | None
    mirror: str | None = None
    mirrored_step: int | None = None
    confirmed_step: int | None = None
    pending: str = ""


def open_run(
    where: StrPath, *, every: str | float | Every = "60s", keep: int = 3, mirror: StrPath | Storage | None = None
) -> Run:
    """Open a run, new or begun before, in a place that persists.

    A run at `drive:` or `gs://` works in a folder of the machine's own disk, and a background thread copies what it
    saves to that place. On a fresh machine the same address goes on from there.

    Args:
        where: A folder; `drive:FOLDER`, a folder of the mounted Google Drive; `gs://BUCKET/FOLDER`.
        every: How often to save: `"60s"`, `"5 min"`, `"500 steps"`, `"2 epochs"`. The end of an epoch is saved too.
        keep: How many whole checkpoints stay; at least 2, so that one broken file never takes the run with it.
        mirror: Where copies of a run in a folder go: an address as above, another folder, or a storage.

    Returns:
        The run. Nothing is locked or written before the first save, apart from the folder itself.

    Raises:
        AddressError: `where` or `every` cannot be read.
        UnsupportedError: That place cannot be opened here.
        NotWritableError: The folder cannot be written.
        DiskFullError: There is no room at all.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run = open_run(folder)
        >>> run.save({"weights": [1.0, 2.0]}, step=10)
        >>> run.close()
        >>> open_run(folder).restore()
        Saved(step=10, state={'weights': [1.0, 2.0]})
    """
    if keep < 2:
        raise AddressError(
            f"keep={keep} is too few",
            why="with one copy, a kill while it is replaced loses everything",
            do="use keep=3",
        )
    place = place_of(where, mirror)
    folder = place.folder
    fresh = not folder.exists()
    with writing_to(folder):
        (folder / manifest.FOLDER).mkdir(parents=True, exist_ok=True)
    with unpublished(folder, "writable"):
        pass  # better to hear now than after the first hour that the folder cannot be written
    run = Run(folder, name=place.name, every=parse_every(every), keep=keep, storage=place.storage)
    if fresh:
        run.bring_belongings()
    return run


class Run:
    """A training run; made by `open_run`.

    Attributes:
        dir: Its folder on this machine; put anything there that belongs to the run. What lies there is copied to the
            mirror too, and brought to a fresh machine.
        name: The last part of its address.
        every: How often to save.
    """

    def __init__(self, folder: Path, *, name: str, every: Every, keep: int, storage: Storage | None = None) -> None:
        self.dir = folder
        self.name = name
        self.every = every
        self._folder = folder / manifest.FOLDER
        self._mirror: Mirror | None = None
        if storage is not None:
            self._mirror = open_mirror(folder, storage, run=name, keep=keep)
        self._reader = Reader(self._folder, storage, run=name)
        self._writer = Writer(self._folder, keep=keep, mirror=self._mirror)
        self._best: dict[str, Any] | None = None
        if self._mirror is not None:
            atexit.register(self.close)

    def __repr__(self) -> str:
        return f"<Run {str(self.dir)!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- Keras ----

    def resume(
        self, *, seed: int | None = None, check_data: bool = True, best: str | tuple[str, str] | None = None
    ) -> Any:
        """Make a Keras callback that saves as training goes and continues where the run stopped.

        Arrays, `keras.utils.PyDataset` and most of `tf.data` continue at the exact step, with the same result, bit for
        bit, as without the interruption. The callback says when that cannot be had.

        Args:
            seed: Fixes the order of the samples in a new run. When None it follows from the state of Python's `random`,
                which `keras.utils.set_random_seed` sets. A begun run keeps its own.
            check_data: Refuse other data than the run was trained on.
            best: A metric of the epochs, as `"val_loss"`, or `("reward", "max")` where its name does not tell what is
                good. The best state stays, however old it is, and `load_best` brings it back.

        Returns:
            A `keras.callbacks.Callback` for one call of `fit`.

        Example:
            ```python
            run = ck.open_run("./runs/digits")
            model.fit(x, y, epochs=10, callbacks=[run.resume()])
            ```
        """
        return self._callback(seed=seed, check_data=check_data, exact=False, best=best)

    def fit(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        *,
        seed: int | None = None,
        best: str | tuple[str, str] | None = None,
        **options: Any,
    ) -> Any:
        """Train a compiled Keras model, resumable at the exact step.

        Args:
            model: A compiled `keras.Model`.
            x: Inputs, as for `model.fit`.
            y: Targets, as for `model.fit`.
            seed: Fixes the order of the samples in a new run, as for `resume`.
            best: By which metric the best state is kept, as for `resume`.
            options: Everything else that `model.fit` takes.

        Returns:
            The `History` of the whole run, earlier processes included.

        Raises:
            UnsupportedError: The data cannot be continued exactly; the message says why.
        """
        own = self._callback(seed=seed, check_data=True, exact=True, best=best)
        callbacks = [*(options.pop("callbacks", None) or []), own]
        return model.fit(x, y, callbacks=callbacks, **options)

    def load_best(self, model: Any) -> dict[str, Any]:
        """Give a Keras model the weights of the best state, which `resume(best=...)` keeps.

        Args:
            model: The model, built as it was trained.

        Returns:
            What made it the best: its `metric`, `mode`, `value`, `step` and `epoch`.

        Raises:
            CheckpointError: The run keeps no best state, or it cannot be read.
            RunMismatchError: It belongs to another model.
        """
        require("keras", extra="train", why="run.load_best() gives weights to Keras models")
        from colabkit.checkpoint import _keras_best

        newest = self.newest("keras")
        if newest is None:
            raise CheckpointError(f"the run {self.name} has no state yet", do="train it first")
        return _keras_best.load(self.name, model, self._reader.best(newest), newest.meta["best"])

    # ---- fastai ----

    def resume_fastai(self, *, check_data: bool = True) -> Any:
        """Make a fastai callback that saves as a learner trains and continues where the run stopped.

        It continues at the exact step, on a CPU with the same result, bit for bit, as without the interruption.

        Args:
            check_data: Refuse other data than the run was trained on.

        Returns:
            A callback for one call of `fit`, `fit_one_cycle` and their like, or of `fine_tune`.

        Raises:
            MissingDependencyError: fastai is not installed.
            UnsupportedError: The installed fastai and fastcore do not work together.

        Example:
            ```python
            run = ck.open_run("./runs/digits")
            learn.fit_one_cycle(5, 3e-3, cbs=run.resume_fastai())
            ```
        """
        from colabkit.checkpoint.fastai import make_callback

        prepare()
        return make_callback(self, check_data=check_data)

    def _callback(self, *, seed: int | None, check_data: bool, exact: bool, best: Any) -> Any:
        require("keras", extra="train", why="run.resume() and run.fit() train Keras models")
        from colabkit.checkpoint._keras import ResumeCallback

        prepare()
        by = None if best is None else parse_best(best)
        return ResumeCallback(self, seed=seed, check_data=check_data, exact=exact, best=by)

    # ---- any state ----

    def save(
        self,
        state: Any,
        *,
        step: int,
        metrics: Mapping[str, float] | None = None,
        best: str | tuple[str, str] | None = None,
    ) -> None:
        """Save any state: dicts, lists and tuples of arrays and plain values, torch modules and optimizers, JAX trees.

        Returns as soon as the arrays are copied; a background thread writes the file. `flush` waits for it.

        Args:
            state: What to save.
            step: Steps trained so far; orders the checkpoints.
            metrics: What was measured, to be shown by `colabkit runs`.
            best: By which of the metrics the best state is kept, as for `resume`.

        Raises:
            AddressError: `best` is not among the metrics, or does not say what is good.
            CheckpointError: A value that is neither an array nor plain.
            RunBusyError: Another process writes to this run.
        """
        taken = snapshot.of_state(state, step=step)
        if metrics is not None or best is not None or self._best is not None:
            taken = replace(taken, meta={**taken.meta, **self._judged(metrics or {}, best, step)})
        self.begin_writing()
        self.submit(taken)

    def _judged(self, metrics: Mapping[str, float], best: Any, step: int) -> dict[str, Any]:
        values = {name: float(value) for name, value in metrics.items()}
        if best is not None:
            by = parse_best(best)
            if by.metric not in values:
                raise AddressError(f"best={best!r} is not among the metrics", do="pass metrics={...} with its value")
            self._best = by.judge(values[by.metric], self._best, step=step) or self._best
        return {"metrics": values, "best": self._best}

    def restore(self, *, into: Any = None, best: bool = False) -> Saved | None:
        """Read the newest state that is whole, or None when there is none.

        Args:
            best: Read the best state instead, which `save(best=...)` keeps.
            into: The state made anew, as it was given to `save`: its torch modules and optimizers are loaded in place,
                its JAX arrays, tensors, named tuples and dataclasses come back as such. Without it the state comes
                back in NumPy arrays, dicts, lists and tuples.

        Raises:
            CorruptCheckpointError: The file is whole, but holds no state that `save` could have written.
            RunMismatchError: The run holds the state of a Keras model, which `resume` continues, or `into` has another
                shape.
            NewerFormatError: A newer colabkit wrote it.
        """
        found = self.newest("state")
        if found is None:
            return None
        if best:
            found = self._reader.best(found)
        try:
            saved = Saved(step=found.meta["step"], state=snapshot.to_state(found.tensors, found.meta))
        except (KeyError, TypeError, ValueError) as error:  # the hash is right, yet no colabkit wrote this
            raise CorruptCheckpointError(f"the checkpoint of {self.name} holds no state", why=repr(error)) from error
        return saved if into is None else replace(saved, state=fill(into, saved.state))

    def checkpoints(self) -> list[manifest.Entry]:
        """List the checkpoint files, the furthest trained first; whether they are whole is not checked."""
        return manifest.entries(self._folder)

    def status(self) -> Status:
        """Say where the run stands."""
        found = self.checkpoints()
        mirror = self._mirror
        error = self._writer.error or (mirror.error if mirror is not None else None)
        status = Status(
            dir=self.dir,
            saved_step=self._writer.saved_step,
            checkpoints=len(found),
            bytes=sum(entry.size for entry in found),
            error=str(error) if error else None,
        )
        if mirror is None:
            return status
        return replace(
            status,
            mirror=mirror.storage.address,
            mirrored_step=mirror.mirrored_step,
            confirmed_step=mirror.confirmed_step,
            pending=mirror.pending,
        )

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was saved is on disk, and in the mirror with all files of the run's folder.

        Args:
            timeout: Seconds to wait at most; without limit when None.

        Raises:
            StorageError: The last write failed, or the mirror cannot be written now.
            CheckpointError: The time ran out.
        """
        began = time.monotonic()
        self._writer.flush(timeout)
        if self._mirror is not None:
            held = self._lock.held
            if not held:
                self.begin_writing()
            try:
                self._mirror.flush(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))
            finally:
                if not held:
                    self._release()

    def close(self) -> None:
        """Write what waits, carry it to the mirror, and let other processes write. The run may be used again.

        What cannot be carried within two minutes is named, and stays here: the same run, opened again, carries it.
        """
        self._writer.wait()
        if self._mirror is not None and (self._lock.held or self._mirror.has_work):
            try:
                self.begin_writing()
                self._mirror.finish()
            except RunBusyError as error:
                warn("%s: nothing more is copied from here. %s", self.name, error)
        self._release()

    # ---- for the parts of this package ----

    def begin_writing(self) -> None:
        """Become the one writer of the run.

        Raises:
            RunBusyError: Another process is.
        """
        if self._mirror is not None:
            self._mirror.stay()  # a fit that has ended gives the lock back when its copies have arrived
        lock = self._lock
        if not lock.held:
            if (owner := lock.acquire()) is not None:
                pid, command = owner.get("pid", "unknown"), owner.get("command", "")
                raise RunBusyError(
                    f"the run {self.name} is being written by process {pid} on {owner.get('host', 'this host')}",
                    why=f"two writers would mix their states; that process runs: {command}" if command else "",
                    do="wait for it, end it, or open a run under another name",
                )
            manifest.remove_leftovers(self._folder)
        if self._mirror is not None:
            try:
                self._mirror.begin()
            except RunBusyError:
                self._release()
                raise

    def written(self) -> None:
        """Wait until everything that was saved is on the local disk; the mirror follows in its own time.

        Raises:
            StorageError: The last write failed.
        """
        self._writer.flush()

    def end_writing(self) -> None:
        """Write what waits and let others write; a failed write is told, not raised: the model is in memory."""
        self._writer.wait()
        self._writer.rest()
        if self._writer.error is not None:
            warn("%s: the newest state is not saved. %s", self.name, self._writer.error)
        if self._mirror is None:
            self._release()
        elif self._lock.held:
            if left := self._mirror.pending:
                say("%s: on its way to %s: %s", self.name, self._mirror.storage.address, left)
            self._mirror.then(self._release)

    def submit(self, taken: snapshot.Snapshot) -> None:
        """Hand a snapshot to the background thread."""
        self._writer.submit(taken)

    def bring_belongings(self) -> None:
        """Bring the run's other files from the mirror to a fresh folder; what does not work is told."""
        if self._mirror is not None:
            try:
                self._mirror.belongings.bring()
            except ColabKitError as error:
                warn("%s: its files were not brought here. %s", self.name, error)

    def newest(self, kind: str) -> Checkpoint | None:
        """Read the newest checkpoint that is whole, here or in the mirror, and tell which ones were passed over."""
        self._writer.wait()
        read = self._reader.newest(kind)
        if read is None:
            return None
        found, candidate = read
        self._best = found.meta.get("best")
        self._writer.accept(candidate.step)
        if self._mirror is not None and candidate.copy is not None:
            self._mirror.known(candidate.copy)
        return found

    # ---- parts ----

    @property
    def _lock(self) -> FileLock:
        return _locks.setdefault(self.dir, FileLock(self.dir / "lock"))

    def _release(self) -> None:
        self._writer.rest()
        if self._mirror is not None:
            self._mirror.claim.release()
        self._lock.release()
