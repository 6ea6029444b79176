"""The source behind an http or https address."""

from __future__ import annotations

from dataclasses import dataclass, field

from colabkit.transfer import _html, _url
from colabkit.transfer.base import Remote, Target


@dataclass(frozen=True, kw_only=True)
class WebSource:
    """A file on the web.

    Attributes:
        address: Where it is.
        page_expected: A web page is what the user wants.
    """

    address: _url.Address
    page_expected: bool = False
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> str:
        """The whole address; the headers are left out, as a new token is no new file."""
        return self.address.url

    @property
    def shown(self) -> str:
        """The address without credentials and query."""
        return self.address.shown

    @property
    def name(self) -> str:
        """The file name at the end of the address, or ""."""
        return self.address.name

    def remote(self) -> Remote:
        """Return the address as it is."""
        headers = dict(self.headers)
        if self.address.authorization:
            headers.setdefault("Authorization", self.address.authorization)
        return Remote(
            target=Target(url=self.address.url, headers=headers),
            shown=self.address.shown,
            name=self.address.name,
            page_expected=self.page_expected or self.address.name.lower().endswith(_html.PAGE_SUFFIXES),
        )


def open_web(text: str, *, page_expected: bool) -> WebSource:
    """Read an address into a source.

    Raises:
        AddressError: It is no http or https address.
    """
    return WebSource(address=_url.parse(text), page_expected=page_expected)
