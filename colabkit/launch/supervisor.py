"""One command's part of a launch: the lead where it has worker 0, and a keeper for each worker that it starts."""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
import threading
from typing import TYPE_CHECKING

from colabkit.errors import ClusterConfigError
from colabkit.launch import _wire
from colabkit.launch.fingerprint import fingerprint
from colabkit.launch.lead import Lead
from colabkit.launch.member import Member, check_ports
from colabkit.runtime import resources

if TYPE_CHECKING:
    from colabkit.launch.plan import Plan
    from colabkit.launch.process import Output
    from colabkit.launch.report import Report

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def supervise(plan: Plan, *, output: Output | None = None) -> Report:
    """Do what was planned; Ctrl-C and SIGTERM let the workers save first.

    Args:
        plan: The launch.
        output: Takes each line of the workers, and whether it went to stderr; printed when None.

    Raises:
        ClusterError: As `launch`.
    """
    return asyncio.run(_supervise(plan, output or _print))


def _print(line: str, is_error: bool) -> None:
    print(line, file=sys.stderr if is_error else sys.stdout, flush=True)


async def _supervise(plan: Plan, output: Output) -> Report:
    check_ports(plan)
    own = fingerprint(plan)
    cores = resources.cpus()
    host, port = "127.0.0.1", 0
    if plan.workers:
        host, _, text = plan.workers[0].rpartition(":")
        port = int(text) + 2
    lead = Lead(plan, fingerprint=own) if plan.leads else None
    server = None
    if lead is not None:
        server = await _listen(host, port, lead)
        port = server.sockets[0].getsockname()[1]
    members = [
        Member(plan, rank, (host, port), fingerprint=own, cores=cores / len(plan.ranks), output=output)
        for rank in plan.ranks
    ]
    tasks = [asyncio.ensure_future(member.run()) for member in members]
    if lead is not None:
        tasks.insert(0, asyncio.ensure_future(lead.run()))
    _watch_signals(lead, tasks)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
        return (failed or tasks)[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if server is not None:
            server.close()


async def _listen(host: str, port: int, lead: Lead) -> asyncio.Server:
    try:
        return await _wire.listen(host, port, lead.serve)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and port:  # behind a NAT a host does not have the address it is known by
            return await _wire.listen("", port, lead.serve)
        raise ClusterConfigError(
            f"the supervisor cannot listen at {host}:{port}",
            why=error.strerror or str(error),
            do="end what listens there, or give the first worker another port",
        ) from error


def _watch_signals(lead: Lead | None, tasks: list[asyncio.Task[Report]]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: signal.Signals) -> None:
        if lead is not None:
            lead.interrupt(_CODES[number])
        else:  # the others go on without this host, or end, as the lead decides
            for task in tasks:
                task.cancel()

    for number in _CODES:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
