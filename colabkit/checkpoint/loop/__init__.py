"""A training loop of the user's own that goes on where it was killed: `for batch in run.loop(loader, model=model)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.log import prepare
from colabkit.errors import AddressError, CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.checkpoint.loop.loop import Loop
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.tracking import Tracker


def make_loop(
    run: RunStore,
    data: Any,
    *,
    epochs: int,
    check_data: bool,
    best: Any,
    state: dict[str, Any],
    limit: TimeLimit | None = None,
    trackers: Sequence[Tracker | str] = (),
    show: bool = True,
) -> Loop:
    """Make the loop of `Run.loop`; `train` says besides where metrics go, and shows the training itself.

    Raises:
        AddressError: `epochs` or `best` is not valid.
        CheckpointError: A part of the state cannot be put back.
        DataError: The data gives no batches.
    """
    from colabkit.checkpoint.loop.data import open_source
    from colabkit.checkpoint.loop.loop import Loop
    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.loop.state import LoopOptions
    from colabkit.checkpoint.policy import parse_best

    prepare()
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise AddressError(
            f"epochs={epochs!r} is not a number of epochs", hint="pass epochs=3, counted for the whole run"
        )
    by = None if best is None else parse_best(best)
    source = open_source(data)
    try:
        parts = Parts(state, run=run.name)
    except RecursionError:
        raise CheckpointError(
            "what the loop is given cannot be saved",
            why="a part of it holds itself",
            hint="leave out what refers back to the whole",
        ) from None
    loop = Loop(
        run,
        source,
        parts,
        LoopOptions(epochs=epochs, check_data=check_data, best=by, limit=limit),
    )
    loop.prepare(trackers=trackers, show=show)
    return loop
