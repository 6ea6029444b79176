"""The variables of a notebook's command, and the Python text that says the same."""

from __future__ import annotations

import ast
import builtins
import re
from typing import TYPE_CHECKING

from colabkit.port import clear_text

if TYPE_CHECKING:
    from colabkit.port.context import Context

_BRACES = re.compile(r"\{([^{}]*)\}")
_DOLLAR = re.compile(r"(?<![\\$])\$(\{)?([A-Za-z_]\w*)(?(1)\})(\.\w)?")
_SAMPLES = (
    "https://example.org/files/data.zip",
    "data",
    "owner/dataset",
    "gs://bucket/data.csv",
    "1" + "A" * 32,
)


class Unknown(Exception):  # noqa: N818 - a reason, told to the user
    """A variable whose value a notebook's line takes from elsewhere than the notebook."""


class Text:
    """A command's text in parts: letters, and expressions of Python."""

    def __init__(self, parts: list[tuple[str, str]]) -> None:
        self.parts = parts

    @property
    def has_variables(self) -> bool:
        """Whether a part is an expression."""
        return any(kind == "expression" for kind, _ in self.parts)

    def fillings(self, context: Context) -> list[str]:
        """Return the text with the variables' values where the notebook tells them, else with samples."""
        if not self.has_variables:
            return ["".join(text for _, text in self.parts)]
        return ["".join(_value(kind, text, sample, context) for kind, text in self.parts) for sample in _SAMPLES]

    def python(self) -> str:
        r"""Return the Python literal, an f-string where there are variables; "" when none can be written.

        Example:
            >>> print(Text([("letters", 'wget "'), ("expression", "url"), ("letters", '"')]).python())
            f'wget "{url}"'
        """
        prefix = "f" if self.has_variables else ""
        plain = "".join(text for _, text in self.parts)
        expressions = "".join(text for kind, text in self.parts if kind == "expression")
        quotes = ['"', "'", '"""', "'''"] if "\n" not in plain else ['"""', "'''"]
        for quote in quotes:
            if quote in plain or plain.endswith(quote[0]) or (prefix and "\\" in expressions):
                continue  # Python 3.11 takes neither its own quote nor a backslash in an expression
            written = prefix + quote + "".join(_written(kind, text, prefix) for kind, text in self.parts) + quote
            if _is_literal(written):
                return written
        return "" if prefix else repr(plain)


def _value(kind: str, text: str, sample: str, context: Context) -> str:
    return text if kind == "letters" else context.strings.get(text, sample)


def _written(kind: str, text: str, prefix: str) -> str:
    if kind == "expression":
        return "{" + text + "}"
    text = text.replace("\\", "\\\\")
    return text.replace("{", "{{").replace("}", "}}") if prefix else text


def _is_literal(written: str) -> bool:
    try:
        return isinstance(ast.parse(written, mode="eval").body, (ast.Constant, ast.JoinedStr))
    except (SyntaxError, ValueError):
        return False


def read(text: str, context: Context) -> Text:
    r"""Read the variables of a line as IPython does: `{expression}` and `$name`.

    Raises:
        Unknown: A variable is not made in this notebook, so that its value is the shell's.
    """
    braces = list(_BRACES.finditer(text))
    if not all(_is_expression(spans[1]) for spans in braces):
        braces = []  # IPython then replaces nothing
        if _DOLLAR.search(text):
            raise Unknown("it holds braces that are no Python")
        return Text([one for one in _without_tokens("letters", text, context) if one[1]])
    spans: list[tuple[int, int, str]] = [(one.start(), one.end(), one[1].strip()) for one in braces]
    for one in _DOLLAR.finditer(text):
        if any(start <= one.start() < end for start, end, _ in spans):
            continue
        if text[: one.start()].count("'") % 2 and "'" in text[one.end() :]:
            continue  # in single quotes
        if one[3]:
            raise Unknown(f"{one[0][:-1]!r} is followed by an attribute or a suffix")
        spans.append((one.start(), one.end(), one[2]))
    parts: list[tuple[str, str]] = []
    at = 0
    for start, end, expression in sorted(spans):
        _check_names(expression, context)
        parts += [("letters", text[at:start]), ("expression", expression)]
        at = end
    parts.append(("letters", text[at:]))
    return Text([one for part in parts for one in _without_tokens(*part, context) if one[1]])


def _without_tokens(kind: str, text: str, context: Context) -> list[tuple[str, str]]:
    """Put the call that asks for a token in the place of one in clear."""
    if kind == "expression":
        return [(kind, text)]
    parts = []
    for letters, name in clear_text.split(text):
        parts.append(("letters", letters))
        if name:
            parts.append(("expression", f'{context.alias}.secret("{name}")'))
    return parts


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return bool(text.strip())


def _check_names(expression: str, context: Context) -> None:
    for node in ast.walk(ast.parse(expression, mode="eval")):
        if isinstance(node, ast.Name) and node.id not in context.bound and not hasattr(builtins, node.id):
            raise Unknown(f"{node.id!r} is not a name of this notebook")
