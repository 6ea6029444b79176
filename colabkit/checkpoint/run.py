"""A run: one training that may take several processes, and the folder that outlives them."""

from __future__ import annotations

import functools
import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from colabkit._internal.disk.files import map_os_errors, temp_then_rename
from colabkit._internal.display.show import Shown
from colabkit._internal.hidden_locals import hides_locals
from colabkit._internal.log import warn
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit.checkpoint import kaggle_run, phase
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.location import resolve_location, tell_of_new
from colabkit.checkpoint.management.finish import finish
from colabkit.checkpoint.management.notice import Notice
from colabkit.checkpoint.policy import SaveInterval, parse_best, parse_every
from colabkit.checkpoint.policy.time_limit import sooner
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.state.restore_into import restore_into
from colabkit.checkpoint.status import Saved
from colabkit.checkpoint.trainers import Trainers
from colabkit.errors import AddressError, CheckpointError, ColabKitError, CorruptCheckpointError, RunBusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from colabkit._internal.display.show import Facts
    from colabkit._types import StrPath
    from colabkit.storage import Storage


@hides_locals
def open_run(
    where: StrPath,
    *,
    every: str | float | SaveInterval = "60s",
    keep: int = 3,
    mirror: StrPath | Storage | None = None,
    time: str | float | None = None,
    notify: str | Sequence[str] | Callable[[str], object] | None = None,
) -> Run:
    """Open a run, new or begun before, in a place that persists.

    A run at `drive:`, `gs://` or `hf:` works in a folder of the machine's own disk, and a background thread copies what
    it saves to that place. On a fresh machine the same address goes on from there.

    Args:
        where: A folder; `drive:FOLDER`, a folder of the mounted Google Drive; `gs://BUCKET/FOLDER`;
            `hf:OWNER/NAME/FOLDER`, a folder of a repository of Hugging Face.
        every: How often to save: `"60s"`, `"5 min"`, `"500 steps"`, `"2 epochs"`. The end of an epoch is saved too.
        keep: How many whole checkpoints stay; at least 2, so that one broken file never takes the run with it.
        mirror: Where copies of a run in a folder go: an address as above, another folder, or a storage.
        time: How long its trainings may take from now on, as `"50 min"`, or `"session"` for until five minutes before
            the host ends the session. Then the exact step is saved, the training ends in good order, and the same
            lines go on from there another time.
        notify: Where a line goes when a training of the run ends, is stopped or fails: a webhook's https address (of
            Slack, Discord, …), `"ntfy:TOPIC"`, a command as a list of words, or a function of the text.

    Returns:
        The run. Nothing is locked or written before the first save, apart from the folder itself.

    Raises:
        AddressError: `where`, `every` or `notify` cannot be read.
        DataError: `time` is not a length of time.
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
    keep = _counted(keep)
    limit = sooner(time, None)
    notice = None if notify is None else Notice(notify)
    place = resolve_location(where, mirror)
    folder = place.folder
    fresh = not folder.exists()
    with map_os_errors(folder):
        (folder / naming.FOLDER).mkdir(parents=True, exist_ok=True)
    with temp_then_rename(folder, "writable"):
        pass  # better to hear now than after the first hour that the folder cannot be written
    if place.earlier is not None:
        kaggle_run.copy_earlier_version(place.earlier, folder)
    run = Run(
        folder, name=place.name, every=parse_every(every), keep=keep, storage=place.storage, limit=limit, notice=notice
    )
    if (read_key := getattr(place.storage, "read_key", None)) is not None:
        read_key()
    if fresh:
        tell_of_new(where, place)
        run.download_artifacts()
    return run


def _counted(keep: int) -> int:
    """Return how many states stay.

    Raises:
        AddressError: It is no whole number, or too few.
    """
    try:
        number = operator.index(keep)
    except TypeError:
        raise AddressError(
            f"keep={keep!r:.50} is not a number of states",
            why="it says how many of the newest states stay",
            hint="use keep=3, or a larger whole number",
        ) from None
    if number < 2:
        raise AddressError(
            f"keep={keep} is too few",
            why="with one copy, a kill while it is replaced loses everything",
            hint="use keep=3",
        )
    return number


class Run(Trainers, Shown):
    """A training run; made by `open_run`.

    Attributes:
        dir: Its folder on this machine; put anything there that belongs to the run. What lies there is copied to the
            mirror too, and brought to a fresh machine.
        name: The last part of its address.
        every: How often to save.
        limit: When its trainings save and end before their last epoch; None for never.
        notice: Sends word of their ends; None where nobody asked for it.
    """

    @functools.cached_property
    def _phases(self) -> dict[str, Phase]:
        return {}

    def _line(self) -> str:
        return f"<Run {str(self.dir)!r}>"

    def _facts(self) -> Facts:
        _, rows = self.status()._facts()  # noqa: SLF001 - a run shows where it stands
        return f"Run {self.name}", [("saves every", self.every), *rows]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def phase(self, name: str) -> Run:
        """Give one of several fits of this run a name: its states are its own, so that none is taken for another's.

        Args:
            name: As `"head"`, `"fine-tune"` or `"fold-3"`; it becomes a folder of the run.

        Returns:
            What `open_run` returns, with the same verbs. A phase that is finished is not trained again: the same lines
            give its weights.

        Raises:
            AddressError: The name cannot be a folder's.

        Example:
            ```python
            model.fit(x, y, epochs=5, callbacks=[run.phase("head").resume()])
            base.trainable = True
            model.compile(keras.optimizers.Adam(1e-5), "mse")
            model.fit(x, y, epochs=5, callbacks=[run.phase("fine-tune").resume()])
            ```
        """
        if name not in self._phases:
            self._phases[name] = Phase(self, name, keep=self._keep, storage=self._storage)
        return self._phases[name]

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
            CheckpointError: A value that is neither an array nor plain; a step that is no whole number.
            RunBusyError: Another process writes to this run.
        """
        try:
            step = operator.index(step)  # of NumPy, JAX or TensorFlow
        except TypeError as error:
            raise CheckpointError(f"step={step!r:.40} is no whole number", hint="pass the steps done so far") from error
        try:
            taken = pytree.of_state(state, step=step)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.not_taken(error, step=step)  # training may have the memory that a copy has not
            return
        if metrics is not None or best is not None or self._best is not None:
            taken = replace(taken, meta={**taken.meta, **self._judged(metrics or {}, best, step)})
        self.submit(taken)

    def _judged(self, metrics: Mapping[str, float], best: Any, step: int) -> dict[str, Any]:
        values = {name: float(value) for name, value in metrics.items()}
        if best is not None:
            by = parse_best(best)
            if by.metric not in values:
                raise AddressError(f"best={best!r} is not among the metrics", hint="pass metrics={...} with its value")
            self._best = by.judge(values[by.metric], self._best, step=step) or self._best
        return {"metrics": values, "best": self._best}

    def restore(self, *, into: Any = None, best: bool = False) -> Saved | None:
        """Read the newest state that is whole, or None when there is none.

        Args:
            best: Read the best state instead, which `save(best=...)` keeps.
            into: The state made anew, as it was given to `save`: its modules, optimizers and variables are loaded in
                place, its dicts and lists are filled, and JAX arrays, tensors, named tuples and dataclasses come back
                as such. Without it the state comes back in NumPy arrays, dicts, lists and tuples.

        Raises:
            CorruptCheckpointError: The file is whole, but holds no state that `save` could have written.
            RunMismatchError: The run holds the state of a Keras model, which `resume` continues, or `into` has another
                shape.
            NewerFormatError: A newer colabkit wrote it.
        """
        checkpoint = self.newest("state")
        if checkpoint is None:
            return None
        if best:
            checkpoint = self._reader.best(checkpoint)
        try:
            saved = Saved(step=checkpoint.meta["step"], state=pytree.to_state(checkpoint.tensors, checkpoint.meta))
        except Exception as error:  # the hash is right, yet no colabkit wrote this
            raise CorruptCheckpointError(f"the checkpoint of {self.name} holds no state", why=repr(error)) from error
        return saved if into is None else replace(saved, state=restore_into(into, saved.state))

    def close(self) -> None:
        """Write what waits, carry it to the mirror, and let other processes write. The run may be used again.

        What cannot be carried within two minutes is named, and stays here: the same run, opened again, carries it.
        """
        if not self._forked:  # else what is open is the parent's
            for each in self._phases.values():
                each.close()
        super().close()

    def finish(self, *, release: bool = False, timeout: float = 600.0) -> None:
        """Wait until everything that was saved is where it survives, say so, and close the run.

        Args:
            release: Give the machine back then, on Colab; elsewhere it is said that this cannot be done from here.
            timeout: Seconds to wait at most.

        Raises:
            StorageError: The last write failed, or the mirror cannot be written now; nothing is given back.
            CheckpointError: The time ran out before the mirror was seen to have the newest state, or the run lies on
                this machine alone, which would be given back; nothing is.
            RunBusyError: Another process writes the run; nothing is given back.
        """
        finish(self, release=release, timeout=timeout)

    def pack(self, to: StrPath | None = None) -> Path:
        """Write the run into one file to hand over; `colabkit runs unpack` takes it out elsewhere, and it goes on.

        Args:
            to: The file; `NAME.run.zip` in the working folder when None.

        Returns:
            The file: the newest and the best state, proven whole, the other files of the run's folder, and a card.

        Raises:
            StorageError: The file cannot be written.
            CheckpointError: No state is whole.
        """
        from colabkit.checkpoint.management.pack import pack

        self.flush()
        return pack(self.dir, to, name=self.name.rpartition("/")[2]).path

    # ---- for the parts of this package ----

    def upload_artifacts(self) -> None:
        """Carry the files of the run's folder to the mirror; a phase has written there."""
        if self._mirror is None or self._writing:
            return
        try:
            self.begin_writing()
        except RunBusyError:
            return
        self.end_writing()

    def download_artifacts(self) -> None:
        """Bring the run's other files from the mirror to a fresh folder; what does not work is told."""
        if self._mirror is not None:
            try:
                self._mirror.artifacts.download()
            except ColabKitError as error:
                warn("%s: its files were not downloaded. %s", self.name, error)


class Phase(Run):
    """A phase of a run, with the verbs of one; made by `Run.phase`.

    Args:
        run: The run.
        name: The phase's name.
        keep: How many states stay.
        storage: The storage of the run; None for a run that is only here.
    """

    def __init__(self, run: Run, name: str, *, keep: int, storage: Storage | None) -> None:
        folder, below, fresh = phase.place_of(run.dir, name, storage)
        super().__init__(
            folder,
            name=f"{run.name}/{name}",
            every=run.every,
            keep=keep,
            storage=below,
            limit=run.limit,
            notice=run.notice,
        )
        self.run = run
        if fresh:
            self.download_artifacts()

    def end_writing(self) -> None:
        """As of a run; the run's other files are carried too."""
        super().end_writing()
        self.run.upload_artifacts()
