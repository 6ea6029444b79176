"""The places below a folder that code names: in constants, f-strings, joins, variables, and words of commands."""

from __future__ import annotations

import ast
import os
import posixpath
import re
import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Text = tuple[str, bool]
    """A beginning, and whether it is all of the text."""

_PATHS = frozenset({"Path", "PurePath", "PosixPath", "PurePosixPath"})
_SAME = frozenset({"str", "fspath", "as_posix", "expanduser", "resolve", "absolute"})
_SHELLS = frozenset({"bash", "sh", "system", "sx"})
_VARIABLE = re.compile(r"\$?\{(\w+)\}|\$(\w+)")
_PATTERN = re.compile(r"[^*?\[]*(?=[*?]|\[.*[*?])", re.DOTALL)
_ENDS = re.compile(r"[;|&<>()`\n]")
_LONGEST = 4096


def places_in(tree: ast.AST, top: str, variables: Mapping[str, object]) -> set[str]:
    r"""Return the places that code names below a folder; of one that is known in part, the folder that it is in.

    A plain assignment names nothing yet: what counts is how its variable is used.

    Args:
        tree: The code.
        top: The folder.
        variables: The variables of the cells before.

    Example:
        >>> code = "data = '/d/MyDrive/data'\nopen(f'{data}/x.csv')\nos.path.join(data, 'run', name)"
        >>> sorted(places_in(ast.parse(code), "/d/MyDrive", {}))
        ['data/run', 'data/x.csv']
    """
    reader = _Reader(top, variables)
    try:
        reader.visit(tree)
        reader.places.clear()
        reader.visit(tree)  # again: a function may name what is assigned behind it
    except RecursionError:
        return set()
    return reader.places


class _Reader(ast.NodeVisitor):
    def __init__(self, top: str, variables: Mapping[str, object]) -> None:
        self.places: set[str] = set()
        self._top = top
        self._variables = variables
        self._assigned: dict[str, Text | None] = {}

    def visit(self, node: ast.AST) -> None:
        """Note what an expression names, else look into its parts."""
        if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            text = self._text(node.value)
            self._assigned.update({target.id: text for target in node.targets if isinstance(target, ast.Name)})
            if text is not None:
                return
        if isinstance(node, ast.Call) and (command := _command(node)):
            self._note_words(command)
        elif not (isinstance(node, ast.expr) and (text := self._text(node)) and self._note(*text)):
            self.generic_visit(node)

    def _note(self, text: str, is_whole: bool) -> bool:
        if not (text == self._top or text.startswith(f"{self._top}/")) or len(text) > _LONGEST:
            return False
        place = text[len(self._top) :]
        if (before := _PATTERN.match(place)) is not None:
            place, is_whole = before[0], False
        place = posixpath.normpath((place if is_whole else place.rpartition("/")[0]).strip("/") or ".")
        if place.isprintable() and not place.startswith(".."):
            self.places.add("" if place == "." else place)
        return True

    def _note_words(self, command: str) -> None:
        command = _VARIABLE.sub(lambda match: (self._variable(match[1] or match[2]) or (match[0],))[0], command)
        try:
            words = shlex.split(command)
        except ValueError:  # a quote that is not closed
            words = command.split()
        for word in words:
            at = word.find(f"{self._top}/") if not word.endswith(self._top) else len(word) - len(self._top)
            if at >= 0:
                text = _ENDS.split(word[at:])[0]
                unknown = re.search(r"[${]", text)
                self._note(text[: unknown.start()] if unknown else text, unknown is None)

    def _variable(self, name: str) -> Text | None:
        if name in self._assigned:
            return self._assigned[name]
        value = self._variables.get(name)
        return (os.fspath(value), True) if isinstance(value, (str, PurePath)) else None

    def _text(self, node: ast.expr) -> Text | None:
        """Return what an expression begins with; None for one of which nothing is known."""
        if isinstance(node, ast.Constant):
            return (node.value, True) if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self._variable(node.id)
        if isinstance(node, ast.JoinedStr):
            return _joined([self._text(part) for part in node.values])
        if isinstance(node, ast.FormattedValue):
            return self._text(node.value) if node.format_spec is None and node.conversion == -1 else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div)):
            between = "/" if isinstance(node.op, ast.Div) else ""
            return _joined([self._text(node.left), self._text(node.right)], between)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return _cut(self._text(node.left), "%")
        return self._text_of_call(node.func, node.args) if isinstance(node, ast.Call) else None

    def _text_of_call(self, called: ast.expr, arguments: list[ast.expr]) -> Text | None:
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        owner = called.value if isinstance(called, ast.Attribute) else None
        if name == "format" and owner is not None:
            return _cut(self._text(owner), "{")
        if name == "joinpath" and owner is not None:
            return _joined([self._text(owner), *map(self._text, arguments)], "/")
        of_paths = getattr(owner, "attr", getattr(owner, "id", "")) in ("path", "osp", "posixpath")
        if name in _PATHS or (name == "join" and of_paths):
            return _joined(list(map(self._text, arguments)), "/")
        if name in _SAME:
            return self._text(arguments[0]) if arguments else None if owner is None else self._text(owner)
        return None


def _joined(parts: list[Text | None], between: str = "") -> Text | None:
    """Put texts one behind the other, up to the first that is not known."""
    text = ""
    for number, part in enumerate(parts):
        if part is None:
            return (f"{text}{between}", False) if number else None
        if between and (part[0].startswith("/") or not number):
            text = part[0]  # as os.path.join and Path do
        else:
            text = f"{text.rstrip('/') if between else text}{between}{part[0]}"
        if not part[1]:
            return text, False
    return text, True


def _cut(text: Text | None, mark: str) -> Text | None:
    if text is None or mark not in text[0]:
        return text
    return text[0].partition(mark)[0], False


def _command(node: ast.Call) -> str:
    """Return the line of a `!` command or a magic; "" for any other call."""
    called = node.func
    owner = called.value if isinstance(called, ast.Attribute) else None
    if not (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "get_ipython"):
        return ""
    words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    name = called.attr if isinstance(called, ast.Attribute) else ""
    if name in ("system", "getoutput"):
        return " ".join(words)
    if name == "run_line_magic":
        folder = words[-1].strip("\"'") if words[0] == "cd" else ""  # it takes blanks as they are
        return shlex.quote(folder) if " " in folder and "\\ " not in folder else " ".join(words[1:])
    if name == "run_cell_magic":
        return " ".join(words[1:] if words[0] in _SHELLS else words[1:2])
    return ""
