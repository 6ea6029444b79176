"""Pasted calls of Python's download functions, as gdown.download(...): read, never run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from colabkit._engine.source import ParsedSource
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable

BEGINS = r"\s*[!%]?\s*(?:[\w., ]+=\s*)?(?:await\s+)?[A-Za-z_][\w.]*\s*\("
"""What a call begins with; `is_call` decides by its name."""

_LONGEST = 4000


@dataclass(frozen=True, kw_only=True)
class Call:
    """One function.

    Attributes:
        names: Its parameters in their order, as far as they count; "*" is one that changes nothing here.
        read: Makes an order of those that are given.
        ignored: Parameters by name that change nothing about which bytes arrive, or where they lie.
    """

    names: tuple[str, ...]
    read: Callable[[dict[str, Any]], ParsedSource]
    ignored: frozenset[str] = frozenset()


def is_call(text: str) -> bool:
    """Say whether a text is a call of a function that downloads.

    Example:
        >>> is_call('path = gdown.download(id="1abc", output="a.zip")'), is_call("print(1)")
        (True, False)
    """
    match = re.match(BEGINS, text)
    return match is not None and _function(match[0]) in _CALLS


def _function(begins: str) -> str:
    name = begins.rstrip("( \t").rpartition("=")[2].strip().removeprefix("await ").split()[-1]
    parts = name.split(".")
    return next((".".join(parts[-size:]) for size in (2, 1) if ".".join(parts[-size:]) in _CALLS), name)


def open_source(text: str) -> ParsedSource:
    """Read a call whose arguments are written out.

    Raises:
        AddressError: It cannot be read, or holds a variable; the message has the line to write.

    Example:
        >>> open_source('gdown.download(id="1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2", output="a.csv", quiet=False)').to
        'a.csv'
    """
    match = re.match(BEGINS, text)
    function = _function(match[0]) if match is not None else ""
    call = _CALLS[function]
    arguments = _arguments(text.strip().lstrip("!% "), function)
    nodes: dict[str, ast.expr] = {}
    for name, node in arguments:
        key = call.names[name] if isinstance(name, int) and name < len(call.names) else name
        if key == "*" or key in call.ignored:
            continue
        if key not in call.names:
            raise AddressError(
                f"the pasted {function}() has {key!r}, which fetch does not do",
                why="it may change which bytes arrive",
                hint="leave it out if it does not matter, or write ck.fetch(SOURCE, to=PLACE)",
            )
        nodes[str(key)] = node
    given = _values(nodes, function, call)
    return call.read({name: value for name, value in given.items() if value is not None})


def _arguments(text: str, function: str) -> list[tuple[int | str, ast.expr]]:
    try:
        body = _parsed(text[:_LONGEST]).body
        node: Any = body[0]
        value = node.value if isinstance(node, ast.Assign | ast.Expr) and len(body) == 1 else None
        value = value.value if isinstance(value, ast.Await) else value
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        value = None
    if not isinstance(value, ast.Call) or any(isinstance(argument, ast.Starred) for argument in value.args):
        raise AddressError(
            f"the pasted {function}() cannot be read",
            why="it is read, never run, so only one plain call can be understood",
            hint="write ck.fetch(SOURCE, to=PLACE)",
        )
    return [*enumerate(value.args), *((keyword.arg or "**", keyword.value) for keyword in value.keywords)]


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a text that is not run
        return ast.parse(text)


def _values(nodes: dict[str, ast.expr], function: str, call: Call) -> dict[str, Any]:
    values, variables = {}, []
    for name, node in nodes.items():
        try:
            values[name] = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            variables.append(ast.unparse(node)[:60])
    if not variables:
        return values
    raise AddressError(
        f"the pasted {function}() holds the variable {', '.join(variables)}",
        why="a pasted call is read, never run, so its value is not known here",
        hint=_as_a_text(nodes, values, function, call),
    )


def _as_a_text(nodes: dict[str, ast.expr], values: dict[str, Any], function: str, call: Call) -> str:
    """Give the line to write: the call as an f-string, in which each variable stands in braces."""
    if call.read in (_web, _web_here, _requests):
        address, *place = [ast.unparse(nodes[name]) for name in call.names if name in nodes]
        where = f", to={place[0]}" if place else ', to="."' if call.read is _web_here else ""
        return f"write it as: ck.fetch({address}{where})"
    arguments: list[str] = []
    for name, node in nodes.items():
        if name in values:
            text = repr(values[name]).replace("{", "{{").replace("}", "}}")
        else:
            text = ast.unparse(node)
            text = text[1:] if isinstance(node, ast.JoinedStr) else f"'{{{text}}}'"
        arguments.append(text if name == call.names[0] and not arguments else f"{name}={text}")
    line = f"{function}({', '.join(arguments)})"
    if {'"', "\\", "\n"} & set(line) or any(isinstance(node, ast.Dict | ast.Set) for node in nodes.values()):
        return "give its parts names, and write it as an f-string: " + f"ck.fetch(f\"{function}('{{name}}')\")"
    return f'write it as an f-string: ck.fetch(f"{line}")'


# ---- the functions ----


def _gdown(given: dict[str, Any]) -> ParsedSource:
    gdown = importlib.import_module("colabkit.transfer.commands.gdown")
    source = gdown.source_of(_text(given, "url", "id"), ending=given.get("format", ""))
    order: ParsedSource = gdown.placed(source, given.get("output", ""))
    return _hashed(order, given.get("hash") or (f"md5:{given['md5']}" if "md5" in given else ""))


def _gdown_folder(given: dict[str, Any]) -> ParsedSource:
    gdown = importlib.import_module("colabkit.transfer.commands.gdown")
    order: ParsedSource = gdown.placed(gdown.source_of(_text(given, "url", "id"), folder=True), given.get("output", ""))
    return order


def _hashed(order: ParsedSource, checksum: str) -> ParsedSource:
    return replace(order, checksum=checksum) if checksum else order


def _kaggle(kind: str) -> Callable[[dict[str, Any]], ParsedSource]:
    def read(given: dict[str, Any]) -> ParsedSource:
        kaggle = importlib.import_module("colabkit._clients.kaggle.handle")
        source = importlib.import_module("colabkit.transfer.sources.kaggle")
        text = _text(given, "handle")
        handle = kaggle.parse(f"kaggle:{kind}/{text}")
        if path := given.get("path", ""):
            handle = kaggle.with_file(text, handle, path)
        to = given.get("output_dir")
        again = bool(given.get("force_download"))
        is_folder = not handle.file
        return ParsedSource(
            source=source.KaggleSource(handle),
            to=to,
            placing="as named" if to is None else "contents" if is_folder else "folder",
            unpack=is_folder or None,
            again=again,
        )

    return read


def _hub_file(given: dict[str, Any]) -> ParsedSource:
    return _hub(given, [_text(given, "filename")])


def _hub_all(given: dict[str, Any]) -> ParsedSource:
    return _hub(given, [])


def _hub(given: dict[str, Any], files: list[str]) -> ParsedSource:
    hf = importlib.import_module("colabkit.transfer.commands.hf")
    words = ["hf", "download", _text(given, "repo_id")]
    words += [f"{given['subfolder']}/{file}" if given.get("subfolder") else file for file in files]
    for name, option in (("repo_type", "--repo-type"), ("revision", "--revision"), ("local_dir", "--local-dir")):
        if given.get(name):
            words += [option, str(given[name])]
    for name, option in (("allow_patterns", "--include"), ("ignore_patterns", "--exclude")):
        patterns = given.get(name) or []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            words += [option, str(pattern)]
    if given.get("force_download"):
        words.append("--force-download")
    order: ParsedSource = hf.read(words)
    return order


def _web(given: dict[str, Any]) -> ParsedSource:
    registry = importlib.import_module("colabkit.transfer.sources.registry")
    order: ParsedSource = registry.open_source(_text(given, "url"))
    to = given.get("to")
    folder = given.get("folder")
    if folder is not None:
        named = to or ""
        return replace(
            order,
            to=os.path.join(folder, named) if named else folder,  # noqa: PTH118 - as it is written
            placing="file" if named else "folder",
            unpack=False,
        )
    if to is None:
        return order
    return replace(order, to=to, placing="as named", unpack=False)


def _web_here(given: dict[str, Any]) -> ParsedSource:
    """Read a call that puts the file into the present folder unless it is told otherwise."""
    return _web(given if "to" in given else {**given, "folder": "."})


def _page_of_kaggle(given: dict[str, Any]) -> ParsedSource:
    order = _web(given)
    return replace(order, to=given.get("data_dir") or ".", placing="folder", unpack=True)


def _keras(given: dict[str, Any]) -> ParsedSource:
    """Read keras.utils.get_file: its cache is its own, so without a place ours is used."""
    order = _web({"url": _text(given, "origin", "url")})
    checksum = given.get("file_hash") or given.get("md5_hash") or ""
    if checksum and len(checksum) in (32, 64):
        order = replace(order, checksum=f"{'md5' if len(checksum) == 32 else 'sha256'}:{checksum}")
    unpack = bool(given.get("extract") or given.get("untar"))
    if not given.get("cache_dir"):
        return replace(order, unpack=unpack)
    folder = os.path.join(given["cache_dir"], given.get("cache_subdir", "datasets"))  # noqa: PTH118 - as it is written
    return replace(order, to=folder, placing="folder", unpack=unpack)


def _login(_: dict[str, Any]) -> ParsedSource:
    raise AddressError(
        "a login fetches nothing",
        why="tokens are found where each service's own programs keep them, and in the notebook's secrets",
        hint="put one into the secret KAGGLE_API_TOKEN or HF_TOKEN",
    )


def refuse_code(text: str) -> None:
    """Refuse a line of Python that is none of these calls, instead of looking for a file of that name.

    Raises:
        AddressError: It is one.
    """
    if "(" not in text or len(text) > _LONGEST:
        return
    try:
        tree = _parsed(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    if any(isinstance(node, ast.Call) for node in ast.walk(tree)):
        raise AddressError(
            f"{text.strip().partition('(')[0][:80]!r} is a line of Python",
            why="it is neither run nor one of the calls that can be read, and there is no file of that name",
            hint="pass the address that it downloads from: ck.fetch(ADDRESS, to=PLACE)",
        )


def _load_dataset(given: dict[str, Any]) -> ParsedSource:
    name = _text(given, "path")
    raise AddressError(
        "load_dataset() reads a dataset into memory, which fetch does not",
        why="fetch brings files",
        hint=f'its files are brought by ck.fetch("hf:datasets/{name}"); or run load_dataset as it is',
    )


def _requests(given: dict[str, Any]) -> ParsedSource:
    return _web(given)


def _text(given: dict[str, Any], *names: str) -> str:
    value = next((given[name] for name in names if given.get(name)), None)
    if not isinstance(value, str):
        raise AddressError("the pasted call names nothing to fetch", hint="write ck.fetch(SOURCE, to=PLACE)")
    return value


_QUIET = frozenset({"quiet", "fuzzy", "use_cookies", "resume", "remaining_ok", "proxy", "speed", "verify", "bar"})
_HUB = frozenset(
    {"token", "use_auth_token", "local_dir_use_symlinks", "resume_download", "max_workers", "library_name"}
)
_SNAPSHOT = ("repo_id", "repo_type", "revision", "local_dir", "allow_patterns", "ignore_patterns", "force_download")
_CALLS: dict[str, Call] = {
    "gdown.download": Call(
        names=("url", "output", "quiet", "proxy", "speed", "id", "format"), read=_gdown, ignored=_QUIET
    ),
    "gdown.cached_download": Call(names=("url", "output", "md5", "hash", "id"), read=_gdown, ignored=_QUIET),
    "gdown.download_folder": Call(names=("url", "id", "output"), read=_gdown_folder, ignored=_QUIET),
    "kagglehub.dataset_download": Call(
        names=("handle", "path", "force_download", "output_dir"), read=_kaggle("datasets")
    ),
    "kagglehub.competition_download": Call(
        names=("handle", "path", "force_download", "output_dir"), read=_kaggle("competitions")
    ),
    "kagglehub.model_download": Call(names=("handle", "path", "force_download", "output_dir"), read=_kaggle("models")),
    "kagglehub.notebook_output_download": Call(
        names=("handle", "path", "force_download", "output_dir"), read=_kaggle("code")
    ),
    "hf_hub_download": Call(
        names=("repo_id", "filename", "subfolder", "repo_type", "revision", "local_dir", "force_download"),
        read=_hub_file,
        ignored=_HUB,
    ),
    "snapshot_download": Call(names=_SNAPSHOT, read=_hub_all, ignored=_HUB),
    "utils.get_file": Call(
        names=(
            *("fname", "origin", "untar", "md5_hash", "file_hash", "cache_subdir", "hash_algorithm", "extract"),
            *("archive_format", "cache_dir"),
        ),
        read=_keras,
    ),
    "kagglehub.login": Call(names=(), read=_login),
    "load_dataset": Call(names=("path",), read=_load_dataset, ignored=frozenset({"name", "split", "streaming"})),
    "urlretrieve": Call(names=("url", "to"), read=_web),
    "wget.download": Call(names=("url", "to"), read=_web_here, ignored=frozenset({"bar"})),
    "od.download": Call(names=("url", "data_dir"), read=_page_of_kaggle, ignored=frozenset({"force", "dry_run"})),
    "opendatasets.download": Call(names=("url", "data_dir"), read=_page_of_kaggle, ignored=frozenset({"force"})),
    "torch.hub.download_url_to_file": Call(names=("url", "to"), read=_web, ignored=frozenset({"progress"})),
    "requests.get": Call(names=("url",), read=_requests, ignored=frozenset({"stream", "timeout", "allow_redirects"})),
}
_CALLS["hub.download_url_to_file"] = _CALLS["torch.hub.download_url_to_file"]
