"""What a request to Drive's interface asks for: the conditions of `q`, and the `fields` of the answer.

Without `fields` a file has few of them, one that there is not is refused, and so is a condition that Drive cannot read:
https://developers.google.com/workspace/drive/api/guides/fields-parameter,
https://developers.google.com/workspace/drive/api/guides/ref-search-terms
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Condition = Callable[[Mapping[str, Any]], bool]
    Fields = dict[str, Any]

FILE_BY_DEFAULT = "kind,id,name,mimeType,resourceKey"
LIST_BY_DEFAULT = f"kind,nextPageToken,incompleteSearch,files({FILE_BY_DEFAULT})"

_OF_FILES = frozenset(
    re.findall(
        r"\w+",
        """kind id name mimeType description starred trashed explicitlyTrashed parents properties appProperties spaces
    version webContentLink webViewLink iconLink hasThumbnail thumbnailLink viewedByMe viewedByMeTime createdTime
    modifiedTime modifiedByMe sharedWithMeTime owners driveId teamDriveId lastModifyingUser shared ownedByMe
    capabilities permissions permissionIds originalFilename fullFileExtension fileExtension md5Checksum sha1Checksum
    sha256Checksum size quotaBytesUsed headRevisionId contentHints imageMediaMetadata videoMediaMetadata exportLinks
    shortcutDetails contentRestrictions labelInfo resourceKey linkShareMetadata trashedTime""",
    )
)
_OF_LISTS = frozenset({"kind", "nextPageToken", "incompleteSearch", "files"})
_WORDS = re.compile(r"\s*('(?:[^'\\]|\\.)*'|!=|[=()]|\w+)", re.DOTALL)
_NAMES = re.compile(r"\s*([\w*]+|[(),/])")


class UnreadableError(Exception):
    """Drive answers this with 400.

    Attributes:
        parameter: Which one cannot be read.
    """

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


def _words(pattern: re.Pattern[str], text: str, parameter: str) -> list[str]:
    words, at = [], 0
    while text[at:].strip():
        match = pattern.match(text, at)
        if match is None:
            raise UnreadableError(parameter, "Invalid Value")
        words.append(match[1])
        at = match.end()
    return words


# ---- fields ----


def select_file(about: Mapping[str, Any], fields: str) -> dict[str, Any]:
    """Leave of a file what was asked for.

    Raises:
        UnreadableError: There is no such field.

    Example:
        >>> select_file({"id": "1a", "name": "a.csv", "size": "7"}, "")
        {'id': '1a', 'name': 'a.csv'}
    """
    return _select(about, _read_fields(fields or FILE_BY_DEFAULT), _OF_FILES)


def select_list(value: Mapping[str, Any], fields: str) -> dict[str, Any]:
    """Leave of a list what was asked for.

    Raises:
        UnreadableError: There is no such field.
    """
    selection = _read_fields(fields or LIST_BY_DEFAULT)
    chosen = _select(value, selection, _OF_LISTS)
    inside = {"*": {}} if "*" in selection else selection.get("files") or {"*": {}}
    if "files" in chosen:
        chosen["files"] = [_select(file, inside, _OF_FILES) for file in chosen["files"]]
    return chosen


def _select(value: Mapping[str, Any], selection: Fields, allowed: frozenset[str]) -> dict[str, Any]:
    for name in selection:
        if name != "*" and name not in allowed:
            raise UnreadableError("fields", f"Invalid field selection {name}")
    return {name: part for name, part in value.items() if "*" in selection or name in selection}


def _read_fields(text: str) -> Fields:
    words = iter(_words(_NAMES, text, "fields"))
    fields, end = _level(words)
    if end:
        raise UnreadableError("fields", f"Invalid field selection {text}")
    return fields


def _level(words: Iterator[str]) -> tuple[Fields, str]:
    fields: Fields = {}
    inside, last = fields, fields
    for word in words:
        if word == ",":
            inside = fields
        elif word == "/":
            inside = last
        elif word == "(":
            below, end = _level(words)
            if end != ")":
                raise UnreadableError("fields", "Invalid field selection (")
            last.update(below)
        elif word == ")":
            return fields, word
        else:
            last = inside.setdefault(word, {})
    return fields, ""


# ---- conditions ----


def read_condition(text: str) -> Condition:
    """Read `q`; the condition is asked of what is known of a file, with its `parents` and whether it is `trashed`.

    Raises:
        UnreadableError: Drive cannot read it, or this double cannot.

    Example:
        >>> condition = read_condition("'1a' in parents and (name = 'b' or name = 'c') and trashed = false")
        >>> condition({"parents": ["1a"], "name": "c", "trashed": False})
        True
    """
    if not text.strip():
        return lambda _: True
    words = _words(_WORDS, text, "q")
    condition = _any(words)
    if words:
        raise UnreadableError("q", "Invalid Value")
    return condition


def _any(words: list[str]) -> Condition:
    parts = _parts(words, "or", _all)
    return lambda file: any(part(file) for part in parts)


def _all(words: list[str]) -> Condition:
    parts = _parts(words, "and", _term)
    return lambda file: all(part(file) for part in parts)


def _parts(words: list[str], between: str, read: Callable[[list[str]], Condition]) -> list[Condition]:
    parts = [read(words)]
    while words[:1] == [between]:
        del words[0]
        parts.append(read(words))
    return parts


def _term(words: list[str]) -> Condition:
    match words[:3]:
        case ["not", *_]:
            del words[0]
            inside = _term(words)
            return lambda file: not inside(file)
        case ["(", *_]:
            del words[0]
            inside = _any(words)
            if words[:1] != [")"]:
                raise UnreadableError("q", "Invalid Value")
            del words[0]
            return inside
        case [value, "in", "parents"] if value.startswith("'"):
            folder = _text(value)
            del words[:3]
            return lambda file: folder in file["parents"]
        case ["name" | "mimeType" as field, "=" | "!=" | "contains" as how, value] if value.startswith("'"):
            text = _text(value).casefold()  # names are compared without regard to case
            del words[:3]
            if how == "contains":  # of a name, its beginning
                return lambda file: str(file[field]).casefold().startswith(text)
            return lambda file: (str(file[field]).casefold() == text) is (how == "=")
        case ["trashed", "=" | "!=" as how, "true" | "false" as value]:
            is_wanted = (value == "true") is (how == "=")
            del words[:3]
            return lambda file: file["trashed"] is is_wanted
        case _:
            raise UnreadableError("q", "Invalid Value")


def _text(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
