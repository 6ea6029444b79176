"""The cells that put kaggle.json where Kaggle's program looks: `fetch` needs none of it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from colabkit.port import cell as cells

if TYPE_CHECKING:
    from colabkit.port.context import Context

_PUTS = re.compile(r"(?:mkdir|cp|mv|chmod|ls|rm|cat|echo|export)\b[^\n]*(?:kaggle\.json|\.kaggle\b|KAGGLE_CONFIG_DIR)")
_USES_PROGRAM = re.compile(r"^\s*(?:!|%)?\s*kaggle\s+\w", re.MULTILINE)


def without(texts: dict[int, str], context: Context, kind: Any) -> dict[int, str]:
    """Return the new texts of the cells that lose lines about kaggle.json; none where something still needs it."""
    fetches = any(re.search(r"\.fetch\([^\n]*kaggle", text) for text in texts.values())
    read = {number: cells.read(text, kind=kind) for number, text in texts.items()}
    if not fetches or any(_USES_PROGRAM.search(text) for text in texts.values()) or context.has_imported("kaggle"):
        return {}
    if any(cell.tree is None and "kaggle" in cell.source for cell in read.values()):
        return {}
    cleaned = {}
    order = list(read)
    for at, (number, cell) in enumerate(read.items()):
        behind = read[order[at + 1]] if at + 1 < len(order) else cell
        text = _without_lines(cell, context, puts_follow=bool(_puts(cell) or _puts(behind)))
        if text != cell.source:
            cleaned[number] = text
    return cleaned


def _puts(cell: cells.Cell) -> list[cells.Command]:
    return [command for command in cell.commands.values() if _PUTS.match(command.text) and not command.target]


def _without_lines(cell: cells.Cell, context: Context, *, puts_follow: bool) -> str:
    spans = []
    puts = _puts(cell)
    for statement in cell.tree.body if cell.tree is not None else ():
        command = cell.command(statement)
        is_upload = (
            puts_follow
            and isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Call)
            and context.dotted(statement.value.func) == "google.colab.files.upload"
        )
        is_config = isinstance(statement, ast.Assign) and "KAGGLE_CONFIG_DIR" in cell.text(statement)
        if (command is not None and command in puts) or is_upload or is_config:
            spans.append(cell.span(statement) if command is None else (command.start, command.end))
    lines = cell.source.splitlines(keepends=True)
    gone = set()
    at = 0
    for number, line in enumerate(lines):
        body = line.rstrip("\r\n")
        start, end = at + len(body) - len(body.lstrip()), at + len(body)
        if any(first <= start and end <= last for first, last in spans) and body.strip():
            gone.add(number)
        at += len(line)
    return "".join(line for number, line in enumerate(lines) if number not in gone)
