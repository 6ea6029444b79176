"""What a headless run left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FailedCommand:
    """A `!` command of a notebook that ended with another code than 0.

    Attributes:
        cell: The number of its cell, from 1.
        command: Its first words; the rest may hold secrets.
        code: Its exit code.
    """

    cell: int
    command: str
    code: int

    def __str__(self) -> str:
        return f"!{self.command} in cell {self.cell} ended with {self.code}"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run that came to its end.

    Attributes:
        output: The notebook with its outputs, or what the script printed.
        attempts: How often it began.
        seconds: How long it took, all attempts together.
        code: A script's own exit code; 0 for a notebook.
        restarts: How often a cell restarted its kernel on purpose, after which the run went on behind that cell.
        failed: The `!` commands that failed.
    """

    output: Path
    attempts: int
    seconds: float
    code: int = 0
    restarts: int = 0
    failed: tuple[FailedCommand, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        failed = [vars(command) for command in self.failed]
        return {**vars(self), "output": str(self.output), "seconds": round(self.seconds, 3), "failed": failed}
