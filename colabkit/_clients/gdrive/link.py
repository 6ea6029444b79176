"""Links to Google Drive: which file, folder or document, in all the forms that Drive writes them."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Literal

from colabkit.errors import AddressError

Kind = Literal["file", "folder", "document", "spreadsheets", "presentation", "drawings"]

EXPORTS: dict[str, str] = {"document": "docx", "spreadsheets": "xlsx", "presentation": "pptx", "drawings": "png"}
"""What each kind of document is exported as, unless the link names another format."""

_ID = re.compile(r"[-\w]{10,120}", re.ASCII)
_BARE_ID = re.compile(r"1[-\w]{32}|0B[-\w]{26}", re.ASCII)
_KEY = re.compile(r"[-\w]{1,100}", re.ASCII)
_FORMAT = re.compile(r"[a-z0-9]{1,10}", re.ASCII)
_HOSTS = frozenset({"drive.google.com", "docs.google.com", "drive.usercontent.google.com"})
_OWNER = re.compile(r"^(?:/a/[^/]+)?(?:/u/\d+)?(?=/)")
"""What stands before the path in links of a company, and of one of several accounts."""
_PATHS: tuple[tuple[str, Kind], ...] = (
    (r"/file/(?:u/\d+/)?d/([^/]+)", "file"),
    (r"/drive/(?:u/\d+/)?(?:mobile/)?folders/([^/]+)", "folder"),
    (r"/document/(?:u/\d+/)?d/(?!e/)([^/]+)", "document"),
    (r"/spreadsheets/(?:u/\d+/)?d/(?!e/)([^/]+)", "spreadsheets"),
    (r"/spreadsheets/(?:u/\d+/)?d/e/([^/]+)/pub", "spreadsheets"),
    (r"/presentation/(?:u/\d+/)?d/(?!e/)([^/]+)", "presentation"),
    (r"/drawings/(?:u/\d+/)?d/(?!e/)([^/]+)", "drawings"),
)
_PLAIN = frozenset({"format", "exportFormat", "gid", "id", "resourcekey", "usp"})
"""What an export of a whole sheet or spreadsheet may be asked with."""
_BY_QUERY: dict[str, Kind] = {
    "/open": "file",
    "/uc": "file",
    "/download": "file",
    "/folderview": "folder",
    "/embeddedfolderview": "folder",
}


@dataclass(frozen=True, kw_only=True)
class Link:
    """Something on Drive.

    Attributes:
        kind: A file, a folder, or a document of Google's own.
        id: Its id.
        resource_key: What old links need beside the id, or "".
        format: What a document is exported as.
        sheet: The one sheet that is exported, or "".
        part: The address itself where it asks for something that an export of the whole does not give: some cells, a
            query, what was published to the web.
    """

    kind: Kind
    id: str
    resource_key: str = ""
    format: str = ""
    sheet: str = ""
    part: str = ""

    @property
    def page(self) -> str:
        """The address of its page, for people."""
        if self.kind == "folder":
            return f"https://drive.google.com/drive/folders/{self.id}"
        if self.kind == "file":
            return f"https://drive.google.com/file/d/{self.id}/view"
        if "/d/e/" in self.part:
            return f"https://docs.google.com/{self.kind}/d/e/{self.id}/pub"
        return f"https://docs.google.com/{self.kind}/d/{self.id}/edit"

    @property
    def identity(self) -> str:
        """What tells it from all others; the key is left out, as it only opens the door."""
        part = (self.part,) if self.part else ()
        return "\0".join(("drive", self.kind, self.id, self.format, self.sheet, *part))


def is_bare_id(text: str) -> bool:
    """Say whether a text looks like the id of a file, as Drive makes them."""
    return _BARE_ID.fullmatch(text.strip()) is not None


def parse(text: str) -> Link:
    """Read a link, or a bare id.

    Raises:
        AddressError: It leads to nothing that can be fetched.

    Example:
        >>> parse("https://drive.google.com/file/d/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2/view?usp=sharing").id
        '1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2'
        >>> parse("https://docs.google.com/spreadsheets/d/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2/edit#gid=0").format
        'xlsx'
    """
    text = text.strip()
    if is_bare_id(text):
        return Link(kind="file", id=text)
    try:
        parts = urllib.parse.urlsplit(text)
        host = parts.hostname
    except ValueError:
        raise _unreadable(text) from None
    if host not in _HOSTS:
        raise _unreadable(text)
    query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query).items()}
    kind, identifier = _found(parts.path, query)
    key = query.get("resourcekey", "")
    if kind is None or not _ID.fullmatch(identifier) or (key and not _KEY.fullmatch(key)):
        raise _unreadable(text)
    export_format, sheet = "", ""
    if kind in EXPORTS:
        exported = re.search(r"/export(?:/([a-z0-9]+))?$", parts.path)
        export_format = (exported and exported[1]) or query.get("format") or query.get("exportFormat") or EXPORTS[kind]
        sheet = query.get("gid", "") if exported else ""
        if not _FORMAT.fullmatch(export_format) or not (sheet.isdecimal() or not sheet):
            raise _unreadable(text)
        if kind == "spreadsheets" and (not exported or not query.keys() <= _PLAIN):
            return _part_of(text, kind, identifier, key, parts, query, export_format)
    return Link(kind=kind, id=identifier, resource_key=key, format=export_format, sheet=sheet)


def _part_of(
    text: str,
    kind: Kind,
    identifier: str,
    key: str,
    parts: urllib.parse.SplitResult,
    query: dict[str, str],
    export_format: str,
) -> Link:
    """Read an address of a spreadsheet that is more than its page: it is asked for as it is."""
    path = _OWNER.sub("", parts.path.rstrip("/")).partition("/d/")[2].removeprefix("e/")
    verb = path.partition("/")[2]
    if verb == "pubhtml":
        raise AddressError(
            f"{text.partition('?')[0][:200]} is a page",
            why="the sheet is published as one",
            hint="write pub?output=csv instead of pubhtml, or output=xlsx",
        )
    if verb in ("gviz/tq", "pub", "export"):
        output_option = re.search(r"(?:^|;)out:(\w+)", query.get("tqx", ""))
        # Without either it is the answer to a script, or a page: nobody means that.
        ending = (
            query.get("output")
            or (output_option and output_option[1])
            or (export_format if verb == "export" else "csv")
        )
        parameters = dict(query)
        if verb == "pub":
            parameters["output"] = ending
        elif verb == "gviz/tq":
            parameters["tqx"] = (
                query.get("tqx", "") if output_option else ";".join(filter(None, (query.get("tqx"), "out:csv")))
            )
        if not _FORMAT.fullmatch(ending) or (not output_option and "out:" in query.get("tqx", "")):
            raise _unreadable(text)
        published = "e/" if "/d/e/" in parts.path else ""
        address = f"https://docs.google.com/spreadsheets/d/{published}{identifier}/{verb}?{urllib.parse.urlencode(parameters)}"
        return Link(kind=kind, id=identifier, resource_key=key, format=ending, part=address)
    return Link(kind=kind, id=identifier, resource_key=key, format=export_format)


def _found(path: str, query: dict[str, str]) -> tuple[Kind | None, str]:
    path = _OWNER.sub("", path.rstrip("/"))
    for pattern, kind in _PATHS:
        if match := re.match(pattern, path):
            return kind, match[1]
    return _BY_QUERY.get(path), query.get("id", "")


def _unreadable(text: str) -> AddressError:
    return AddressError(
        f"cannot read the Google Drive link {text.partition('?')[0][:200]!r}",
        why="it leads to no file, folder, document, spreadsheet, presentation or drawing",
        hint='copy it again: on Drive choose "Share", then "Copy link"',
    )
