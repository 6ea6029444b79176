"""A cell's text as Python with its commands set aside, so that it can be parsed without IPython and edited in place."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Literal

_MAGIC = re.compile(
    r"(?P<indent>[ \t]*)(?P<target>[A-Za-z_][\w.,\[\]'\" \t]*?=[ \t]*)?(?P<sigil>!!|!|%)(?P<text>(?![=!]).*)"
)
_IN_COMMENT = re.compile(r"(?P<indent>[ \t]*)# ?(?P<target>)(?P<sigil>!|%)(?P<text>(?![=!%/]).*)")
_JUPYTEXT = re.compile(r"^#\s+jupytext:", re.MULTILINE)
CELL_MARK = re.compile(r"^# ?%%(?P<kind>[^\n]*)\n", re.MULTILINE)
_AUTOMAGIC = re.compile(r"(?P<indent>[ \t]*)(?P<target>)(?P<sigil>)(?P<text>pip3?[ \t]+(?:un)?install[ \t]+[^=\s].*)")
_HELP = re.compile(r"[ \t]*(?:\?{1,2}[\w.]+|[\w.]+\?{1,2})[ \t]*")
_PYTHON_MAGICS = frozenset(("capture", "time", "timeit", "prun", "memit", "mprun", "debug", "python", "python3"))
_STRING = re.compile(r"'''|\"\"\"|'|\"|#|[()\[\]{}]|\\.")
_PLACEHOLDER = "_colabkit_command_"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A line of the notebook's own language: `!wget …`, `%pip …`, `x = !ls`.

    Attributes:
        sigil: What it begins with: "!", "!!", "%", or "" for a bare `pip install`.
        text: What stands behind, with lines that a backslash continues.
        target: `x = ` where the output is assigned, else "".
        start: Where it begins in the cell's text, behind the indent.
        end: Where it ends, before the line's end.
    """

    sigil: str
    text: str
    target: str
    start: int
    end: int


@dataclass(kw_only=True)
class Cell:
    """A code cell.

    Attributes:
        source: Its text.
        magic: The name of its cell magic, such as "bash"; "" when it has none.
        commands: Its commands by their placeholder's name in the tree.
        tree: The cell as Python, each command replaced by a name; None when it does not parse.
        problem: Why it does not parse.
    """

    source: str
    magic: str = ""
    commands: dict[str, Command] = field(default_factory=dict)
    tree: ast.Module | None = None
    problem: str = ""

    def offset(self, line: int, column: int) -> int:
        """Return the place in the text of a line (from 1) and a column in bytes, as a syntax tree counts them."""
        if not hasattr(self, "_starts"):
            starts = [0]
            for text in self.source.splitlines(keepends=True):
                starts.append(starts[-1] + len(text))
            self._starts, self._lines = starts, self.source.splitlines(keepends=True)
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return self._starts[line - 1] + len(text.encode()[:column].decode(errors="ignore"))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node begins and ends in the text."""
        first = self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        return first, self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        """Return a node's text as it stands in the cell."""
        start, end = self.span(node)
        return self.source[start:end]

    def command(self, node: ast.AST) -> Command | None:
        """Return the command that a statement of the tree stands for."""
        value = node.value if isinstance(node, (ast.Expr, ast.Assign)) else None
        if isinstance(node, ast.Expr) and isinstance(value, ast.Call):
            return self._exported(value)
        return self.commands.get(value.id) if isinstance(value, ast.Name) else None

    def _exported(self, node: ast.Call) -> Command | None:
        """Return the command of a line that nbconvert has written: `get_ipython().system("pip install six")`."""
        words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        called = self.text(node.func)
        start, end = self.span(node)
        if called == "get_ipython().system" and len(words) == len(node.args) == 1:
            return Command(sigil="!", text=words[0].strip(), target="", start=start, end=end)
        if called == "get_ipython().run_line_magic" and len(words) == len(node.args) == 2:
            return Command(sigil="%", text=f"{words[0]} {words[1]}".strip(), target="", start=start, end=end)
        return None


def read(source: str, *, kind: Literal["notebook", "script"] = "notebook") -> Cell:
    r"""Read a cell.

    Example:
        >>> cell = read("import os\nif True:\n    !pip install -q six\nx = !ls")
        >>> [(command.sigil, command.text, command.target) for command in cell.commands.values()]
        [('!', 'pip install -q six', ''), ('!', 'ls', 'x = ')]
        >>> read("%%bash\nls").magic
        'bash'
    """
    cell = Cell(source=source)
    if "\r" in source.replace("\r\n", "") or "\f" in source or "\v" in source or "\x1c" in source or "\x85" in source:
        cell.problem = "its lines end in an unusual way"
        return cell
    lines = source.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if kind == "notebook" and first is not None and lines[first].startswith("%%"):
        cell.magic = (re.match(r"%%(\w*)", lines[first]) or [""])[1]
        if cell.magic not in _PYTHON_MAGICS:
            return cell
        lines[first] = "\n"
    else:
        first = None
    is_in_comments = _JUPYTEXT.search(source) or (kind == "script" and CELL_MARK.search(source))
    masked = _masked(lines, cell, is_in_comments=bool(is_in_comments))
    try:
        cell.tree = ast.parse(masked)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        cell.problem = f"it is no Python: {getattr(error, 'msg', None) or error}"[:100]
    return cell


def _masked(lines: list[str], cell: Cell, *, is_in_comments: bool) -> str:
    done: list[str] = []
    state = _State()
    at = number = 0
    starts = [0]
    original = cell.source.splitlines(keepends=True)
    for text in original:
        starts.append(starts[-1] + len(text))
    while number < len(lines):
        line = lines[number]
        at = starts[number]
        match = None
        if state.is_at_statement:
            body = line.rstrip("\r\n")
            match = _MAGIC.fullmatch(body) or _AUTOMAGIC.fullmatch(body)
            if match is None and is_in_comments:
                match = _IN_COMMENT.fullmatch(body)
            if match is None and _HELP.fullmatch(body) and body.strip("? \t"):
                done.append(line[: len(line) - len(line.lstrip())] + "pass\n")
                number += 1
                continue
        if match is None or _is_timed(match):
            line = line if match is None else line.replace("%time ", "None; ", 1)  # as long, so that places stay
            state.read(line)
            done.append(line)
            number += 1
            continue
        last = number
        text = match["text"]
        while text.rstrip().endswith("\\") and last + 1 < len(lines):
            last += 1
            text += "\n" + lines[last].rstrip("\r\n")
        name = f"{_PLACEHOLDER}{len(cell.commands)}"
        end = starts[last] + len(lines[last].rstrip("\r\n"))
        cell.commands[name] = Command(
            sigil=match["sigil"],
            text=text.strip().removesuffix("\\").rstrip(),
            target=match["target"] or "",
            start=at + len(match["indent"]),
            end=end,
        )
        done.append(f"{match['indent']}{match['target'] or ''}{name}\n")
        done += ["\n"] * (last - number)
        number = last + 1
    return "".join(done)


def _is_timed(match: re.Match[str]) -> bool:
    """Say whether a line is a statement of Python behind %time."""
    if match["sigil"] != "%" or match["target"] or not match["text"].startswith("time "):
        return False
    try:
        return bool(ast.parse(match["text"][len("time ") :].strip()).body)
    except (SyntaxError, ValueError):
        return False


class _State:
    """Where Python's reader is at the beginning of a line."""

    def __init__(self) -> None:
        self.quote = ""
        self.depth = 0
        self.is_continued = False

    @property
    def is_at_statement(self) -> bool:
        return not self.quote and self.depth == 0 and not self.is_continued

    def read(self, line: str) -> None:
        """Go on to the next line."""
        text = line.rstrip("\r\n")
        at = 0
        self.is_continued = False
        while at < len(text):
            if self.quote:
                match = re.compile(rf"\\.|{self.quote}").search(text, at)
                if match is None:
                    break
                at = match.end()
                if match[0] == self.quote:
                    self.quote = ""
                continue
            match = _STRING.search(text, at)
            if match is None:
                break
            at = match.end()
            if match[0] == "#":
                return
            if match[0] in "([{":
                self.depth += 1
            elif match[0] in ")]}":
                self.depth = max(0, self.depth - 1)
            elif match[0][0] in "'\"":
                self.quote = match[0]
        self.is_continued = text.endswith("\\")
        if len(self.quote) == 1 and not self.is_continued:
            self.quote = ""  # an open string ends with its line
