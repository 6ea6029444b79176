"""What both machines share: the work, what it left, and running their commands."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.process import proc
from colabkit.errors import CellError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LONGEST = 600  # characters of a command's words
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
FOREVER = 7 * 24 * 3600.0
"""Seconds: no machine of either host lasts longer."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One call of `run_remote`; the attributes are its arguments.

    Attributes:
        notebook: The copy with its parameters, in a folder of its own.
        output: Where its outputs go.
        accelerator: As the host's command names it.
        bring: What is copied back.
        inputs: Data sets and competitions.
        name: The session or notebook.
        attempts: How many machines it may take.
        timeout: Seconds.
        quiet: Say nothing of what is printed there.
    """

    notebook: Path
    output: Path
    accelerator: str
    bring: tuple[str, ...]
    inputs: tuple[str, ...]
    name: str
    attempts: int
    timeout: float | None
    quiet: bool

    @property
    def slug(self) -> str:
        """The file's name in letters that both hosts take."""
        return re.sub(r"[^a-z0-9]+", "-", self.notebook.stem.lower()).strip("-")[:40] or "notebook"

    @property
    def show(self) -> Callable[[str], object]:
        """What takes each line that is printed there."""
        return (lambda _: None) if self.quiet else sys.stderr.write


@dataclass(frozen=True, kw_only=True)
class RemoteRan:
    """A notebook that came to its end on another machine.

    Attributes:
        output: The notebook with its outputs; on Kaggle the folder of the whole output.
        machines: How many it took.
        brought: What was copied here.
    """

    output: Path
    machines: int
    brought: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {"output": str(self.output), "machines": self.machines, "brought": [str(path) for path in self.brought]}


def program(name: str, package: str) -> str:
    """Return the path of an official command.

    Raises:
        MissingDependencyError: It is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingDependencyError(
            f"the command {name} is not installed", why="it starts the machine", hint=f"pip install {package}"
        )
    return path


def call(
    command: Sequence[str], show: Callable[[str], object] = lambda _: None, *, timeout: float = 600.0
) -> proc.Completed:
    """Run an official command, and pass on what it prints, line by line."""
    return proc.watch(command, show, lambda: None, timeout=timeout)


def words(done: proc.Completed) -> str:
    """Return what a command said, without colours, as a reason."""
    return _ANSI.sub("", " ".join(f"{done.out} {done.err}".split()))[-_LONGEST:]


def refuse_failed_cell(notebook: Path, where: str) -> None:
    """Raise for the first cell whose outputs hold an error.

    Raises:
        CellError: There is one.
    """
    cells = json.loads(notebook.read_bytes())["cells"]
    for number, cell in enumerate((each for each in cells if each["cell_type"] == "code"), 1):
        for output in cell.get("outputs", ()):
            if output.get("output_type") == "error":
                raise CellError(
                    f"cell {number} raised {output.get('ename', 'an error')}: {output.get('evalue', '')}"[:_LONGEST],
                    why=f"{where} continues after such a cell; what the others printed may not count",
                    hint=f"its outputs are in {notebook}; fix the cell and run it again",
                )
