"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"^(?:<!-- not run:(?P<reason>[^\n]*)-->\n+)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_TRAINS = re.compile(r"^import keras$|^\$ colabkit (?:quickstart|train)\b", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        language: What stands behind the opening fence.
        text: The lines between the fences.
        line: The number of the opening fence's line, from 1.
        left_out: Why it is not run; None when it is.
        printed: The `text` block right below it: what it prints; None when there is none.
    """

    language: str
    text: str
    line: int
    left_out: str | None
    printed: str | None

    @property
    def commands(self) -> list[str]:
        """The command lines of ours in a console block, without their prompt."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ colabkit")]

    @property
    def can_run(self) -> bool:
        """Whether there is anything to execute in it."""
        return self.language == "python" or (self.language == "console" and bool(self.commands))


def blocks(page: Path) -> list[Block]:
    """Read the blocks of a page in order."""
    source = page.read_text(encoding="utf-8")
    matches = list(_BLOCK.finditer(source))
    found = []
    for match, after in itertools.zip_longest(matches, matches[1:]):
        is_output = (
            after is not None and after["language"] == "text" and not source[match.end() : after.start()].strip()
        )
        found.append(
            Block(
                language=match["language"],
                text=match["text"],
                line=source.count("\n", 0, match.start("language")) + 1,
                left_out=None if match["reason"] is None else match["reason"].strip(),
                printed=after["text"] if is_output and after is not None else None,
            )
        )
    return found


def run_blocks(page: Path) -> list[Block]:
    """Read the blocks of a page that are to be executed."""
    return [block for block in blocks(page) if block.can_run and block.left_out is None]


def trains(page: Path) -> bool:
    """Say whether running the page takes Keras, and so more than a few seconds."""
    return any(_TRAINS.search(block.text) for block in run_blocks(page))
