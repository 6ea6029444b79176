"""A training loop of torch, where nothing about it can be mistaken: it takes its batches and epochs from `run.loop`."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit.port.cell import Cell
    from colabkit.port.context import Context

BY_HAND = "a training loop of your own: take its batches from run.loop(loader, epochs=…, model=…, optimizer=…), by hand"
WITHOUT_LOADER = (
    "a training loop without a loader: write for _ in run.loop([0], epochs=…, model=…, optimizer=…), by hand, where "
    "loop.epoch counts"
)
WITHOUT_OPTIMIZER = (
    "a training loop without an optimizer: give the tensors that it changes in a list, and write "
    "for _ in run.loop([0], epochs=…, parameters=parameters), by hand, where loop.epoch counts"
)
_TRAINERS = ("torch", "tensorflow", "keras", "jax", "flax", "optax", "fastai", "fastbook")
_OTHER_STEPS = frozenset(
    ("apply_gradients", "stateless_apply", "train_on_batch", "apply_updates")
)  # of Keras and optax
_PAIRS = ({"backward", "step"}, {"backward", "apply"}, {"gradient", "apply"}, {"value_and_grad", "update"})
_SCHEDULER, _SCALER = "torch.optim.lr_scheduler.", "GradScaler"
_OF_TRANSFORMERS = re.compile(r"(?:transformers|diffusers)\.(?:\w+\.)*get_(?:\w+_)?sched\w+")
_TRANGE = re.compile(r"tqdm\.(?:\w+\.)*trange")
_LEAVES = (ast.Break, ast.Return, ast.Yield, ast.YieldFrom, ast.Await)


@dataclass(frozen=True, kw_only=True)
class TorchLoop:
    """A loop over epochs with a loop over batches in it, or with one step of all data in each.

    Attributes:
        outer: The loop over epochs.
        inner: The loop over batches; None where an epoch is one step.
        batches: What gives the batches: what that loop goes through, or the bar that a `with` around it opens.
        numbers: The `range(…)` of the epochs, also inside a bar; or the `trange(…)`.
        loader: The loader's name, or the `range(…)` of slices, also inside `enumerate` and a bar.
        enumerated: The `enumerate(…)` around it, or None.
        epochs: How many, as it is written.
        first: The number of the first epoch, as it is written.
        state: What belongs to the training, by the names that it has in the notebook.
    """

    outer: ast.For
    inner: ast.For | None
    batches: ast.expr | None
    numbers: ast.expr
    loader: ast.expr | None
    enumerated: ast.Call | None
    epochs: ast.expr
    first: str
    state: tuple[str, ...]


def find(cell: Cell, context: Context) -> Iterator[TorchLoop | ast.stmt]:
    """Find the loops of a cell: those that can be rewritten, and the statements of those that cannot."""
    if cell.tree is None or not context.has_imported(*_TRAINERS):
        return
    for statement in cell.tree.body:
        if not _trains(statement) or "run.loop(" in cell.text(statement) or ".each_epoch()" in cell.text(statement):
            continue
        yield _read(statement, cell, context.before(cell, statement)) or statement


def _trains(statement: ast.stmt) -> bool:
    """Say whether gradients are computed and steps are made."""
    if isinstance(statement, ast.ClassDef):
        is_module = any(ast.unparse(base).endswith(("Module", "Model")) for base in statement.bases)
        return not is_module and any(
            isinstance(node, (ast.For, ast.While)) and _trains_inside(node) for node in ast.walk(statement)
        )
    loops = any(isinstance(node, (ast.For, ast.While, ast.FunctionDef)) for node in ast.walk(statement))
    return (loops and _trains_inside(statement)) or _steps_by_hand(statement)


def _steps_by_hand(statement: ast.stmt) -> bool:
    """Say whether a loop computes gradients and takes its steps itself: `p.data += -rate * p.grad`."""
    if not isinstance(statement, (ast.For, ast.While)) or _trains_inside(statement):
        return False
    nodes = list(ast.walk(statement))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    changes = [node.value for node in nodes if isinstance(node, (ast.Assign, ast.AugAssign))]
    changes += [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sub_")]
    reads = {node.attr for value in changes for node in ast.walk(value) if isinstance(node, ast.Attribute)}
    return "backward" in attributes and "grad" in reads


def _read(outer: ast.stmt, cell: Cell, context: Context) -> TorchLoop | None:
    if not isinstance(outer, ast.For) or outer.orelse or not isinstance(outer.target, ast.Name):
        return None
    numbers = _in_bar(outer.iter, context)
    first, epochs = _range(numbers, context)
    inner = list(_inner(outer.body, context))
    if epochs is None or any(isinstance(node, _LEAVES) for node in ast.walk(outer)):
        return None
    state = _state(outer, context)
    if not state:
        return None
    if not inner and _is_one_step(outer, cell):
        absent: dict[str, None] = dict.fromkeys(("inner", "batches", "loader", "enumerated"))
        return TorchLoop(outer=outer, numbers=numbers, epochs=epochs, first=first, state=state, **absent)
    if len(inner) != 1:
        return None
    loop, iterable = inner[0]
    batches = _in_bar(iterable, context)
    counting = [one for one in (loop.iter, batches) if isinstance(one, ast.Call) and _is_enumerate(one)]
    enumerated = counting[0] if counting else None
    if enumerated is not None and batches is enumerated:
        batches = _in_bar(enumerated.args[0], context)
    is_loader = isinstance(batches, ast.Name) and context.made_by.get(batches.id, "").endswith("DataLoader")
    if not is_loader and not _is_range_of(batches, outer):
        return None
    return TorchLoop(
        outer=outer,
        inner=loop,
        batches=iterable,
        numbers=numbers,
        loader=batches,
        enumerated=enumerated,
        epochs=epochs,
        first=first,
        state=state,
    )


def _is_one_step(outer: ast.For, cell: Cell) -> bool:
    """Say whether an epoch is a step of its own, and its lines can be moved to the right."""
    for node in ast.walk(outer):
        is_inner = isinstance(node, (ast.For, ast.While)) and node is not outer
        if is_inner and _trains_inside(node):  # type: ignore[arg-type]
            return False
        if isinstance(node, ast.Name) and (node.id == "_" or (node.id == "next" and isinstance(node.ctx, ast.Load))):
            return False
        is_text = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        if is_text and "\n" in cell.text(node):
            return False
    return outer.body[0].lineno > (outer.iter.end_lineno or outer.lineno)


def _is_range_of(node: ast.expr, outer: ast.For) -> bool:
    """Say whether batches are numbers, `range(0, len(x), size)`, that are the same in each epoch."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"):
        return False
    names = [name for name in ast.walk(outer) if isinstance(name, ast.Name)]
    bound = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return not bound & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def _inner(body: list[ast.stmt], context: Context) -> Iterator[tuple[ast.For, ast.expr]]:
    """Give the loops over batches, and what each takes them from: `with tqdm(loader) as bar: for x, y in bar:` too."""
    for statement in body:
        match statement:
            case ast.For() if _trains_inside(statement):
                yield statement, statement.iter
            case ast.With(items=[ast.withitem(context_expr=bar, optional_vars=ast.Name(id=name))], body=inside):
                is_bar = _in_bar(bar, context) is not bar
                for loop, iterable in _inner(inside, context):
                    is_counted = isinstance(iterable, ast.Call) and _is_enumerate(iterable)
                    through = iterable.args[0] if is_counted and isinstance(iterable, ast.Call) else iterable
                    is_named = isinstance(through, ast.Name) and through.id == name
                    yield loop, bar if is_bar and is_named and iterable is loop.iter else iterable


def by_hand(statement: ast.stmt) -> str:
    """Say what to write in the place of a loop that stays."""
    if _steps_by_hand(statement):
        return WITHOUT_OPTIMIZER
    if not isinstance(statement, ast.For) or "range(" not in ast.unparse(statement.iter):
        return BY_HAND
    inner = [node for line in statement.body for node in ast.walk(line)]
    has_loader = any(isinstance(node, (ast.For, ast.While)) for node in inner)
    is_torch = any(isinstance(node, ast.Attribute) and node.attr == "backward" for node in inner)
    return WITHOUT_LOADER if is_torch and not has_loader else BY_HAND


def _in_bar(node: ast.expr, context: Context) -> ast.expr:
    """Return what a bar of tqdm goes through; the node itself where there is none."""
    is_bar = isinstance(node, ast.Call) and re.fullmatch(
        r"tqdm\.(?:\w+\.)*(?:tqdm|tqdm_notebook)", context.dotted(node.func)
    )
    return node.args[0] if is_bar and isinstance(node, ast.Call) and node.args else node


def _is_enumerate(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "enumerate"
    return (
        is_call and isinstance(node, ast.Call) and len(node.args) in (1, 2) and len(node.args) + len(node.keywords) < 3
    )


def rewritten(
    loop: TorchLoop, cell: Cell, *, name: str, run: str, before: str, bar: str
) -> tuple[str, list[tuple[int, int, str]]]:
    """Write a loop that takes its epochs and batches from a run.

    Args:
        loop: The loop.
        cell: Where it stands.
        name: The name of what stands for the run's loop.
        run: The run, as it is written.
        before: What stands before the loop.
        bar: The notebook's name for `tqdm`, "" where it has none.

    Returns:
        The line that makes the run's loop, and the edits: from, to, and the new text.
    """
    state = ", ".join(f"{each}={each}" for each in loop.state)
    loader, begin = cell.text(loop.loader) if loop.loader is not None else "[0]", cell.span(loop.outer)[0]
    epochs = str(loop.epochs.value) if isinstance(loop.epochs, ast.Constant) else cell.text(loop.epochs)
    made = f"{name} = {run}.loop({loader}, epochs={epochs}, {state})"
    edits = [
        (begin, begin, f"{before}{made}\n"),
        (*cell.span(loop.numbers), _numbers(loop, name, cell, bar)),
    ]
    if loop.inner is None or loop.batches is None:
        return made, edits + list(_moved(loop.outer, cell, name))
    edits.append((*cell.span(loop.batches), _batches(loop.batches, loop, name, cell)))
    if loop.enumerated is not None and loop.batches is not loop.inner.iter and loop.enumerated is loop.inner.iter:
        counted = f"enumerate({cell.text(loop.enumerated.args[0])}, {_start(loop, name, cell.text)})"
        edits.append((*cell.span(loop.enumerated), counted))
    return made, edits


def _moved(outer: ast.For, cell: Cell, name: str) -> Iterator[tuple[int, int, str]]:
    """Give the edits that put the lines of an epoch into a loop of one step."""
    start = cell.offset(outer.body[0].lineno, 0)
    indent = cell.source[start : cell.span(outer.body[0])[0]]
    yield start, start, f"{indent}for _ in {name}:\n{indent}"
    for line in range(outer.body[0].lineno + 1, (outer.end_lineno or 0) + 1):
        at = cell.offset(line, 0)
        if cell.source[at : cell.source.find("\n", at)].strip() or line == outer.end_lineno:
            yield at, at, indent


def _batches(node: ast.expr, loop: TorchLoop, name: str, cell: Cell) -> str:
    """Return what gives the batches: an `enumerate` and a bar around it count on where an epoch is continued."""
    if node is loop.loader or not isinstance(node, ast.Call):
        return name
    inside = _batches(node.args[0], loop, name, cell)
    if node is loop.enumerated:
        return f"enumerate({inside}, {_start(loop, name, cell.text)})"
    rest = cell.source[cell.span(node.args[0])[1] : cell.span(node)[1] - 1].rstrip(" ,\n")
    begins = "" if any(keyword.arg == "initial" for keyword in node.keywords) else f", initial={name}.batch"
    return f"{cell.text(node.func)}({inside}{rest}{begins})"


def _numbers(loop: TorchLoop, name: str, cell: Cell, bar: str) -> str:
    """Return what gives the epochs' numbers, in the bar that `trange` makes."""
    numbers = f"{name}.each_epoch({'' if loop.first == '0' else f'start={loop.first}'})"
    call = loop.numbers
    if not isinstance(call, ast.Call) or cell.text(call.func) == "range":
        return numbers
    makes = f"{cell.text(call.func).removesuffix('trange')}tqdm" if isinstance(call.func, ast.Attribute) else bar
    options = "".join(f", {cell.text(keyword)}" for keyword in call.keywords)
    return f"{makes}({numbers}{options})" if makes else numbers


def _start(loop: TorchLoop, name: str, text: Callable[[ast.AST], str]) -> str:
    """Return the number that `enumerate` begins with, so that a continued epoch counts on."""
    call = loop.enumerated
    given = [*call.args[1:], *(one.value for one in call.keywords)] if call is not None else []
    first = text(given[0]) if given else "0"
    return f"{name}.batch" if first == "0" else f"{first} + {name}.batch"


def _trains_inside(statement: ast.stmt) -> bool:
    called = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    verbs = {function.attr for function in called if isinstance(function, ast.Attribute)}
    return any(verbs >= pair for pair in _PAIRS) or bool(verbs & _OTHER_STEPS)


def _range(node: ast.expr, context: Context) -> tuple[str, ast.expr | None]:
    """Return the first epoch's number and how many there are, from `range(n)`, `range(1, n + 1)` or tqdm's `trange`."""
    if not isinstance(node, ast.Call) or any(isinstance(argument, ast.Starred) for argument in node.args):
        return "0", None
    is_range = isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords
    if not (is_range or _TRANGE.fullmatch(context.dotted(node.func))):
        return "0", None
    match node.args:
        case [epochs] | [ast.Constant(value=0), epochs]:
            return "0", epochs
        case [ast.Constant(value=1), ast.Constant(value=int(end))]:
            return "1", ast.copy_location(ast.Constant(end - 1), node.args[1])
        case [ast.Constant(value=1), ast.BinOp(left=epochs, op=ast.Add(), right=ast.Constant(value=1))] | [
            ast.Constant(value=1),
            ast.BinOp(left=ast.Constant(value=1), op=ast.Add(), right=epochs),
        ]:
            return "1", epochs
    return "0", None


def _state(outer: ast.For, context: Context) -> tuple[str, ...]:
    """Return the names of the models, optimizers, schedulers and scalers; nothing where one of them is not seen."""
    steppers: list[str] = []
    used = {node.id for node in ast.walk(outer) if isinstance(node, ast.Name)}
    accelerators = sorted(name for name in used if context.made_by.get(name) == "accelerate.Accelerator")
    for node in ast.walk(outer):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "step"):
            continue
        if not isinstance(node.func.value, ast.Name):
            return ()
        steppers.append(node.func.value.id)
        if context.made_by.get(node.func.value.id, "").endswith(_SCALER):  # scaler.step(optimizer)
            steppers += [argument.id for argument in node.args if isinstance(argument, ast.Name)]
    models: list[str] = []
    for name in dict.fromkeys(steppers):
        maker = context.made_by.get(name, "")
        if maker.startswith(_SCHEDULER) or maker.endswith(_SCALER) or _OF_TRANSFORMERS.fullmatch(maker):
            continue
        if not maker.startswith("torch.optim.") or not context.parameters_of.get(name):
            return ()
        models += context.parameters_of[name]
    return tuple(dict.fromkeys([*accelerators, *models, *steppers])) if models else ()
