"""The command line: the same verbs as in Python, with `--json` everywhere and one exit code per error class.

Each command is one private module of this folder and one row in `COMMANDS`. A command module has a docstring whose
text is its help, `EXAMPLE` (one line a user can type), `add_arguments(parser)` and `run(args) -> Outcome`. Only the
module of the command that was typed is imported, so that `colabkit --help` costs no more than argparse.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

from colabkit._version import __version__
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

COMMANDS: dict[str, str] = {
    "quickstart": "train the tutorial's digit classifier in a run that survives a kill",
    "detect": "tell where this runs and what it has",
    "doctor": "look for what is wrong with this runtime, and say what to do",
    "drive": "look at Drive's mount, unmount it, or ask whether files have reached Drive",
    "fetch": "fetch a file, whole and verified, resumable after an interruption",
    "push": "push a file or a folder to a place that lasts, resumable after an interruption",
    "install": "install packages, planned first, without breaking the kernel",
    "lock": "write what is installed into a requirements file",
    "setup": "make everything ready that a set-up file asks for",
    "run": "run a notebook or script headless, and again after a crash",
    "launch": "train a script on several workers, which survives the death of one",
    "runs": "list, verify, restore, prune and compare what training has saved",
    "train": "train a reference model; the same command again continues it",
}

USAGE_ERROR = 2
INTERRUPTED = 130


class Outcome:
    """What a command has to say when it is done.

    Args:
        value: What `--json` prints: one object of plain values.
        text: What a person reads instead.
        code: The exit code.
    """

    def __init__(self, value: dict[str, Any], text: str, code: int = 0) -> None:
        self.value = value
        self.text = text
        self.code = code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The arguments without the program's name; the process' own when None.

    Returns:
        0 ok, 2 usage, 130 Ctrl-C, else the code of the error's class (see `colabkit.errors`).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words).parse_args(words)
    if args.command is None:
        _parser(words).print_help()
        return USAGE_ERROR
    try:
        outcome: Outcome = _module(args.command).run(args)
    except ColabKitError as error:
        print(f"colabkit {args.command}: {error}", file=sys.stderr)
        if args.json:
            _print_json({"error": {**error.to_json(), "exit_code": error.exit_code}})
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print(f"colabkit {args.command}: stopped. {interrupt}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    if args.json:
        _print_json(outcome.value)
    elif outcome.text:
        print(outcome.text)
    return outcome.code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colabkit",
        description="Training that survives a throw-away runtime: Colab, Kaggle, Jupyter, the laptop.",
        epilog="example: colabkit quickstart",
    )
    parser.add_argument("--version", action="version", version=f"colabkit {__version__}")
    parser.set_defaults(json=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    typed = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == typed:
            module = _module(name)
            command.description = module.__doc__
            command.epilog = f"example: {module.EXAMPLE}"
            module.add_arguments(command)
            command.add_argument(
                "--json", action="store_true", help="print one JSON object on stdout, the rest on stderr"
            )
    return parser


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"colabkit.cli._{command}")


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))
