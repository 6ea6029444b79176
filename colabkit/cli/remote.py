"""Run a notebook on a machine of Colab or Kaggle by their official commands, and bring back what it made.

The machine is started, its log is shown, the notebook with its outputs comes back, and the machine is given back, also
after an error and Ctrl-C. When it dies the notebook runs again on the next one: a run that lies on drive:, on gs://
or in the earlier version of a notebook of Kaggle continues. `pip install google-colab-cli` or `pip install kaggle`,
and sign in with them first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Action, Outcome, add_actions

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit remote run train.ipynb --on colab --accelerator T4 --bring runs/digits"
MORE_EXAMPLES = ("colabkit remote run train.ipynb --on kaggle --accelerator NvidiaTeslaT4 -p epochs=10",)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="NOTEBOOK", help="the notebook")
    parser.add_argument("--on", required=True, choices=("colab", "kaggle"), help="whose machine")
    parser.add_argument("--accelerator", metavar="NAME", default="", help="as the command names it: T4, v5e1, TpuV5E8")
    parser.add_argument(
        "-p", "--parameter", metavar="NAME=VALUE", action="append", default=[], help="set a parameter of the notebook"
    )
    parser.add_argument("--output", metavar="PATH", help="where the outputs go (default: NAME.out.ipynb)")
    parser.add_argument(
        "--bring", metavar="PATH", action="append", default=[], help="on Colab, bring this file or folder back"
    )
    parser.add_argument(
        "--input", metavar="OWNER/NAME", action="append", default=[], help="on Kaggle, a data set or competitions/NAME"
    )
    parser.add_argument("--name", default="", help="the session's name, or OWNER/NAME of the notebook on Kaggle")
    parser.add_argument(
        "--retries", type=int, metavar="N", default=2, help="how many next machines (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="how long a cell may be silent, or all may take"
    )
    parser.add_argument("--quiet", action="store_true", help="do not repeat on stderr what it prints")


ACTIONS = {"run": Action("run a notebook there", [EXAMPLE, *MORE_EXAMPLES], _run)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the action, and what it acts on."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> Outcome:
    """Run it."""
    from colabkit.headless import parameters
    from colabkit.remote import run_remote

    ran = run_remote(
        args.file,
        parameters.parse(args.parameter),
        on=args.on,
        accelerator=args.accelerator,
        output=args.output,
        bring=args.bring,
        inputs=args.input,
        name=args.name,
        retries=args.retries,
        timeout=args.timeout,
        quiet=args.quiet,
    )
    machines = f" on {ran.machines} machines" if ran.machines > 1 else ""
    downloaded = "".join(f"\nbrought: {path}" for path in ran.brought[:20])
    return Outcome(ran.to_json(), f"came to its end{machines}; outputs: {ran.output}{downloaded}")
