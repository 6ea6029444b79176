"""What Ray is asked for, decided before anything of it is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import ClusterConfigError
from colabkit.launch.plan import script_at

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath


@dataclass(frozen=True, kw_only=True)
class RayPlan:
    """A launch on Ray, decided.

    Attributes:
        script: The file that every worker runs.
        args: Its arguments.
        workers: How many workers there are at most.
        min_workers: With how many Ray may go on.
        restarts: How often all may be started again.
        address: The cluster; None starts one on this machine, "auto" takes the one this machine is a node of, and
            `http://HEAD:8265` hands a job to one that is elsewhere.
        cpus: Cores that Ray reserves for a worker.
        gpus: GPUs that Ray reserves for a worker.
        timeout: Seconds to wait for room for the workers.
    """

    script: Path
    args: tuple[str, ...]
    workers: int
    min_workers: int
    restarts: int = 3
    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    timeout: float = 300.0


def plan_ray(
    script: StrPath,
    *args: str,
    workers: int,
    min_workers: int | None = None,
    restarts: int = 3,
    address: str | None = None,
    cpus: float = 1,
    gpus: float = 0,
    timeout: float = 300.0,
) -> RayPlan:
    """Decide what Ray is asked for; nothing is imported or started.

    Raises:
        ClusterConfigError: The numbers do not fit.
        NotFoundError: The script is not there.

    Example:
        >>> plan_ray(__file__, workers=4, min_workers=2).min_workers
        2
    """
    least = workers if min_workers is None else min_workers
    if not (1 <= least <= workers and restarts >= 0 and timeout > 0 and cpus >= 0 and gpus >= 0):
        raise ClusterConfigError(
            f"workers={workers}, min_workers={least}, restarts={restarts}, cpus={cpus:g} and gpus={gpus:g} do not fit",
            hint="use 1 worker or more, min_workers up to that, and no negative numbers",
        )
    return RayPlan(
        script=script_at(script, hint="check the path"),
        args=args,
        workers=workers,
        min_workers=least,
        restarts=restarts,
        address=address,
        cpus=cpus,
        gpus=gpus,
        timeout=timeout,
    )
