"""What this process has sent that is nobody's to see, so that a server's words can be shown without it.

Some servers repeat in a refusal what they were sent: the header with the token, the address with its key.
"""

from __future__ import annotations

import base64
import collections
import html
import urllib.parse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MOST = 512
_SHORTEST = 3  # characters; a shorter one would turn all text into dots
_SHORTEST_VALUE = 8  # of the query of an address, where most values are plain words
_PLAIN_PARAMETERS = frozenset(
    ["alt", "export", "fields", "format", "mimetype", "orderby", "output", "uploadtype", "usp"]
)
"""Parameters of Google's interfaces whose values are words of its messages too, as export=download."""
_PLAIN = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "connection", "content-length", "content-range"),
        *("content-type", "date", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "range"),
        *("user-agent", "x-goog-user-project"),
    }
)

_sent: collections.deque[str] = collections.deque(maxlen=_MOST)


def remember(url: str = "", headers: Mapping[str, str | bytes] | None = None, values: Iterable[str] = ()) -> None:
    """Keep in mind what a request carries.

    Args:
        url: Its address.
        headers: Its headers.
        values: What else must not be shown.
    """
    secrets: list[str] = list(values)
    for name, value in (headers or {}).items():
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if name.lower() == "cookie":
            secrets += [part.partition("=")[2].strip() for part in text.split(";")]
        elif name.lower() not in _PLAIN and not name.lower().startswith(("x-goog-if", "x-upload-content")):
            secrets += [text, *_parts(text)]
    if "?" in url or "@" in url:
        parts = urllib.parse.urlsplit(url)
        secrets += [urllib.parse.unquote(text) for text in (parts.password or "", parts.username or "")]
        pairs = urllib.parse.parse_qsl(parts.query)
        secrets += [
            value for name, value in pairs if len(value) >= _SHORTEST_VALUE and name.lower() not in _PLAIN_PARAMETERS
        ]
    for text in secrets:
        if len(text) >= _SHORTEST and text not in _sent:
            _sent.append(text)


def _parts(text: str) -> list[str]:
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest, validate=True).decode()
        except ValueError:
            return [rest]
        return [rest, pair, pair.partition(":")[2]]
    return [rest] if len(rest) >= _SHORTEST_VALUE else []


def scrub(text: str) -> str:
    """Return text without what was sent, in the forms in which a page may repeat it.

    Example:
        >>> remember(headers={"Authorization": "Bearer abcdefgh12"})
        >>> scrub("the token abcdefgh12 is not valid")
        'the token … is not valid'
    """
    for secret in sorted(_sent, key=len, reverse=True):
        forms = (secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), html.escape(secret))
        for form in dict.fromkeys(forms):
            text = text.replace(form, "…")
    return text
