"""Exact resume for Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.log import prepare
from colabkit._internal.optional import require
from colabkit.checkpoint.policy import parse_best
from colabkit.checkpoint.policy.time_limit import sooner

if TYPE_CHECKING:
    from colabkit.checkpoint.run_store import RunStore


def make_callback(
    run: RunStore, *, seed: int | None, check_data: bool, exact: bool, best: Any, at: str = "step", time: Any = None
) -> Any:
    """Make the callback of `Run.resume` and `Run.fit`.

    Raises:
        MissingDependencyError: Keras is not installed.
    """
    require("keras", extra="train", why="run.resume() and run.fit() train Keras models")
    from colabkit.checkpoint.keras.callback import ResumeCallback

    prepare()
    by = None if best is None else parse_best(best)
    limit = sooner(time, run.limit)
    return ResumeCallback(run, seed=seed, check_data=check_data, exact=exact, best=by, at=at, limit=limit)
