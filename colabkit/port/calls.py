"""Calls of Python that set up: google.colab, gdown, kagglehub, opendatasets, urlretrieve, secrets in clear."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._internal.process.guarded import guarded as guarded_nodes
from colabkit.errors import ColabKitError
from colabkit.port import commands
from colabkit.transfer.sources import registry

if TYPE_CHECKING:
    from colabkit.port.cell import Cell
    from colabkit.port.context import Context

KAGGLE_CLIENT = "kaggle_secrets.UserSecretsClient"
_RUNS = re.compile(r"os\.(?:system|popen)|subprocess\.(?:run|call|check_call|check_output|Popen|getoutput)")
_DRIVE_ID = re.compile(r"[-\w]{20,}")
_KEEPS = {
    "google.colab.auth.authenticate_user": ("drive", "fetch, push and runs use the account that it signs in"),
    "google.colab.files.upload": ("colab", "colab_shim() gives it elsewhere"),
    "google.colab.files.download": ("colab", "colab_shim() gives it elsewhere"),
    "huggingface_hub.hf_hub_download": ("fetch", "it works everywhere"),
    "huggingface_hub.snapshot_download": ("fetch", "it works everywhere"),
    "datasets.load_dataset": ("fetch", "it works everywhere"),
    "tensorflow_datasets.load": ("fetch", "it works everywhere"),
    "fastai.vision.all.untar_data": ("fetch", "it works everywhere"),
    "fastai.text.all.untar_data": ("fetch", "it works everywhere"),
    "fastai.tabular.all.untar_data": ("fetch", "it works everywhere"),
}
_LOGINS = {  # what signs in by asking, the argument that answers it, and its key
    "huggingface_hub.notebook_login": ("huggingface_hub.login", "token", "HF_TOKEN"),
    "huggingface_hub.interpreter_login": ("huggingface_hub.login", "token", "HF_TOKEN"),
    "huggingface_hub.login": ("huggingface_hub.login", "token", "HF_TOKEN"),
    "wandb.login": ("wandb.login", "key", "WANDB_API_KEY"),
    "comet_ml.login": ("comet_ml.login", "api_key", "COMET_API_KEY"),
}
_GET_FILE = re.compile(
    r"(?:tensorflow\.)?keras\.utils\.get_file|tensorflow\.keras\.utils\.get_file|tf_keras\.utils\.get_file"
)
_BROAD = frozenset(("Exception", "BaseException", "OSError", "IOError", "EnvironmentError"))
_OF_IMPORTS = frozenset(("ImportError", "ModuleNotFoundError"))
_ANSWERS = frozenset(("token", "key", "api_key", "anonymous", None))
_URLRETRIEVE = frozenset(("urllib.request.urlretrieve", "urllib.urlretrieve", "six.moves.urllib.request.urlretrieve"))


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """A place of a cell and what stands there now."""

    kind: str
    node: ast.AST
    text: str
    uses: str = ""


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A call that stays, and why."""

    kind: str
    node: ast.AST
    reason: str
    works: bool = False


def read(cell: Cell, context: Context) -> list[Rewrite | Stay]:
    """Find the calls of a cell that set up."""
    rewrites: list[Rewrite | Stay] = []
    if cell.tree is None:
        return rewrites
    guarded, caught = guarded_nodes(cell.tree), _caught(cell.tree)
    statements = {id(node.value): node for node in ast.walk(cell.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(cell.tree):
        if isinstance(node, ast.Call):
            one = _read_call(node, cell, context, is_statement=id(node) in statements)
            if (
                isinstance(one, Rewrite)
                and id(node) in guarded
                and context.dotted(node.func).startswith("google.colab")
            ):
                reason = "the notebook itself looks whether Colab is there"
                one = Stay(kind=one.kind, node=node, reason=reason, works=True)
            if isinstance(one, Rewrite) and id(node) in caught:
                reason = "the notebook catches an error of its own here, which colabkit does not raise"
                one = Stay(kind=one.kind, node=node, reason=reason, works=one.kind == "fetch")
            if one is not None:
                rewrites.append(one)
    return rewrites


def _caught(tree: ast.Module) -> set[int]:
    """Return the ids of the nodes in a `try` that catches errors by names of their own, as urllib's HTTPError."""
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    kinds = [{_last_name(handler.type) for handler in node.handlers} - _OF_IMPORTS for node in tries]
    bodies = [node.body for node, names in zip(tries, kinds, strict=True) if names and not names & _BROAD]
    return {id(node) for body in bodies for statement in body for node in ast.walk(statement)}


def _last_name(kind: ast.expr | None) -> str:
    """Return the name of an error as it is caught, "HTTPError" of `urllib.error.HTTPError`; of several, a broad one."""
    if isinstance(kind, ast.Tuple):
        names = {_last_name(error) for error in kind.elts}
        return next(iter(names & _BROAD or names - _OF_IMPORTS or names), "")
    return ast.unparse(kind).rpartition(".")[2] if kind is not None else "Exception"


def _read_call(node: ast.Call, cell: Cell, context: Context, *, is_statement: bool) -> Rewrite | Stay | None:
    name = context.dotted(node.func)
    if name == "google.colab.drive.mount":
        return Rewrite(kind="drive", node=node.func, text=f"{context.alias}.drive.mount")
    if name == "google.colab.drive.flush_and_unmount" and not node.args and not node.keywords:
        return Rewrite(kind="drive", node=node.func, text=f"{context.alias}.drive.unmount")
    if name == "google.colab.userdata.get" and len(node.args) == 1 and not node.keywords:
        return Rewrite(kind="secret", node=node.func, text=f"{context.alias}.secret")
    if _is_kaggle_secret(node, context):
        return Rewrite(kind="secret", node=node.func, text=f"{context.alias}.secret")
    if name in _KEEPS:
        kind, reason = _KEEPS[name]
        return Stay(kind=kind, node=node, reason=reason, works=True)
    if name in _LOGINS and not node.args and not {keyword.arg for keyword in node.keywords} & _ANSWERS:
        verb, argument, key = _LOGINS[name]
        reason = f'it asks, and nobody may be there: write {verb}({argument}={context.alias}.secret("{key}"))'
        return Stay(kind="secret", node=node, reason=reason)
    if _GET_FILE.fullmatch(name) or (name.endswith(".utils.get_file") and name.startswith(("keras", "tensorflow"))):
        return Stay(kind="fetch", node=node, reason="it works everywhere", works=True)
    if _RUNS.fullmatch(name) and commands.SETUP_WITHIN.search(_line(node)):
        return Stay(kind="system", node=node, reason="Python runs it: write it as a ! line, and port again")
    maker = _MAKERS.get(name) or (_urlretrieve if name in _URLRETRIEVE else None)
    if maker is None:
        return None
    try:
        text = maker(node, cell, context)
    except _NoWayError as error:
        return Stay(kind="fetch", node=node, reason=str(error), works=True)
    if maker is _urlretrieve and not is_statement:
        return Stay(kind="fetch", node=node, reason="its result is a pair; it works everywhere", works=True)
    return Rewrite(kind="fetch", node=node, text=text if is_statement else f"str({text})")


def _line(node: ast.Call) -> str:
    """Return the line that a call runs in a shell, or the words of a program, as far as they are written."""
    given = node.args[0] if node.args else None
    words = given.elts if isinstance(given, (ast.List, ast.Tuple)) else [given]
    return " ".join(str(word.value) if isinstance(word, ast.Constant) else "python" for word in words)


class _NoWayError(Exception):
    pass


def _arguments(node: ast.Call, names: tuple[str, ...], ignored: tuple[str, ...] = ()) -> dict[str, ast.expr]:
    """Return the arguments by name.

    Raises:
        _NoWayError: There are others.
    """
    if any(isinstance(one, ast.Starred) for one in node.args) or len(node.args) > len(names):
        raise _NoWayError("its arguments are not plain")
    given = dict(zip(names, node.args, strict=False))
    for keyword in node.keywords:
        if keyword.arg in ignored:
            continue
        if keyword.arg is None or keyword.arg not in names:
            raise _NoWayError(f"{keyword.arg or '**'}= has no counterpart")
        given[keyword.arg] = keyword.value
    return {name: value for name, value in given.items() if not _is_none(value)}


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _fetch(source: str, to: str, context: Context) -> str:
    return f"{context.alias}.fetch({source}{', ' + to if to else ''}{context.keeping})"


def _checked(node: ast.expr, context: Context) -> None:
    text = (
        node.value
        if isinstance(node, ast.Constant)
        else context.strings.get(node.id)
        if isinstance(node, ast.Name)
        else None
    )
    if not isinstance(text, str):
        return
    try:
        registry.open_source(text)
    except ColabKitError as error:
        raise _NoWayError(error.why or error.what) from None


def _gdown(node: ast.Call, cell: Cell, context: Context) -> str:
    given = (
        _arguments(node, ("url", "output"), ("quiet", "fuzzy", "resume", "use_cookies", "verify", "proxy", "speed"))
        if not any(keyword.arg == "id" for keyword in node.keywords)
        else _arguments(node, ("id_", "output", "id"), ("quiet", "fuzzy", "resume", "use_cookies"))
    )
    to = cell.text(given["output"]) if "output" in given else '"./"'
    if "id" in given:
        source = given["id"]
        if isinstance(source, ast.Constant) and isinstance(source.value, str) and _DRIVE_ID.fullmatch(source.value):
            return _fetch(repr(f"https://drive.google.com/uc?id={source.value}"), to, context)
        return _fetch(f'f"https://drive.google.com/uc?id={{{cell.text(source)}}}"', to, context)
    if "url" not in given:
        raise _NoWayError("it names no address")
    _checked(given["url"], context)
    return _fetch(cell.text(given["url"]), to, context)


def _gdown_folder(node: ast.Call, cell: Cell, context: Context) -> str:
    given = _arguments(node, ("url", "id", "output"), ("quiet", "use_cookies", "remaining_ok"))
    if "url" not in given:
        raise _NoWayError("it names no address")
    return _fetch(cell.text(given["url"]), cell.text(given["output"]) if "output" in given else "", context)


def _kagglehub(prefix: str):  # type: ignore[no-untyped-def]
    def make(node: ast.Call, cell: Cell, context: Context) -> str:
        given = _arguments(node, ("handle", "path", "output_dir"), ("force_download",))
        handle, path = given["handle"], given.get("path")
        to = cell.text(given["output_dir"]) if "output_dir" in given else ""
        if isinstance(handle, ast.Constant) and isinstance(handle.value, str):
            text = f"kaggle:{prefix}{handle.value}"
            if path is None:
                return _fetch(repr(text).replace("'", '"'), to, context)
            if isinstance(path, ast.Constant) and isinstance(path.value, str):
                return _fetch(repr(f"{text}/{path.value}").replace("'", '"'), to, context)
            return _fetch(f'f"{text}/{{{cell.text(path)}}}"', to, context)
        if not isinstance(handle, ast.Name) or path is not None:
            raise _NoWayError("its name is made by code")
        return _fetch(f'f"kaggle:{prefix}{{{handle.id}}}"', to, context)

    return make


def _opendatasets(node: ast.Call, cell: Cell, context: Context) -> str:
    given = _arguments(node, ("dataset_id_or_url", "data_dir"), ("force", "dry_run"))
    source = given["dataset_id_or_url"]
    if isinstance(source, ast.Constant) and not str(source.value).startswith("http"):
        raise _NoWayError("it is a name of opendatasets' own")
    _checked(source, context)
    to = cell.text(given["data_dir"]) if "data_dir" in given else '"./"'
    return _fetch(cell.text(source), to, context)


def _urlretrieve(node: ast.Call, cell: Cell, context: Context) -> str:
    given = _arguments(node, ("url", "filename"), ("reporthook",))
    if "filename" not in given:
        raise _NoWayError("it works everywhere")
    _checked(given["url"], context)
    return _fetch(cell.text(given["url"]), cell.text(given["filename"]), context)


def _wget_module(node: ast.Call, cell: Cell, context: Context) -> str:
    given = _arguments(node, ("url", "out"), ("bar",))
    _checked(given["url"], context)
    return _fetch(cell.text(given["url"]), cell.text(given["out"]) if "out" in given else '"./"', context)


_MAKERS = {
    "gdown.download": _gdown,
    "gdown.download_folder": _gdown_folder,
    "kagglehub.dataset_download": _kagglehub(""),
    "kagglehub.competition_download": _kagglehub("competitions/"),
    "kagglehub.model_download": _kagglehub("models/"),
    "opendatasets.download": _opendatasets,
    "wget.download": _wget_module,
}


def _is_kaggle_secret(node: ast.Call, context: Context) -> bool:
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "get_secret" and len(node.args) == 1):
        return False
    owner = node.func.value
    made = context.dotted(owner.func) if isinstance(owner, ast.Call) else context.made_by.get(getattr(owner, "id", ""))
    return made == KAGGLE_CLIENT
