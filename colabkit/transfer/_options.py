"""The options of curl and wget that a pasted command may have, and the walk over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The options that one program has, as far as we know what they mean.

    Attributes:
        bare: The long names of options without a value.
        valued: The long names of options with one.
        short: The long name of each short option.
    """

    bare: frozenset[str]
    valued: frozenset[str]
    short: dict[str, str]


def names(text: str) -> frozenset[str]:
    """Make a set of the words of a text."""
    return frozenset(text.split())


# Besides the options that are obeyed (see _curl.py) these hold those that change nothing about which bytes arrive.
CURL = Dialect(
    bare=names(
        "compressed create-dirs fail fail-early fail-with-body get globoff http1.0 http1.1 http2 ipv4 ipv6 location "
        "no-buffer no-keepalive no-progress-meter parallel progress-bar remote-header-name remote-name "
        "retry-all-errors retry-connrefused show-error silent ssl-reqd styled-output tcp-nodelay tlsv1.2 tlsv1.3 "
        "verbose"
    ),
    valued=names(
        "connect-timeout continue-at cookie data data-ascii data-binary data-raw data-urlencode header json "
        "keepalive-time max-redirs max-time oauth2-bearer output output-dir parallel-max referer request retry "
        "retry-delay retry-max-time speed-limit speed-time url user user-agent write-out"
    ),
    short={
        "#": "progress-bar",
        "0": "http1.0",
        "4": "ipv4",
        "6": "ipv6",
        "A": "user-agent",
        "C": "continue-at",
        "G": "get",
        "H": "header",
        "J": "remote-header-name",
        "L": "location",
        "N": "no-buffer",
        "O": "remote-name",
        "S": "show-error",
        "X": "request",
        "Y": "speed-limit",
        "Z": "parallel",
        "b": "cookie",
        "d": "data",
        "e": "referer",
        "f": "fail",
        "g": "globoff",
        "m": "max-time",
        "o": "output",
        "s": "silent",
        "u": "user",
        "v": "verbose",
        "w": "write-out",
        "y": "speed-time",
    },
)
WGET = Dialect(
    bare=names(
        "clobber content-disposition continue inet4-only inet6-only no-cache no-clobber no-cookies no-hsts no-verbose "
        "quiet retry-connrefused show-progress timestamping verbose"
    ),
    valued=names(
        "connect-timeout directory-prefix header http-password http-user output-document password post-data progress "
        "read-timeout referer timeout tries user user-agent waitretry"
    ),
    short={
        "4": "inet4-only",
        "6": "inet6-only",
        "N": "timestamping",
        "O": "output-document",
        "P": "directory-prefix",
        "T": "timeout",
        "U": "user-agent",
        "c": "continue",
        "nc": "no-clobber",
        "nv": "no-verbose",
        "q": "quiet",
        "t": "tries",
        "v": "verbose",
    },
)


def walk(words: list[str], dialect: Dialect) -> Iterator[tuple[str, str, str]]:
    """Yield (as written, long name, value) for each option, and ("", "url", word) for each other word.

    Raises:
        AddressError: An option is not known, or its value is missing; the message names it.

    Example:
        >>> list(walk(["-sLo", "a.zip", "https://example.org/a"], CURL))[2:]
        [('-o', 'output', 'a.zip'), ('', 'url', 'https://example.org/a')]
    """
    at = 0
    plain = False
    while at < len(words):
        word = words[at]
        at += 1
        if plain or not word.startswith("-") or word == "-":
            yield "", "url", word
        elif word == "--":
            plain = True
        else:
            for written, name, attached in _letters(word, dialect):
                value = attached
                if name in dialect.valued and value is None:
                    if at >= len(words):
                        raise refused(written, "its value is missing")
                    value = words[at]
                    at += 1
                yield written, name, value or ""


def _letters(word: str, dialect: Dialect) -> Iterator[tuple[str, str, str | None]]:
    if word.startswith("--"):
        name, equals, attached = word[2:].partition("=")
        if name not in dialect.bare | dialect.valued or (equals and name in dialect.bare):
            raise refused(f"--{name}")
        yield f"--{name}", name, attached if equals else None
        return
    if word[1:] in dialect.short:
        yield word, dialect.short[word[1:]], None
        return
    for at, letter in enumerate(word[1:], 1):
        name = dialect.short.get(letter, "")
        if not name:
            raise refused(f"-{letter}")
        yield f"-{letter}", name, (word[at + 1 :] or None) if name in dialect.valued else None
        if name in dialect.valued:
            return


def refused(option: str, why: str = "it may change which bytes arrive, or how they are trusted") -> AddressError:
    """Make the error for an option that cannot be obeyed."""
    return AddressError(
        f"the pasted command has {option[:60]}, which fetch does not do",
        why=why,
        do="leave it out if it does not matter, or pass the plain address",
    )
