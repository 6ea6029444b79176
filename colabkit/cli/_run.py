"""Run a notebook or a script that nobody watches; after a crash run it again, so that it resumes from its checkpoint.

The outputs are saved as they come, also of a run that fails. The kernel may restart in place, as ck.install() does.
Ends with 0, with a script's own code, with 92 when a cell raised an error, with 93 when it crashed too often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit run train.ipynb -p epochs=10"
MORE_EXAMPLES = ("colabkit run train.py --retries 10 --output train.log",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="the notebook (.ipynb) or script (.py)")
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a parameter: in a cell of the notebook, or as --NAME=VALUE of the script",
    )
    parser.add_argument("--output", metavar="PATH", help="where to save the outputs (default: NAME.out.ipynb or .txt)")
    parser.add_argument(
        "--retries", type=int, metavar="N", default=3, help="run it again so often after a crash (default: %(default)s)"
    )
    parser.add_argument("--kernel", metavar="NAME", help="the kernel (default: the notebook's own)")
    parser.add_argument("--cell-timeout", type=float, metavar="SECONDS", help="how long a cell may take")
    parser.add_argument("--quiet", action="store_true", help="do not repeat on stderr what it prints")


def run(args: argparse.Namespace) -> Outcome:
    """Run it."""
    from colabkit.headless import _parameters, run_file

    ran = run_file(
        args.file,
        _parameters.parse(args.parameter),
        output=args.output,
        retries=max(0, args.retries),
        kernel=args.kernel,
        cell_timeout=args.cell_timeout,
        quiet=args.quiet,
    )
    again = f", begun {ran.attempts} times" if ran.attempts > 1 else ""
    return Outcome(ran.to_json(), f"ran in {ran.seconds:.1f} s{again}; outputs: {ran.output}", ran.code)
