"""How a training is stopped in good order: what was saved is on the disk, it is told, and the signal acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.policy.signals import StopSignals
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.state.workers import Watching


def wait_until_written(run: RunStore | Watching) -> None:
    """Wait until what was saved is on the disk; a failed write is told, not raised: the model is in memory."""
    try:
        run.written()
    except ColabKitError as error:
        warn("%s", error)


def act_on_signal(
    run: RunStore | Watching, signals: StopSignals, metrics: Mapping[str, Any] | None = None
) -> int | None:
    """Tell that a training was stopped, when it holds the run no more, and let the signal do what it always does.

    Args:
        run: The run.
        signals: What was received.
        metrics: What was measured last.

    Returns:
        The step that is saved, where the time was over and the program goes on.

    Raises:
        KeyboardInterrupt: For Ctrl-C.
    """
    step = run.status().saved_step
    run.tell("stopped", f"was stopped at step {step}, which is saved", metrics)
    signals.deliver(f"{run.name} is saved at step {step}; run it again and it continues there")
    return step
