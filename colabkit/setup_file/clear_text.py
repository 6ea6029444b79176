"""Secrets in clear text: a set-up file is shared, so none may stand in it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from colabkit.packages.request.requirements_file import has_user

_TOKENS = re.compile(
    r"""
    \bhf_[A-Za-z0-9]{20,} | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \bsk-[A-Za-z0-9_-]{20,} | \bAIza[\w-]{30,} | \bya29\.[\w-]{10,} | \bKGAT_\w{16,} | \bxox[abprs]-[\w-]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b | -----BEGIN[A-Z ]*PRIVATE[ ]KEY----- | \beyJ[\w-]{10,}\.eyJ[\w-]{10,}
    """,
    re.VERBOSE,
)
"""Tokens, by the marks that their makers give them."""

_BARE_KEY = re.compile(r"[0-9a-fA-F]{32,}")
"""Kaggle's and Weights & Biases' older keys; elsewhere than as a name it may as well be a commit or a checksum."""

_COMMAND_SECRET = re.compile(
    r"authorization:|cookie:|(?:^|\s)(?:-u|--user|-b|--cookie|--oauth2-bearer|--http-password|--password)[ =]|"
    r"\bx-[\w-]{0,40}(?:key|token)[\w-]{0,40}:",
    re.IGNORECASE,
)
_QUERY_SECRET = re.compile(
    r"[?&](?:[\w.-]*(?:token|secret|password|passwd|signature|credential|api[_-]?key|apikey|access[_-]?key)[\w.-]*|"
    r"sig|key|auth)=[^&\s]",
    re.IGNORECASE,
)
# It begins where no word does before, so that a long word is looked through once and not from each of its letters.
_ADDRESS = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,40}://[^\s'\"]+", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def secret_in(text: str) -> str:
    """Say what kind of secret stands in a text, "" if none is seen; the secret itself is not repeated.

    Example:
        >>> secret_in("https://ada:pass@example.org/data.csv")
        'an address with a password in it'
        >>> secret_in("https://example.org/data.csv?version=2")
        ''
    """
    for address in _ADDRESS.findall(text):
        try:
            parts = urlsplit(address)
        except ValueError:
            continue
        if has_user(parts.netloc, parts.scheme):
            return "an address with a password in it"
    if _QUERY_SECRET.search(text):
        return "an address with a key or a signature in its query"
    if _COMMAND_SECRET.search(text):
        return "a command that carries a password, a cookie or a token"
    if _TOKENS.search(text):
        return "what looks like a token"
    return ""


def is_name(text: str) -> bool:
    """Say whether a text can be the name of a secret and is not the secret itself.

    Example:
        >>> is_name("KAGGLE_API_TOKEN"), is_name("hf_" + "a1" * 17)
        (True, False)
    """
    return _NAME.fullmatch(text) is not None and not (_TOKENS.search(text) or _BARE_KEY.fullmatch(text))
