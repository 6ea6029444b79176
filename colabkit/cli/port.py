"""Rewrite a notebook or script so that it survives: set-up cells and trainings become colabkit's calls; nothing is run.

What installs becomes ck.install(), what downloads ck.fetch(), Drive's mount, secrets and trainings theirs. All else
stays, with outputs, ids and the file's format; what stays although it sets up is listed with the reason. Porting twice
changes nothing. --diff shows the difference and writes nothing, unless -o says where.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from colabkit.cli import Outcome
from colabkit.errors import AddressError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit port notebook.ipynb --diff"
MORE_EXAMPLES = ("colabkit port notebook.ipynb -o ported.ipynb --keep drive:data",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the notebook (.ipynb) or script (.py); in a notebook, itself"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="where to write it (default: NAME.ported.ipynb or .py)")
    parser.add_argument("--diff", action="store_true", help="show what would change")
    parser.add_argument("--keep", metavar="WHERE", help="keep downloads there for later sessions, such as drive:data")


def run(args: argparse.Namespace) -> Outcome:
    """Port it."""
    import os

    from colabkit.port import port

    ported = port(
        args.file or _this_notebook(), args.output, keep=args.keep, write=args.output is not None or not args.diff
    )
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    diff = f"{ported.diff(colours=not is_plain)}\n\n" if args.diff and ported.cells else ""
    return Outcome(ported.to_json(), f"{diff}{ported}")


def _this_notebook() -> str:
    """Return the file of the notebook that runs this, where its server or its editor tells it."""
    from colabkit import config
    from colabkit.runtime.frontend import running_shell

    shell = running_shell()
    names = getattr(shell, "user_ns", {})
    notebook = names.get("__vsc_ipynb_file__") or config.environment().get("JPY_SESSION_NAME", "")
    if not str(notebook).endswith(".ipynb"):
        raise AddressError("cannot tell which notebook to port", hint="name it: colabkit port notebook.ipynb")
    return str(notebook)
