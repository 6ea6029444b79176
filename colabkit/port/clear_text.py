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
_BARE = frozenset(
    ("API_KEY", "KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "AUTH_TOKEN", "AUTHTOKEN", "ACCESS_TOKEN")
)
_LOOKS_RANDOM = re.compile(
    r"[0-9a-f]{32,64}|(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_-]{28,}|(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9]{20,}"
)
_SETTERS = re.compile(r"(?:set_|add_)?(auth_?token|api_?key|access_token)", re.IGNORECASE)
_VALUE = r"((?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16,})"
_KINDS = r"(?:api_?key|key|token|secret|passw(?:or)?d)"
_PLACED = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i:(\b(?:\w+_)?{_KINDS}[\"']?\s*[=:]\s*[\"'])){_VALUE}",
        rf"(?i:(\b(?:set_|add_)?(?:auth_?token|api_?key|access_token)\(\s*[\"'])){_VALUE}",
        rf"(?i:(--(?:\w+-)*{_KINDS}[ =]|\b(?:login|authtoken|add-authtoken)\s+)){_VALUE}",
        rf"(\b[A-Z][A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)=){_VALUE}",
        r"(?i:([?&](?:\w+[-_])?(?:key|token|sig|signature|secret)=))([\w%+/-]{8,})",
    )
)


def find(cell: Cell) -> Iterator[tuple[ast.Constant, str]]:
    """Find the texts that are secrets, with the name under which each is asked for."""
    if cell.tree is None:
        return
    named = {place: (name, owner) for place, name, owner in _named(cell.tree)}
    for node in ast.walk(cell.tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        name, owner = named.get(id(node), ("", ""))
        kind = next((kind for kind, pattern in TOKENS if re.fullmatch(pattern, node.value)), "")
        is_key = bool(name) and _NAMES.fullmatch(name) is not None and _LOOKS_RANDOM.fullmatch(node.value) is not None
        if kind or is_key:
            is_variable = re.fullmatch(_NAMES, name) is not None and name.upper() == name and name not in _BARE
            yield node, name if is_variable else kind or _owned(name, owner)


def _named(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Yield for each value its place in memory, the name it is given to, and the package or class that takes it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                yield id(node.value), target.id.upper(), ""
            elif isinstance(target, ast.Attribute):
                yield id(node.value), target.attr.upper(), _owner(target)
            elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                yield id(node.value), str(target.slice.value), ""
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                yield id(keyword.value), (keyword.arg or "").upper(), _owner(node.func)
            if isinstance(node.func, ast.Attribute) and (match := _SETTERS.fullmatch(node.func.attr)):
                yield from ((id(value), match[1].upper(), _owner(node.func)) for value in node.args[:1])
        elif isinstance(node, ast.Dict):
            keys = [str(key.value).upper() if isinstance(key, ast.Constant) else "" for key in node.keys]
            for key, value in zip(keys, node.values, strict=True):
                yield id(value), key, "kaggle" if "USERNAME" in keys else ""


def _owner(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id.upper() if isinstance(node, ast.Name) else ""


def _owned(name: str, owner: str) -> str:
    """Return the name of a secret with that of its owner, where it says only what it is."""
    if name not in _BARE or not owner:
        return name
    return "KAGGLE_KEY" if owner == "kaggle" else f"{owner}_{'API_KEY' if name == 'KEY' else name}"


def masked(text: str) -> str:
    """Return a text with its secrets replaced.

    Example:
        >>> masked("git clone https://me:hunter2@example.org/x")
        'git clone https://***@example.org/x'
        >>> masked("%env WANDB_API_KEY=0123456789abcdef0123"), masked("wandb login $WANDB_API_KEY")
        ('%env WANDB_API_KEY=***', 'wandb login $WANDB_API_KEY')
    """
    text = _IN_ADDRESS.sub(r"\1***@", _ANY.sub("***", text))
    for pattern in _PLACED:
        text = pattern.sub(r"\1***", text)
    return text


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
