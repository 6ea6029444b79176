"""Bytes that others made: the one way in which their parsers fail.

The parsers of Python and of its packages raise more than they say: an AssertionError of an odd web page, a
RecursionError of deep JSON, a zlib.error of a damaged array. So no list of errors stands at any of them; whatever is
raised while foreign bytes are read becomes the error of ours that fits.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from colabkit._internal.os_errors import is_shortage, translate
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from html.parser import HTMLParser

_MARK = re.compile(r"<!(?!--|doctype)", re.IGNORECASE)


@contextlib.contextmanager
def reading(error: Callable[[str], ColabKitError]) -> Iterator[None]:
    """Turn whatever a parser raises into one of our errors; ours pass, and so does Ctrl-C.

    Args:
        error: Makes ours of the reason.

    Example:
        >>> from colabkit.errors import DataError
        >>> with reading(lambda why: DataError("no JSON", why=why)):
        ...     json.loads("[")
        Traceback (most recent call last):
        ...
        colabkit.errors.DataError: no JSON
        Why: Expecting value: line 1 column 2 (char 1)
    """
    try:
        yield
    except ColabKitError:
        raise
    except Exception as failed:
        if is_shortage(failed):  # what was read is not to blame
            raise translate(failed, getattr(failed, "filename", None) or "the file", doing="read") from failed
        raise error(reason(failed)) from failed


def reason(error: BaseException) -> str:
    r"""Say in one short line why a parser gave up.

    Example:
        >>> reason(KeyError("a")), reason(ValueError("one\ntwo"))
        ("KeyError: 'a'", 'one')
    """
    text = " ".join(str(error).strip().partition("\n")[0].split())[:300]
    plain = isinstance(error, (ValueError, OSError)) and text
    return printable(text if plain else f"{type(error).__name__}: {text}".removesuffix(": "))


def printable(text: object, *, most: int = 300) -> str:
    r"""Return text that can be shown and written anywhere: no control characters, no halves of letters.

    Example:
        >>> printable("a\x1b[31m\ud800")
        'a?[31m?'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:most])


def loads(data: bytes | str) -> Any:
    """Read JSON.

    Raises:
        ValueError: It is none, is nested too deeply, or holds halves of letters, which no file or terminal takes.
    """
    try:
        value = json.loads(data)
        marks = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if "\\ud" in marks.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def feed(parser: HTMLParser, text: str) -> None:
    """Read a page as far as its parser can; marks that no browser knows are passed over, as a browser does."""
    with contextlib.suppress(Exception):  # the parser raises an AssertionError, among others
        parser.feed(_MARK.sub("<x-", text))
        parser.close()
