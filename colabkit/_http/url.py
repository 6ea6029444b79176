"""http and https addresses: checked once, credentials taken out, and a form that is safe to show."""

from __future__ import annotations

import base64
import re
import urllib.parse
from dataclasses import dataclass, field

from colabkit._http.headers import url_name
from colabkit.errors import AddressError

_BAD = re.compile(r"[\x00-\x20\x7f\\]")
_PLAIN = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(?::[1-9]\d{0,3}|:[1-5]\d{4})?/[A-Za-z0-9._~/-]*", re.ASCII)
_SEVERAL = re.compile(r"\s['\"]?https?://", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address of a file on the web.

    Attributes:
        url: The address without credentials and fragment; its query may be a secret.
        authorization: What the credentials in the address make of the Authorization header.
        shown: The address for messages: no credentials, no query.
        name: The file name at its end, or "".
    """

    url: str = field(repr=False)
    authorization: str = field(repr=False)
    shown: str
    name: str


def parse(text: str) -> Address:
    """Read an http or https address.

    Raises:
        AddressError: It is none.

    Example:
        >>> parse("https://ada:secret@example.org/data.csv?token=1#top").shown
        'https://example.org/data.csv?…'
    """
    text = text.strip()
    if _PLAIN.fullmatch(text):  # as nearly always in a list of many
        return Address(url=text, authorization="", shown=text, name=url_name(text))
    if several := _SEVERAL.findall(text):
        raise AddressError(
            f"the text holds {len(several) + 1} addresses",
            why="one text names one file",
            hint="pass a list of them: ck.fetch([ADDRESS, ADDRESS], to=FOLDER)",
        )
    try:
        # What a person pastes may hold blanks and letters that a request line may not.
        is_plain = text.isascii() and not _BAD.search(text)
        quoted = text if is_plain else urllib.parse.quote(text, _ALLOWED, errors="surrogateescape")
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname or "", parts.port
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise AddressError(_unreadable(text), why=str(error).partition(":")[0], hint=_EXPECTED) from None
    if parts.scheme.lower() not in _DEFAULT_PORTS or not host or _BAD.search(host):
        raise AddressError(_unreadable(text), why="it has no host", hint=_EXPECTED)
    netloc = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    if port is not None:
        netloc += f":{port}"
    rest = urllib.parse.urlsplit(quoted)
    scheme = parts.scheme.lower()
    authorization = ""
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Address(
        url=urllib.parse.urlunsplit((scheme, netloc, rest.path or "/", rest.query, "")),
        authorization=authorization,
        shown=f"{scheme}://{netloc}{rest.path or '/'}" + ("?…" if rest.query else ""),
        name=url_name(quoted),
    )


_ALLOWED = "!#$%&'()*+,/:;=?@[]~"
_EXPECTED = "write it as https://HOST/PATH"


def _unreadable(text: str) -> str:
    return f"cannot read the address {shown(text)!r}"


def shown(url: str) -> str:
    """Shorten an address for messages: credentials and query are left out.

    Example:
        >>> shown("https://storage.example/a.zip?X-Signature=abc")
        'https://storage.example/a.zip?…'
    """
    before, query, _ = url.partition("#")[0].partition("?")
    scheme, separator, rest = before.partition("://")
    if separator:
        host, slash, path = rest.partition("/")
        before = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return before[:200] + ("?…" if query else "")


def origin(url: str) -> str:
    """Return scheme, host and port as they stand in an address.

    Example:
        >>> origin("https://example.org:8443/a?x=1")
        'https://example.org:8443'
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}"


def may_keep_secrets(old: str, new: str) -> bool:
    """Say whether headers that are meant for one address may go to another: the same scheme, host and port.

    The one exception is the step from http to https at the default ports of one host.

    Example:
        >>> may_keep_secrets("http://a.org/x", "https://a.org/y"), may_keep_secrets("https://a.org", "https://b.org")
        (True, False)
    """
    one, two = urllib.parse.urlsplit(old), urllib.parse.urlsplit(new)
    if one.hostname != two.hostname:
        return False
    ports = (one.port or _DEFAULT_PORTS.get(one.scheme), two.port or _DEFAULT_PORTS.get(two.scheme))
    if one.scheme == two.scheme:
        return ports[0] == ports[1]
    return (one.scheme, two.scheme, *ports) == ("http", "https", 80, 443)
