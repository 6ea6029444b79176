"""The lines of a notebook that run on Colab alone, as the notebook itself asks where it is."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from colabkit._internal.process.guarded import guarded as guarded_by_import

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from colabkit.port.cell import Cell
    from colabkit.port.context import Context

_PLACES = re.compile(r"(?<![\w./~}-])/(?:content|kaggle/(?:input|working))(?=[/\s'\"`;:,)\]]|$)", re.MULTILINE)
_COLAB = "google.colab"
_VARIABLES = "COLAB_"
_MOUNTS = frozenset(("google.colab.drive.mount", "colabkit.drive.mount"))


def names_that_ask(cells: Collection[Cell]) -> set[str]:
    """Return the variables and functions whose value says whether this is Colab, and that nothing else sets."""
    nodes = [node for cell in cells if cell.tree is not None for node in ast.walk(cell.tree)]
    in_tries = {one for cell in cells if cell.tree is not None for one in _in_asking_tries(cell.tree)}
    answers: dict[str, list[ast.expr]] = {}
    stored: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            answers.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.FunctionDef):
            returned = [part.value for part in ast.walk(node) if isinstance(part, ast.Return)]
            answers.setdefault(node.name, []).extend(value or ast.Constant(None) for value in returned)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stored[node.id] = stored.get(node.id, 0) + 1
    names: set[str] = set()
    for _ in range(2):  # one may be set from another
        for name, values in answers.items():
            says = [_is_asked(value, names) or (_is(value, truth=True) and id(value) in in_tries) for value in values]
            others = [value for value, is_answer in zip(values, says, strict=True) if not is_answer]
            is_plain = stored.get(name, len(values)) == len(values)
            if any(says) and is_plain and all(_is(value, truth=False) for value in others):
                names.add(name)
    return names


def needs_colab(cell: Cell, names: Collection[str], mount: str, *, is_notebook: bool) -> bool:
    """Say whether a cell needs elsewhere what only Colab and Kaggle have: their modules, their folders, Drive.

    Args:
        cell: The cell.
        names: The names that say whether this is Colab.
        mount: The text of a call that mounts Drive; "" for none.
        is_notebook: Whether it runs in a kernel, where a folder stands for `/content`.
    """
    blocks = list(_blocks(cell.tree, names)) if cell.tree is not None else []
    text = cell.source
    for start, end in sorted(map(cell.span, blocks), reverse=True):
        text = text[:start] + text[end:]
    if is_notebook and _PLACES.search(text):
        return True
    if cell.tree is None:
        return False
    guarded = _guarded(cell.tree, names)
    nodes = [node for node in ast.walk(cell.tree) if id(node) not in guarded]
    mounts = (isinstance(node, ast.Attribute) and cell.text(node) == mount for node in nodes)
    return any(mounts) or any(map(_needs_module, nodes))


def mounts(cells: Collection[Cell], context: Context) -> Iterator[tuple[tuple[int, int], bool]]:
    """Give the places where Drive is mounted: the cell and the line, and whether that is reached on Colab alone."""
    names = names_that_ask(cells)
    for cell in cells:
        if cell.tree is None:
            continue
        guarded = _guarded(cell.tree, names)
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Call) and context.dotted(node.func) in _MOUNTS:
                yield (context.order[id(cell)], node.lineno), id(node) in guarded


def _needs_module(node: ast.AST) -> bool:
    """Say whether a statement fails where google.colab or kaggle_secrets is missing."""
    return _imports_colab(node) or (isinstance(node, ast.ImportFrom) and node.module == "kaggle_secrets")


def _guarded(tree: ast.Module, names: Collection[str]) -> set[int]:
    """Return the ids of the nodes that are reached on Colab alone, or in a `try` that asks for a module."""
    return guarded_by_import(tree) | {id(node) for statement in _blocks(tree, names) for node in ast.walk(statement)}


def _blocks(tree: ast.Module, names: Collection[str]) -> Iterator[ast.stmt]:
    """Give the statements that are reached on Colab alone."""
    inner: set[int] = set()
    for node in ast.walk(tree):  # from the outside
        if not isinstance(node, ast.If) or id(node) in inner:
            continue
        test, statements = node.test, node.body
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, statements = test.operand, node.orelse
        if not _is_asked(test, names):
            continue
        inner |= {id(part) for statement in statements for part in ast.walk(statement)}
        yield from statements


def _in_asking_tries(tree: ast.Module) -> set[int]:
    """Return the ids of the nodes in a `try` that imports google.colab, and catches that it is missing."""
    asking = guarded_by_import(tree)
    ids: set[int] = set()
    for node in ast.walk(tree):
        statements = [*node.body, *node.orelse] if isinstance(node, ast.Try) else []
        parts = [part for statement in statements for part in ast.walk(statement)]
        if any(id(part) in asking and _imports_colab(part) for part in parts):
            ids |= {id(part) for part in parts}
    return ids


def _imports_colab(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return f"{node.module}.{node.names[0].name}".startswith(_COLAB)
    return isinstance(node, ast.Import) and any(name.name.startswith(_COLAB) for name in node.names)


def _is_asked(node: ast.expr, names: Collection[str]) -> bool:
    """Say whether an expression is true on Colab alone."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.BoolOp):
        asked = [_is_asked(value, names) for value in node.values]
        return any(asked) if isinstance(node.op, ast.And) else all(asked)
    if isinstance(node, ast.IfExp):
        return _is_asked(node.test, names) and _is(node.body, truth=True) and _is(node.orelse, truth=False)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        if isinstance(node.ops[0], ast.In):
            return isinstance(node.left, ast.Constant) and _names_colab(node.left.value)
        is_not_none = isinstance(node.ops[0], ast.IsNot) and _is(node.comparators[0], truth=False)
        return is_not_none and _is_asked(node.left, names)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in names:
            return True
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "bool" and node.args:
            return _is_asked(node.args[0], names)
        first = node.args[0] if node.args else None
        asks = called in ("getenv", "get", "find_spec", "get_loader")
        return asks and isinstance(first, ast.Constant) and _names_colab(first.value)
    return False


def _names_colab(value: object) -> bool:
    return isinstance(value, str) and (value.startswith((_COLAB, _VARIABLES)) or value == "colab")


def _is(node: ast.expr, *, truth: bool) -> bool:
    return isinstance(node, ast.Constant) and (node.value is True if truth else node.value in (False, None))
