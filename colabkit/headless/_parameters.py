"""Parameters: `name=value` on the command line, a cell in the notebook."""

from __future__ import annotations

import ast
import keyword
import re
from typing import TYPE_CHECKING, Any

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TAG = "injected-parameters"
_SETS_UP = re.compile(r"^# /// script$|\.(?:setup|install)\(|^[!%]pip ", re.MULTILINE)


def parse(words: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` words: a value is a Python literal, and a text when it is none.

    Raises:
        AddressError: A word has no name that Python could use.

    Example:
        >>> parse(["epochs=3", "name=first", "sizes=[1, 2]", "empty="])
        {'epochs': 3, 'name': 'first', 'sizes': [1, 2], 'empty': ''}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier() or keyword.iskeyword(name):
            raise AddressError(
                f"{word[:60]!r} is no parameter",
                why="it has no name that Python could use, followed by =",
                do="write it as -p epochs=3",
            )
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found[name] = text
    return found


def source_of(parameters: Mapping[str, Any]) -> str:
    """Write the cell that sets the parameters.

    Raises:
        AddressError: A value that Python cannot read back from its written form.

    Example:
        >>> print(source_of({"epochs": 3, "name": "first"}))
        # Parameters
        epochs = 3
        name = 'first'
    """
    for name, value in parameters.items():
        if not _is_literal(value):
            raise AddressError(
                f"the parameter {name} cannot be written into a cell",
                why=f"{value!r:.60} is no plain Python value",
                do="pass numbers, texts, True, False, None, and lists and dicts of these",
            )
    return "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())])


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def place_for(cells: Sequence[Mapping[str, Any]]) -> int:
    """Choose where the cell goes: behind the defaults, and never before the set-up, which may restart the kernel."""
    for number, cell in enumerate(cells):
        if "parameters" in cell.get("metadata", {}).get("tags", ()):
            return number + 1
    first = next((number for number, cell in enumerate(cells) if cell.get("cell_type") == "code"), None)
    if first is not None and _SETS_UP.search(cells[first].get("source", "")):
        return first + 1
    return 0
