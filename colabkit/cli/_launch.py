"""Train one script on several workers, here or one on each host; when one dies, all go on from the last checkpoint."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    from colabkit.launch.process import Output

EXAMPLE = "colabkit launch --local 2 train.py --epochs 10"
MORE_EXAMPLES = ("colabkit launch --workers host1:8476,host2:8476 --rank 0 train.py",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the workers, the script and its arguments."""
    parser.add_argument("--local", type=int, metavar="N", help="start N workers on this machine")
    parser.add_argument(
        "--workers", metavar="HOSTS", help="all hosts, as host1,host2:9000; run the same command on each of them"
    )
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
    from colabkit.launch import plan_launch
    from colabkit.launch.supervisor import supervise

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

    def to_stderr(line: str, _: bool) -> None:
        print(line, file=sys.stderr, flush=True)

    output: Output | None = to_stderr if args.json else None
    report = supervise(plan, output=output)
    return Outcome(report.to_json(), str(report), report.code)
