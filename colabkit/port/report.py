"""What a port has changed, and what it has left alone."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from colabkit._safe_text import safe_text

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One place that was rewritten.

    Attributes:
        cell: The number of the cell in the notebook, from 1.
        kind: What it does: "install", "fetch", "drive", "secret", "train" and others.
        before: What stood there; a secret is masked.
        after: What stands there now; "" where it was removed.
    """

    cell: int
    kind: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One place that sets up or trains, and stays as it is.

    Attributes:
        cell: The number of the cell in the notebook, from 1.
        kind: What it does.
        line: What stands there; a secret is masked.
        reason: Why it stays.
        works: Whether it works everywhere as it is, so that nothing is missing.
    """

    cell: int
    kind: str
    line: str
    reason: str
    works: bool = False


@dataclass(frozen=True, kw_only=True)
class Ported:
    """A notebook or script that was read and rewritten.

    Attributes:
        source: The file that was read.
        output: The file that was written; None when nothing was written.
        text: The new file's text.
        changes: What was rewritten, in order.
        kept: What sets up or trains and stays as it is, with the reason.
        cells: The code cells that differ: their number, their text before, and after.
    """

    source: Path
    output: Path | None
    text: str
    changes: tuple[Change, ...]
    kept: tuple[Kept, ...]
    cells: tuple[tuple[int, str, str], ...]

    def diff(self, *, colours: bool = False) -> str:
        """Return what differs, cell by cell, as a unified diff."""
        lines: list[str] = []
        for number, before, after in self.cells:
            difference = difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
            lines.append(f"@@ cell {number} @@" if number else "@@ new first cell @@")
            lines += [line for line in list(difference)[2:] if not line.startswith("@@")]
        if not colours:
            return "\n".join(lines)
        return "\n".join(f"{_COLOURS[line[0]]}{line}\x1b[0m" if line[:1] in _COLOURS else line for line in lines)

    def __str__(self) -> str:
        where = f"{self.source.name} -> {self.output}" if self.output else self.source.name
        cells = {change.cell for change in self.changes}
        lines = [f"{where}: {_count(len(self.changes), 'change')} in {_count(len(cells), 'cell')}"]
        for title, works in (("Stays as it is", False), ("Works as it is", True)):
            kept = [one for one in self.kept if one.works is works]
            lines += [f"{title}:"] * bool(kept)
            lines += [f"  cell {one.cell}: {_short(one.line)}  ({one.reason})" for one in kept]
        return safe_text("\n".join(lines))

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {
            "source": str(self.source),
            "output": str(self.output) if self.output else None,
            "changes": [vars(change) for change in self.changes],
            "kept": [vars(one) for one in self.kept],
            "diff": self.diff(),
        }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _short(line: str, most: int = 70) -> str:
    text = " ".join(line.split())
    return text if len(text) <= most else text[: most - 1] + "…"


Kind = Literal["install", "fetch", "drive", "secret", "train", "kaggle", "board", "colab", "system"]
