"""Read a value from a `.env` file: assignments only. Nothing in it is expanded, imported or run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from colabkit.errors import SecretError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 20

_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^'"\n][^\n]*)?)
    [ \t]*(?:\#[^\n]*)?$""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def read(path: Path, name: str) -> str | None:
    r"""Return the value of a name, the last one where it is assigned twice; None where there is none.

    A value may be quoted: 'as it stands', or "with \n and \" in it", also over several lines. `$OTHER` is two
    characters more, not another variable's value.

    Raises:
        SecretError: The file cannot be read as text, or is too big to be one; its content is not shown.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, ".env")
        ...     _ = path.write_text('export TOKEN="a b"  # comment\n')
        ...     read(path, "TOKEN")
        'a b'
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(
            f"cannot read {path}", why=error.strerror or str(error), hint="check its permissions"
        ) from None
    if len(data) > MAX_BYTES:
        raise SecretError(f"{path} is not read", why="it has more than 1 MiB", hint="keep only assignments in it")
    text = _text(data)
    if text is None:
        del data  # a debugger's traceback shows what is local
        raise SecretError(f"cannot read {path}", why="it is not UTF-8 text", hint="save it as UTF-8")
    value = None
    for match in _ASSIGNMENT.finditer(text):
        if match["name"] == name:
            value = _value(match)
    return value


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), match["double"])
    return _COMMENT.sub("", match["plain"] or "").strip()
