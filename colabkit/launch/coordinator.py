"""The side of a launch that decides: who is there, when all start, when all start again, when to give up.

It never touches a worker. It hears from each worker's keeper how the worker ended, and a keeper that is lost counts as
a worker that is lost.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from colabkit import errors
from colabkit._internal.log import notify
from colabkit._internal.process.ports import free_ports
from colabkit.errors import ClusterConfigError, ClusterError, WorkerUnreachableError
from colabkit.launch.fingerprint import compare
from colabkit.launch.report import Failure, Report, exit_code, in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.launch import protocol
    from colabkit.launch.plan import Plan

_HELLO = 10.0
_MOST_EVENTS = 4096
_MOST_IGNORED = 1000  # messages that mean nothing, after which a keeper is hung up on
_MOST_CODE = 1 << 32
_STOPPING = 40.0
"""Seconds for all workers to end; longer than they have themselves."""


class Lead:
    """The decisions of one launch.

    Args:
        plan: The launch.
        fingerprint: That of worker 0; the others must have the same.
    """

    def __init__(self, plan: Plan, *, fingerprint: Mapping[str, str]) -> None:
        self._plan = plan
        self._fingerprint = fingerprint
        self._links: dict[int, protocol.Connection] = {}
        self._came = asyncio.Event()
        self._refused: ClusterError | None = None
        # What is queued is bounded by what is heard of each worker: one end and one loss an attempt.
        self._events: asyncio.Queue[tuple[int, dict[str, Any] | None]] = asyncio.Queue()
        self._attempt_now = 0
        self._heard: set[int] = set()  # the workers whose end in this attempt is queued
        self._interrupted: int | None = None
        self._failures: list[Failure] = []
        self._running: list[int] = []

    def interrupt(self, code: int) -> None:
        """Let the workers save and end; the launch then ends with this code. A second time it ends at once.

        Args:
            code: 130 or 143.
        """
        again, self._interrupted = self._interrupted is not None, code
        self._came.set()
        if self._events.qsize() < _MOST_EVENTS:
            self._events.put_nowait((-1, {"again": again}))

    # ---- who is there ----

    async def serve(self, link: protocol.Connection) -> None:
        """Hear one keeper out, from its greeting to its end."""
        try:
            greeting = await asyncio.wait_for(link.receive(), _HELLO)
        except TimeoutError:
            return
        match greeting:
            case {"hello": int(rank), "fingerprint": dict(other)} if not isinstance(rank, bool):
                pass
            case _:
                return  # a port scanner, or another program
        try:
            self._check(rank, other)
        except ClusterError as error:
            await link.send(refused=error.to_json())
            if not (self._running or self._failures):  # nothing has been trained yet: better that all hear of it
                self._refused = error
                self._came.set()
            return
        self._links[rank] = link
        self._came.set()
        ignored = 0
        while (message := await link.receive()) is not None:
            if self._is_news(rank, message):
                self._heard.add(rank)
                self._events.put_nowait((rank, message))
            elif (ignored := ignored + 1) > _MOST_IGNORED:
                break
        if self._links.get(rank) is link:
            del self._links[rank]
        if rank in self._running and rank not in self._heard:  # between two attempts it is no failure of the next
            self._heard.add(rank)
            self._events.put_nowait((rank, None))

    def _is_news(self, rank: int, message: Mapping[str, Any]) -> bool:
        """Say whether it is the end of a worker that runs in this attempt, and the first that is heard of it."""
        code = message.get("ended")
        now = message.get("attempt") == self._attempt_now and rank in self._running and rank not in self._heard
        return now and isinstance(code, int) and not isinstance(code, bool) and abs(code) < _MOST_CODE

    def _check(self, rank: int, other: Mapping[str, Any]) -> None:
        if not 0 <= rank < self._plan.count:
            raise ClusterConfigError(
                f"there is no worker {rank}", why=f"worker 0 knows of {self._plan.count}", hint="correct --rank"
            )
        if rank in self._links:
            raise ClusterConfigError(
                f"there are two workers {rank}",
                why="one is connected already, and another host came with the same rank",
                hint="give each host its own --rank",
            )
        compare(self._fingerprint, {str(key): str(value) for key, value in other.items()}, rank=rank)

    async def _gather(self, least: int) -> list[int]:
        """Wait for all workers, and after the timeout go on with those that are there when they suffice."""
        deadline = time.monotonic() + self._plan.timeout
        while len(self._links) < self._plan.count and self._interrupted is None:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                break
            if self._refused is not None:
                raise self._refused
        if len(self._links) < least and self._interrupted is None:
            missing = [rank for rank in range(self._plan.count) if rank not in self._links]
            names = ", ".join(
                f"{rank} ({self._plan.workers[rank]})" if self._plan.workers else f"{rank}" for rank in missing
            )
            raise WorkerUnreachableError(
                f"{len(missing)} of {self._plan.count} workers did not connect: {names}",
                why=f"waited {self._plan.timeout:g} s; {least} are needed",
                hint="start the same command on every host, and open the ports between them",
            )
        return sorted(self._links)

    # ---- what happens ----

    async def run(self) -> Report:
        """Start all, and again after a failure, until they are done or it is given up.

        Raises:
            WorkerUnreachableError: Too few came.
            ClusterError: One that came at the start was refused.
        """
        began, attempt = time.monotonic(), 0
        try:
            while True:
                members = await self._gather(self._plan.count if not attempt else self._plan.min_workers)
                failure = None
                if self._interrupted is None:
                    attempt += 1
                    failure = await self._attempt(attempt, members)
                if failure is None:
                    return await self._end(self._interrupted or 0, len(members), attempt, began)
                self._failures.append(failure)
                if attempt > self._plan.restarts or _hopeless(failure):
                    return await self._end(exit_code(failure.code), len(members), attempt, began)
                notify("%s after %.1f s; starting all workers again", failure.reason, failure.seconds)
        except ClusterError as error:
            for link in list(self._links.values()):
                await link.send(refused=error.to_json())
            raise

    async def _attempt(self, attempt: int, members: list[int]) -> Failure | None:
        began = time.monotonic()
        self._attempt_now, self._heard = attempt, set()
        self._forget_the_last_attempt()
        self._running = list(members)
        addresses, coordinator = self._addresses(members)
        for index, rank in enumerate(members):
            if link := self._links.get(rank):
                await link.send(start=attempt, index=index, addresses=addresses, coordinator=coordinator)
        while self._running:
            rank, message = await self._events.get()
            if rank < 0:
                await self._stop(gently=True)
                return None
            if rank not in self._running:
                continue
            code = error = None
            if message is not None:
                code, error = message.get("ended"), message.get("error")
                if message.get("attempt") != attempt:
                    continue
            self._running.remove(rank)
            if code != 0:
                seconds = time.monotonic() - began
                await self._stop(gently=False)
                return Failure(
                    attempt=attempt,
                    worker=rank,
                    workers=len(members),
                    code=code,
                    reason=in_words(rank, code),
                    seconds=round(seconds, 3),
                    error=error if isinstance(error, dict) else None,
                )
        return None

    def _forget_the_last_attempt(self) -> None:
        """Take what was heard late of the attempt before from the queue; the user's signals stay."""
        for _ in range(self._events.qsize()):
            rank, message = self._events.get_nowait()
            if rank < 0:
                self._events.put_nowait((rank, message))

    async def _stop(self, *, gently: bool) -> None:
        """End the workers that still run, and wait until they have ended."""
        await self._tell_stop(gently=gently)
        deadline = time.monotonic() + _STOPPING
        while self._running:
            try:
                rank, message = await asyncio.wait_for(self._events.get(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:  # a keeper that does not obey: without its connection it ends its worker
                lost, self._running = self._running, []
                for rank in lost:
                    if link := self._links.pop(rank, None):
                        link.close()
                return
            if rank < 0:
                await self._tell_stop(gently=False)
            elif rank in self._running and (message is None or "ended" in message):
                self._running.remove(rank)

    async def _tell_stop(self, *, gently: bool) -> None:
        for rank in self._running:
            if link := self._links.get(rank):
                await link.send(stop=gently)

    def _addresses(self, members: list[int]) -> tuple[list[str], str]:
        if not self._plan.workers:  # new ports each time, as old connections may still hold the former ones
            *ports, coordinator = free_ports(len(members) + 1)
            return [f"127.0.0.1:{port}" for port in ports], f"127.0.0.1:{coordinator}"
        addresses = [self._plan.workers[rank] for rank in members]
        host, _, port = addresses[0].rpartition(":")
        return addresses, f"{host}:{int(port) + 1}"

    async def _end(self, code: int, workers: int, attempts: int, began: float) -> Report:
        report = Report(
            code=code,
            workers=workers,
            attempts=attempts,
            failures=tuple(self._failures),
            seconds=round(time.monotonic() - began, 3),
        )
        for link in list(self._links.values()):
            await link.send(done=asdict(report))
        return report


def _hopeless(failure: Failure) -> bool:
    """Say whether starting again would fail the same way: what was given is wrong, or a package is missing."""
    kind = errors.named((failure.error or {}).get("type"))
    return kind is not None and issubclass(kind, (ValueError, NotImplementedError, ImportError))
