"""Train one script on several workers, and go on when one of them dies: `launch()`.

Nothing of this is an engine: each worker runs the script with the variables from which TensorFlow's
MultiWorkerMirroredStrategy and keras.distribution on JAX learn of each other. What is ours is the supervision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._internal.hidden_locals import hides_locals
from colabkit.launch.plan import Plan, plan_launch
from colabkit.launch.report import Failure, Report
from colabkit.launch.supervisor import supervise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._types import StrPath

__all__ = ["Failure", "Plan", "Report", "launch", "plan_launch"]


@hides_locals
def launch(
    script: StrPath,
    *args: str,
    local: int | None = None,
    workers: Sequence[str] | None = None,
    rank: int | None = None,
    restarts: int = 3,
    min_workers: int | None = None,
    timeout: float = 300.0,
) -> Report:
    """Run a script once a worker, and restart all from the newest checkpoint when one dies.

    Args:
        script: The Python file that every worker runs; it enters `ck.strategy()` and fits with `run.resume()`.
        args: Its arguments.
        local: How many workers to start on this machine.
        workers: All hosts, `host` or `host:port`, the same list on each; one worker is started here. Without `local`
            and `workers` both come from SLURM, an indexed Kubernetes Job, GCE or TF_CONFIG.
        rank: Which of `workers` this host is; found by its name or from the scheduler when None.
        restarts: How often all may be started again.
        min_workers: With how many to go on when others do not come back; all of them when None.
        timeout: Seconds to wait for workers, at the start and after a failure.

    Returns:
        The report; its `code` is 0 when every worker ended with 0, else that of the first that failed.

    Raises:
        ClusterConfigError: The workers cannot be read, or one is named twice.
        WorkerUnreachableError: Some did not come in time.
        WorkerMismatchError: Their scripts, arguments or packages differ.
        NotFoundError: The script is not there.

    Example:
        ```python
        report = launch("train.py", "--epochs", "10", local=2)
        ```
    """
    return supervise(
        plan_launch(
            script,
            *args,
            local=local,
            workers=workers,
            rank=rank,
            restarts=restarts,
            min_workers=min_workers,
            timeout=timeout,
        )
    )
