"""The end of a run: everything saved is where it survives, and then the machine may go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import FileLock
from colabkit._internal.disk.holder import described
from colabkit._internal.log import notify
from colabkit.checkpoint.run_lock import LOCKS
from colabkit.errors import CheckpointError, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.checkpoint.run_store import RunStore

_CHECK_INTERVAL = 1.0  # seconds


def finish(run: RunStore, *, release: bool, timeout: float) -> None:
    """Do what `Run.finish` says."""
    began = time.monotonic()
    run.flush(timeout)
    if release:
        _check_survives(run)
    _wait_until_confirmed(run, began + timeout)
    run.close()
    status = run.status()
    where = f"confirmed at {status.mirror}" if status.mirror else f"in {status.dir}"
    if status.saved_step is not None:
        notify("colabkit: step %d is %s", status.saved_step, where)
    if release:
        from colabkit.runtime.release import release as give_back

        try:
            notify("colabkit: %s", give_back())
        except UnsupportedError as error:
            notify("colabkit: %s. %s", error.what, error.do)


def _check_survives(run: RunStore) -> None:
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host != "colab":
        return
    if run.status().mirror is None and runtime.ephemeral:
        raise CheckpointError(
            "the machine is not given back: the run is on it alone, and would be lost",
            why="it has no mirror",
            hint='open it in a place that persists, open_run("drive:runs/digits"), or with mirror=…',
        )
    if writer := other_writer(run.dir.parent, own=run.dir):
        raise CheckpointError(
            f"the machine is not given back: {writer}",
            why="what it has not saved elsewhere would be lost",
            hint="wait for it, or finish() or close() it first; this run is still open",
        )


def other_writer(runs: Path, *, own: Path | None = None) -> str:
    """Name a run that is written on this machine, by this process or by another; "" for none.

    Args:
        runs: The folder whose runs are looked at for another process.
        own: The folder of a run that does not count, nor do its phases.
    """
    for folder, lock in list(LOCKS.items()):
        if lock.held and (own is None or (folder != own and own not in folder.parents)):
            return f"this process still writes the run {folder.name}"
    for path in runs.glob("*/lock"):
        if path.parent == own:
            continue
        probe = FileLock(path)
        if (owner := probe.acquire()) is not None:
            return f"the run {path.parent.name} is being written by {described(owner, where='this host')[0]}"
        probe.release()
    return ""


def _wait_until_confirmed(run: RunStore, until: float) -> None:
    """Wait until the mirror was seen to have the newest state, where its storage can tell."""
    while True:
        status = run.status()
        if status.mirror is None or status.saved_step is None:
            return
        reached = status.confirmed_step if status.confirmed_step is not None else status.mirrored_step
        if reached is not None and reached >= status.saved_step and not status.pending:
            return
        if time.monotonic() > until:
            raise CheckpointError(
                f"step {status.saved_step} is not confirmed at {status.mirror}",
                why=status.error or status.pending or "its storage has not shown it yet",
                hint="nothing was given back; call finish() again, or look at run.status()",
            )
        time.sleep(_CHECK_INTERVAL)
