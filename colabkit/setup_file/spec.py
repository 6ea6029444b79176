"""What a set-up asks for, checked: every value that comes from a file is hostile until it went through here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

from colabkit._internal.disk import working_dir
from colabkit._internal.disk.paths import expand, path_text
from colabkit._internal.foreign import reading
from colabkit.errors import ColabKitError, SetupFileError
from colabkit.setup_file import clear_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.setup_file.manifest import Document

AcceleratorKind = Literal["gpu", "tpu", "any"]

_LONGEST = 16_384  # letters of a value; patterns look through a long one for too long
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_WHERE = ("drive:", "gs://", "hf:")
_INPUT = Path("/kaggle/input")
"""Where Kaggle mounts the data that the notebook's owner added; nothing else of a machine lies there."""

_HIDE = "the file is shared with the notebook, and so is what stands in it"
_RUNS = "code from an address that nobody vouches for would run here"
_TRUST = "if you trust this set-up, pass trusted=True (in a shell: colabkit setup --trusted); or pass it as an argument"
_NEED_SECRETS = 'write the name of the secret under `secrets`, and read it by ck.secret("NAME")'


@dataclass(frozen=True, kw_only=True)
class Data:
    """One source.

    Attributes:
        name: What the set-up calls it.
        source: What `fetch` is given.
        to: Where it goes; the cache when None.
        checksum: What the file must have, as "sha256:HEX".
        unpack: As for `fetch`.
        below: The folder that a pasted command is meant to run in; None is the present one.
        keep: Where it is kept for later sessions; None keeps it nowhere.
    """

    name: str
    source: str
    to: str | None = None
    checksum: str | None = None
    unpack: bool | Literal["auto"] = "auto"
    below: str | None = None
    keep: str | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A whole set-up.

    Attributes:
        origin: Where it was written.
        python: The versions of Python that it is for, as in `requires-python`.
        packages: Requirements.
        lock: The lock file: restored where it exists, written where it does not.
        secrets: Names of secrets that must be there.
        drive: Whether Google Drive must be mounted.
        data: The sources.
        accelerator: What to train on; None when it does not matter.
        run: Where the run lives.
    """

    origin: str = "the arguments"
    python: str | None = None
    packages: tuple[str, ...] = ()
    lock: Path | None = None
    secrets: tuple[str, ...] = ()
    drive: bool = False
    data: tuple[Data, ...] = ()
    accelerator: AcceleratorKind | None = None
    run: str | None = None


KEYS: dict[str, str] = {
    "accelerator": 'one of "gpu", "tpu", "any"',
    "data": "a table of sources",
    "drive": "true or false",
    "lock": "a path",
    "packages": "a list of requirements",
    "python": 'versions, such as ">=3.11"',
    "run": "a folder, or an address such as drive:runs/digits",
    "secrets": "a list of names",
}
"""Every key of a set-up, and what it takes."""

_BLOCK_KEYS = ("dependencies", "requires-python", "tool")
_DATA_KEYS = ("checksum", "keep", "source", "to", "unpack")


def read(sheet: Document) -> Spec:
    """Check a set-up that is written somewhere.

    Raises:
        SetupFileError: An unknown key, a wrong type, a secret in clear text, a path that climbs; with the line.
    """
    values = _flat(sheet)
    for name in values:
        if name not in KEYS:
            raise _unknown(sheet, name, KEYS)
    _refuse_clear_text(sheet, values)
    with reading(lambda why: SetupFileError(f"{sheet.origin} cannot be read", why=why, hint="write it flat")):
        return Spec(
            origin=sheet.origin,
            python=_python(sheet, values),
            packages=_packages(sheet, values),
            lock=_lock(sheet, values),
            secrets=_secrets(sheet, values),
            drive=_typed(sheet, values, "drive", bool, default=False),
            data=tuple(_data(sheet, values)),
            accelerator=_accelerator(sheet, values),
            run=_run(sheet, values),
        )


def from_arguments(base: Spec | None, given: Mapping[str, Any]) -> Spec:
    """Make a set-up of arguments; what is given takes the place of what the file says.

    Raises:
        SetupFileError: An argument of a wrong type.
    """
    from colabkit.setup_file.manifest import Document

    values = dict(given)
    sheet = Document(origin="the arguments", folder=working_dir.current(), values=values, text="", is_trusted=True)
    spec = base or Spec()
    changes: dict[str, Any] = {}
    if "packages" in values:
        changes["packages"] = _packages(sheet, {"packages": _listed(values["packages"])})
    if "lock" in values:
        changes["lock"] = expand(values["lock"])
    if "secrets" in values:
        changes["secrets"] = _secrets(sheet, {"secrets": _listed(values["secrets"])})
    if "drive" in values:
        changes["drive"] = _typed(sheet, values, "drive", bool, default=False)
    if "data" in values:
        changes["data"] = tuple(_data(sheet, {"data": _named(values["data"])}, inside=False))
    if "accelerator" in values:
        changes["accelerator"] = _accelerator(sheet, values)
    if "run" in values:
        changes["run"] = path_text(values["run"])
    if base is not None and changes:
        changes["origin"] = f"{base.origin} and the arguments"
    return Spec(**{**vars(spec), **changes})


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple | list) else value


def _named(value: Any) -> Any:
    """Name sources that were given without names by their place."""
    if isinstance(value, str | Path):
        return {"data": str(value)}
    if isinstance(value, list | tuple):
        return {
            f"data-{number}": str(source) if isinstance(source, Path) else source
            for number, source in enumerate(value, 1)
        }
    if isinstance(value, Mapping):
        return {name: str(source) if isinstance(source, Path) else source for name, source in value.items()}
    return value


def _flat(sheet: Document) -> dict[str, Any]:
    """Bring the two ways of writing a set-up to one: what PEP 723 has words for has its own keys there."""
    if not sheet.is_block:
        return dict(sheet.values)
    for name in sheet.values:
        if name not in _BLOCK_KEYS:
            raise _unknown(sheet, name, _BLOCK_KEYS, hint="colabkit's own keys belong below a line [tool.colabkit]")
    tools = _typed(sheet, sheet.values, "tool", dict, default={})
    own: dict[str, Any] = dict(_typed(sheet, tools, "colabkit", dict, default={}))
    for theirs, ours in (("dependencies", "packages"), ("requires-python", "python")):
        if theirs in sheet.values:
            if ours in own:
                raise sheet.fault(ours, f"{ours} appears twice", why=f"in a block it is called {theirs}")
            own[ours] = sheet.values[theirs]
    return own


def _unknown(sheet: Document, name: str, keys: Any, *, hint: str = "") -> SetupFileError:
    display = name if re.fullmatch(r"[\w-]{1,40}", name) and not clear_text.secret_in(name) else "of that name"
    close = difflib.get_close_matches(name, list(keys), 1)
    why = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(keys)}"
    return sheet.fault(name, f"there is no key {display}", why=f"{why}; {hint}" if hint else why)


def _typed(sheet: Document, values: Mapping[str, Any], name: str, kind: type, *, default: Any = None) -> Any:
    value = values.get(name, default)
    if value is not default and not isinstance(value, kind):
        raise sheet.fault(name, f"{name} is {_kind(value)}", why=f"it takes {KEYS.get(name, 'a table')}")
    return value


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return kinds.get(type(value), f"a value of the type {type(value).__name__}")


def _texts(sheet: Document, values: Mapping[str, Any], name: str) -> list[str]:
    texts: list[Any] = _typed(sheet, values, name, list, default=[])
    for item in texts:
        if not isinstance(item, str) or not item.strip():
            raise sheet.fault(name, f"{name} holds {_kind(item)}", why=f"it takes {KEYS[name]}, each a text")
    return texts


def _packages(sheet: Document, values: Mapping[str, Any]) -> tuple[str, ...]:
    from colabkit.packages.request.requirements_file import is_file, masked, read

    texts = _texts(sheet, values, "packages")
    for text in texts:
        if is_file(text):
            raise sheet.fault("packages", f"packages names the file {text}", why="a file belongs under `lock`")
        try:
            requirement = read(text)
        except ColabKitError as error:
            raise sheet.fault("packages", error.what, why=error.why, do=error.do) from error
        if requirement.need.url is not None and not sheet.is_trusted:
            raise sheet.fault("packages", f"packages names an address, {masked(text)}", why=_RUNS, do=_TRUST)
    return tuple(texts)


def _python(sheet: Document, values: Mapping[str, Any]) -> str | None:
    from colabkit.packages.request.requirement import read_need

    text: str | None = _typed(sheet, values, "python", str)
    if text is not None:
        try:
            read_need(f"python {text}")
        except ValueError as error:
            raise sheet.fault("python", f"{text[:60]!r} names no versions", why='write it like ">=3.11"') from error
    return text


def _lock(sheet: Document, values: Mapping[str, Any]) -> Path | None:
    from colabkit.packages.request.requirements_file import is_file

    text: str | None = _typed(sheet, values, "lock", str)
    if text is None:
        return None
    if not is_file(text):
        raise sheet.fault("lock", f"{text[:60]!r} is not a name of a lock", why="it ends in .lock or .txt")
    path = sheet.folder / _inside(sheet, "lock", text)
    if not sheet.is_trusted and (address := _address_in(path)):
        raise sheet.fault("lock", f"{text} names an address, {address}", why=_RUNS, do=_TRUST)
    return path


def _address_in(lock: Path) -> str:
    from colabkit.packages.request.requirements_file import masked

    try:
        lines = lock.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""  # it is not there yet, or is refused when it is read
    suspects = (line.strip() for line in lines if "://" in line or " @ " in line)
    return next((masked(line)[:100] for line in suspects if not line.startswith("#")), "")


def _secrets(sheet: Document, values: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(values.get("secrets"), dict):
        raise sheet.fault("secrets", "secrets is a table", why=f"it lists names only: {_HIDE}", do=_NEED_SECRETS)
    texts = _texts(sheet, values, "secrets")
    if not all(map(clear_text.is_name, texts)):
        raise sheet.fault(
            "secrets",
            "secrets holds something that is not a name",
            why=f"a name has letters, digits and underscores, as KAGGLE_API_TOKEN; if it is the secret itself: {_HIDE}",
            do=_NEED_SECRETS,
        )
    return tuple(dict.fromkeys(texts))


def _accelerator(sheet: Document, values: Mapping[str, Any]) -> AcceleratorKind | None:
    text: AcceleratorKind | None = _typed(sheet, values, "accelerator", str)
    if text is not None and text not in get_args(AcceleratorKind):
        raise sheet.fault("accelerator", f"no accelerator {str(text)[:40]!r}", why=f"it takes {KEYS['accelerator']}")
    return text


def _run(sheet: Document, values: Mapping[str, Any]) -> str | None:
    text: str | None = _typed(sheet, values, "run", str)
    if text is None:
        return None
    begins = next((start for start in _WHERE if text.startswith(start)), None)
    if begins is not None:
        _inside(sheet, "run", text.removeprefix(begins), is_local=False)
        return text
    return str(sheet.folder / _inside(sheet, "run", text))


def _data(sheet: Document, values: Mapping[str, Any], *, inside: bool = True) -> Iterator[Data]:
    table = _typed(sheet, values, "data", dict, default={})
    for name, value in table.items():
        entry = {"source": value} if isinstance(value, str) else value
        if not isinstance(entry, Mapping):
            raise sheet.fault(name, f"data.{name} is {_kind(value)}", why="it takes a source, or a table with source")
        for key in entry:
            if key not in _DATA_KEYS:
                raise _unknown(sheet, key, _DATA_KEYS)
        yield _data_entry(sheet, name, entry, inside=inside)


def _data_entry(sheet: Document, name: str, entry: Mapping[str, Any], *, inside: bool) -> Data:
    from colabkit._internal.disk.checksum import parse
    from colabkit.transfer.sources.registry import open_source

    for key, kinds in (("source", str), ("to", str), ("checksum", str), ("keep", str), ("unpack", bool)):
        if key in entry and not isinstance(entry[key], kinds) and entry[key] != "auto":
            raise sheet.fault(key, f"data.{name}.{key} is {_kind(entry[key])}", why=f"it takes {_DATA_TAKES[key]}")
    source, to, checksum = entry.get("source", ""), entry.get("to"), entry.get("checksum")
    if not source.strip():
        raise sheet.fault(name, f"data.{name} has no source")
    try:
        order = open_source(source).alone()
        if checksum is not None:
            parse(checksum)
    except ColabKitError as error:
        raise sheet.fault(name, f"data.{name}: {error.what}", why=error.why, do=error.do) from error
    if inside and isinstance(order.source, Path):
        place = sheet.folder / order.source.expanduser()
        if not sheet.is_trusted and not place.is_relative_to(_INPUT):
            _check_inside(sheet, name, place, f"data.{name} is {source[:100]!r}")
        if not order.source.is_absolute():
            source = str(place)
    below = None
    if inside and to is None and (places := order.places()):
        _all_inside(sheet, name, places)
        below = str(sheet.folder)
    if to is not None and inside:
        ends = "/" if to.endswith("/") else ""
        to = f"{sheet.folder / _inside(sheet, 'to', to)}{ends}"
    unpack = entry.get("unpack", "auto")
    keep = entry.get("keep")
    if keep and inside and not _KEEPS.match(keep):
        keep = str(sheet.folder / _inside(sheet, "keep", keep))
    return Data(name=name, source=source, to=to, checksum=checksum, unpack=unpack, below=below, keep=keep)


_KEEPS = re.compile(r"(?:drive|gs):")
_DATA_TAKES = {
    "source": "a source",
    "to": "a path",
    "checksum": "sha256:HEX",
    "keep": 'a place, as in "drive:data"',
    "unpack": 'true, false or "auto"',
}


def _all_inside(sheet: Document, key: str, texts: list[str]) -> None:
    for text in texts:
        _inside(sheet, key, text)


def _inside(sheet: Document, key: str, text: str, *, is_local: bool = True) -> str:
    """Refuse a path that leaves the folder: a file from elsewhere must not choose what of this machine is written."""
    path = PurePosixPath(text.replace("\\", "/"))
    if sheet.is_trusted and text.strip():
        return str(expand(text))
    climbs = ".." in path.parts or path.is_absolute() or text.startswith("~") or _ADDRESS.match(text) or "\0" in text
    if climbs or not text.strip():
        raise sheet.fault(
            key,
            f"{key} is {text[:100]!r}, which leaves the folder of the set-up" if text.strip() else f"{key} is empty",
            why="a set-up writes below its own folder only",
            do="write a path without .. in it; elsewhere, pass it as an argument: ck.setup(...)",
        )
    if is_local:
        _check_inside(sheet, key, sheet.folder / text, f"{key} is {text[:100]!r}")
    return text


def _check_inside(sheet: Document, key: str, path: Path, what: str) -> None:
    """Refuse a place that is outside of the set-up's folder once every `..` and every link is followed."""
    try:
        is_inside = path.resolve().is_relative_to(sheet.folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        is_inside = False
    if not is_inside:
        raise sheet.fault(
            key,
            f"{what}, which leads out of the folder of the set-up",
            why="a set-up reads and writes below its own folder only; links count as what they lead to",
            do=_TRUST,
        )


def _refuse_clear_text(sheet: Document, value: Any, key: str = "") -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        _refuse_clear_text(sheet, item, key if isinstance(name, int) else str(name))
    if isinstance(value, str) and len(value) > _LONGEST:
        raise sheet.fault(
            key, f"{key} has {len(value):,} letters", why=f"none needs more than {_LONGEST:,}", do="shorten it"
        )
    if isinstance(value, str) and key not in ("checksum", "secrets") and (kind := clear_text.secret_in(value)):
        raise sheet.fault(key, f"{key} holds {kind}", why=_HIDE, do=_NEED_SECRETS)
