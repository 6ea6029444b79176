"""Parameters: `name=value` on the command line, a cell in the notebook."""

from __future__ import annotations

import ast
import keyword
import re
from typing import TYPE_CHECKING, Any

from colabkit._credentials import masked
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TAG = "injected-parameters"
_SETS_UP = re.compile(r"^# /// script$|\.(?:setup|install)\(|^[!%]pip ", re.MULTILINE)

_SECRET = re.compile(r"(?:^|_)(?:token|secret|password|passwd|credentials?|api_?key)$", re.IGNORECASE)
"""What a parameter is called that nobody shall read in the notebook."""

_FORM = re.compile(
    r"^(?P<head>[ \t]*(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*)[^#\n]*?(?P<tail>[ \t]*#[ \t]*@param\b.*)$", re.MULTILINE
)
"""A field of a form of Colab's."""


def parse(words: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` words: a value is a Python literal, and a text when it is none.

    Raises:
        AddressError: A word has no name that Python could use.

    Example:
        >>> parse(["epochs=3", "name=first", "sizes=[1, 2]", "empty="])
        {'epochs': 3, 'name': 'first', 'sizes': [1, 2], 'empty': ''}
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier() or keyword.iskeyword(name):
            raise AddressError(
                f"{name[:60]!r} is not a parameter" if equals else "a parameter has no value",
                why="it does not begin with a Python name and =",
                hint="write it as -p epochs=3",
            )
        try:
            values[name] = ast.literal_eval(text)
        except Exception:  # noqa: BLE001 - Python's reader raises more than it says: a TypeError of {{}}
            values[name] = text
    return values


def source_of(parameters: Mapping[str, Any]) -> str:
    """Write the cell that sets the parameters.

    Raises:
        AddressError: A value that Python cannot read back from its written form, or a secret.

    Example:
        >>> print(source_of({"epochs": 3, "name": "first"}))
        # Parameters
        epochs = 3
        name = 'first'
    """
    for name, value in parameters.items():
        if isinstance(value, str) and value and (_SECRET.search(name) or masked(value) != value):
            raise AddressError(
                f"the parameter {name} is a secret",
                why="parameters are saved in the notebook that is written",
                hint=f"set it in the environment as {name.upper()}, and read it by ck.secret({name.upper()!r})",
            )
        if not _is_literal(value):
            raise AddressError(
                f"the parameter {name} cannot be written into a cell",
                why=f"{value!r:.60} is not a plain Python value",
                hint="pass numbers, texts, True, False, None, and lists and dicts of these",
            )
    return "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())])


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except Exception:  # noqa: BLE001 - a value's own repr and == raise what they like
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


def fill_forms(source: str, parameters: Mapping[str, Any]) -> str:
    """Set the fields of Colab's forms, lines such as `epochs = 10  #@param {type: "integer"}`, in a cell's text.

    Example:
        >>> fill_forms('epochs = 10  #@param {type: "integer"}', {"epochs": 3})
        'epochs = 3  #@param {type: "integer"}'
    """

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        return f"{match['head']}{parameters[name]!r}{match['tail']}" if name in parameters else match[0]

    return _FORM.sub(replaced, source)
