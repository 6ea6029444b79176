"""Trainings that get what resumes them: `fit` of Keras, Trainers, fastai, and a plain loop of torch."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.port.context import is_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.port.cell import Cell
    from colabkit.port.context import Context

_TRAINERS = re.compile(r"(?:transformers|trl|sentence_transformers|unsloth|adapters)\.(?:\w+\.)*\w*Trainer")
_OTHER_TRAINERS = re.compile(r"(?!tokenizers\b)\w+\.(?:\w+\.)*\w*Trainer")
_LIGHTNING = re.compile(r"(?:pytorch_lightning|lightning|lightning\.pytorch)\.(?:\w+\.)*Trainer")
_TF_TRANSFORMERS = re.compile(r"transformers\.(?:\w+\.)*TF[A-Z]")
_FASTAI_2 = re.compile(r"fastai\.(?:\w+\.)*(?:all|basics|learner)\b|fastbook\b")
_FASTAI_FITS = frozenset(("fit", "fit_one_cycle", "fit_flat_cos", "fit_sgdr", "fine_tune"))
_EPOCHS = frozenset(("epochs", "num_epochs", "n_epochs", "max_epochs", "nb_epochs", "total_timesteps"))
_TRAINS = re.compile(r"(?:run_)?(?:train|fit|finetune|fine_tune|learn)(?:_\w+)?")
_STEPS = re.compile(r"(?:train|fit)_(?:step|batch|loop|(?:one_|an_|single_)?epoch)")
_OTHER_FITS = frozenset(("fit_generator", "train_on_batch"))
_OTHER_LIBRARIES = re.compile(r"(?:statsmodels|sklearn|xgboost|lightgbm|catboost|imblearn|prophet)\b")
_ELSEWHERE = (
    "it trains in a module or a class: take the batches from run.loop(…) there, or keep its checkpoints on Drive"
)
_MOST_POSITIONAL = 5  # of Keras' fit before callbacks


@dataclass(frozen=True, kw_only=True)
class Training:
    """A call that trains.

    Attributes:
        framework: "keras", "transformers", "lightning" or "fastai".
        node: The call.
        statement: The statement at the cell's top level that holds it.
        reason: Why it stays as it is; "" when it can be given a callback.
    """

    framework: str
    node: ast.Call
    statement: ast.stmt
    reason: str = ""


def find(cell: Cell, context: Context) -> Iterator[Training]:
    """Find the trainings of a cell in order."""
    if cell.tree is None:
        return
    for statement in cell.tree.body:
        inside = isinstance(statement, (ast.For, ast.While, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        calls = sorted(
            (node for node in ast.walk(statement) if isinstance(node, ast.Call)),
            key=lambda node: (node.lineno, node.col_offset),
        )
        nested = {id(one) for node in ast.walk(statement) if _is_scope(node) for one in ast.walk(node)}
        for node in calls:
            framework = _framework(node, cell, context)
            if not framework or ".resume" in cell.text(node):
                continue
            reason = "it stands in a loop or a function: give each training a phase of its own, by hand"
            if cell.magic == "timeit":
                reason = "%%timeit may train more than once: take %%time, and port again"
            elif not (inside or id(node) in nested):
                reason = _obstacle(framework, node, cell, context)
            yield Training(framework=framework, node=node, statement=statement, reason=reason)


def without_callback(cell: Cell, context: Context) -> Iterator[tuple[ast.Call, str]]:
    """Find the calls that train in a way which takes no callback of a run, each with what to do."""
    tree = cell.tree or ast.Module(body=[], type_ignores=[])
    loops = [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.While))]
    repeated = {id(node) for loop in loops for node in ast.walk(loop)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        verb = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        words = {keyword.arg for keyword in node.keywords}
        if context.has_imported("ultralytics") and verb == "train" and words & {"data", "epochs", "cfg", "resume"}:
            yield node, "ultralytics saves by itself: put project= on Drive, and go on with resume=True"
        elif context.has_imported("keras_tuner", "kerastuner") and verb == "search":
            yield node, "a search trains many models, and goes on by itself where its directory= is on Drive"
        elif verb == "fit" and "train_objectives" in words:
            yield node, "it takes no callback: write SentenceTransformerTrainer, and port again"
        elif context.dotted(node.func) == "accelerate.notebook_launcher":
            yield node, "it trains in processes of its own: take the batches from run.loop(…) in its function, by hand"
        elif verb in _FASTAI_FITS - {"fit"} and not _is_fastai_2(context) and context.has_imported("fastai"):
            yield node, "it trains with fastai 1, which has other callbacks"
        elif _is_other_trainer(node, cell, context) or (id(node) in repeated and _is_imported_step(node, context)):
            yield node, _ELSEWHERE
        elif words & _EPOCHS and _TRAINS.fullmatch(verb or context.dotted(node.func).rpartition(".")[2]):
            is_own = isinstance(node.func, ast.Name) and node.func.id not in context.imports
            if not is_own and not _framework(node, cell, context):
                yield node, _ELSEWHERE


def _is_other_trainer(node: ast.Call, cell: Cell, context: Context) -> bool:
    """Say whether a Trainer is made that is none of those which take a callback of a run, as setfit's."""
    name = _made_from(context.dotted(node.func), context)
    is_imported = any(name == full or name.startswith(f"{full}.") for full in context.imports.values())
    return is_imported and _OTHER_TRAINERS.fullmatch(name) is not None and not _framework(node, cell, context)


def _is_imported_step(node: ast.Call, context: Context) -> bool:
    """Say whether a function of a module is called that trains for a step or an epoch, as `train_one_epoch`."""
    head = node.func
    while isinstance(head, ast.Attribute):
        head = head.value
    is_imported = isinstance(head, ast.Name) and head.id in context.imports
    return is_imported and _STEPS.fullmatch(context.dotted(node.func).rpartition(".")[2]) is not None


def _is_scope(node: ast.AST) -> bool:
    scopes = (ast.For, ast.While, ast.AsyncFor, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return isinstance(node, (*scopes, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp))


def _framework(node: ast.Call, cell: Cell, context: Context) -> str:
    name = _made_from(context.dotted(node.func), context)
    if _TRAINERS.fullmatch(name):
        return "transformers"
    if _LIGHTNING.fullmatch(name):
        return "lightning"
    if not isinstance(node.func, ast.Attribute):
        return ""
    receiver, verb = cell.text(node.func.value), node.func.attr
    has_epochs = any(keyword.arg in ("epochs", "steps_per_epoch", "validation_data") for keyword in node.keywords)
    if _is_fastai_2(context) and verb in _FASTAI_FITS and (verb != "fit" or _is_learner(receiver, context)):
        return "fastai"
    is_keras = context.has_imported("tensorflow", "keras", "tf_keras") and bool(node.args or node.keywords)
    if is_keras and not has_epochs and _OTHER_LIBRARIES.match(_maker(receiver, node, cell, context)):
        return ""
    if is_keras and (verb in _OTHER_FITS or (verb == "fit" and (has_epochs or receiver in context.compiled))):
        return "keras" if verb == "fit" or verb == "fit_generator" else ""
    return ""


def _made_from(name: str, context: Context) -> str:
    """Return the name of a class, or of what a class of the notebook is made from: `CustomTrainer(Trainer)`."""
    for _ in context.classes:
        name = context.classes.get(name) or name
    return name


def _is_learner(receiver: str, context: Context) -> bool:
    return (
        re.search(r"learn", receiver) is not None
        or re.search(r"[Ll]earner$", context.made_by.get(receiver, "")) is not None
    )


def _is_fastai_2(context: Context) -> bool:
    """Say whether it is fastai of today: its first version, `from fastai.vision import *`, has other callbacks."""
    return any(_FASTAI_2.match(name) for name in context.imports.values())


def _maker(receiver: str, node: ast.Call, cell: Cell, context: Context) -> str:
    """Return the full name of what made a receiver: as its own cell says it last, else as any cell does."""
    maker = context.made_by.get(receiver, "")
    for one in ast.walk(cell.tree or ast.Module(body=[], type_ignores=[])):
        is_before = isinstance(one, ast.Assign) and one.lineno < node.lineno
        if not (is_before and isinstance(one, ast.Assign) and isinstance(one.value, ast.Call)):
            continue
        if any(cell.text(target) == receiver for target in one.targets):
            maker = context.dotted(one.value.func)
    return maker


def _obstacle(framework: str, node: ast.Call, cell: Cell, context: Context) -> str:
    if any(keyword.arg is None for keyword in node.keywords) or any(isinstance(one, ast.Starred) for one in node.args):
        return "its arguments come from a dictionary or a list"
    if framework != "keras":
        return (
            _searched(node, context)
            or _continued(node, cell, context)
            or _list_of(_given(framework, node), cell, context)[1]
        )
    if isinstance(node.func, ast.Attribute) and node.func.attr == "fit_generator":
        return "Keras 3 has no fit_generator: write fit, and port again"
    if _trains_with_keras_2(cell, context):
        return "it trains with Keras 2"
    if len(node.args) > _MOST_POSITIONAL:
        return "its callbacks come by position"
    if any("BackupAndRestore" in cell.text(keyword.value) for keyword in node.keywords):
        return "BackupAndRestore sets the first epoch, too: take it out, and port again"
    names = [name for name, maker in context.made_by.items() if maker.endswith("BackupAndRestore")]
    given = " ".join(cell.text(keyword.value) for keyword in node.keywords if keyword.arg == "callbacks")
    if any(re.search(rf"\b{re.escape(name)}\b", given) for name in names):
        return "BackupAndRestore sets the first epoch, too: take it out, and port again"
    if context.has_imported("tensorflow.compat.v1"):
        return "it trains with TensorFlow 1"
    return _list_of(_given(framework, node), cell, context)[1]


def _trains_with_keras_2(cell: Cell, context: Context) -> bool:
    is_asked = any("TF_USE_LEGACY_KERAS" in text for text in (cell.source, *context.commands))
    names = context.imports.values()
    return is_asked or context.has_imported("tf_keras") or any(_TF_TRANSFORMERS.match(name) for name in names)


def _searched(node: ast.Call, context: Context) -> str:
    """Say that a Trainer searches, which the callback refuses."""
    is_made_anew = any(keyword.arg == "model_init" for keyword in node.keywords)
    searches = is_made_anew and ".hyperparameter_search(" in context.text
    return "it searches: each trial is a training of its own, from its beginning" if searches else ""


def _continued(node: ast.Call, cell: Cell, context: Context) -> str:
    """Say that a Trainer continues by a checkpoint of its own, which the callback refuses."""
    for statement in ast.walk(cell.tree or ast.Module(body=[], type_ignores=[])):
        if not (isinstance(statement, ast.Assign) and statement.value is node):
            continue
        for name in (cell.text(target) for target in statement.targets):
            if name in context.continued:
                return f"{name} puts a state back by {context.continued[name]}, too: leave that out, and port again"
    return ""


def callback(training: Training, context: Context, phase: str) -> str:
    """Return the expression that makes the callback."""
    suffix = "" if training.framework == "keras" else f"_{training.framework}"
    return f"{context.run}{f'.phase({phase!r})' if phase else ''}.resume{suffix}()".replace("'", '"')


def with_callback(training: Training, cell: Cell, context: Context, text: str) -> tuple[int, int, str]:
    """Return the edit that gives the call its callback: where it begins and ends, and the new text."""
    given = _given(training.framework, training.node)
    if given is None:
        return _new_argument(training.node, cell, f"{_KEYWORDS.get(training.framework, 'callbacks')}=[{text}]")
    if isinstance(given, ast.Constant) and given.value is None:
        return (*cell.span(given), f"[{text}]")
    if isinstance(given, ast.List) and given.elts:
        at = cell.span(given.elts[-1])[1]
        return at, at, f", {text}"
    if isinstance(given, ast.List):
        return (*cell.span(given), f"[{text}]")
    return (*cell.span(given), f"[{_list_of(given, cell, context)[0]}, {text}]")


_KEYWORDS = {"fastai": "cbs"}


def _given(framework: str, node: ast.Call) -> ast.expr | None:
    name = _KEYWORDS.get(framework, "callbacks")
    return next((keyword.value for keyword in node.keywords if keyword.arg == name), None)


def _list_of(given: ast.expr | None, cell: Cell, context: Context) -> tuple[str, str]:
    """Return what stands in a list for the callbacks that are given, and why that cannot be told."""
    if given is None or isinstance(given, (ast.List, ast.Constant)):
        return "", ""
    text = cell.text(given)
    if is_list(given, context):
        return (f"*{text}" if isinstance(given, (ast.Name, ast.Call, ast.Tuple)) else f"*({text})"), ""
    maker = given.func if isinstance(given, ast.Call) else None
    name = context.made_by.get(text, "") if maker is None else context.dotted(maker)
    last = name.rpartition(".")[2]
    if last[:1].isupper() or last in context.classes:
        return text, ""
    return "", "whether its callbacks are one or a list is not seen: write them as a list, and port again"


def _new_argument(node: ast.Call, cell: Cell, text: str) -> tuple[int, int, str]:
    closing = cell.span(node)[1] - 1
    every = [*node.args, *(one.value for one in node.keywords)]
    if not every:
        return closing, closing, text
    last = max(cell.span(one)[1] for one in every)
    between = re.sub(r"#.*", lambda match: " " * len(match[0]), cell.source[last:closing])
    at = last + len(between.rstrip())
    has_comma = between.rstrip().endswith(",")
    line_end = cell.source.find("\n", at)
    before = cell.source[: cell.span(_last(node))[0]].rpartition("\n")[2]
    if "\n" not in between and (before.strip() or "\n" not in cell.text(node)):
        return at, at, f"{'' if has_comma else ','} {text}"
    indent = before[: len(before) - len(before.lstrip())]
    if "\n" not in between:
        return at, at, f"{'' if has_comma else ','}\n{indent}{text}"
    if has_comma:
        return line_end, line_end, f"\n{indent}{text},"
    has_comment = "#" in cell.source[at:line_end]
    return at, at, f", {text}" if has_comment else f",\n{indent}{text}"


def _last(node: ast.Call) -> ast.AST:
    every: list[ast.AST] = [*node.args, *node.keywords]
    return max(every, key=lambda one: (one.lineno, one.col_offset))  # type: ignore[attr-defined]
