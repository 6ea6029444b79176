"""The side of a launch that starts a worker: it does what the lead says, and reports how the worker ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any

from colabkit import errors
from colabkit.accelerator.cluster import Cluster, check_address
from colabkit.config import LAUNCH_SECRET
from colabkit.errors import ClusterConfigError, ClusterError, WorkerUnreachableError
from colabkit.launch import process, protocol
from colabkit.launch.report import Report, from_json
from colabkit.launch.secret import default_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.launch.plan import Plan

_PROVING = 15.0
_PAUSE = 0.5
"""Seconds between two tries to reach the lead."""


class Member:
    """One worker's keeper.

    Args:
        plan: The launch.
        rank: Which worker it keeps.
        lead: Where the lead listens.
        secret: What it and this side prove to each other that they know.
        fingerprint: What must be the same everywhere.
        cores: How many cores its worker may use.
        output: Takes the worker's lines.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        lead: tuple[str, int],
        *,
        secret: bytes,
        fingerprint: Mapping[str, str],
        cores: float,
        output: process.Output,
    ) -> None:
        self._plan = plan
        self._rank = rank
        self._lead = lead
        self._secret = secret
        self._fingerprint = fingerprint
        self._cores = cores
        self._output = output
        self._worker: process.WorkerProcess | None = None

    async def run(self) -> Report:
        """Serve until the lead says that it is over.

        Raises:
            WorkerUnreachableError: The lead cannot be reached, or was lost and did not come back.
            ClusterError: The lead refuses this worker; the class and the words are the lead's.
        """
        try:
            while True:
                link = await self._reach()
                try:
                    if (report := await self._serve(link)) is not None:
                        return report
                finally:
                    link.close()
                self._output(f"[{self._rank}] lost worker 0; waiting for it to come back", True)
        finally:
            if self._worker is not None:
                self._worker.kill()
                await self._worker.wait()

    async def _reach(self) -> protocol.Connection:
        deadline = time.monotonic() + self._plan.timeout
        while True:
            known: bool | None = None
            try:
                link = await protocol.connect(*self._lead, timeout=max(1.0, min(10.0, self._plan.timeout)))
                known = await asyncio.wait_for(link.prove(self._secret, role="member"), _PROVING)
                reason = "what answers there is no supervisor of a launch"
            except (OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            if known:
                await link.send(hello=self._rank, fingerprint=dict(self._fingerprint))
                return link
            if known is False:
                raise ClusterConfigError(
                    f"worker 0 at {self._lead[0]}:{self._lead[1]} and this host do not know the same secret",
                    why="each proves it to the other before anything is sent",
                    hint=f"set {LAUNCH_SECRET} to the same long random text on every host, or copy the first host's "
                    f"{default_file()} to the others",
                )
            if time.monotonic() > deadline:
                raise WorkerUnreachableError(
                    f"worker 0 does not answer at {self._lead[0]}:{self._lead[1]}",
                    why=f"tried for {self._plan.timeout:g} s: {reason}",
                    hint="start the same command there too, and open that port between the hosts",
                )
            await asyncio.sleep(_PAUSE)

    async def _serve(self, link: protocol.Connection) -> Report | None:
        ending: asyncio.Task[None] | None = None
        while (message := await link.receive()) is not None:
            match message:
                case {"refused": dict(words)}:
                    raise _refusal(words)
                case {"done": dict(report)}:
                    return _report_of(report)
                case {"start": int(attempt), "index": int(index), "addresses": list(names), "coordinator": str(name)}:
                    cluster = _cluster(names, index, name)
                    self._worker = await process.start(
                        self._plan, cluster, self._rank, cores=self._cores, output=self._output
                    )
                    ending = asyncio.ensure_future(self._report(link, self._worker, attempt))
                case {"stop": bool(gently)} if self._worker is not None:
                    self._worker.interrupt() if gently else self._worker.kill()
        if self._worker is not None:
            self._worker.kill()
        if ending is not None:
            await ending
        return None

    async def _report(self, link: protocol.Connection, worker: process.WorkerProcess, attempt: int) -> None:
        code, error = await worker.wait()
        self._worker = None
        await link.send(ended=code, attempt=attempt, error=error)


def _report_of(told: dict[str, Any]) -> Report:
    try:
        return from_json(told)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ClusterError("worker 0 ended the launch with a report that cannot be read", why=repr(error)) from error


def _cluster(names: list[Any], index: int, coordinator: str) -> Cluster:
    addresses: list[str] = []
    for name in names:
        addresses.append(check_address(name, seen=addresses))
    if not 0 <= index < len(addresses):
        raise ClusterConfigError(f"the lead gives this worker the place {index} of {len(addresses)}")
    return Cluster(addresses=tuple(addresses), index=index, coordinator=check_address(coordinator))


def _refusal(words: Mapping[str, Any]) -> ClusterError:
    kind = errors.named(words.get("type"))
    if kind is None or not issubclass(kind, ClusterError):
        kind = ClusterError
    return kind(str(words.get("what", "")), why=str(words.get("why", "")), hint=str(words.get("do", "")))


def check_ports(plan: Plan) -> None:
    """Refuse to begin where another program listens at the port of this host's worker.

    Raises:
        ClusterConfigError: The port is taken.
    """
    for rank in plan.ranks if plan.workers else ():
        port = int(plan.workers[rank].rpartition(":")[2])
        for number in (port, port + 1) if rank == 0 else (port,):
            with contextlib.closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("", number))
                except OSError as error:
                    raise ClusterConfigError(
                        f"the port {number} of this host cannot be used",
                        why=error.strerror or str(error),
                        hint="stop what listens there, or give the worker another port, as in host1:9000",
                    ) from error
