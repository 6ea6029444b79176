"""What a fetch would find on this machine: for plans, which touch nothing and ask nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from colabkit._engine import cache
from colabkit._engine.fetch_task import Options
from colabkit._engine.source import Folder
from colabkit._internal.disk.paths import expand
from colabkit.transfer import merging
from colabkit.transfer.fetch_archive import unpacked_identity, wants_unpacking
from colabkit.transfer.sources import registry

if TYPE_CHECKING:
    from colabkit._types import StrPath


def here(
    source: str,
    to: StrPath | None = None,
    *,
    unpack: bool | Literal["auto"] = "auto",
    below: StrPath | None = None,
) -> Path | None:
    """Return where a source lies on this machine already, or None; nothing is fetched, copied or read through.

    No server is asked, the machine's own included, so data that Kaggle or Colab would mount counts as not here yet.

    Args:
        source: As for `fetch`.
        to: As for `fetch`.
        unpack: As for `fetch`.
        below: Where a pasted command is meant to run; None is the present folder.

    Raises:
        AddressError: The source cannot be read.

    Example:
        >>> here("https://example.org/never-fetched.csv") is None
        True
    """
    order = registry.open_source(source)
    parsed = order.source
    if order.more:
        return None  # which of several are here is found out by the fetch
    if below is not None:
        order = order.inside(os.fspath(below))
    if to is None and order.to is not None:
        if order.placing == "contents" and unpack is not False:
            folder = expand(order.to)
            known = None if isinstance(parsed, Path) else merging.find(parsed.identity, folder)
            return folder / order.result if known is not None else None
        to = f"{order.to.rstrip(os.sep)}{os.sep}" if order.placing == "folder" else order.to
        unpack = order.unpack if unpack == "auto" and order.unpack is not None else unpack
    if isinstance(parsed, Path):
        return parsed if to is None and parsed.exists() else None
    identity = parsed.identity
    if not isinstance(parsed, Folder) and wants_unpacking(parsed.name, to, Options(unpack=unpack)):
        identity = unpacked_identity(identity)
    receipt = cache.find(identity, to)
    if receipt is not None and receipt.holds(None):
        return receipt.path
    return parsed.here(ask=False) if to is None else None


def is_public(source: str) -> bool:
    """Say whether a source is a plain address of the web: no sign-in, no package of its own, any thread may fetch it.

    Example:
        >>> is_public("https://example.org/digits.csv")
        True
    """
    from colabkit.transfer.sources.web import WebSource

    order = registry.open_source(source)
    return all(isinstance(one.source, WebSource) for one in (order, *order.more))
