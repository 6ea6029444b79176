"""What holds for a notebook as a whole: its imports, the names it makes, and the names that new code may use."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from colabkit.port.cell import Cell

_OPENED = re.compile(r"^(\w+)[ \t]*=[ \t]*[\w.]*\bopen_run\(", re.MULTILINE)
_BRACES = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, kw_only=True)
class Binding:
    """An assignment to a name outside functions and classes.

    Attributes:
        place: The number of its cell, and its line there.
        name: The name.
        maker: The full name of the call that makes the value; "" where that is not seen.
        parameters_of: The models whose `.parameters()` the call takes.
    """

    place: tuple[int, int]
    name: str
    maker: str = ""
    parameters_of: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Context:
    """The facts about a notebook.

    Attributes:
        stem: Its name without the suffix.
        keep: Where data is kept for later sessions, or None.
        alias: The name of colabkit in its code.
        run: The name for a run in its code.
        has_run: Whether it opens that run itself.
        imports: What its imported names stand for: `drive` for `google.colab.drive`.
        bound: All names that it assigns, imports or defines anywhere.
        strings: The texts of names that are assigned one constant, once.
        compiled: The expressions that `.compile(` is called on.
        lists: The names that are assigned nothing but lists, and the functions that return one.
        classes: The classes that it defines, with the full name of the first class that each is made from.
        made_by: The full name of the call that a name, or a list with that call in it, was assigned from.
        continued: What trains on from a checkpoint of its own: the receiver, and the argument that says so.
        parameters_of: The models whose `.parameters()` a name was made from, as an optimizer is.
        bindings: What is assigned outside functions and classes, in order.
        order: The numbers of the cells, by their places in memory.
        commands: All lines of the notebook's own language.
        text: The whole text of its cells.
    """

    stem: str
    keep: str | None = None
    alias: str = "ck"
    run: str = "run"
    has_import: bool = False
    has_run: bool = False
    imports: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    strings: dict[str, str] = field(default_factory=dict)
    compiled: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    classes: dict[str, str] = field(default_factory=dict)
    continued: dict[str, str] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    parameters_of: dict[str, list[str]] = field(default_factory=dict)
    bindings: list[Binding] = field(default_factory=list)
    order: dict[int, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    text: str = ""

    def dotted(self, node: ast.AST) -> str:
        """Return the full name of a name or an attribute: `tf.keras.utils.get_file` begins with `tensorflow`."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])

    def before(self, cell: Cell, statement: ast.stmt) -> Context:
        """Return the context with what made the names as they are when a statement is reached, cell by cell."""
        made_by: dict[str, str] = {}
        parameters_of: dict[str, list[str]] = {}
        for binding in self.bindings:
            if binding.place >= (self.order[id(cell)], statement.lineno):
                break
            made_by[binding.name], parameters_of[binding.name] = binding.maker, list(binding.parameters_of)
        return replace(self, made_by=made_by, parameters_of=parameters_of)

    @property
    def keeping(self) -> str:
        """The argument that keeps a download, behind others; "" when nothing is kept."""
        return "" if self.keep is None else f", keep={json.dumps(self.keep, ensure_ascii=False)}"

    def has_imported(self, *packages: str) -> bool:
        """Say whether one of the packages, or a module in it, is imported."""
        return any(name == one or name.startswith(f"{one}.") for name in self.imports.values() for one in packages)


def read(cells: Collection[Cell], *, stem: str, keep: str | None) -> Context:
    """Read the facts from all cells."""
    context = Context(stem=stem, keep=keep, text="\n".join(cell.source for cell in cells))
    assigned: dict[str, list[str | None]] = {}
    for cell in cells:
        context.commands += [command.text for command in cell.commands.values()]
        if cell.tree is None:
            context.bound |= set(re.findall(r"^\s*(\w+)\s*=[^=]", cell.source, re.MULTILINE))
            continue
        for node in ast.walk(cell.tree):
            _read_import(node, context.imports)
            context.bound.update(_names(node))
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
                text = node.value.value if is_text else None  # type: ignore[attr-defined]
                assigned.setdefault(node.targets[0].id, []).append(text)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assigned.setdefault(node.id, [])
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "compile":
                    context.compiled.add(cell.text(node.func.value))
                if argument := _continues(node):
                    context.continued[cell.text(node.func.value)] = argument
    _read_lists(cells, context)
    for cell in cells:
        for node in ast.walk(cell.tree or ast.Module(body=[], type_ignores=[])):
            if isinstance(node, ast.ClassDef):
                context.classes[node.name] = context.dotted(node.bases[0]) if node.bases else ""
        context.made_by.update(_makers(cell, context))
    _read_bindings(cells, context)
    context.bound |= set(context.imports)
    context.strings = {
        name: values[0] for name, values in assigned.items() if len(values) == 1 and values[0] is not None
    }
    _choose_names(context)
    return context


def _makers(cell: Cell, context: Context) -> Iterator[tuple[str, str]]:
    for node in ast.walk(cell.tree or ast.Module(body=[], type_ignores=[])):
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            continue
        yield from ((node.targets[0].id, context.dotted(call.func)) for call in _calls_in(node.value, context))


def _calls_in(value: ast.expr, context: Context) -> list[ast.Call]:
    """Return the call that a value is, or those in its list, where the function has a name."""
    values = [value, *(value.elts if isinstance(value, ast.List) else ())]
    return [one for one in values if isinstance(one, ast.Call) and context.dotted(one.func)]


def _read_bindings(cells: Iterable[Cell], context: Context) -> None:
    for number, cell in enumerate(cells):
        context.order[id(cell)] = number
        bindings = _bindings(cell.tree, number, context) if cell.tree is not None else ()
        context.bindings += sorted(bindings, key=lambda binding: binding.place)


def _bindings(tree: ast.AST, number: int, context: Context) -> Iterator[Binding]:
    """Give what is assigned; `model, optimizer = prepare(model, optimizer)` leaves the names what they are."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        yield from _bindings(node, number, context)
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        place = (number, node.end_lineno or node.lineno)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        calls = _calls_in(node.value, context)
        names_read = {name.id for name in ast.walk(node.value) if isinstance(name, ast.Name)}
        for target in targets:
            if isinstance(target, ast.Name):
                maker = context.dotted(calls[-1].func) if calls else ""
                models = tuple(_parameters(calls[-1])) if calls else ()
                yield Binding(place=place, name=target.id, maker=maker, parameters_of=models)
                continue
            nodes = [part for part in ast.walk(target) if isinstance(part, ast.Name)]
            names = {part.id for part in nodes if isinstance(part.ctx, ast.Store)}
            yield from (Binding(place=place, name=name) for name in sorted(names - names_read))


def _read_lists(cells: Iterable[Cell], context: Context) -> None:
    """Read which names are lists, and which functions return one; a name that is both a list and not is neither."""
    nodes = [node for cell in cells if cell.tree is not None for node in ast.walk(cell.tree)]
    not_lists: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            (context.lists if is_list(node.value, context) else not_lists).update(names)
    context.lists -= not_lists
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            returned = [statement.value for statement in ast.walk(node) if isinstance(statement, ast.Return)]
            if returned and all(value is not None and is_list(value, context) for value in returned):
                context.lists.add(node.name)


def is_list(node: ast.expr, context: Context) -> bool:
    """Say whether a value is a list or a tuple, as far as the notebook's text tells."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and (is_list(node.left, context) or is_list(node.right, context))
    if isinstance(node, ast.BoolOp):
        return all(is_list(value, context) for value in node.values)
    if isinstance(node, ast.IfExp):
        return is_list(node.body, context) and is_list(node.orelse, context)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in {"list", "tuple", "sorted", *context.lists}
    return isinstance(node, (ast.List, ast.Tuple, ast.ListComp)) or (
        isinstance(node, ast.Name) and node.id in context.lists
    )


def _continues(node: ast.Call) -> str:
    """Return the argument by which a call of a trainer continues from a checkpoint of its own; else ""."""
    verb = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    name = {"train": "resume_from_checkpoint", "fit": "ckpt_path"}.get(verb, "")
    values = [keyword.value for keyword in node.keywords if keyword.arg == name] + (
        node.args[:1] if verb == "train" else []
    )
    is_asked = any(not (isinstance(value, ast.Constant) and value.value in (None, False)) for value in values)
    return f"{name}=" if name and is_asked else ""


def _parameters(node: ast.Call) -> Iterator[str]:
    for one in ast.walk(node):
        called = one.func if isinstance(one, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "parameters" and isinstance(called.value, ast.Name):
            yield called.value.id


def _choose_names(context: Context) -> None:
    mine = [name for name, what in context.imports.items() if what == "colabkit"]
    context.has_import = bool(mine)
    context.alias = mine[0] if mine else ("colabkit" if "ck" in context.bound else "ck")
    opened = _OPENED.search(context.text)
    context.has_run = opened is not None
    context.run = opened[1] if opened else "ck_run" if "run" in context.bound else "run"


def _read_import(node: ast.AST, imports: dict[str, str]) -> None:
    if isinstance(node, ast.Import):
        for one in node.names:
            name = one.name if one.asname else one.name.partition(".")[0]
            imports[one.asname or name] = name
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for one in node.names:
            star = one.name == "*"
            imports[f"*{node.module}" if star else one.asname or one.name] = f"{node.module}.{one.name}"


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name


def uses(cells: Iterable[Cell], name: str) -> int:
    """Count the places that read a name, in Python and in commands."""
    count = 0
    word = re.compile(rf"(?<![\w.]){re.escape(name)}\b")
    for cell in cells:
        if cell.tree is None:
            count += len(word.findall(cell.source)) if not cell.magic or cell.problem else 0
            continue
        for node in ast.walk(cell.tree):
            count += isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id == name
        for command in cell.commands.values():
            braces = " ".join(_BRACES.findall(command.text))
            count += len(word.findall(braces)) + len(re.findall(rf"\$\{{?{re.escape(name)}\b", command.text))
    return count
