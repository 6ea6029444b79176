"""`%colabkit` and `%%colabkit`: the commands of the shell, run by the notebook's own kernel.

A command behind `!` is a child process, which neither sees what the kernel has loaded nor can restart it. The magic
runs the same code in the kernel: `%colabkit install` restarts it in place if it must, `%colabkit doctor` sees it all.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from colabkit._internal.process.proc import stream
from colabkit.cli import Outcome, module_of, parse
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Iterator


def register(shell: Any) -> None:
    """Give a shell of IPython both magics; called by `%load_ext colabkit`."""
    shell.register_magic_function(colabkit_line, "line", "colabkit")
    shell.register_magic_function(colabkit_cell, "cell", "colabkit")


def colabkit_line(line: str) -> dict[str, Any] | None:
    """Run one command of colabkit in this kernel: `%colabkit doctor`, `%colabkit fetch SOURCE --to data/`.

    Args:
        line: What one would type behind `colabkit` in a shell; quotes are read as there.

    Returns:
        With `--json` what the command has to say, to be kept: `report = %colabkit detect --json`; else None, and it is
        printed.

    Raises:
        ColabKitError: As the command in Python; the cells behind this one do not run.
    """
    return _run(line)


def colabkit_cell(line: str, cell: str) -> None:
    """Run each line of the cell as a command of colabkit, in this kernel, until one fails.

    Empty lines and lines that begin with # are passed over; what stands behind `%%colabkit` is the first command.

    Args:
        line: What stands behind `%%colabkit`.
        cell: The lines below it.

    Raises:
        ColabKitError: As the command in Python; the lines behind it and the cells behind this one do not run.
    """
    for command in _commands(f"{line}\n{cell}"):
        text = _run(command)
        if text is not None:
            print(text)  # noqa: T201 - a cell of commands prints


def _commands(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _run(line: str) -> dict[str, Any] | None:
    from IPython.core.error import UsageError

    try:
        words = shlex.split(line)
        args = parse(words or ["--help"])
    except ValueError as error:
        raise UsageError(f"%colabkit {line}: {error}") from None
    except SystemExit as end:
        if not end.code:
            return None  # --help, which is printed
        raise UsageError(f"%colabkit {line}: see above") from None
    if args.command is None:  # --version
        from colabkit.cli import main

        main(words)
        return None
    if args.command == "launch":
        _launch(words)
        return None
    module = module_of(args.command)
    outcome: Outcome = getattr(module, "run_in_kernel", module.run)(args)
    if args.json:
        return outcome.value
    if outcome.text:
        print(outcome.text)  # noqa: T201 - as the command does
    return None


def _launch(words: list[str]) -> None:
    # A supervisor has a loop of its own, and so has the kernel; one process has one.
    code = stream([sys.executable, "-m", "colabkit", *words], lambda text: print(text, end=""))  # noqa: T201
    if code:
        raise ColabKitError(f"the launch ended with {code}", hint="see what it printed above")
