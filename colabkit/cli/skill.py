"""Print what an agent has to know to work with colabkit: the lines to write, what survives what, and the exit codes.

It is a page in the form of a skill. Save it where your agent looks for them, or let it run this command. With --json
the page is one text, beside all commands and all errors with their exit codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit import errors
from colabkit.cli import COMMANDS, Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit skill"
MORE_EXAMPLES = ("colabkit skill > .agents/skills/colabkit/SKILL.md",)

_PAGE = """---
name: colabkit
description: Make notebooks and trainings survive throw-away machines (Colab, Kaggle, rented GPUs). Use it to port a
  notebook, to download data that resumes, to install without breaking a kernel, to train so that a kill costs nothing,
  and to run notebooks headless with exit codes and JSON.
---

# colabkit

Every command takes `--json` (one object on stdout, nothing else there) and `--help` with an example. Exit codes: 0 ok,
2 wrong usage, 130 Ctrl-C, else one for each kind of error. An error says what, why, and what to do: do that.

## From a notebook as it is to one that survives
    colabkit port notebook.ipynb --diff              # shows the changes and what stays, writes nothing
    colabkit port notebook.ipynb -o ported.ipynb     # runs none of it; porting twice changes nothing
    colabkit run ported.ipynb -p epochs=3 --json     # headless; resumes after a kill; google.colab is given if missing
Read `failed` in the JSON: commands behind `!` that failed; `--strict` makes them errors.

## In Python
    import colabkit as ck
    ck.install("keras>=3.10")                        # plans first; restarts the kernel in place only if it must
    data = ck.fetch("kaggle:owner/dataset", keep="drive:data")   # https, gs://, hf:, github:, a pasted line
    token = ck.secret("HF_TOKEN")                    # never print it
    run = ck.open_run("drive:runs/digits")           # or gs://bucket/runs/digits, or a folder
    model.fit(x, y, epochs=10, callbacks=[run.resume()])         # the same call again continues exactly
    for batch in run.loop(loader, epochs=3, model=model, optimizer=optimizer): ...   # torch, JAX, Keras loops
    run.finish(release=True)                         # confirmed elsewhere, then Colab gets its machine back

## Rules
- Run the same command again after an interruption; do not delete run folders to make an error go away.
- `colabkit doctor --json` first when something about the machine is wrong; `colabkit runs list WHERE --json` tells what
  is saved, mirrored and confirmed.
- Plan with `--dry-run` where a command has it. Never write a secret into a notebook or a command line.
- Several trainings in one notebook: give each its own phase, `run.phase("head").resume()`.

## Commands
{commands}
## Errors
{errors}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""
    del parser


def run(args: argparse.Namespace) -> Outcome:
    """Print it."""
    del args
    kinds = _errors()
    commands = "".join(f"- `colabkit {name}`: {summary}\n" for name, summary in COMMANDS.items())
    table = "".join(f"- {kind['exit_code']} {kind['type']}: {kind['cause']}\n" for kind in kinds)
    page = _PAGE.format(commands=commands, errors=table).rstrip("\n")
    return Outcome({"text": page, "commands": COMMANDS, "errors": kinds}, page)


def _errors() -> list[dict[str, Any]]:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    kinds = [kind for kind in classes if issubclass(kind, errors.ColabKitError)]
    rows = [
        {"type": kind.__name__, "exit_code": kind.exit_code, "cause": (kind.__doc__ or "").partition("\n")[0]}
        for kind in kinds
    ]
    return sorted(rows, key=lambda row: (row["exit_code"], row["type"]))
