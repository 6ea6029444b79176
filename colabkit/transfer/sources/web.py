"""The source behind an http or https address."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field

from colabkit._engine.source import ParsedSource
from colabkit._http import error_page
from colabkit._http import url as _url
from colabkit._http.netrc_file import netrc_login
from colabkit._http.types import RemoteFile, RequestSpec

_PAGES = (
    (re.compile(r"^(https://(?:www\.)?github\.com/[^/?#]+/[^/?#]+)/blob/"), r"\1/raw/"),
    (re.compile(r"^(https://gitlab\.com/[^?#]+)/-/blob/"), r"\1/-/raw/"),
    (re.compile(r"^(https://(?:www\.)?dropbox\.com/(?:s|scl|sh)/[^#]*[?&]dl)=0\b"), r"\1=1"),
)
"""Pages that show a file, with the address of the file itself."""
_CREDENTIALS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token", "private-token"}
)


@dataclass(frozen=True, kw_only=True)
class WebSource:
    """A file on the web.

    Attributes:
        address: Where it is.
        headers: What else is sent.
        body: What is posted; None asks with GET.
        page_expected: A web page is what is wanted.
    """

    address: _url.Address
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    page_expected: bool = False

    @functools.cached_property
    def identity(self) -> str:
        """All that may make the answer another one: the address, what is posted, the headers, and whose login it is."""
        parts = [self.address.url]
        if self.body is not None:
            parts.append(self.body.hex())
        sent = {name.lower(): value for name, value in self.headers.items() if name.lower() != "user-agent"}
        if login := self._login:
            sent["authorization"] = login
        # What is secret goes in as a hash, and only a hash of the whole is ever written.
        parts += [f"{name}:{hashlib.sha256(sent[name].encode()).hexdigest()}" for name in sorted(sent)]
        return "\0".join(parts)

    @property
    def continued(self) -> str:
        """What tells its unfinished download: a new token is no new file, and the version is checked anyway."""
        return self.address.url if self.body is None else f"{self.address.url}\0{self.body.hex()}"

    @property
    def private(self) -> bool:
        """Whether a login is sent, so that nobody else on this machine may read what comes."""
        return bool(self._login) or any(name.lower() in _CREDENTIALS for name in self.headers)

    @functools.cached_property
    def _login(self) -> str:
        given = next((value for name, value in self.headers.items() if name.lower() == "authorization"), "")
        return given or self.address.authorization or netrc_login(self.address.url, default=True)

    @property
    def shown(self) -> str:
        """The address without credentials and query."""
        return self.address.shown

    @property
    def name(self) -> str:
        """The file name at the end of the address, or ""."""
        return self.address.name

    def here(self, *, ask: bool = True) -> None:
        """Nothing else on this machine keeps files of the web under their address."""

    def remote(self) -> RemoteFile:
        """Return the address as it is."""
        headers = dict(self.headers)
        if self.address.authorization:
            headers = {"Authorization": self.address.authorization, **headers}
        return RemoteFile(
            target=RequestSpec(url=_url_of_file(self.address.url), headers=headers, body=self.body),
            shown=self.address.shown,
            page_expected=self.page_expected or self.address.name.lower().endswith(error_page.PAGE_SUFFIXES),
        )


def _url_of_file(url: str) -> str:
    """Return the address of the file that a page of GitHub or GitLab shows, or a share link of Dropbox; else the same.

    Example:
        >>> _url_of_file("https://github.com/ada/digits/blob/main/a.csv")
        'https://github.com/ada/digits/raw/main/a.csv'
        >>> _url_of_file("https://www.dropbox.com/s/1/a.zip?rlkey=2&dl=0")
        'https://www.dropbox.com/s/1/a.zip?rlkey=2&dl=1'
    """
    for pattern, file in _PAGES:
        url = pattern.sub(file, url)
    return url


def open_source(text: str) -> ParsedSource:
    """Read an address into a source.

    Raises:
        AddressError: It is no http or https address.
    """
    return ParsedSource(source=WebSource(address=_url.parse(text)))
