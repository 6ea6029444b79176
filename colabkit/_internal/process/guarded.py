"""Imports that ask whether a module is there, rather than need it."""

from __future__ import annotations

import ast

_CAUGHT = frozenset(("ImportError", "ModuleNotFoundError", "Exception", "BaseException"))


def guarded(tree: ast.Module) -> set[int]:
    r"""Return the ids of the nodes in a `try` that catches a failed import: there, a program asks where it runs.

    Example:
        >>> tree = ast.parse("try:\n    import google.colab\nexcept ImportError:\n    pass")
        >>> id(tree.body[0].body[0]) in guarded(tree)
        True
    """
    nodes: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(_catches_import(handler.type) for handler in node.handlers):
            for statement in (*node.body, *node.orelse):
                nodes |= {id(node) for node in ast.walk(statement)}
    return nodes


def _catches_import(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(name, ast.Name) and name.id in _CAUGHT for name in names)
