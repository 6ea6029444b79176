"""Train one script on several workers, here or one on each host; when one dies, all go on from the last checkpoint."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from colabkit.cli import Outcome
from colabkit.errors import ClusterConfigError

if TYPE_CHECKING:
    from colabkit.launch.process import Output
    from colabkit.launch.report import Report

EXAMPLE = "colabkit launch --local 2 train.py --epochs 10"
MORE_EXAMPLES = (
    "colabkit launch --workers host1:8476,host2:8476 --rank 0 train.py",
    "colabkit launch --on ray --workers 4 --gpus 1 train.py",
    "colabkit launch --on ray --address http://127.0.0.1:8265 --workers 4 train.py",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the workers, the script and its arguments."""
    parser.add_argument("--local", type=int, metavar="N", help="start N workers on this machine")
    parser.add_argument(
        "--workers",
        metavar="HOSTS",
        help="all hosts, as host1,host2:9000; run the same command on each of them. With --on ray: how many",
    )
    parser.add_argument("--on", choices=["ray"], help="let another supervisor run the workers: Ray Train")
    parser.add_argument(
        "--address",
        metavar="CLUSTER",
        help="with --on ray: auto on a node of the cluster, http://HEAD:8265 to submit a job from elsewhere "
        "(default: a cluster on this machine)",
    )
    parser.add_argument("--cpus", type=float, default=1, help="with --on ray: cores for a worker (default: 1)")
    parser.add_argument("--gpus", type=float, default=0, help="with --on ray: GPUs for a worker (default: 0)")
    parser.add_argument("--rank", type=int, help="which of the hosts this is, from 0 on (default: by its name)")
    parser.add_argument(
        "--restarts", type=int, default=3, metavar="N", help="how often all may be started again (default: %(default)s)"
    )
    parser.add_argument("--min-workers", type=int, metavar="N", help="with how many to go on (default: all)")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS", help="how long to wait for workers (default: 300)"
    )
    parser.add_argument("script", help="the Python file that every worker runs")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="...", help="its arguments")


def run(args: argparse.Namespace) -> Outcome:
    """Supervise the workers to their end."""
    output: Output = _to_stderr if args.json else _print
    report = _on_ray(args, output) if args.on == "ray" else _here(args, output)
    return Outcome(report.to_json(), str(report), report.code)


def _here(args: argparse.Namespace, output: Output) -> Report:
    from colabkit.launch import plan_launch
    from colabkit.launch.supervisor import supervise

    if args.address is not None:
        raise ClusterConfigError("--address is for --on ray", hint="add --on ray, or name hosts by --workers")
    plan = plan_launch(
        args.script,
        *args.args,
        local=args.local,
        workers=args.workers.split(",") if args.workers is not None else None,
        rank=args.rank,
        restarts=args.restarts,
        min_workers=args.min_workers,
        timeout=args.timeout,
    )
    return supervise(plan, output=output)


def _on_ray(args: argparse.Namespace, output: Output) -> Report:
    from colabkit.launch.engines.ray import supervise
    from colabkit.launch.engines.ray_plan import plan_ray

    count = args.workers if args.workers is not None else str(args.local or "")
    if not (count.isascii() and count.isdigit()) or args.rank is not None:
        raise ClusterConfigError(
            "Ray is told how many workers there are, and chooses the hosts itself",
            why=f"--workers is {count!r}" if args.rank is None else "--rank was given",
            hint="write --on ray --workers 4",
        )
    plan = plan_ray(
        args.script,
        *args.args,
        workers=int(count),
        min_workers=args.min_workers,
        restarts=args.restarts,
        address=args.address,
        cpus=args.cpus,
        gpus=args.gpus,
        timeout=args.timeout,
    )
    return supervise(plan, output=output)


def _print(line: str, is_error: bool) -> None:
    print(line, file=sys.stderr if is_error else sys.stdout, flush=True)


def _to_stderr(line: str, _: bool) -> None:
    print(line, file=sys.stderr, flush=True)
