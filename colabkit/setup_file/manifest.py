"""Where a set-up is written: a PEP 723 block of a cell or a script, or a TOML file; and where in it a fault is."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from colabkit._internal.disk import working_dir
from colabkit._internal.foreign import loads, reason
from colabkit.errors import NotFoundError, SetupFileError
from colabkit.runtime.frontend import running_shell

NAME = "colabkit.toml"
"""The file that is read where neither a file nor a block is given."""

_OPENS = "# /// script"
_CLOSES = "# ///"
_AT = re.compile(r"\s*\((?:at line (\d+), column (\d+)|at end of document)\)$")
_LARGEST = 1 << 20  # bytes of a set-up file; a notebook may be larger
_DO = "see the page Set-up of the documentation for what can stand there"


@dataclass(frozen=True, kw_only=True)
class Document:
    """A set-up as it is written, not yet checked.

    Attributes:
        origin: What to call it in messages.
        folder: What its paths are relative to.
        values: The values by their keys.
        text: The TOML that they were read from.
        first_line: The number of the TOML's first line in its file or cell.
        is_trusted: It may name direct addresses of packages, files outside its folder and links that lead out of it.
        is_block: It is a PEP 723 block: packages stand under `dependencies`, the rest under `[tool.colabkit]`.
    """

    origin: str
    folder: Path
    values: dict[str, Any]
    text: str = field(repr=False)
    first_line: int = 1
    is_block: bool = False
    is_trusted: bool = False

    def fault(self, key: str, what: str, *, why: str = "", do: str = _DO) -> SetupFileError:
        """Make the error for what is wrong with a key, with the line where the key stands."""
        name = re.escape(key.rpartition(".")[2])
        pattern = re.compile(rf"""^\s*(?:\[[^]\n]*)?["']?\b{name}\b["']?\s*[\].=]""")
        lines = self.text.splitlines()
        line_number = next((number for number, line in enumerate(lines, self.first_line) if pattern.search(line)), None)
        place = self.origin if line_number is None else f"{self.origin}, line {line_number}"
        return SetupFileError(f"{place}: {what}", why=why, hint=do)


def of_file(path: Path) -> Document:
    """Read a TOML file, or the block of a script or a notebook.

    Raises:
        NotFoundError: There is no such file.
        SetupFileError: It cannot be read; the message names line and column.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(
            f"no set-up file at {path}", hint="check the path, or write one with: colabkit setup --write"
        ) from error
    except OSError as error:
        raise SetupFileError(f"cannot read {path}", why=error.strerror or str(error), hint="check the path") from error
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SetupFileError(
            f"{path.name} is not text in UTF-8",
            why=f"byte {error.start} cannot be read",
            hint="save it as UTF-8",
        ) from error
    if path.suffix == ".toml":
        if len(raw) > _LARGEST:
            raise SetupFileError(f"{path.name} is too large for a set-up", why=f"it has {len(raw):,} bytes", hint=_DO)
        values = _toml(text, path.name, first_line=1, indent=0)
        if path.name == "pyproject.toml":
            values = _table(_table(values, "tool", path.name), "colabkit", path.name)
        return Document(origin=path.name, folder=path.parent.absolute(), values=values, text=text)
    sources = _cells(text, path) if path.suffix == ".ipynb" else [(path.name, text)]
    for origin, source in sources:
        if document := of_code(source, origin, path.parent.absolute()):
            return document
    raise SetupFileError(
        f"{path.name} has no set-up in it",
        why=f"it has no block that begins with the line `{_OPENS}`",
        hint=f"write one, or name a {NAME}",
    )


def of_code(code: str, origin: str, folder: Path) -> Document | None:
    """Read the `# /// script` block of a piece of code as PEP 723 says; None if it has none.

    Raises:
        SetupFileError: There are two, it is not closed, or it is not TOML; the message names line and column.
    """
    lines = [line.rstrip() for line in code.splitlines()]
    starts = [number for number, line in enumerate(lines) if line == _OPENS]
    if not starts:
        return None
    if len(starts) > 1:
        raise SetupFileError(
            f"{origin}, line {starts[1] + 1}: a second `{_OPENS}` block",
            why=f"the first begins in line {starts[0] + 1}, and PEP 723 allows one",
            hint="put all into one block",
        )
    start = end = starts[0] + 1
    while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
        end += 1
    closing = max((number for number in range(start, end) if lines[number] == _CLOSES), default=None)
    if closing is None:
        raise SetupFileError(
            f"{origin}, line {end + 1}, column 1: the block that begins in line {start} is not closed",
            why="each of its lines is `#` alone or begins with `# `, and the last is `# ///`",
            hint="end it with a line `# ///`",
        )
    text = "\n".join(line[2:] for line in lines[start:closing])
    values = _toml(text, origin, first_line=start + 1, indent=2)
    return Document(origin=origin, folder=folder, values=values, text=text, first_line=start + 1, is_block=True)


def of_caller() -> Document | None:
    """Read the block of the cell that runs now, or of the script that this process is; None if it has none."""
    shell = running_shell()
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        try:
            code = kernel.get_parent("shell")["content"]["code"]
        except (AttributeError, KeyError, TypeError):
            return None  # a widget's callback: no cell runs
        return _own(of_code(code, "this cell", working_dir.current()))
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if shell is None and script and script.endswith(".py") and Path(script).is_file():
        path = Path(script)
        return _own(of_code(path.read_text(encoding="utf-8-sig", errors="replace"), path.name, working_dir.current()))
    return None


def _own(sheet: Document | None) -> Document | None:
    """Trust a block of the very code that runs: it could do anything itself."""
    return None if sheet is None else replace(sheet, is_trusted=True)


def in_folder(folder: Path) -> Document | None:
    """Read the folder's `colabkit.toml`; None if it has none."""
    path = folder / NAME
    try:
        is_file = path.is_file()
    except OSError:  # the folder is on a Drive that has died
        is_file = False
    return of_file(path) if is_file else None


def _toml(text: str, origin: str, *, first_line: int, indent: int) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT.search(message)
        if at is not None and at[1]:
            line, column = first_line - 1 + int(at[1]), int(at[2]) + indent
        else:
            line, column = first_line + text.count("\n"), len(text.rpartition("\n")[2]) + 1 + indent
        raise SetupFileError(
            f"{origin}, line {line}, column {column}: this is not TOML", why=_AT.sub("", message), hint=_DO
        ) from error
    except Exception as error:  # of tables in tables in tables, or a number of thousands of digits
        raise SetupFileError(f"{origin} cannot be read", why=reason(error), hint=_DO) from error


def _table(values: dict[str, Any], name: str, origin: str) -> dict[str, Any]:
    table = values.get(name)
    if not isinstance(table, dict):
        raise SetupFileError(f"{origin} has no set-up in it", why="it has no table [tool.colabkit]", hint=_DO)
    return table


def _cells(text: str, path: Path) -> list[tuple[str, str]]:
    try:
        cells = loads(text)["cells"]
        return [
            (f"{path.name}, cell {number}", "".join(cell["source"]))
            for number, cell in enumerate(cells, 1)
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise SetupFileError(
            f"{path.name} is not a notebook",
            why=f"{type(error).__name__}: {error}"[:200],
            hint="save it again in Jupyter",
        ) from error
