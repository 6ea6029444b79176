"""The command line: the same verbs as in Python, with `--json` everywhere and one exit code per error class.

Each command is one private module of this folder and one row in `COMMANDS`. A command module has a docstring whose
text is its help, `EXAMPLE` (one line a user can type), `add_arguments(parser)` and `run(args) -> Outcome`; it may have
`MORE_EXAMPLES` (a tuple of such lines), and `run_in_kernel(args)` where a notebook's magic can do more than a child
process. Only the module of the command that was typed is imported: `colabkit --help` costs no more than argparse.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

from colabkit._version import __version__
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    "completion": "print what lets a shell complete these commands and their options",
}

USAGE_ERROR = 2
INTERRUPTED = 130

_EXIT_STATUS = "0 all went well, 2 wrong usage, 130 Ctrl-C; each kind of error has its own, see docs/errors.md"
_STYLES = {"bold": "1", "red": "31"}


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
    args = parse(words)
    if args.version:
        told = {"name": "colabkit", "version": __version__, "python": sys.version.partition(" ")[0]}
        print(json.dumps(told) if args.json else f"colabkit {__version__}")
        return 0
    if args.command is None:
        build_parser(words).print_help()
        return USAGE_ERROR
    try:
        outcome: Outcome = module_of(args.command).run(args)
    except ColabKitError as error:
        name = painted(f"colabkit {args.command}:", "red", sys.stderr)
        print(f"{name} {error}", file=sys.stderr)
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


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command line; a wrong one ends with `SystemExit(2)` and a line on stderr."""
    return build_parser(words).parse_args(words)


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser, with the arguments of the one command that is among the words."""
    parser = Parser(
        prog="colabkit",
        description="Training that survives a throw-away runtime: Colab, Kaggle, Jupyter, the laptop.",
        epilog=_epilog(["colabkit quickstart", "colabkit fetch --help", "colabkit --version --json"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version; with --json as an object")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    typed = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == typed:
            module = module_of(name)
            command.description = module.__doc__
            command.epilog = _epilog(examples(module))
            module.add_arguments(command)
            command.add_argument(
                "--json",
                action="store_true",
                default=argparse.SUPPRESS,  # the word counts before the command as well
                help="print one JSON object on stdout, the rest on stderr",
            )
    return parser


class Parser(argparse.ArgumentParser):
    """Paints the headings of its help where a person reads it."""

    def print_help(self, file: Any = None) -> None:
        """Print the help; on a terminal its headings are bold."""
        stream = file or sys.stdout
        lines = self.format_help().splitlines()
        heading = ("usage:", "options:", "positional arguments:", "examples:", "exit status:")
        for line in lines:
            found = next((word for word in heading if line.startswith(word)), "")
            print(painted(found, "bold", stream) + line[len(found) :], file=stream)


def painted(text: str, style: Literal["bold", "red"], stream: Any, env: Mapping[str, str] = os.environ) -> str:
    """Return a text with its style where a terminal shows it and nobody has set `NO_COLOR`.

    Example:
        >>> import io
        >>> painted("usage:", "bold", io.StringIO())
        'usage:'
    """
    if not text or env.get("NO_COLOR") or env.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def examples(module: ModuleType) -> list[str]:
    """Return the lines that a user can type, the first one first."""
    return [module.EXAMPLE, *getattr(module, "MORE_EXAMPLES", ())]


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"colabkit.cli._{command}")


def _epilog(lines: Sequence[str]) -> str:
    shown = "\n".join(f"  {line}" for line in lines)
    return f"examples:\n{shown}\n\nexit status:\n  {_EXIT_STATUS}"


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False))
