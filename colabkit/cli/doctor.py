"""Look for what is wrong with this runtime, or soon will be, and say what to do about it.

Ends with 1 when something needs action. A command does not see what the notebook's kernel has loaded: colabkit.doctor()
in a cell does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome
from colabkit.diagnosis import doctor

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit doctor --json"
MORE_EXAMPLES = ('colabkit doctor || echo "look at it before you train"',)

NEEDS_ACTION = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments but `--json`."""
    del parser


def run(args: argparse.Namespace) -> Outcome:
    """Examine the runtime."""
    del args
    diagnosis = doctor()
    return Outcome(diagnosis.to_json(), str(diagnosis), NEEDS_ACTION if diagnosis.needs_action else 0)
