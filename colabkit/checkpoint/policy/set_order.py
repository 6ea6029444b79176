"""What a program takes out of a set of text, or out of a folder, in the order in which it happens to lie there.

`classes = list(set(names))` numbers the classes anew whenever Python starts, because the hashes of text are drawn then
(https://docs.python.org/3/reference/datamodel.html#object.__hash__). A training that goes on with weights of the first
order and numbers of the second one learns nonsense, and what a pipeline makes of them cannot be compared. So the
variables of the program that take their order from a set are found in its source, and kept with the run. So are names
of classes in the order of a folder (`os.listdir`), which is another one on another machine's disk; lists of files are
not, since a dataset keeps the order of its samples itself.
"""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import itertools
import re
import sys
import sysconfig
import types
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import few
from colabkit._internal.log import warn
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KEY, LISTED_KEY = "set_orders", "listing_orders"
"""Where the metadata of a state keeps what comes out of sets, and out of folders."""
_MOST = 10_000  # items of a value whose order is kept
_MOST_CLASSES = 1_000
_TRIES = 5
_TAKES_ORDER = re.compile(r"(?<![.\w])(?:frozen)?set\(|\(\{|listdir|scandir|glob|iterdir|walk\(|as_completed|unordered")
_SHOWN = 1_000  # characters of a line that gives an order back
_SETS = {"set", "frozenset"}
_IN_ORDER = {"list", "tuple", "dict", "enumerate", "zip", "map", "filter", "iter", "next", "reversed"}
_OF_A_SET = {"union", "intersection", "difference", "symmetric_difference", "copy"}
_SORTING = {"sort", "unique"}  # of NumPy
# https://docs.python.org/3/library/os.html#os.listdir: "The list is in arbitrary order"
_LISTING = {"listdir", "scandir", "glob", "iglob", "rglob", "iterdir", "walk", "as_completed", "imap_unordered"}
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_IN_ANY_ORDER = {"sorted", "len", "print", "Counter", *_SETS}
_HASHED_ANEW = (str, bytes, dt.date, dt.time, dt.timedelta)


def take() -> dict[str, dict[str, list[str]]]:
    """Give the variables of the program that take their order from a set of text, or number classes as a folder does.

    Returns:
        For the metadata of a state, under `KEY` and `LISTED_KEY`: what each variable holds, in order.
    """
    texts = {place: "\n".join(_sources(namespace)) for place, namespace in _modules() if place}
    of_interest = {place: text for place, text in texts.items() if _TAKES_ORDER.search(text)}
    bodies = {"": _body(_main()), **{place: _parsed(text) for place, text in of_interest.items()}}
    try:
        used = {place: frozenset(_ordering(body)) for place, body in bodies.items()}
        words = (re.findall(r"\w+", text) for place, text in texts.items() if place not in of_interest)
        elsewhere = frozenset[str]().union(*used.values(), *map(_attributes, bodies.values()), *words)
        orders = {
            KEY: _ordered(bodies, used[""], elsewhere, _set_items, listing=False),
            LISTED_KEY: _ordered(bodies, used[""], elsewhere, _class_names, listing=True),
        }
    except RecursionError:  # an expression of a thousand terms; it is no reason to end a training
        return {}
    return {key: dict(sorted(order.items())) for key, order in orders.items() if order}


def kept(meta: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Give what the metadata of a state has of what `take` gave."""
    return {key: meta[key] for key in (KEY, LISTED_KEY) if isinstance(meta.get(key), dict)}


def tell(run: str, orders: Mapping[str, Mapping[str, Any]]) -> None:
    """Say before a training begins which variables will have another order in the next process, or elsewhere.

    Args:
        run: The run's name.
        orders: What `take` gave.
    """
    mend = "A killed run goes on only with the order that it was begun with: write sorted(…) around"
    if (of_sets := orders.get(KEY)) and _are_hashes_drawn():
        text = "%s: %s: the order comes from a set of text, and is another one each time Python starts. %s the set now"
        warn(text, run, few(list(of_sets), 5), mend)
    if of_folders := orders.get(LISTED_KEY):
        text = "%s: %s: the order is that of a folder, and is another one on another machine. %s the listing now"
        warn(text, run, few(list(of_folders), 5), mend)
    if _are_hashes_drawn() and _calls_hash(_main()):
        text = "%s: hash() of text gives other numbers each time Python starts, so a killed run goes on with others; %s"
        warn(text, run, "take zlib.crc32(text.encode())")


def take_and_tell(run: str) -> dict[str, dict[str, list[str]]]:
    """Give what `take` gives, and tell of it, as a training begins."""
    orders = take()
    tell(run, orders)
    return orders


def check(run: str, meta: Mapping[str, Any], *, refuse: bool) -> None:
    """Compare the variables of this process with those that a run was begun with.

    Args:
        run: The run's name.
        meta: The metadata of the saved state, with what `take` gave then.
        refuse: Refuse another order; else it is told.

    Raises:
        RunMismatchError: One has another order.
    """
    namespaces = dict(_namespaces())
    for key, place, order in ((key, *item) for key, orders in kept(meta).items() for item in orders.items()):
        name = re.split("[.:]", place)[-1]
        value = namespaces.get(place.removesuffix(name), {}).get(name)
        now = list(map(str, _items(value)))
        if now == order or sorted(now) != sorted(order):  # other items are other data, which is compared elsewhere
            continue
        text = f"{place} has another order than when the run {run} was begun"
        if not refuse:
            warn("%s, so what is numbered by it means other things from here on", text)
            continue
        line = f"{name if isinstance(value, list) else 'order'} = {order!r}"
        source, when = ("set", "each time Python starts") if key == KEY else ("listing", "on another machine")
        raise RunMismatchError(
            text,
            why=f"it comes from a {_SOURCES[key]}, whose order is another one {when}, so numbers that are made of it "
            "mean other things now",
            hint=(
                f"give it the order of the run, {line}, in place of the {source}"
                if len(line) <= _SHOWN
                else f"begin another run, with sorted(…) around the {source}"
            )
            + "; if it has no part in the training: check_data=False",
        )
    if _are_hashes_drawn() and _calls_hash(_main()):
        warn("%s: hash() of text gives other numbers than when the run was begun; what it numbers has changed", run)


_SOURCES = {KEY: "set of text", LISTED_KEY: "folder"}


def _ordered(
    bodies: Mapping[str, list[ast.stmt]],
    used: frozenset[str],
    elsewhere: frozenset[str],
    items: Callable[[Any], list[Any]],
    *,
    listing: bool,
) -> dict[str, list[str]]:
    """Give the variables whose order comes from sets or from listings, with the items that are kept.

    Args:
        bodies: The program, under an empty name, and the modules that may take an order.
        used: The names that the program uses.
        elsewhere: Those that any module uses, since others import the names of a module.
        items: Gives of a variable the items that are kept.
        listing: It looks for the order of folders, else for that of sets.
    """
    functions = [(place, node) for place, body in bodies.items() for node in body if isinstance(node, ast.FunctionDef)]
    giving = frozenset(node.name for _, node in functions if _gives_order(node.body, listing=listing))
    inner = {f"{node.name}.": node.body for place, node in functions if not place}
    orders = {}
    for place, namespace in _namespaces():
        reader = _Reader(giving, listing=listing)
        reader.read(bodies[place] if place in bodies else inner.get(place, []))
        ordering = elsewhere if place.endswith(":") else used
        for name in ordering & reader.ordered.keys():
            if len(kept := items(namespace.get(name))) > 1:
                orders[f"{place}{name}"] = list(map(str, kept))
    return orders


def _set_items(value: Any) -> list[Any]:
    items = _items(value)
    return items if len(items) <= _MOST and all(map(_is_hashed_anew, items)) else []


def _class_names(value: Any) -> list[Any]:
    """Give the items of what may number classes: names, folders, whatever has numbers; names of files are samples."""
    items = _items(value)
    if not (len(items) <= _MOST_CLASSES and all(isinstance(item, str | PurePath) for item in items)):
        return []
    if isinstance(value, dict):
        numbers = [each for pair in value.items() for each in pair if isinstance(each, int)]
        return items if len(set(numbers)) == len(items) else []
    return [] if any(PurePath(item).suffix for item in items) else items


def _calls_hash(namespace: Mapping[str, Any]) -> bool:
    """Say whether a program calls `hash(…)`, outside of a `__hash__`; one that never names it is not parsed."""
    nodes: list[ast.AST] = [node for text in _sources(namespace) if "hash" in text for node in _parsed(text)]
    while nodes:
        match node := nodes.pop():
            case ast.Call(func=ast.Name(id="hash")):
                return True
            case ast.FunctionDef(name="__hash__"):
                continue
        nodes += ast.iter_child_nodes(node)
    return False


def _are_hashes_drawn() -> bool:
    """Say whether Python draws the hashes of text as it starts: PYTHONHASHSEED was no number then."""
    if not sys.flags.hash_randomization:
        return False
    try:
        at_start = (
            Path("/proc/self/environ").read_bytes().split(b"\0")
        )  # a program may have set it, which changes nothing
    except OSError:
        return True
    return not any(re.fullmatch(rb"PYTHONHASHSEED=\d+", each) for each in at_start)


def _is_hashed_anew(item: Any) -> bool:
    return any(map(_is_hashed_anew, item)) if isinstance(item, tuple) else isinstance(item, _HASHED_ANEW)


def _items(value: Any) -> list[Any]:
    """List what a variable holds in order: the items of a list or array, the names in a dict, a layer's vocabulary."""
    if callable(words := getattr(value, "get_vocabulary", None)) and not isinstance(value, type):
        try:
            value = words()
        except Exception:  # noqa: BLE001 - a class of the user's, which may want arguments
            return []
    if isinstance(value, dict) and all(isinstance(key, int) for key in itertools.islice(value, _MOST)):
        value = list(itertools.islice(value.values(), _MOST + 1))  # numbers to names
    if isinstance(value, list | tuple | dict):
        return list(itertools.islice(value, _MOST + 1))
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist") and len(value) <= _MOST:
        items = value.tolist()
        return items if isinstance(items, list) else []
    return []


def _main() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def _modules() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the variables of the program, and those of the user's own modules that it has imported, by their names."""
    yield "", _main()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name in ("__main__", "__mp_main__") or name.startswith("colabkit") or not isinstance(file, str):
            continue
        if file.endswith(".py") and not file.startswith(_INSTALLED) and isinstance(module, types.ModuleType):
            yield f"{name}:", vars(module)


def _namespaces() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the variables of the modules, and those of the program's running functions, by the function's name."""
    yield from _modules()
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is _main() and frame.f_code.co_name != "<module>":
            yield f"{frame.f_code.co_name}.", frame.f_locals
        frame = frame.f_back


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


def _attributes(body: list[ast.stmt]) -> set[str]:
    """Name what is read of objects, as `data.classes` after `import data`."""
    return {node.attr for statement in body for node in ast.walk(statement) if isinstance(node, ast.Attribute)}


def _body(namespace: Mapping[str, Any]) -> list[ast.stmt]:
    return [statement for source in _sources(namespace) for statement in _parsed(source)]


def _parsed(source: str) -> list[ast.stmt]:
    for _ in range(_TRIES):
        try:
            return ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError):
            break  # a cell that never ran
        except SystemError:  # another thread parses: https://github.com/python/cpython/issues/106905
            continue
    return []


def _sources(namespace: Mapping[str, Any]) -> Iterator[str]:
    """Give the cells that a notebook has run, or the text of the program."""
    if isinstance(cells := namespace.get("_ih"), list):
        yield from map(str, cells)
    elif isinstance(path := namespace.get("__file__"), str):
        try:
            yield Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return


def _gives_order(body: list[ast.stmt], *, listing: bool) -> bool:
    """Say whether a function gives what is in the order of a set, or of a listing."""
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
