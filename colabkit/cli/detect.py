"""Tell where this runs, on what evidence, and what it has: cores, memory, disk, GPU or TPU, folders, limits.

Started as `!colabkit detect` it is a process of its own, which no notebook shows: its frontend is "none".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome
from colabkit.runtime import detect

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit detect --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--quota",
        action="store_true",
        help="also ask `colab usage` and `kaggle quota`, where they are installed and signed in, what is left",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Detect and describe the runtime."""
    runtime = detect()
    if args.quota:
        _ = runtime.quotas
    return Outcome(value=runtime.to_json(), text=str(runtime))
