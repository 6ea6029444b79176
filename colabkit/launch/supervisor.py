"""One command's part of a launch: the lead where it has worker 0, and a keeper for each worker that it starts."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from colabkit._internal.log import notify
from colabkit.errors import ClusterConfigError, UnsupportedError
from colabkit.launch import protocol
from colabkit.launch.agent import Member, check_ports
from colabkit.launch.coordinator import Lead
from colabkit.launch.fingerprint import fingerprint
from colabkit.launch.secret import launch_secret
from colabkit.runtime import resources

if TYPE_CHECKING:
    from collections.abc import Callable

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
    if not hasattr(os, "killpg"):
        raise UnsupportedError(
            "workers cannot be supervised on this system",
            why="Windows has no process groups, which end a worker with all that it has started",
            hint="run it in WSL or on Linux, or train with one process: python SCRIPT",
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _in_a_loop(plan, output or _print)
    return _beside_the_loop(plan, output or _print)


def _in_a_loop(plan: Plan, output: Output, stops: list[Callable[[], object]] | None = None) -> Report:
    with asyncio.Runner() as runner:
        runner.get_loop()  # before there is anything to await: the system may have no descriptors for it
        return runner.run(_supervise(plan, output, stops))


def _beside_the_loop(plan: Plan, output: Output) -> Report:
    """Do it in a thread: in a notebook this one runs the kernel's own loop. An interrupt of the kernel is Ctrl-C."""
    ended: list[Report | BaseException] = []
    stops: list[Callable[[], object]] = []
    done = threading.Event()

    def work() -> None:
        try:
            ended.append(_in_a_loop(plan, output, stops))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            ended.append(error)
        finally:
            done.set()

    # A plain thread, and no daemon: the interpreter must not end before the workers have.
    threading.Thread(target=work, name="colabkit-launch").start()
    while not done.is_set():
        try:
            done.wait()  # not join(): interrupted, it takes the thread for ended in some versions of Python
        except KeyboardInterrupt:
            for stop in stops:
                stop()
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


def _print(line: str, is_error: bool) -> None:
    print(line, file=sys.stderr if is_error else sys.stdout, flush=True)


async def _supervise(plan: Plan, output: Output, stops: list[Callable[[], object]] | None = None) -> Report:
    check_ports(plan)
    if not plan.workers and plan.count > 1 and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        notify("TensorFlow's workers can be reached from the network, as it listens on all interfaces; JAX does not")
    own, secret = fingerprint(plan), launch_secret(plan)
    cores = resources.cpus()
    host, port = "127.0.0.1", 0
    if plan.workers:
        host, _, text = plan.workers[0].rpartition(":")
        port = int(text) + 2
    lead = Lead(plan, fingerprint=own) if plan.leads else None
    server = None
    if lead is not None:
        server = await _listen(host, port, lead, secret)
        port = server.sockets[0].getsockname()[1]
    members = [
        Member(plan, rank, (host, port), secret=secret, fingerprint=own, cores=cores / len(plan.ranks), output=output)
        for rank in plan.ranks
    ]
    tasks = [asyncio.ensure_future(member.run()) for member in members]
    if lead is not None:
        tasks.insert(0, asyncio.ensure_future(lead.run()))
    _listen_to_the_user(lead, tasks, stops)
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


async def _listen(host: str, port: int, lead: Lead, secret: bytes) -> asyncio.Server:
    try:
        return await protocol.listen(host, port, lead.serve, secret=secret)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and port:  # behind a NAT a host does not have the address it is known by
            return await protocol.listen("", port, lead.serve, secret=secret)
        raise ClusterConfigError(
            f"the supervisor cannot listen at {host}:{port}",
            why=error.strerror or str(error),
            hint="stop what listens there, or give the first worker another port",
        ) from error


def _listen_to_the_user(
    lead: Lead | None, tasks: list[asyncio.Task[Report]], stops: list[Callable[[], object]] | None
) -> None:
    """Let signals stop it, or, in a thread, which gets none, whoever waits for the thread."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if lead is not None:
            lead.interrupt(_CODES[number])
        else:  # the others go on without this host, or end, as the lead decides
            for task in tasks:
                task.cancel()

    if stops is not None:
        stops.append(functools.partial(loop.call_soon_threadsafe, stop, signal.SIGINT))
    elif threading.current_thread() is threading.main_thread():
        for number in _CODES:
            loop.add_signal_handler(number, stop, number)
