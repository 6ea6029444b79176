"""Who trains together, decided before anything is started."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.disk.paths import expand
from colabkit.accelerator.cluster import check_address
from colabkit.errors import ClusterConfigError, NotFoundError
from colabkit.launch import schedulers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from colabkit._types import StrPath

PORT = 8476
"""Where a worker's TensorFlow listens, unless its address says otherwise. On the first host the two ports above it are
used as well: the next for JAX's coordinator, the one after it for the supervisors."""

_MOST = 512


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A launch, decided.

    Attributes:
        script: The file that every worker runs.
        args: Its arguments.
        workers: `host:port` of each worker; empty when all are on this machine, at ports found at each start.
        count: How many workers there are.
        ranks: Which of them this command starts.
        restarts: How often all may be started again.
        min_workers: With how many to go on when others do not come back.
        timeout: Seconds to wait for workers.
        evidence: Where the workers come from, in words.
    """

    script: Path
    args: tuple[str, ...]
    workers: tuple[str, ...]
    count: int
    ranks: tuple[int, ...]
    restarts: int
    min_workers: int
    timeout: float
    evidence: str

    @property
    def leads(self) -> bool:
        """Whether this command is the one that the others report to."""
        return 0 in self.ranks


def plan_launch(
    script: StrPath,
    *args: str,
    local: int | None = None,
    workers: Sequence[str] | None = None,
    rank: int | None = None,
    restarts: int = 3,
    min_workers: int | None = None,
    timeout: float = 300.0,
    env: Mapping[str, str] | None = None,
) -> Plan:
    """Decide who trains together; the arguments are those of `launch`, and `env` is where schedulers are looked for.

    Raises:
        ClusterConfigError: The workers cannot be read, or do not fit the other options.
        NotFoundError: The script is not there.
    """
    env = config.environment(env)
    if local is not None and (workers or rank is not None):
        raise ClusterConfigError(
            "local workers and hosts cannot be mixed", hint="use --local N on one machine, or --workers on each of many"
        )
    addresses: tuple[str, ...] = ()
    if local is not None:
        count, ranks, evidence = local, tuple(range(local)), "--local"
    else:
        addresses, mine, evidence = _hosts(workers, rank, env)
        count, ranks = len(addresses), (mine,)
    if not 1 <= count <= _MOST:
        raise ClusterConfigError(f"{count} workers cannot be started", hint=f"use 1 to {_MOST}")
    least = count if min_workers is None else min_workers
    if not 1 <= least <= count or restarts < 0 or not timeout > 0:
        raise ClusterConfigError(
            f"restarts={restarts}, min_workers={least} and timeout={timeout:g} do not fit {count} workers",
            hint=f"use restarts from 0, min_workers from 1 to {count} and a timeout above 0",
        )
    return Plan(
        script=script_at(script, hint="check the path; it must be the same file on every host"),
        args=args,
        workers=addresses,
        count=count,
        ranks=ranks,
        restarts=restarts,
        min_workers=least,
        timeout=timeout,
        evidence=evidence,
    )


def script_at(script: StrPath, *, hint: str) -> Path:
    """Return the whole path of a script.

    Raises:
        NotFoundError: It is not there.
    """
    path = expand(script).absolute()
    if not path.is_file():
        raise NotFoundError(f"there is no script {path}", hint=hint)
    return path


def _hosts(workers: Sequence[str] | None, rank: int | None, env: Mapping[str, str]) -> tuple[tuple[str, ...], int, str]:
    scheduler = schedulers.find(env)
    names = list(workers or (scheduler.hosts if scheduler else ()))
    if not names:
        raise ClusterConfigError(
            "cannot tell which hosts train together"
            if scheduler is None
            else f"{scheduler.name} does not name the other workers",
            why="" if scheduler else f"neither --local nor --workers was given, and none of {schedulers.NAMES} is here",
            hint="use --local N on this machine, or --workers host1,host2 on each host",
        )
    addresses: list[str] = []
    for name in names:
        text = name.strip()
        addresses.append(check_address(text if ":" in text else f"{text}:{PORT}", seen=addresses))
    evidence = "--workers" if workers else f"{scheduler.name}" if scheduler else ""
    if rank is None and scheduler is not None and scheduler.rank is not None:
        rank, evidence = scheduler.rank, f"{evidence}, rank from {scheduler.name}"
    if rank is None:
        rank = _by_name(addresses)
    if not 0 <= rank < len(addresses):
        raise ClusterConfigError(
            f"there is no worker {rank}", why=f"{len(addresses)} are named, counted from 0", hint="correct --rank"
        )
    return tuple(addresses), rank, evidence


def _by_name(addresses: Sequence[str]) -> int:
    own = socket.gethostname()
    short = own.partition(".")[0]
    hosts = [address.rpartition(":")[0] for address in addresses]
    matching = [number for number, host in enumerate(hosts) if host in (own, short) or host.partition(".")[0] == short]
    if len(matching) != 1:
        raise ClusterConfigError(
            f"it is not clear which worker {own} is",
            why=f"{len(matching)} of the workers {', '.join(addresses)} have its name",
            hint="give --rank, counted from 0",
        )
    return matching[0]
