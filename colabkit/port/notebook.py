"""A notebook's file: read as it is, and written so that nothing but the changed cells differs."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk import lfs_pointer
from colabkit._internal.foreign import loads, reason
from colabkit.errors import NotebookError

if TYPE_CHECKING:
    from pathlib import Path


class NotebookFile:
    """A notebook, or a script as a notebook of one cell.

    Attributes:
        path: Its file.
        is_script: Whether it is a `.py` file.
        values: The notebook as JSON holds it; empty for a script.
        cells: Its code cells' texts by their index.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_script = path.suffix != ".ipynb"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotebookError(f"{path.name} cannot be read", why=reason(error), hint="check the path") from error
        lfs_pointer.refuse(path, NotebookError)
        self.values: dict[str, Any] = {}
        if self.is_script:
            try:
                self.text = data.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise NotebookError(
                    f"{path.name} is not text", why="it is not in UTF-8", hint="save it as UTF-8 text"
                ) from error
            self.cells: dict[int, str] = {0: self.text}
            return
        self.text = data.decode("utf-8-sig", errors="surrogateescape")
        self.values = _checked(path.name, self.text)
        self.cells = {
            number: _joined(cell.get("source", ""))
            for number, cell in enumerate(self.values["cells"])
            if cell.get("cell_type") == "code"
        }

    def with_cells(self, changed: dict[int, str | None], first: str) -> str:
        """Return the file's text with changed cells (None removes one) and a new first code cell, if it has a text."""
        if self.is_script:
            return _with_first_lines(changed.get(0, self.cells[0]) or "", first)
        values = dict(self.values)
        cells: list[Any] = []
        for number, cell in enumerate(self.values["cells"]):
            if number not in changed:
                cells.append(cell)
                continue
            text = changed[number]
            if text is not None:
                cells.append({**cell, "source": text.splitlines(keepends=True) if _is_list(cell) else text})
        if first:
            at = next((number for number, cell in enumerate(cells) if cell.get("cell_type") == "code"), len(cells))
            cells.insert(at, self._new_cell(first, cells))
        values["cells"] = cells
        return self._dumped(values)

    def _new_cell(self, text: str, cells: list[Any]) -> dict[str, Any]:
        cell: dict[str, Any] = {"cell_type": "code", "execution_count": None}
        if any("id" in one for one in cells):
            cell["id"] = hashlib.sha256(text.encode()).hexdigest()[:8]
        source = text.splitlines(keepends=True) if not cells or any(map(_is_list, cells)) else text
        return {**cell, "metadata": {}, "outputs": [], "source": source}

    def _dumped(self, values: dict[str, Any]) -> str:
        indent = re.match(r"\{\r?\n([ \t]+)", self.text)
        space: Any = (indent[1] if "\t" in indent[1] else len(indent[1])) if indent else None
        separators = None if space is not None or '": ' in self.text[:1000] else (",", ":")
        is_ascii = not re.search(r"[^\x00-\x7f]", self.text) and "\\u" in self.text
        text = json.dumps(values, indent=space, ensure_ascii=is_ascii, separators=separators)
        return text + self.text[len(self.text.rstrip()) :]


def _checked(name: str, text: str) -> dict[str, Any]:
    try:
        values = loads(text)
        major = values["nbformat"]
    except (ValueError, TypeError, KeyError) as error:
        raise NotebookError(
            f"{name} is not a notebook",
            why="it is not JSON" if isinstance(error, ValueError) else "it has no nbformat",
            hint="save it again in Jupyter or Colab",
        ) from error
    if major != 4:
        raise NotebookError(
            f"{name} is a notebook of format {major}, and only format 4 can be ported",
            hint=f"run: jupyter nbconvert --to notebook --nbformat 4 {name}",
        )
    cells = values.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise NotebookError(
            f"{name} is not a valid notebook", why="its cells are not a list", hint="save it again in Jupyter"
        )
    if not all(isinstance(_joined(cell.get("source", "")), str) for cell in cells):
        raise NotebookError(
            f"{name} is not a valid notebook", why="a cell has no text", hint="save it again in Jupyter"
        )
    metadata = values.get("metadata") if isinstance(values.get("metadata"), dict) else {}
    language = _language(metadata)
    if language not in ("python", "ipython", "py"):
        raise NotebookError(f"{name} is in {language}, and only Python can be ported", hint="leave it as it is")
    return dict(values)


def _language(metadata: dict[str, Any]) -> str:
    info, spec = metadata.get("language_info") or {}, metadata.get("kernelspec") or {}
    for holder, key in ((info, "name"), (spec, "language")):
        if isinstance(holder, dict) and isinstance(holder.get(key), str) and holder[key]:
            return str(holder[key]).lower()
    return "python"


def _is_list(cell: dict[str, Any]) -> bool:
    return isinstance(cell.get("source"), list)


def _joined(source: Any) -> Any:
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return "".join(source)
    return source if isinstance(source, str) else None


def _with_first_lines(text: str, first: str) -> str:
    """Put lines behind a script's docstring and its imports of the future, never into a cell of prose."""
    if not first:
        return text
    import ast

    from colabkit.port import cell

    at = 0
    tree = cell.read(text, kind="script").tree
    lines = text.splitlines(keepends=True)
    while at < len(lines) and lines[at].startswith("#"):
        at += 1
    for statement in tree.body if tree is not None else ():
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (is_text or is_future):
            break
        at = max(at, statement.end_lineno or 0)
    marks = [(number, mark) for number, line in enumerate(lines) if (mark := cell.CELL_MARK.match(line))]
    passed = [mark for number, mark in marks if number < at]
    if passed and _is_prose(passed[-1]):
        at = next((number + 1 for number, mark in marks if number >= at and not _is_prose(mark)), at)
    return "".join([*lines[:at], *(["\n"] if at else []), first.rstrip("\n") + "\n\n", *lines[at:]])


def _is_prose(mark: re.Match[str]) -> bool:
    """Say whether a cell of a script with `# %%` holds no code."""
    return re.search(r"\[(?:markdown|md|raw)\]", mark["kind"]) is not None
