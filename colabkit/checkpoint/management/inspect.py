"""Runs seen from outside: which there are, which checkpoints they have, where each copy is, and whether it is whole.

Nothing here makes a folder or takes part in a training. What is shown of a checkpoint is read from its header, which
costs next to nothing and proves nothing; what is restored or kept in another's place is proven.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import FileLock, atomic_path
from colabkit._internal.disk.holder import described
from colabkit._internal.disk.paths import expand, path_text
from colabkit.checkpoint import policy
from colabkit.checkpoint.format import delta, naming
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.location import RunLocation, resolve_location
from colabkit.checkpoint.mirror import remote_store as copies
from colabkit.checkpoint.mirror.replicator import open_mirror
from colabkit.errors import (
    AddressError,
    CheckpointError,
    ColabKitError,
    IntegrityError,
    NewerFormatError,
    NotFoundError,
    RunBusyError,
)
from colabkit.storage import open_storage, scheme

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._types import StrPath
    from colabkit.storage import Confirmed, Storage


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One file of a checkpoint.

    Attributes:
        name: Its name.
        address: Where it is: a folder, or a storage.
        size: Bytes.
        saved_at: When it was written, by the clock of its place.
        here: Whether it is on this machine.
        confirmed: Whether it would survive the loss of this machine, as its storage says; None for one that is here.
    """

    name: naming.CheckpointName
    address: str
    size: int
    saved_at: float
    here: bool
    confirmed: Confirmed | None = None


@dataclass(kw_only=True)
class CheckpointInfo:
    """A state of a run: all files of one step and one content.

    Attributes:
        step: Steps trained.
        state: The first digits of its hash.
        copies: Its files.
        meta: What one of them says about itself, unproven; empty when none can be read.
        why: Why not, in words.
    """

    step: int
    state: str
    copies: list[Replica] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run as it was found.

    Attributes:
        address: Its address.
        place: Its folder on this machine and its mirror.
        points: Its states, the furthest trained first.
        unanswered: Why its mirror could not be checked; empty when it could, or there is none.
    """

    address: str
    place: RunLocation
    points: list[CheckpointInfo]
    unanswered: str = ""

    @property
    def best_step(self) -> int | None:
        """The step of the best state, as the newest one says."""
        return next((naming.best_step(point.meta) for point in self.points if point.meta), None)


def runs(where: StrPath) -> list[RunInfo]:
    """Find the runs at an address: the run that is there, or those in it.

    Args:
        where: A run's address, or a folder or storage that holds runs.

    Raises:
        AddressError: It cannot be read.
        NotFoundError: There is no such folder.
        StorageError: The storage does not answer.
    """
    text = path_text(where)
    if scheme(text):
        with contextlib.suppress(AddressError):  # a whole bucket names no run
            if (resolve_location(text).folder / naming.FOLDER).is_dir():
                return [survey(text)]
        storage = open_storage(text)
        names = [stored.name for stored in storage.list()]
        folders = {name.rpartition(f"{naming.FOLDER}/")[0].rstrip("/") for name in names if _is_checkpoint(name)}
        begin = text if text.endswith(":") else text.rstrip("/") + "/"
        return [survey(f"{begin}{name}".rstrip("/")) for name in sorted(folders)]
    folder = expand(text)
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {text}", hint="name the folder of a run, or one that holds runs")
    if (folder / naming.FOLDER).is_dir():
        return [survey(text)]
    below = [path for path in sorted(folder.rglob(naming.FOLDER)) if any(map(_is_checkpoint_file, _files(path)))]
    return [survey(path.parent) for path in below if not any(part.startswith(".") for part in path.parts)]


def survey(where: StrPath, mirror: StrPath | Storage | None = None) -> RunInfo:
    """Look at one run.

    Raises:
        AddressError: The address cannot be read.
        NotFoundError: There is no run.
        StorageError: The storage does not answer, and nothing of the run is here.
    """
    place = resolve_location(where, mirror)
    points: dict[tuple[int, str], CheckpointInfo] = {}
    _add(points, open_storage(place.folder), here=True)
    unanswered: ColabKitError | None = None
    if place.storage is not None:
        try:
            _add(points, place.storage, here=False)
        except ColabKitError as error:
            unanswered = error
    if not points:
        if unanswered is not None:
            raise unanswered
        raise NotFoundError(
            f"there is no run at {os.fspath(where)}",
            why="no checkpoint is there",
            hint="see what there is with: colabkit runs list FOLDER",
        )
    ordered = sorted(points.values(), key=lambda point: (point.step, _saved_at(point)), reverse=True)
    return RunInfo(
        address=os.fspath(where), place=place, points=ordered, unanswered=str(unanswered) if unanswered else ""
    )


def _add(points: dict[tuple[int, str], CheckpointInfo], storage: Storage, *, here: bool) -> None:
    for name, stored in copies.listed(storage):
        point = points.setdefault((name.step, name.state), CheckpointInfo(step=name.step, state=name.state))
        confirmed = None if here else storage.confirmed(stored.name)
        point.copies.append(
            Replica(
                name=name,
                address=storage.address,
                size=stored.size,
                saved_at=stored.modified,
                here=here,
                confirmed=confirmed,
            )
        )
        if not point.meta:
            try:
                point.meta = copies.meta(storage, name)
            except (ColabKitError, OSError) as error:
                point.why = getattr(error, "why", "") or str(error)


def verify(run: RunInfo, copy: Replica) -> str:
    """Read a file of a checkpoint from end to end, and what it borrows from; says what is wrong, or nothing.

    A mirror's file is brought to a temporary folder for it.
    """
    try:
        with _proven(run, copy):
            return ""
    except ColabKitError as error:
        return error.why or error.what
    except OSError as error:
        return error.strerror or str(error)


def restore(run: RunInfo, to: Path, *, step: int | None = None) -> tuple[CheckpointInfo, list[tuple[Replica, str]]]:
    """Write the furthest state that is whole, complete and proven, to a file.

    Args:
        run: The run.
        to: The file; an existing one is replaced.
        step: Take the state of this step only.

    Returns:
        The state, and the copies that were passed over, with what is wrong with each.

    Raises:
        NotFoundError: There is no state of that step.
        CheckpointError: None is whole.
        NewerFormatError: A newer colabkit wrote it; an older state would lose work silently.
        StorageError: The storage does not answer, or the file cannot be written.
    """
    points = [point for point in run.points if step is None or point.step == step]
    if not points:
        steps = ", ".join(str(point.step) for point in run.points)
        raise NotFoundError(f"{run.address} has no state of step {step}", hint=f"choose one of: {steps}")
    passed_over: list[tuple[Replica, str]] = []
    for point in points:
        for copy in sorted(point.copies, key=lambda copy: not copy.here):
            try:
                with _proven(run, copy) as path, atomic_path(to) as target:
                    shutil.copyfile(path, target)
                    container.verify_details(target)
            except NewerFormatError:
                raise
            except (CheckpointError, IntegrityError, FileNotFoundError) as error:
                passed_over.append((copy, getattr(error, "why", "") or str(error)))
            else:
                return point, passed_over
    raise CheckpointError(f"no checkpoint of {run.address} is whole", why=passed_over[0][1])


@contextlib.contextmanager
def _proven(run: RunInfo, copy: Replica) -> Any:
    """Give a complete file that is proven, in its own place or in a temporary one."""
    storage = open_storage(run.place.folder) if copy.here or run.place.storage is None else run.place.storage
    with tempfile.TemporaryDirectory(prefix="colabkit-runs-") as name:
        folder = Path(name)
        if copy.here and not copy.name.is_delta:
            path = run.place.folder / naming.FOLDER / str(copy.name)
        elif copy.name.is_delta:
            copies.download(storage, copy.name, folder)
            path = next(entry.path for entry in naming.entries(folder) if entry.step == copy.name.step)
        else:
            path = folder / str(copy.name)
            storage.get(f"{copies.PREFIX}{copy.name}", path)
        if container.verify_details(path)[1][:12] != copy.name.state:
            raise CheckpointError(f"{path} is not whole", why="it holds a different state than its name says")
        yield path


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What may be deleted.

    Attributes:
        copies: The files that may go.
        kept: Why more do not, in words; empty when only what was asked for stays.
    """

    copies: list[Replica]
    kept: str = ""


def plan_pruning(run: RunInfo, *, keep: int, check: Callable[[RunInfo, Replica], str] = verify) -> Pruning:
    """Choose the files that may be deleted: in each place, what is older than `keep` states that are good there.

    On this machine a state is good when its file is proven now. In a mirror it is good when the storage has confirmed
    it. The best state stays, and so does a file that another one borrows from.

    Args:
        run: The run.
        keep: How many good states stay in each place.
        check: Says what is wrong with a file of this machine.
    """
    chosen: list[Replica] = []
    kept = ""
    for here in (True, False):
        replicas = [copy for point in run.points for copy in point.copies if copy.here == here]
        good: set[int] = set()
        for copy in replicas:
            if len(good) < keep and (not check(run, copy) if here else copy.confirmed == "yes"):
                good.add(copy.name.step)
        steps = {copy.name.step for copy in replicas}
        if len(good) < keep < len(steps):
            kept = f"only {len(good)} states {'here are whole' if here else 'of the mirror are confirmed'}"
        old = policy.deletable(steps, good=good, keep=keep, best=run.best_step)
        borrowed = {_base(run, copy) for copy in replicas if copy.name.is_delta and copy.name.step not in old}
        chosen += [
            copy
            for copy in replicas
            if copy.name.step in old and copy.name not in borrowed and not (None in borrowed and not copy.name.is_delta)
        ]
    return Pruning(copies=chosen, kept=kept)


def prune(run: RunInfo, pruning: Pruning) -> int:
    """Delete what was chosen, as the run's one writer; returns the bytes.

    Raises:
        RunBusyError: A process trains with it.
        StorageError: A file is still there.
    """
    lock = FileLock(run.place.folder / "lock")
    storage, folder = run.place.storage, run.place.folder
    if folder.is_dir() and (owner := lock.acquire()) is not None:
        raise RunBusyError(f"the run {run.address} is being written by {described(owner)[0]}")
    try:
        for copy in pruning.copies:
            if copy.here:
                open_storage(folder).delete(f"{copies.PREFIX}{copy.name}")
        if storage is not None and any(not copy.here for copy in pruning.copies):
            lease = open_mirror(folder, storage, run=run.place.name, keep=len(run.points)).lease
            lease.acquire()
            try:
                for copy in pruning.copies:
                    if not copy.here:
                        lease.check()
                        storage.delete(f"{copies.PREFIX}{copy.name}")
            finally:
                lease.release()
    finally:
        lock.release()
    return sum(copy.size for copy in pruning.copies)


def _base(run: RunInfo, copy: Replica) -> naming.CheckpointName | None:
    """Find out what a delta file borrows from; None when it cannot be read."""
    storage = open_storage(run.place.folder) if copy.here or run.place.storage is None else run.place.storage
    with contextlib.suppress(ColabKitError):
        return delta.base_of(copies.meta(storage, copy.name), str(copy.name)).name
    return None


def _saved_at(point: CheckpointInfo) -> float:
    return max(copy.saved_at for copy in point.copies)


def _is_checkpoint(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return folder.rpartition("/")[2] == naming.FOLDER and naming.parse(file) is not None


def _is_checkpoint_file(path: Path) -> bool:
    return naming.parse(path.name) is not None


def _files(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []
