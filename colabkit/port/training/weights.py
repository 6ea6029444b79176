"""Names of files for weights that Keras 3 refuses, as `cp.ckpt`: written and read under a name that it takes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from colabkit.port.cell import Cell
    from colabkit.port.context import Context

SUFFIX = ".weights.h5"
_OLD_SUFFIX = re.compile(r"(?:\.weights)?\.(?:ckpt|h5|hdf5|tf|keras|index)$|/$")
NOT_READ = "Keras 3 reads weights of .weights.h5 and .h5 alone; these were written elsewhere"


def renamed(name: str) -> str:
    """Return the name that Keras 3 takes.

    Example:
        >>> renamed("training_1/cp.ckpt"), renamed("best"), renamed("a.weights.h5")
        ('training_1/cp.weights.h5', 'best.weights.h5', 'a.weights.h5')
    """
    return name if name.endswith(SUFFIX) else f"{_OLD_SUFFIX.sub('', name)}{SUFFIX}"


def written(cells: Iterable[Cell], context: Context) -> frozenset[str]:
    """Return the names that a notebook writes weights under, and that Keras 3 refuses."""
    if not is_keras_3(context):
        return frozenset()
    names = (_name(one, context) for cell in cells for node in _calls(cell) for one in _path_written(node, context))
    return frozenset(name for name in names if name and not name.endswith(SUFFIX))


def edits(cell: Cell, context: Context, names: frozenset[str]) -> Iterator[tuple[ast.Constant, str]]:
    """Yield the texts of a cell that name such files, each with its new name."""
    for node in _calls(cell):
        path = next(iter((*_path_written(node, context), *_path_read(node))), None)
        if isinstance(path, ast.Constant) and path.value in names:
            yield path, renamed(str(path.value))
    variables = {name for name, text in context.strings.items() if text in names}
    for one in ast.walk(cell.tree or ast.Module(body=[], type_ignores=[])):
        is_named = (
            isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) and one.targets[0].id in variables
        )
        if is_named and isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant):
            yield one.value, renamed(str(one.value.value))


def unread(cell: Cell, context: Context, names: frozenset[str]) -> Iterator[ast.Call]:
    """Yield the calls that read weights which Keras 3 cannot read, and which this notebook does not write."""
    if not is_keras_3(context):
        return
    for node in _calls(cell):
        for path in _path_read(node):
            name = _name(path, context)
            is_latest = isinstance(path, ast.Call) and context.dotted(path.func).endswith("train.latest_checkpoint")
            if is_latest or (name and name not in names and re.search(r"\.(?:ckpt|tf|index)$", name)):
                yield node


def is_keras_3(context: Context) -> bool:
    """Say whether a notebook trains with Keras, and does not ask for Keras 2."""
    asks = "tf_keras" in context.text or "TF_USE_LEGACY_KERAS" in context.text
    return context.has_imported("tensorflow", "keras") and not asks


def _calls(cell: Cell) -> Iterator[ast.Call]:
    if cell.tree is not None:
        yield from (node for node in ast.walk(cell.tree) if isinstance(node, ast.Call))


def _path_written(node: ast.Call, context: Context) -> Iterator[ast.expr]:
    if isinstance(node.func, ast.Attribute) and node.func.attr == "save_weights":
        yield from _first(node, "filepath")
    elif context.dotted(node.func).endswith("callbacks.ModelCheckpoint"):
        weights = next((one.value for one in node.keywords if one.arg == "save_weights_only"), None)
        if isinstance(weights, ast.Constant) and weights.value is True:
            yield from _first(node, "filepath")


def _path_read(node: ast.Call) -> Iterator[ast.expr]:
    if isinstance(node.func, ast.Attribute) and node.func.attr == "load_weights":
        yield from _first(node, "filepath")


def _first(node: ast.Call, name: str) -> Iterator[ast.expr]:
    yield from node.args[:1]
    yield from (one.value for one in node.keywords if one.arg == name)


def _name(path: ast.expr, context: Context) -> str:
    if isinstance(path, ast.Constant) and isinstance(path.value, str):
        return path.value
    return context.strings.get(path.id, "") if isinstance(path, ast.Name) else ""
