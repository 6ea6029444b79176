"""What a fetch would find on this machine: for plans, which touch nothing and ask nobody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from colabkit.transfer import _sources, cache
from colabkit.transfer._job import Options
from colabkit.transfer._unpacked import unpacked_identity, wants_unpacking
from colabkit.transfer.base import Folder

if TYPE_CHECKING:
    from colabkit._types import StrPath


def here(source: str, to: StrPath | None = None, *, unpack: bool | Literal["auto"] = "auto") -> Path | None:
    """Return where a source lies on this machine already, or None; nothing is fetched, copied or read through.

    No server is asked, the machine's own included, so data that Kaggle or Colab would mount counts as not here yet.

    Args:
        source: As for `fetch`.
        to: As for `fetch`.
        unpack: As for `fetch`.

    Raises:
        AddressError: The source cannot be read.

    Example:
        >>> here("https://example.org/never-fetched.csv") is None
        True
    """
    order = _sources.open_source(source)
    to = order.to if to is None else to
    found = order.source
    if isinstance(found, Path):
        return found if to is None and found.exists() else None
    identity = found.identity
    if not isinstance(found, Folder) and wants_unpacking(found.name, to, Options(unpack=unpack)):
        identity = unpacked_identity(identity)
    receipt = cache.find(identity, to)
    if receipt is not None and receipt.holds(None):
        return receipt.path
    return found.here(ask=False) if to is None else None


def is_public(source: str) -> bool:
    """Say whether a source is a plain address of the web: no sign-in, no package of its own, any thread may fetch it.

    Example:
        >>> is_public("https://example.org/digits.csv")
        True
    """
    from colabkit.transfer._web import WebSource

    return isinstance(_sources.open_source(source).source, WebSource)
