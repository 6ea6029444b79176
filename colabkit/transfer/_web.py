"""The source behind an http or https address."""

from __future__ import annotations

from dataclasses import dataclass, field

from colabkit.transfer import _html, _url
from colabkit.transfer.base import Order, Remote, Target


@dataclass(frozen=True, kw_only=True)
class WebSource:
    """A file on the web.

    Attributes:
        address: Where it is.
        headers: What else is sent.
        body: What is posted; None asks with GET.
    """

    address: _url.Address
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)

    @property
    def identity(self) -> str:
        """The whole address and what is posted; the headers are left out, as a new token is no new file."""
        return self.address.url if self.body is None else f"{self.address.url}\0{self.body.hex()}"

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

    def remote(self) -> Remote:
        """Return the address as it is."""
        headers = dict(self.headers)
        if self.address.authorization:
            headers = {"Authorization": self.address.authorization, **headers}
        return Remote(
            target=Target(url=self.address.url, headers=headers, body=self.body),
            shown=self.address.shown,
            page_expected=self.address.name.lower().endswith(_html.PAGE_SUFFIXES),
        )


def open_source(text: str) -> Order:
    """Read an address into a source.

    Raises:
        AddressError: It is no http or https address.
    """
    return Order(source=WebSource(address=_url.parse(text)))
