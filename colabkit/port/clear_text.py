"""Secrets that stand in a cell in clear: where they are, and the name they get."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from colabkit._credentials import TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.port.cell import Cell

_ANY = re.compile("|".join(pattern for _, pattern in TOKENS))
_IN_ADDRESS = re.compile(r"(://)[^/\s@:]+(?::[^/\s@]+)?@")
_NAMES = re.compile(r"(?:.*_)?(?:API_KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)", re.IGNORECASE)
_BARE = frozenset(("API_KEY", "KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD"))
_LOOKS_RANDOM = re.compile(r"[0-9a-f]{32,64}|(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_-]{28,}")


def find(cell: Cell) -> Iterator[tuple[ast.Constant, str]]:
    """Find the texts that are secrets, with the name under which each is asked for."""
    if cell.tree is None:
        return
    named = dict(_named(cell.tree))
    for node in ast.walk(cell.tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        name = named.get(id(node), "")
        kind = next((kind for kind, pattern in TOKENS if re.fullmatch(pattern, node.value)), "")
        is_key = bool(name) and _NAMES.fullmatch(name) is not None and _LOOKS_RANDOM.fullmatch(node.value) is not None
        if kind or is_key:
            is_variable = re.fullmatch(_NAMES, name) is not None and name.upper() == name and name not in _BARE
            yield node, name if is_variable or not kind else kind


def _named(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                yield id(node.value), target.id.upper()
            elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                yield id(node.value), str(target.slice.value)
        elif isinstance(node, ast.keyword) and node.arg:
            yield id(node.value), node.arg.upper()
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield id(value), str(key.value).upper()


def masked(text: str) -> str:
    """Return a text with its secrets replaced.

    Example:
        >>> masked("git clone https://me:hunter2@example.org/x")
        'git clone https://***@example.org/x'
    """
    return _IN_ADDRESS.sub(r"\1***@", _ANY.sub("***", text))


def split(text: str) -> list[tuple[str, str]]:
    """Cut a text at its tokens: what stands before each, and the token's name; the last has none.

    Example:
        >>> [(part, name) for part, name in split("login --token hf_" + "a1" * 12 + " --now")]
        [('login --token ', 'HF_TOKEN'), (' --now', '')]
    """
    parts = []
    at = 0
    for match in _ANY.finditer(text):
        name = next(name for name, pattern in TOKENS if re.fullmatch(pattern, match[0]))
        parts.append((text[at : match.start()], name))
        at = match.end()
    return [*parts, (text[at:], "")]
