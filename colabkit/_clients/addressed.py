"""What all sources share that are told from others by their address alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Addressed:
    """A file or a folder of a service; its address holds no secret.

    Attributes:
        address: Where it is; its text is the address.
    """

    address: Any

    @property
    def identity(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def shown(self) -> str:
        """The address."""
        return str(self.address)

    def here(self, *, ask: bool = True) -> Path | None:  # noqa: ARG002 - the contract has it
        """Return None: nothing else on this machine keeps it under its address."""
        return None
