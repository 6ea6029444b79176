"""The command line: the same verbs as in Python, with `--json` everywhere and one exit code per error class.

Each command is one private module of this folder and one row in `COMMANDS`. A command module has a docstring whose
text is its help, `EXAMPLE` (one line a user can type), `add_arguments(parser)` and `run(args) -> Outcome`; it may have
`MORE_EXAMPLES` (a tuple of such lines), `ACTIONS` (its own sub-commands, see `add_actions`), and `run_in_kernel(args)`
where a notebook's magic can do more than a child process. Only the module of the command that was typed is imported:
`colabkit --help` costs no more than argparse.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from colabkit import config
from colabkit._internal.language import translated
from colabkit._internal.os_errors import is_shortage, unforeseen
from colabkit._safe_text import safe_text
from colabkit._version import __version__
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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
    "port": "rewrite a notebook or script so that it survives, and show what changes",
    "run": "run a notebook or script headless, and again after a crash",
    "remote": "run a notebook on a machine of Colab or Kaggle, and bring back what it made",
    "launch": "train a script on several workers, which survives the death of one",
    "runs": "list, verify, restore, prune, compare and hand over what training has saved",
    "train": "train a reference model or one of your own; the same command again continues it",
    "predict": "say what pictures show, by a model that was trained",
    "evaluate": "measure a model on data with labels, class by class",
    "export": "export a model as SavedModel, TF Lite, ONNX or .keras",
    "skill": "print what an agent has to know to work with colabkit",
    "completion": "print what lets a shell complete these commands and their options",
}

USAGE_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 141  # as the shell tells it of a process that SIGPIPE ends

_EXIT_STATUS = "0 all went well, 2 wrong usage, 130 Ctrl-C;\n  each kind of error has its own, see docs/errors.md"
_STYLES = {"bold": "1", "red": "31"}
_DELETIONS = ("delete", "remove", "rm", "del")
_DELETE_A_RUN = "To delete a run, delete its folder and that of its mirror. `prune` deletes its older states."


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
    _take_any_letter()
    try:
        try:
            return _main(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # here, where a pipe that nobody reads can still be told from a fault
    except BrokenPipeError:
        # As with `| head -1`: whoever read has enough. Python would say so at its end, in five lines.
        _write_nowhere()
        return PIPE_CLOSED
    except _OutputError as error:
        _write_nowhere()
        print(f"colabkit: the output cannot be written: {error}", file=sys.stderr)
        return PIPE_CLOSED


class _OutputError(Exception):
    """Standard output takes no more, as on a full disk."""


def _take_any_letter() -> None:
    """Let standard output take names in any language where its encoding has no letters for them, and be closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _write_nowhere() -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(error.strerror or str(error)) from error


def _main(words: list[str]) -> int:
    args = parse(words)
    if args.version:
        version = {"name": "colabkit", "version": __version__, "python": sys.version.partition(" ")[0]}
        print(json.dumps(version) if args.json else f"colabkit {__version__}")
        return 0
    if args.command is None:
        build_parser(words).print_help()
        return USAGE_ERROR
    try:
        outcome: Outcome = module_of(args.command).run(args)
    except (ColabKitError, ModuleNotFoundError, OSError, RuntimeError) as raised:
        # A raw error is a fault of the user's own code, with its traceback, or something that the machine is short of.
        error = _as_ours(raised, args.command)
        if error is None:
            raise
        name = painted(f"colabkit {args.command}:", "red", sys.stderr)
        print(f"{name} {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        if args.json:
            also = {"also_failed": [_described(one) for one in error.also_failed]} if error.also_failed else {}
            _print_json({"error": {**error.to_json(), "exit_code": error.exit_code, **also}})
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print(f"colabkit {args.command}: stopped. {interrupt}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    if args.json:
        _print_json(outcome.value)
    elif outcome.text:
        _print(safe_text(outcome.text, colours=True) if sys.stdout.isatty() else outcome.text)
    return outcome.code


def _as_ours(raised: Exception, command: str) -> ColabKitError | None:
    if isinstance(raised, ModuleNotFoundError) and not isinstance(raised, ColabKitError):
        from colabkit._internal.optional import as_missing

        raised = as_missing(raised, f"colabkit {command} needs it")
    if isinstance(raised, ColabKitError):
        return raised
    return unforeseen(raised) if is_shortage(raised) else None


def _described(error: BaseException) -> dict[str, str]:
    return error.to_json() if isinstance(error, ColabKitError) else {"type": type(error).__name__, "what": str(error)}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command line; a wrong one ends with `SystemExit(2)` and a line on stderr."""
    return build_parser(words).parse_args(words)


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser, with the arguments of the one command that is among the words."""
    parser = Parser(
        prog="colabkit",
        description=translated("Training that survives a throw-away runtime: Colab, Kaggle, Jupyter, the laptop."),
        epilog=_epilog(["colabkit quickstart", "colabkit fetch --help", "colabkit --version --json"]),
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="store_true", help="print the version; with --json as an object")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    typed = next((word for word in words if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=translated(summary), allow_abbrev=False, formatter_class=_Help)
        if name == typed:
            module = module_of(name)
            command.description = module.__doc__
            command.epilog = _epilog(examples(module))
            module.add_arguments(command)
            _add_json(command)
    return parser


def add_actions(parser: argparse.ArgumentParser, actions: Mapping[str, Action]) -> None:
    """Give a command sub-commands, each with a help, examples and options of its own.

    Args:
        parser: The command's parser.
        actions: What each one takes; `args.action` is the name of the one that was typed.
    """
    subparsers = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, action in actions.items():
        subparser = subparsers.add_parser(
            name,
            help=action.help,
            description=f"{action.help[0].upper()}{action.help[1:]}.",
            epilog=_epilog(action.examples),
            allow_abbrev=False,
            formatter_class=_Help,
        )
        action.add_arguments(subparser)
        _add_json(subparser)


class Action:
    """A sub-command.

    Args:
        summary: What it does, in one line.
        examples: Lines that a user can type.
        add_arguments: Declares what it takes.
    """

    def __init__(
        self, summary: str, examples: Sequence[str], add_arguments: Callable[[argparse.ArgumentParser], None]
    ) -> None:
        self.help = summary
        self.examples = examples
        self.add_arguments = add_arguments


class _Help(argparse.RawDescriptionHelpFormatter):
    """Fits the paragraphs of a description to the terminal's width, and leaves the lines of examples alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        import textwrap

        paragraphs = text.strip().split("\n\n")
        fitted = [
            paragraph
            if "\n  " in paragraph
            else textwrap.fill(" ".join(paragraph.split()), width, break_on_hyphens=False)
            for paragraph in paragraphs
        ]
        return super()._fill_text("\n\n".join(fitted), width, indent)


class Parser(argparse.ArgumentParser):
    """Paints the headings of its help where a person reads it, and names the word that was meant."""

    def error(self, message: str) -> NoReturn:
        """End with the usage and a line, 2; the nearest word is named where one was mistyped."""
        super().error(message + self._meant(message))

    def _meant(self, message: str) -> str:
        from colabkit._internal.nearest import nearest

        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message, re.DOTALL)
        unknown = re.search(r"unrecognized arguments: .*?(--[\w-]+)", message)
        if choice is not None and choice[1] in _DELETIONS and "prune" in choice[2]:
            return f"\n{_DELETE_A_RUN}"
        if choice is not None:
            nearest_word = nearest(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif unknown is not None:
            nearest_word = nearest(unknown[1], self._options())
        else:
            return ""
        return f"\nDid you mean {nearest_word}?" if nearest_word else ""

    def _options(self) -> list[str]:
        options = list(self._option_string_actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public way to ask
                for parser in action.choices.values():
                    options += parser._options()  # noqa: SLF001
        return options

    def print_help(self, file: Any = None) -> None:
        """Print the help; on a terminal its headings are bold."""
        stream = file or sys.stdout
        lines = self.format_help().splitlines()
        heading = ("usage:", "options:", "positional arguments:", "examples:", "exit status:")
        for line in lines:
            title = next((word for word in heading if line.startswith(word)), "")
            print(painted(title, "bold", stream) + line[len(title) :], file=stream)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,  # the word counts before the command as well
        help="print one JSON object on stdout, the rest on stderr",
    )


def painted(text: str, style: Literal["bold", "red"], stream: Any, env: Mapping[str, str] | None = None) -> str:
    """Return a text with its style where a terminal shows it and nobody has set `NO_COLOR`.

    Example:
        >>> import io
        >>> painted("usage:", "bold", io.StringIO())
        'usage:'
    """
    env = config.environment(env)
    if not text or env.get("NO_COLOR") or env.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def examples(module: ModuleType) -> list[str]:
    """Return the lines that a user can type, the first one first."""
    return [module.EXAMPLE, *getattr(module, "MORE_EXAMPLES", ())]


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"colabkit.cli.{command}")


def _epilog(lines: Sequence[str]) -> str:
    indented = "\n".join(f"  {line}" for line in lines)
    return f"examples:\n{indented}\n\nexit status:\n  {_EXIT_STATUS}"


def _print_json(value: dict[str, Any]) -> None:
    is_utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    _print(json.dumps(value, ensure_ascii=not is_utf8))
