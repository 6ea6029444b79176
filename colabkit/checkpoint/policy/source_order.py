"""What a program's source says of the order of its variables: whether it is that of a set, or of a folder.

A source is read once in a process, however many runs the process begins: what it says is kept by its text.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEMBERED = 512  # sources
_TRIES = 5
_TAKES_ORDER = re.compile(r"(?<![.\w])(?:frozen)?set\(|\(\{|listdir|scandir|glob|iterdir|walk\(|as_completed|unordered")
_IN_ORDER = {"list", "tuple", "dict", "enumerate", "zip", "map", "filter", "iter", "next", "reversed"}
_OF_A_SET = {"union", "intersection", "difference", "symmetric_difference", "copy"}
_SORTING = {"sort", "unique"}  # of NumPy
# https://docs.python.org/3/library/os.html#os.listdir: "The list is in arbitrary order"
_LISTING = {"listdir", "scandir", "glob", "iglob", "rglob", "iterdir", "walk", "as_completed", "imap_unordered"}
_IN_ANY_ORDER = {"sorted", "len", "print", "Counter", "set", "frozenset"}


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a program or a module names.

    Attributes:
        used: The variables whose order may matter where they are used.
        attributes: What is read of objects, as `data.classes` after `import data`.
        giving_sets: Its functions that give what is in the order of a set.
        giving_listings: Its functions that give what is in the order of a folder.
    """

    used: frozenset[str]
    attributes: frozenset[str]
    giving_sets: frozenset[str]
    giving_listings: frozenset[str]


def may_take_order(text: str) -> bool:
    """Say whether a source can take an order out of a set or a folder at all; the others need no reading."""
    return _TAKES_ORDER.search(text) is not None


@functools.lru_cache(_REMEMBERED)
def words(text: str) -> frozenset[str]:
    """Give the words of a source that is not read."""
    return frozenset(re.findall(r"\w+", text))


@functools.lru_cache(_REMEMBERED)
def names(sources: tuple[str, ...]) -> Names:
    """Read what a program or a module names.

    Args:
        sources: The cells of a notebook, or one text.

    Raises:
        RecursionError: It has an expression of a thousand terms.
        SystemError: Other threads parse all the time.
    """
    body = _body(sources)
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    return Names(
        used=frozenset(_ordering(body)),
        attributes=frozenset(
            node.attr for statement in body for node in ast.walk(statement) if isinstance(node, ast.Attribute)
        ),
        giving_sets=frozenset(node.name for node in functions if _gives_order(node.body, listing=False)),
        giving_listings=frozenset(node.name for node in functions if _gives_order(node.body, listing=True)),
    )


@functools.lru_cache(_REMEMBERED)
def in_order(sources: tuple[str, ...], function: str, giving: frozenset[str], *, listing: bool) -> frozenset[str]:
    """Name the variables of a program, or of one of its functions, whose order is that of a set or of a folder.

    Args:
        sources: The cells of a notebook, or one text.
        function: The function's name, "" for the program itself.
        giving: Functions that give what is in that order.
        listing: It looks for the order of folders, else for that of sets.

    Raises:
        RecursionError: It has an expression of a thousand terms.
        SystemError: Other threads parse all the time.
    """
    body = _body(sources)
    if function:
        named = (node.body for node in body if isinstance(node, ast.FunctionDef) and node.name == function)
        *_, body = [], *named
    reader = _Reader(giving, listing=listing)
    reader.read(body)
    return frozenset(reader.ordered)


@functools.lru_cache(_REMEMBERED)
def calls_hash(sources: tuple[str, ...]) -> bool:
    """Say whether a program calls `hash(…)`, outside of a `__hash__`; one that never names it is not parsed."""
    nodes: list[ast.AST] = [node for text in sources if "hash" in text for node in _parsed(text)]
    while nodes:
        match node := nodes.pop():
            case ast.Call(func=ast.Name(id="hash")):
                return True
            case ast.FunctionDef(name="__hash__"):
                continue
        nodes += ast.iter_child_nodes(node)
    return False


def _body(sources: tuple[str, ...]) -> list[ast.stmt]:
    return [statement for source in sources for statement in _parsed(source)]


def _parsed(source: str) -> list[ast.stmt]:
    for remaining in reversed(range(_TRIES)):
        try:
            return ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError):
            break  # a cell that never ran
        except SystemError:  # another thread parses: https://github.com/python/cpython/issues/106905
            if not remaining:
                raise
    return []


def _ordering(body: list[ast.stmt]) -> Iterator[str]:
    """Name the variables whose order may matter: a list of words that are left out is only asked what is in it."""
    unordered: set[int] = set()
    nodes = [node for statement in body for node in ast.walk(statement)]
    for node in nodes:
        match node:
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Name() as name]):
                unordered.add(id(name))
            case ast.Call(func=ast.Name(id=called), args=args) if called in _IN_ANY_ORDER:
                unordered |= {id(arg) for arg in args}
            case ast.Expr(value=ast.Name() as name):
                unordered.add(id(name))
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in unordered:
            yield node.id


def _gives_order(body: list[ast.stmt], *, listing: bool) -> bool:
    """Say whether a function gives what is in that order."""
    reader = _Reader(frozenset(), listing=listing)
    reader.read(body)
    given = (node.value for statement in body for node in ast.walk(statement) if isinstance(node, ast.Return))
    return any(value is not None and reader.takes_order(value) for value in given)


class _Reader:
    """Reads statements from top to bottom, as they run, and remembers what each variable is then.

    Args:
        giving: Functions that give what is in that order.
        listing: It looks for the order of folders, else for that of sets.

    Attributes:
        ordered: The variables whose order comes from there.
    """

    def __init__(self, giving: frozenset[str], *, listing: bool) -> None:
        self.ordered: dict[str, None] = {}
        self._giving = giving
        self._listing = listing
        self._sets: set[str] = set()

    def read(self, body: list[ast.stmt]) -> None:
        """Read the statements of a program, and of what it does with conditions and in loops."""
        for statement in body:
            match statement:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._assign(target, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._assign(target, value)
                case ast.AugAssign(target=ast.Name(id=name), value=value):
                    self.ordered |= {name: None} if self.takes_order(value) else {}
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="sort"))):
                    self.ordered.pop(name, None)
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="extend"), args=[more])):
                    self.ordered |= {name: None} if self._goes_through(more) else {}
                case ast.For(iter=over, body=inner):
                    if self._goes_through(over):
                        self.ordered |= dict.fromkeys(_filled(inner))
                    self.read(inner)
                case ast.If() | ast.While() | ast.With() | ast.Try():
                    self.read(list(_inside(statement)))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            return
        self.ordered.pop(target.id, None)
        self._sets.discard(target.id)
        if self._is_set(value):
            self._sets.add(target.id)
        elif self.takes_order(value):
            self.ordered[target.id] = None

    def _is_set(self, value: ast.expr) -> bool:
        if self._listing:
            return False
        match value:
            case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Name(id=name):
                return name in self._sets
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
                return self._is_set(left)
            case ast.Call(func=ast.Attribute(value=owner, attr=method)):
                return method in _OF_A_SET and self._is_set(owner)
        return False

    def _goes_through(self, value: ast.expr) -> bool:
        """Say whether to go through an expression one by one is to go through a set."""
        return self._is_set(value) or self.takes_order(value)

    def takes_order(self, value: ast.AST) -> bool:
        """Say whether an expression gives what it has taken one by one, in the order in which it lay there."""
        match value:
            case ast.Name(id=name):
                return name in self.ordered
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if self._listing and name in _LISTING:
                return True
            case ast.Call(func=ast.Name(id=name), args=args):
                return name in self._giving or (name in _IN_ORDER and any(map(self._goes_through, args)))
            case ast.Call(func=ast.Attribute(attr=name), args=args, keywords=named):
                return name not in _SORTING and any(map(self._goes_through, [*args, *(each.value for each in named)]))
            case ast.ListComp(generators=parts) | ast.GeneratorExp(generators=parts) | ast.DictComp(generators=parts):
                return self._goes_through(parts[0].iter)
            case ast.Starred(value=inner):
                return self._goes_through(inner)
            case ast.Subscript(value=inner):
                return self.takes_order(inner)
            case ast.Compare() | ast.SetComp() | ast.Lambda() | ast.Call():
                return False
        return any(map(self.takes_order, ast.iter_child_nodes(value)))


def _inside(statement: ast.stmt) -> Iterator[ast.stmt]:
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.stmt):
            yield node
        elif isinstance(node, ast.ExceptHandler):
            yield from node.body


def _filled(body: list[ast.stmt]) -> Iterator[str]:
    """Name what a loop fills one by one."""
    for node in itertools.chain.from_iterable(map(ast.walk, body)):
        match node:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))]):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append" | "setdefault")):
                yield name
