"""Parameters: `name=value` on the command line, a cell in the notebook."""

from __future__ import annotations

import ast
import difflib
import keyword
import re
from typing import TYPE_CHECKING, Any

from colabkit._credentials import masked
from colabkit._internal.log import warn
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


_FIELD = re.compile(r"#[ \t]*@param[ \t]*(?P<options>\[[^\]]*\])?[ \t]*(?P<settings>\{.*\})?")
_TYPE = re.compile(r"type[\"']?[ \t]*:[ \t]*[\"'](\w+)")
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Parsed(dict[str, Any]):
    """Parameters by name.

    Attributes:
        typed: Each as it was typed, which a text may need: 2.10 is no 2.1 there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.typed: dict[str, str] = {}


def parse(words: Iterable[str]) -> Parsed:
    """Read `name=value` words: a value is a Python literal, and a text when it is none.

    Raises:
        AddressError: A word has no name that Python could use.

    Example:
        >>> parse(["epochs=3", "name=first", "sizes=[1, 2]", "empty="])
        {'epochs': 3, 'name': 'first', 'sizes': [1, 2], 'empty': ''}
    """
    values = Parsed()
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
        values.typed[name] = text
    return values


def as_typed(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters' texts, each as it was typed where somebody typed it."""
    typed = parameters.typed if isinstance(parameters, Parsed) else {}
    return {name: typed.get(name, str(value)) for name, value in parameters.items()}


def fitted(parameters: Mapping[str, Any], sources: Sequence[str]) -> dict[str, Any]:
    """Return the parameters as a notebook takes them: `false` for a field of yes and no is False, and no text.

    Args:
        parameters: As they were given.
        sources: The texts of the notebook's cells.

    Raises:
        AddressError: A field of a form takes no such value.
    """
    text = "\n".join(sources)
    fields = {match["name"]: match["tail"] for match in _FORM.finditer(text)}
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        values[name] = _in_field(name, value, as_typed(parameters)[name], fields.get(name, ""), _default(name, text))
        if not re.search(rf"\b{name}\b", text) and name != "upload" and "input(" not in text:
            near = difflib.get_close_matches(name, dict.fromkeys(re.findall(r"(?m)^(\w+)\s*=(?!=)", text)), n=1)
            warn("no cell uses the parameter %s%s", name, f": did you mean {near[0]}?" if near else "")
    return values


def _default(name: str, text: str) -> Any:
    match = re.search(rf"^{name}[ \t]*(?::[^=\n]*)?=[ \t]*([^#\n]+)", text, re.MULTILINE)
    try:
        return ast.literal_eval(match[1].strip()) if match else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _in_field(name: str, value: Any, typed: str, field: str, default: Any) -> Any:
    """Return a value as a field of a form takes it, or, without a form, as its default lets expect."""
    match = _FIELD.search(field)
    settings, options = (match["settings"] or "", match["options"] or "") if match else ("", "")
    kind = (_TYPE.search(settings) or ("", ""))[1]
    truth = _TRUTHS.get(typed.lower())
    if (kind == "boolean" or (not kind and isinstance(default, bool))) and truth is not None:
        return truth
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in ("string", "date") or (options and isinstance(default, str) and kind != "raw"):
        value = typed if is_number or value is None or isinstance(value, bool) else value
    choices = _choices(options) if kind != "raw" and "allow-input" not in settings else ()
    if kind == "boolean":
        expected = "True or False"
    elif kind == "integer" and not (is_number and value == int(value)):
        expected = "a whole number"
    elif kind in ("number", "slider") and not is_number:
        expected = "a number"
    elif choices and str(value) not in map(str, choices):
        expected = f"one of {', '.join(map(str, choices))[:200]}"
    else:
        return value
    raise AddressError(
        f"the parameter {name} cannot be {typed[:60]!r}", why="the notebook's form says so", hint=f"give {expected}"
    )


def _choices(options: str) -> Sequence[Any]:
    try:
        choices = ast.literal_eval(options or "()")
    except (ValueError, SyntaxError):
        return ()
    return choices if isinstance(choices, (list, tuple)) else ()


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
