"""One worker's process: its environment, its output line by line, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._internal.process import proc
from colabkit.config import LAUNCH_SECRET, WORKER_REPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.accelerator.cluster import Cluster
    from colabkit.launch.plan import Plan

    Output = Callable[[str, bool], None]

GRACE = 30.0
"""Seconds that a worker has to save and end after Ctrl-C."""

LOOPBACK = "127.0.0.1"

_LINE = re.compile(rb"[\r\n]+")
_PIECE = 1 << 16


class WorkerProcess:
    """A worker that was started.

    Args:
        process: The running process.
        report: The pipe on which its last word comes.
        pumps: What passes its output on.
    """

    def __init__(self, process: asyncio.subprocess.Process, report: int, pumps: list[asyncio.Task[None]]) -> None:
        self._process = process
        self._report = report
        self._pumps = pumps

    async def wait(self) -> tuple[int, dict[str, Any] | None]:
        """Wait for its end; return its code, and the ColabKitError that ended it."""
        code = await self._process.wait()
        self.kill()  # what it has started itself and left behind
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*self._pumps), 5)
        words = os.read(self._report, 1 << 16)
        os.close(self._report)
        try:
            error = json.loads(words) if words else None
        except (ValueError, RecursionError):
            error = None
        return code, error if isinstance(error, dict) else None

    def interrupt(self) -> None:
        """Ask it to save and end, as Ctrl-C would; it is killed when it does not within the grace period."""
        self._signal(signal.SIGINT)
        asyncio.get_running_loop().call_later(GRACE, self.kill)

    def kill(self) -> None:
        """End it and all that it has started; harmless when it has ended."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


async def start(plan: Plan, cluster: Cluster, rank: int, *, cores: float, output: Output) -> WorkerProcess:
    """Start a worker.

    Args:
        plan: The launch.
        cluster: The workers of this attempt, and which of them it is.
        rank: Its place in the whole launch, for the label of its output.
        cores: How many cores it may use.
        output: Takes each line, and whether it went to stderr.
    """
    report, last_word = os.pipe()
    try:
        process = await proc.spawn(
            [sys.executable, "-m", "colabkit.launch.worker", str(plan.script), *plan.args],
            env=environment(cluster, cores=cores, env=config.environment()) | {WORKER_REPORT: str(last_word)},
            keep=(last_word,),
        )
    finally:
        os.close(last_word)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - asked for in spawn
    pumps = [
        asyncio.ensure_future(_pump(stream, f"[{rank}] ", output, is_error=is_error))
        for stream, is_error in ((process.stdout, False), (process.stderr, True))
    ]
    return WorkerProcess(process, report, pumps)


def environment(cluster: Cluster, *, cores: float, env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a worker on top of the present ones; what the user has set stays.

    Example:
        >>> from colabkit.accelerator.cluster import Cluster
        >>> pair = Cluster(addresses=("a:1", "b:1"), index=1, coordinator="a:2")
        >>> environment(pair, cores=2, env={})["TF_NUM_INTRAOP_THREADS"]
        '2'
    """
    threads = str(max(1, int(cores)))
    wanted = {
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "NPROC": threads,  # XLA's thread pool on a CPU
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "PYTHONUNBUFFERED": "1",
    }
    if cluster.coordinator.startswith(f"{LOOPBACK}:"):
        wanted["JAX_COORDINATOR_BIND_ADDRESS"] = cluster.coordinator  # JAX's own default is every interface
    chosen = {name: value for name, value in wanted.items() if name not in env}
    hidden = dict.fromkeys({LAUNCH_SECRET} & env.keys(), "")  # the script has no use for it
    return {**chosen, **hidden, **cluster.environment(), **for_torch(cluster)}


def for_torch(cluster: Cluster) -> dict[str, str]:
    """Return the variables that `torch.distributed.init_process_group` reads, and Lightning and accelerate with it.

    Example:
        >>> from colabkit.accelerator.cluster import Cluster
        >>> pair = Cluster(addresses=("a:1", "b:1"), index=1, coordinator="a:2")
        >>> for_torch(pair)["RANK"], for_torch(pair)["MASTER_PORT"]
        ('1', '2')
    """
    hosts = [address.rpartition(":")[0] for address in cluster.addresses]
    own = hosts[cluster.index]
    host, _, port = cluster.coordinator.rpartition(":")
    return {
        "RANK": str(cluster.index),
        "WORLD_SIZE": str(cluster.count),
        "LOCAL_RANK": str(hosts[: cluster.index].count(own)),
        "LOCAL_WORLD_SIZE": str(hosts.count(own)),
        "MASTER_ADDR": host,
        "MASTER_PORT": port,
    }


async def _pump(stream: asyncio.StreamReader, label: str, output: Output, *, is_error: bool) -> None:
    rest = b""
    while piece := await stream.read(_PIECE):
        *lines, rest = _LINE.split(rest + piece)
        if len(rest) > _PIECE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            output(label + line.decode(errors="replace"), is_error)
    if rest:
        output(label + rest.decode(errors="replace"), is_error)
