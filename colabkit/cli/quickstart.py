"""Train the tutorial's digit classifier in a run that survives a kill.

Detects the runtime, opens a run, gets MNIST, picks the devices, trains, evaluates, and saves the model, its weights
and two plots. Kill it at any moment and run it again: it continues, with the same result, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit quickstart --where ./runs/first"
MORE_EXAMPLES = ("colabkit quickstart --epochs 10 --json",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the place, the data, the number of epochs and the interval."""
    parser.add_argument("--where", help="the run's folder, or drive:FOLDER (default: colabkit-runs/quickstart)")
    parser.add_argument("--data", metavar="FILE", help="an .npz file with MNIST (default: fetched, else the sample)")
    parser.add_argument("--epochs", type=int, help="how often to go through the data (default: 5)")
    parser.add_argument(
        "--every", default="2s", help='how often to save, as "2s" or "500 steps" (default: %(default)s)'
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it all and report."""
    from colabkit.quickstart import quickstart

    report = quickstart(args.where, data=args.data, epochs=args.epochs, every=args.every)
    return Outcome(value=report.values, text=report.text)
