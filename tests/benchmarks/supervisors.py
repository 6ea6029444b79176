"""Kill workers, nodes and the head under each supervisor of one unchanged script, and count what comes back.

    python tests/benchmarks/supervisors.py workers own|ray|torchrun [KILLS] [BACKEND]
    python tests/benchmarks/supervisors.py nodes [KILLS] [BACKEND]      of a Ray cluster of a head and two nodes
    python tests/benchmarks/supervisors.py head [BACKEND]               what is said when the head of Ray dies

BACKEND is tensorflow or jax, or `plain` for workers without a framework: what the supervisor costs, and nothing else.
The weights at the end are compared with those of a training that nobody killed, and the seconds from each kill to the
next step of both workers are told.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOUBLES = Path(__file__).parents[1] / "support" / "doubles"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"), "1")
STORE = 100 << 20
SAID = Path(tempfile.gettempdir(), "supervisors-said.txt")
LONGEST = 3000


def command(supervisor: str, run: Path, backend: str, kills: int, address: str | None) -> list[str]:
    """Give the command that trains under a supervisor."""
    count = str(60 * max(1, kills))
    words = [str(DOUBLES / "shared_training.py"), backend, "mlp", str(run), "--epochs", count, "--every", "3 steps"]
    if backend == "plain":
        words = [str(DOUBLES / "shared_plainly.py"), str(run), count]
    if supervisor == "torchrun":
        own = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1000"]
        return [sys.executable, *own, *words]
    launch = [sys.executable, "-m", "colabkit", "launch", "--json", "--restarts", "1000"]
    if supervisor == "own":
        return [*launch, "--local", "2", *words]
    there = ["--address", address] if address else []
    return [*launch, "--on", "ray", "--workers", "2", *there, *words]


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a supervisor; what it and the workers say is kept for when it goes wrong."""
    env = {**os.environ, **ONE_THREAD, "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=open(SAID, "w"), text=True, env=env)


def workers(run: Path) -> list[int]:
    """Find the processes of the script, whoever started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if str(run) in words and not {"torch.distributed.run", "launch"} & set(words):
                found.append(int(process.name))
    return found


def steps(run: Path, since: float) -> bool:
    """Say whether both workers have made a step since then."""
    marks = [run.parent / f"step{rank}" for rank in range(2)]
    return all(mark.exists() and mark.stat().st_mtime > since for mark in marks)


def killed_often(process: subprocess.Popen[str], run: Path, wanted: int, kill: Callable[[], bool]) -> list[float]:
    """Kill again and again, each time after both have trained again; give the seconds until they did."""
    dice, seconds, since, killed = random.Random(5), [], 0.0, False
    until = time.monotonic() + LONGEST
    while len(seconds) < wanted and process.poll() is None and time.monotonic() < until:
        if not steps(run, since):
            time.sleep(0.02)
            continue
        if killed:
            seconds.append(time.time() - since)
            print(f"kill {len(seconds)}: {seconds[-1]:.1f} s to the next step", file=sys.stderr, flush=True)
            if len(seconds) == wanted:
                break
        time.sleep(dice.uniform(0, 0.3))
        if killed := kill():
            since = time.time()
    return seconds


def insist(made: object, **options: object) -> None:
    """Add a node; on a busy machine one misses Ray's deadline of 30 s now and then."""
    for left in reversed(range(5)):
        try:
            made.add_node(object_store_memory=STORE, **options)
        except Exception:
            if not left:
                raise
        else:
            return


@contextlib.contextmanager
def cluster() -> Iterator[object]:
    """Run a Ray cluster of a head without cores and two nodes of one core on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        insist(made, num_cpus=0, include_dashboard=False)
        for _ in range(2):
            insist(made, num_cpus=1)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def undisturbed(backend: str, kills: int, folder: Path) -> np.ndarray:
    """Train without a kill; give the weights."""
    run = folder / "whole" / "run"
    run.parent.mkdir()
    start(command("own", run, backend, kills, None)).communicate(timeout=LONGEST)
    return np.load(run.parent / "run-0.npz")["weights"]


def tell(what: str, process: subprocess.Popen[str], seconds: list[float], run: Path, whole: np.ndarray) -> None:
    """Wait for the end, and print the line of the table."""
    process.communicate(timeout=LONGEST)
    if process.returncode:
        print(SAID.read_text()[-2000:], file=sys.stderr)
    same = process.returncode == 0 and np.array_equal(np.load(run.parent / "run-0.npz")["weights"], whole)
    median = statistics.median(seconds) if seconds else float("nan")
    print(
        f"| {what} | {len(seconds)} | {process.returncode} | {same} | {median:.1f} | {max(seconds, default=0):.1f} |",
        flush=True,
    )


def worker_kills(supervisor: str, kills: int, backend: str) -> None:
    """Kill a random worker again and again."""
    with tempfile.TemporaryDirectory() as place:
        folder, dice = Path(place), random.Random(3)
        whole = undisturbed(backend, kills, folder)
        run = folder / "killed" / "run"
        run.parent.mkdir()

        def kill() -> bool:
            victims = workers(run)
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(dice.choice(victims), 9)
                return True
            return False

        process = start(command(supervisor, run, backend, kills, None))
        tell(f"{supervisor}, {backend}", process, killed_often(process, run, kills, kill), run, whole)


def node_kills(kills: int, backend: str) -> None:
    """Kill a node of Ray with all that runs on it, and add another."""
    with tempfile.TemporaryDirectory() as place, cluster() as made:
        folder, dice = Path(place), random.Random(3)
        whole = undisturbed(backend, kills, folder)
        run = folder / "killed" / "run"
        run.parent.mkdir()

        def kill() -> bool:
            made.remove_node(dice.choice(list(made.worker_nodes)), allow_graceful=False)
            insist(made, num_cpus=1)
            return True

        process = start(command("ray", run, backend, kills, made.address))
        tell(f"nodes of Ray, {backend}", process, killed_often(process, run, kills, kill), run, whole)


def head_kill(backend: str) -> None:
    """Kill the head while both train, and print what the command says and how long it takes to."""
    with tempfile.TemporaryDirectory() as place, cluster() as made:
        run = Path(place) / "run"
        words = command("ray", run, backend, 20, made.address)
        env = {**os.environ, **ONE_THREAD, "JAX_PLATFORMS": "cpu"}
        with open(Path(place) / "err.txt", "w+") as err:
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=err, text=True, env=env)
            while not steps(run, 0) and process.poll() is None:
                time.sleep(0.1)
            began = time.monotonic()
            made.head_node.kill_gcs_server()
            made.head_node.kill_raylet()
            out, _ = process.communicate(timeout=LONGEST)
            err.seek(0)
            print(
                f"ended with {process.returncode} after {time.monotonic() - began:.0f} s; workers left: {workers(run)}"
            )
            with contextlib.suppress(ValueError):
                print(json.loads(out))
            print(err.read()[-1500:])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["workers", supervisor, *more]:
            worker_kills(supervisor, int(more[0]) if more else 20, more[1] if more[1:] else "plain")
        case ["nodes", *more]:
            node_kills(int(more[0]) if more else 5, more[1] if more[1:] else "plain")
        case ["head", *more]:
            head_kill(more[0] if more else "plain")
        case _:
            sys.exit(__doc__)
