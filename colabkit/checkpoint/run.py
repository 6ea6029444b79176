"""A run: one training that may take several processes, and the folder that outlives them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from colabkit._tools.files import FileLock, unpublished, writing_to
from colabkit._tools.log import warn
from colabkit._tools.optional import require
from colabkit.checkpoint import manifest, snapshot
from colabkit.checkpoint.place import folder_of
from colabkit.checkpoint.policy import Every, parse_every
from colabkit.checkpoint.writer import Writer
from colabkit.errors import AddressError, CheckpointError, CorruptCheckpointError, RunBusyError, RunMismatchError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.checkpoint.container import Checkpoint

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
        saved_step: Steps trained at the newest checkpoint that is known to be whole; None when there is none.
        checkpoints: How many checkpoint files there are.
        bytes: Their size together.
        error: What went wrong with the last write; None when it went well.
    """

    dir: Path
    saved_step: int | None
    checkpoints: int
    bytes: int
    error: str | None


def open_run(where: StrPath, *, every: str | float | Every = "60s", keep: int = 3) -> Run:
    """Open a run, new or begun before, in a folder that persists.

    Args:
        where: A folder, or `drive:FOLDER` for a folder of the mounted Google Drive.
        every: How often to save: `"60s"`, `"5 min"`, `"500 steps"`, `"2 epochs"`. The end of an epoch is saved too.
        keep: How many whole checkpoints stay; at least 2, so that one broken file never takes the run with it.

    Returns:
        The run. Nothing is locked or written before the first save, apart from the folder itself.

    Raises:
        AddressError: `where` or `every` cannot be read.
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
    folder = folder_of(where)
    with writing_to(folder):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    with unpublished(folder, "writable"):
        pass  # better to hear now than after the first hour that the folder cannot be written
    return Run(folder, every=parse_every(every), keep=keep)


class Run:
    """A training run; made by `open_run`.

    Attributes:
        dir: Its folder; put anything there that belongs to the run.
        name: The folder's name.
        every: How often to save.
    """

    def __init__(self, folder: Path, *, every: Every, keep: int) -> None:
        self.dir = folder
        self.name = folder.name
        self.every = every
        self._folder = folder / "checkpoints"
        self._writer = Writer(self._folder, keep=keep)

    def __repr__(self) -> str:
        return f"<Run {str(self.dir)!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- Keras ----

    def resume(self, *, seed: int | None = None, check_data: bool = True) -> Any:
        """Make a Keras callback that saves as training goes and continues where the run stopped.

        Arrays, `keras.utils.PyDataset` and most of `tf.data` continue at the exact step, with the same result, bit for
        bit, as without the interruption. The callback says when that cannot be had.

        Args:
            seed: Fixes the order of the samples in a new run. When None it follows from the state of Python's `random`,
                which `keras.utils.set_random_seed` sets. A begun run keeps its own.
            check_data: Refuse other data than the run was trained on.

        Returns:
            A `keras.callbacks.Callback` for one call of `fit`.

        Example:
            ```python
            run = ck.open_run("./runs/digits")
            model.fit(x, y, epochs=10, callbacks=[run.resume()])
            ```
        """
        return self._callback(seed=seed, check_data=check_data, exact=False)

    def fit(self, model: Any, x: Any = None, y: Any = None, *, seed: int | None = None, **options: Any) -> Any:
        """Train a compiled Keras model, resumable at the exact step.

        Args:
            model: A compiled `keras.Model`.
            x: Inputs, as for `model.fit`.
            y: Targets, as for `model.fit`.
            seed: Fixes the order of the samples in a new run, as for `resume`.
            options: Everything else that `model.fit` takes.

        Returns:
            The `History` of the whole run, earlier processes included.

        Raises:
            UnsupportedError: The data cannot be continued exactly; the message says why.
        """
        callbacks = [*(options.pop("callbacks", None) or []), self._callback(seed=seed, check_data=True, exact=True)]
        return model.fit(x, y, callbacks=callbacks, **options)

    def _callback(self, *, seed: int | None, check_data: bool, exact: bool) -> Any:
        require("keras", extra="train", why="run.resume() and run.fit() train Keras models")
        from colabkit.checkpoint._keras import ResumeCallback

        return ResumeCallback(self, seed=seed, check_data=check_data, exact=exact)

    # ---- any state ----

    def save(self, state: Any, *, step: int) -> None:
        """Save any state: dicts, lists and tuples of arrays and plain values, nested as you like.

        Returns as soon as the arrays are copied; a background thread writes the file. `flush` waits for it.

        Args:
            state: What to save.
            step: Steps trained so far; orders the checkpoints.

        Raises:
            CheckpointError: A value that is neither an array nor plain.
            RunBusyError: Another process writes to this run.
        """
        taken = snapshot.of_state(state, step=step)
        self.begin_writing()
        self.submit(taken)

    def restore(self) -> Saved | None:
        """Read the newest state that is whole, or None when there is none.

        Raises:
            CorruptCheckpointError: The file is whole, but holds no state that `save` could have written.
            RunMismatchError: The run holds the state of a Keras model, which `resume` continues.
            NewerFormatError: A newer colabkit wrote it.
        """
        found = self.newest("state")
        if found is None:
            return None
        try:
            return Saved(step=found.meta["step"], state=snapshot.to_state(found.tensors, found.meta))
        except (KeyError, TypeError, ValueError) as error:  # the hash is right, yet no colabkit wrote this
            raise CorruptCheckpointError(f"the checkpoint of {self.name} holds no state", why=repr(error)) from error

    def checkpoints(self) -> list[manifest.Entry]:
        """List the checkpoint files, the furthest trained first; whether they are whole is not checked."""
        return manifest.entries(self._folder)

    def status(self) -> Status:
        """Say where the run stands."""
        found = self.checkpoints()
        error = self._writer.error
        return Status(
            dir=self.dir,
            saved_step=self._writer.saved_step,
            checkpoints=len(found),
            bytes=sum(entry.size for entry in found),
            error=str(error) if error else None,
        )

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was saved is on disk.

        Args:
            timeout: Seconds to wait at most; without limit when None.

        Raises:
            StorageError: The last write failed.
            CheckpointError: The time ran out.
        """
        self._writer.flush(timeout)

    def close(self) -> None:
        """Write what waits, and let other processes write to the run. The run may be used again."""
        self._writer.wait()
        if lock := _locks.get(self.dir):
            lock.release()

    # ---- for the parts of this package ----

    def begin_writing(self) -> None:
        """Become the one writer of the run.

        Raises:
            RunBusyError: Another process is.
        """
        lock = _locks.setdefault(self.dir, FileLock(self.dir / "lock"))
        if lock.held:
            return
        if (owner := lock.acquire()) is not None:
            pid, command = owner.get("pid", "unknown"), owner.get("command", "")
            raise RunBusyError(
                f"the run {self.name} is being written by process {pid} on {owner.get('host', 'this host')}",
                why=f"two writers would mix their states; that process runs: {command}" if command else "",
                do="wait for it, end it, or open a run under another name",
            )
        manifest.remove_leftovers(self._folder)

    def end_writing(self) -> None:
        """Write what waits and let others write; a failed write is told, not raised: the model is in memory."""
        self.close()
        if self._writer.error is not None:
            warn("%s: the newest state is not saved. %s", self.name, self._writer.error)

    def submit(self, taken: snapshot.Snapshot) -> None:
        """Hand a snapshot to the background thread."""
        self._writer.submit(taken)

    def newest(self, kind: str) -> Checkpoint | None:
        """Read the newest checkpoint that is whole, and tell which ones were passed over."""
        self._writer.wait()
        found, entry, passed_over = manifest.newest_good(self._folder)
        for item in passed_over:
            warn("%s: passing over the checkpoint %s: %s", self.name, item.path.name, item.why)
        if found is None or entry is None:
            if passed_over:
                raise CheckpointError(
                    f"no checkpoint of the run {self.name} can be read",
                    why=f"all {len(passed_over)} are damaged: {passed_over[0].why}",
                    do=f"restore {self._folder} from a backup, or delete it to begin anew",
                )
            return None
        self._writer.accept(entry.step)
        age = max(0.0, time.time() - entry.saved_at)
        if passed_over:
            warn("%s: going back to step %s, saved %.0f s ago", self.name, entry.step, age)
        if found.meta.get("kind") != kind:
            raise RunMismatchError(
                f"the run {self.name} holds another kind of state",
                why=f"it was saved by {_SAVED_BY.get(str(found.meta.get('kind')), 'another program')}",
                do="use the same call again, or open a run under another name",
            )
        return found


_SAVED_BY = {"keras": "run.resume() or run.fit()", "state": "run.save()"}
