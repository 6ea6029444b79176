"""What the cells before the running one did, and whether a restart would lose any of it.

Their imports are made again and their plain values are carried over. What else they made in this process would be
lost: an object, a function, a seed that was set. That is found in their source, so a call of a library counts as an
effect unless it is known to act outside of the process or to print.
"""

from __future__ import annotations

import ast
import builtins
import io
import re
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.process.guarded import guarded
from colabkit.runtime.restart import exec_restart
from colabkit.runtime.restart.carry import is_plain, not_carried

if TYPE_CHECKING:
    from collections.abc import Iterator

_IPYTHONS_OWN = re.compile(r"_+|_i+|_ih|_oh|_dh|_i?\d+|_exit_code|__\w+__|In|Out|exit|quit|get_ipython")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_MAX_LENGTH = 60  # characters of a statement

_OUTSIDE = {
    *("collections", "colabkit", "datetime", "fnmatch", "functools", "gdown", "glob", "google", "hashlib", "importlib"),
    *(
        "huggingface_hub",
        "io",
        "_io",
        "IPython",
        "itertools",
        "json",
        "kagglehub",
        "math",
        "os",
        "pathlib",
        "platform",
        "posixpath",
    ),
    *("pprint", "psutil", "re", "requests", "shutil", "string", "subprocess", "sys", "tarfile", "tempfile", "textwrap"),
    *("time", "types", "typing", "urllib", "zipfile"),
}
"""Packages whose functions act on files and services, or only compute: what they did is still there afterwards."""

_LINE_MAGICS = {
    *("aimport", "alias", "automagic", "autoreload", "cat", "cd", "colabkit", "colors", "conda", "config", "cp"),
    *("env", "history", "ll", "load_ext", "ls", "lsmagic", "mamba", "man", "matplotlib", "mkdir", "more", "mv"),
    *("pip", "pprint", "precision", "pwd", "reload_ext", "rm", "rmdir", "set_env", "sx", "system", "tensorboard"),
    *("tensorflow_version", "uv", "who", "whos", "xmode", "shell", "download", "sc"),
}
_CELL_MAGICS = {"bash", "colabkit", "file", "html", "javascript", "js", "latex", "markdown", "script", "sh", "shell"}
_CELL_MAGICS |= {"svg", "system", "sx", "writefile", "HTML", "SVG"}
_SETTINGS = {
    *("basicConfig", "disable_progress_bar", "disable_progress_bars", "enable_op_determinism", "filterwarnings"),
    *("manual_seed", "seed", "seed_everything", "set_default_dtype", "set_float32_matmul_precision", "set_option"),
    *("set_printoptions", "set_random_seed", "set_seed", "set_style", "set_theme", "set_verbosity", "setLevel"),
    *("set_verbosity_error", "set_verbosity_warning", "set_palette", "set_context", "simplefilter", "use"),
    *("set_matplotlib_formats", "set_matplotlib_close", "set_loglevel", "set_config", "set_backend", "set_floatx"),
    *("enable_dataframe_formatter", "disable_dataframe_formatter", "enable_custom_widget_manager"),
}
"""Functions that set something in a library: such a statement is run again."""

_RUN_CODE = {"time", "timeit", "capture", "prun"}
"""Magics that act on the notebook's files, or whose effect is carried over; and those that run code."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What earlier cells did.

    Attributes:
        again: Their imports and the settings they made in libraries, as statements that can be run again.
        values: The names of their plain values, which are carried over.
        lost: The names and statements whose effect would be lost.
        is_none: No cell ran before this one.
    """

    again: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    is_none: bool = False


def analyse(shell: Any) -> Earlier:
    """Find out what earlier cells of a kernel did."""
    if not exec_restart.is_after_others(shell):
        return Earlier(is_none=True)
    request = exec_restart.running_request(shell.kernel) or {}
    own = set(bound(shell.transform_cell(request.get("content", {}).get("code", ""))))
    cells = shell.user_ns.get("In", [])
    if request.get("content", {}).get("store_history", True):
        cells = cells[:-1]
    trees = [_without_magic(tree, shell) for cell in cells if (tree := _parsed(cell)) is not None]
    assigned = {name for tree in trees for name in _assigned(tree)}
    names = [
        name
        for name in shell.user_ns
        if name not in shell.user_ns_hidden and name not in own and not _IPYTHONS_OWN.fullmatch(name)
    ]
    names = [name for name in names if not _is_closed_file(shell.user_ns[name])]
    values = [name for name in names if is_plain(shell.user_ns[name])]
    lines = [line for tree in trees for line in _lines_again(tree)]
    # `try: import x` with `x = None` below, where there is no x: the value comes back, the import would fail again.
    again = [line for line in lines if not (made := set(bound(line)) & assigned) or not made <= set(values)]
    imported = {
        name
        for line in again
        for name in bound(line)
        if name not in assigned or isinstance(shell.user_ns.get(name), types.ModuleType)
    }
    lost = sorted(name for name in names if name not in values and name not in imported)
    effects = [words for tree in trees for words in _effects(tree, shell)]
    return Earlier(
        again=tuple(again),
        values=tuple(values),
        lost=(*lost, *dict.fromkeys(effects), *not_carried(shell)),
    )


def _is_closed_file(value: Any) -> bool:
    return isinstance(value, io.IOBase) and value.closed


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None  # it did not run


def _without_magic(tree: ast.Module, shell: Any) -> ast.Module:
    """Put the code of `%time`, `%%time` and `%%capture` in their place, since it ran in the notebook's namespace."""
    body: list[ast.stmt] = []
    for statement in tree.body:
        match statement:
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(attr="run_line_magic" | "run_cell_magic"),
                    args=[ast.Constant(value="time" | "capture"), *_, ast.Constant(value=str(code))],
                )
            ) if (inner := _parsed(shell.transform_cell(code))) is not None:
                body += inner.body
            case _:
                body.append(statement)
    return ast.Module(body=body, type_ignores=[])


def _lines_again(tree: ast.Module) -> Iterator[str]:
    """The imports and settings of a cell; an import that asks whether a module is there asks again."""
    asking = guarded(tree)
    for statement in _again(tree):
        line = ast.unparse(statement)
        yield f"try:\n    {line}\nexcept ImportError:\n    pass" if id(statement) in asking else line


def _again(node: ast.AST) -> Iterator[ast.stmt]:
    """The imports and settings of a cell, in their order, but not those of its functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom) or (isinstance(child, ast.stmt) and _is_setting(child)):
            yield child
        elif not isinstance(child, _DEFINITIONS):
            yield from _again(child)


def _is_setting(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=args, keywords=keywords)):
            given = [*args, *(keyword.value for keyword in keywords)]
            return name in _SETTINGS and all(isinstance(value, ast.Constant | ast.Attribute) for value in given)
        case ast.Assign(
            targets=[ast.Subscript(value=ast.Attribute(attr="rcParams")) | ast.Subscript(value=ast.Name(id="rcParams"))]
        ):
            return not any(isinstance(node, ast.Call) for node in ast.walk(statement))
        case ast.Assign(targets=[ast.Attribute()], value=value):  # pd.options.display.max_rows = 9
            kinds = (
                ast.Constant,
                ast.Attribute,
                ast.Name,
                ast.Load,
                ast.Store,
                ast.List,
                ast.Tuple,
                ast.UnaryOp,
                ast.USub,
            )
            is_literal = not any(isinstance(node, ast.Name | ast.Attribute) for node in ast.walk(value))
            return is_literal and all(isinstance(node, (*kinds, ast.Assign)) for node in ast.walk(statement))
        case _:
            return False


def _assigned(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, _DEFINITIONS) and not isinstance(node, ast.Lambda):
            yield node.name


def _effects(tree: ast.Module, shell: Any) -> Iterator[str]:
    for statement in tree.body:
        if isinstance(statement, _DEFINITIONS) or _is_setting(statement):
            continue  # the name of a definition is lost, and told as a name; a setting is made again
        if not all(_is_harmless(node, shell) for node in ast.walk(statement)):
            yield _shortened(statement)


def _is_harmless(node: ast.AST, shell: Any) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="run_line_magic"), args=[ast.Constant(value=str(name)), line, *_]):
            return _is_harmless_magic(name, _constant(line), shell, _LINE_MAGICS)
        case ast.Call(func=ast.Attribute(attr="run_cell_magic"), args=[ast.Constant(value=str(name)), _, body]):
            return _is_harmless_magic(name, _constant(body), shell, _CELL_MAGICS)
        case ast.Call(func=function):
            return _is_outside(function, shell)
        case ast.Assign(targets=targets):
            return all(_is_own_target(target, shell) for target in targets)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return _is_own_target(target, shell)
        case ast.Delete(targets=targets):
            return all(isinstance(target, ast.Name) for target in targets)
        case _:
            return True


def _is_harmless_magic(name: str, text: str, shell: Any, magics: set[str]) -> bool:
    if name in _RUN_CODE:
        tree = _parsed(shell.transform_cell(text))
        return tree is None or not list(_effects(tree, shell))
    return name in magics


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_own_target(target: ast.expr, shell: Any) -> bool:
    """Whether an assignment is to a name, to a part of a plain value, or to what comes back by itself."""
    if isinstance(target, ast.Name) or ast.unparse(target) == "sys.modules['imp']":
        return True
    if isinstance(target, ast.Tuple | ast.List):
        return all(_is_own_target(element, shell) for element in target.elts)
    if isinstance(target, ast.Starred):
        return _is_own_target(target.value, shell)
    root = _root(target)
    if root == "get_ipython" and isinstance(target, ast.Attribute):
        return bool(shell.has_trait(target.attr))  # carried with the kernel's other settings
    if root is None or root not in shell.user_ns:
        return False
    value = shell.user_ns[root]
    return is_plain(value) or value is sys.modules["os"] or value is sys.modules["os"].environ


def _is_outside(function: ast.expr, shell: Any) -> bool:
    root = _root(function)
    if root is None:
        return isinstance(function, ast.Attribute)  # a method of a text or a list that was written there
    if root not in shell.user_ns and hasattr(builtins, root):
        return root not in ("exec", "eval", "setattr", "delattr", "__import__")
    value = shell.user_ns.get(root)
    if root == "get_ipython" or is_plain(value) or _is_closed_file(value):
        return True
    module = value.__name__ if isinstance(value, type(sys)) else getattr(value, "__module__", None) or "?"
    return module.partition(".")[0] in _OUTSIDE


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _shortened(statement: ast.stmt) -> str:
    line = ast.unparse(statement).partition("\n")[0]
    if magic := re.fullmatch(r"get_ipython\(\)\.run_(line|cell)_magic\('(\w+)', '(.*?)'.*\)", line):
        line = f"{'%' if magic[1] == 'line' else '%%'}{magic[2]} {magic[3]}".rstrip()
    return line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}…"


def bound(source: str) -> Iterator[str]:
    """The names that a cell binds at its top level or anywhere below, a few too many rather than too few."""
    tree = _parsed(source)
    if tree is None:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name="*"):
                pass
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")]):
                yield from vars(sys.modules.get(module, ast))
            case ast.Call(
                func=ast.Attribute(attr="run_cell_magic"),
                args=[_, ast.Constant(value=str(line)), ast.Constant(value=str(body))],
            ):
                yield from line.split()  # `%%capture output`
                yield from bound(body)
