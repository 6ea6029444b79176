"""Ray Train runs the workers and restarts them; the run is their state: `colabkit launch --on ray`.

Each of Ray's workers keeps one process of the unchanged script, told of the others by the variables that the own
launcher sets. In that process the script has the main thread, so Ctrl-C saves first. A small actor collects addresses,
output and failures. What Ray does well stays Ray's: placement, resources, restarts, growing and shrinking.

Source:
    https://docs.ray.io/en/latest/train/api/doc/ray.train.v2.api.data_parallel_trainer.DataParallelTrainer.html
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify
from colabkit._internal.optional import require
from colabkit._internal.process.ports import free_ports
from colabkit._internal.process.threads import InterruptibleThread
from colabkit.accelerator.cluster import Cluster
from colabkit.errors import ClusterError, WorkerUnreachableError
from colabkit.launch import process
from colabkit.launch.engines import ray_job
from colabkit.launch.plan import Plan
from colabkit.launch.report import Failure, Report, exit_code, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.launch.engines.ray_plan import RayPlan
    from colabkit.launch.process import Output

_POLL = 0.5  # seconds between two looks at the board
_STARTS = 3  # of a cluster on this machine
_LINES = 20_000  # of output that the board holds while the command that reads it is slow
_SETTINGS = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_DEDUP_LOGS": "0",
    # Ray hides the GPUs of a worker that asked for none; the user's own choice stays.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def supervise(plan: RayPlan, *, output: Output) -> Report:
    """Let Ray run what was planned; Ctrl-C lets the workers save first.

    Args:
        plan: The launch.
        output: Takes each line of the workers, and whether it went to stderr.

    Raises:
        MissingDependencyError: Ray is not installed.
        WorkerUnreachableError: The cluster cannot be reached, has no room in time, or was lost.
        ClusterError: Ray refuses; the message has its words.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = require("ray", extra="ray", why="--on ray needs it")
    require("ray.train", extra="ray", why="Ray Train runs the workers")
    if ray_job.is_remote(plan.address):
        return ray_job.submit(plan, output=output)
    begun = time.monotonic()
    _connect(ray, plan)
    try:
        _check_room(ray, plan)
        name = f"colabkit-{uuid.uuid4().hex[:12]}"
        board = ray.remote(num_cpus=0)(_Board).options(name=name, namespace=_NAMESPACE, **_here(ray)).remote()
        with tempfile.TemporaryDirectory() as folder:
            fit = _Fit(lambda: _trainer(plan, name, folder).fit())
            _watch(ray, board, fit, output)
            state = _ask(ray, board.state.remote())
        return _report(plan, state, fit.error, time.monotonic() - begun)
    finally:
        ray.shutdown()


_NAMESPACE = "colabkit"


def _here(ray: Any) -> dict[str, Any]:
    """Ask for the node that this command talks to: the board outlives every other node, and all of them may die."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


class _Board:
    """What the workers of a launch tell, kept by Ray in a process of its own."""

    def __init__(self) -> None:
        self._addresses: dict[str, dict[int, str]] = {}
        self._lines: list[tuple[str, bool]] = []
        self._failures: list[dict[str, Any]] = []
        self._ended: dict[str, dict[int, int]] = {}
        self._sizes: list[int] = []
        self._stop = False

    def join(self, attempt: str, rank: int, count: int, address: str) -> dict[int, str]:
        if attempt not in self._addresses:
            self._sizes.append(count)
        addresses = self._addresses.setdefault(attempt, {})
        if rank >= 0:
            addresses[rank] = address
        return addresses

    def tell(self, lines: list[tuple[str, bool]]) -> bool:
        """Take lines of output; say whether the workers shall stop."""
        self._lines += lines
        if len(self._lines) > _LINES:
            del self._lines[: len(self._lines) - _LINES]
        return self._stop

    def take(self) -> list[tuple[str, bool]]:
        lines, self._lines = self._lines, []
        return lines

    def end(self, attempt: str, rank: int, code: int, seconds: float, error: dict[str, Any] | None) -> None:
        self._ended.setdefault(attempt, {})[rank] = code
        if code and not self._stop:
            number = list(self._addresses).index(attempt) + 1
            if not any(failure["attempt"] == number for failure in self._failures):
                self._failures.append(
                    {"attempt": number, "worker": rank, "workers": self._sizes[number - 1], "code": code}
                    | {"seconds": seconds, "error": error, "reason": in_words(rank, code)}
                )
            if error is not None:  # colabkit's own refusal: the next attempt would end with the same
                self._stop = True

    def stop(self) -> None:
        self._stop = True

    def state(self) -> dict[str, Any]:
        last = next(reversed(self._addresses), None)
        return {
            "attempts": len(self._addresses),
            "sizes": list(self._sizes),
            "failures": list(self._failures),
            "ended": dict(self._ended.get(last or "", {})),
            "stopped": self._stop,
        }


class _Fit:
    """Ray's `fit()`, in a thread: in the main one Ray would answer Ctrl-C by killing the workers."""

    def __init__(self, fit: Callable[[], Any]) -> None:
        self.error: BaseException | None = None
        self._fit = fit
        # A plain thread: where none can be had, Ray cannot work at all, and there is nothing to fall back to.
        self.thread = InterruptibleThread(self._run, name="colabkit-ray")
        self.thread.start()

    def _run(self) -> None:
        try:
            self._fit()
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self.error = error


def _connect(ray: Any, plan: RayPlan) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": _NAMESPACE}
    if plan.address is None:
        cores = max(os.cpu_count() or 1, int(plan.workers * plan.cpus))
        # A cluster of its own, also where another one is at work on this machine or named by RAY_ADDRESS.
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": False, "object_store_memory": 100 << 20}
        options |= {"_node_ip_address": "127.0.0.1"}  # nobody else shall reach it
    else:
        options["address"] = plan.address
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # a job has brought its own, and Ray takes no other
            options["runtime_env"] = {"working_dir": str(plan.script.parent), "py_modules": [str(ray_job.PACKAGE)]}
    where = plan.address or "this machine"
    tries = 1 if plan.address else _STARTS
    for left in reversed(range(tries)):
        try:
            ray.init(**options)
        except Exception as error:
            ray.shutdown()
            if left:  # on a busy machine an agent of Ray's misses its own deadline
                continue
            raise _refusal(where, error) from error
        return


def _refusal(where: str, error: Exception) -> ClusterError:
    if isinstance(error, ConnectionError | TimeoutError | OSError):
        return WorkerUnreachableError(
            f"no Ray cluster answers at {where}",
            why=ray_job.last_line(error),
            hint="check the address, or leave out --address",
        )
    if "version mismatch" in str(error).lower():
        return ClusterError(
            f"the Ray cluster at {where} has other versions than this machine",
            why=" ".join(str(error).split())[:300],
            hint="run the command with the cluster's own versions of Ray and Python, or on a node of the cluster",
        )
    return ClusterError(
        f"Ray does not start on {where}",
        why=ray_job.last_line(error),
        hint="use the cluster's own versions of Ray and Python; on a busy machine run it again",
    )


def _check_room(ray: Any, plan: RayPlan) -> None:
    """Wait until the cluster has what the smallest group needs; Ray itself would wait for ever."""
    until = time.monotonic() + plan.timeout
    told = False
    while True:
        there = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0), there.get("GPU", 0)
        if cpus >= plan.min_workers * plan.cpus and gpus >= plan.min_workers * plan.gpus:
            return
        words = f"{plan.min_workers} workers need {plan.min_workers * plan.cpus:g} cores and "
        words += f"{plan.min_workers * plan.gpus:g} GPUs, and the cluster has {cpus:g} and {gpus:g}"
        if time.monotonic() > until:
            raise WorkerUnreachableError(
                "the cluster has no room", why=words, hint="use fewer --workers or --min-workers, or add nodes"
            )
        if not told:
            notify("waiting for room: %s", words)
            told = True
        time.sleep(1)


def _trainer(plan: RayPlan, board: str, folder: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    numbers = plan.workers if plan.min_workers == plan.workers else (plan.min_workers, plan.workers)
    resources = {"CPU": plan.cpus} | ({"GPU": plan.gpus} if plan.gpus else {})
    return DataParallelTrainer(
        _work,
        train_loop_config={"script": str(plan.script), "args": list(plan.args), "board": board, "cpus": plan.cpus},
        scaling_config=ScalingConfig(num_workers=numbers, use_gpu=bool(plan.gpus), resources_per_worker=resources),
        run_config=RunConfig(
            name="colabkit", storage_path=folder, failure_config=FailureConfig(max_failures=plan.restarts)
        ),
    )


def _work(config: dict[str, Any]) -> None:
    """What each of Ray's workers does: run the script in a process of its own, and report how it ended."""
    import ray
    import ray.train
    import ray.train.collective

    context = ray.train.get_context()
    rank, count = context.get_world_rank(), context.get_world_size()
    board = ray.get_actor(config["board"], namespace=_NAMESPACE)
    host = ray.util.get_node_ip_address()
    ports = free_ports(2, "")
    first = ray.train.collective.broadcast_from_rank_zero({"attempt": uuid.uuid4().hex, "at": f"{host}:{ports[1]}"})
    addresses = ray.get(board.join.remote(first["attempt"], rank, count, f"{host}:{ports[0]}"))
    while len(addresses) < count:
        time.sleep(0.05)
        addresses = ray.get(board.join.remote(first["attempt"], -1, count, ""))
    cluster = Cluster(
        addresses=tuple(addresses[number] for number in range(count)), index=rank, coordinator=first["at"]
    )
    begun = time.monotonic()
    code, error = asyncio.run(_keep(config, cluster, board))
    ray.get(board.end.remote(first["attempt"], rank, code, time.monotonic() - begun, error))
    if code and not ray.get(board.tell.remote([])):
        raise RuntimeError(in_words(rank, code))


async def _keep(config: dict[str, Any], cluster: Cluster, board: Any) -> tuple[int, dict[str, Any] | None]:
    lines: list[tuple[str, bool]] = []
    script = Path(config["script"])
    if not script.is_file():  # on another node: the working folder came along
        script = Path.cwd() / script.name
    plan = Plan(
        script=script,
        args=tuple(config["args"]),
        workers=(),
        count=cluster.count,
        ranks=(cluster.index,),
        restarts=0,
        min_workers=1,
        timeout=1,
        evidence="Ray",
    )
    worker = await process.start(
        plan,
        cluster,
        cluster.index,
        cores=max(1.0, config["cpus"]),
        output=lambda line, is_error: lines.append((line, is_error)),
    )
    ended = asyncio.ensure_future(worker.wait())
    interrupted = False
    try:
        while not ended.done():
            await asyncio.wait({ended}, timeout=_POLL)
            told, lines[:] = list(lines), []
            if await board.tell.remote(told) and not interrupted:
                worker.interrupt()
                interrupted = True
        return await ended
    finally:
        worker.kill()
        await board.tell.remote(lines)


def _watch(ray: Any, board: Any, fit: _Fit, output: Output) -> None:
    """Pass the output on until it is over."""
    interrupts = 0
    while fit.thread.is_alive():
        try:
            fit.thread.join(_POLL)
            for line, is_error in _ask(ray, board.take.remote()):
                output(line, is_error)
        except KeyboardInterrupt:
            interrupts += 1
            if interrupts > 1:
                raise
            notify("the workers save and end; Ctrl-C again kills them")
            _ask(ray, board.stop.remote())
    for line, is_error in _ask(ray, board.take.remote()):
        output(line, is_error)


def _ask(ray: Any, question: Any) -> Any:
    try:
        return ray.get(question, timeout=60)
    except Exception as error:
        raise WorkerUnreachableError(
            "the Ray cluster was lost",
            why=ray_job.last_line(error),
            hint="start it again, then run the same: the run resumes",
        ) from error


def _report(plan: RayPlan, state: dict[str, Any], error: BaseException | None, seconds: float) -> Report:
    failures = tuple(Failure(**failure) for failure in state["failures"])
    codes = [code for code in state["ended"].values() if code]
    code = 0
    if state["stopped"] and failures and failures[-1].error:
        code = exit_code(failures[-1].code)
    elif state["stopped"]:
        code = 130
    elif error is not None:
        code = exit_code(failures[-1].code) if failures else 1
        if not failures:
            raise ClusterError(
                "Ray ended the launch", why=ray_job.last_line(error), hint="see Ray's own log"
            ) from error
    elif codes:
        code = exit_code(codes[0])
    sizes = state["sizes"] or [plan.workers]
    return Report(code=code, workers=sizes[-1], attempts=max(1, state["attempts"]), failures=failures, seconds=seconds)
