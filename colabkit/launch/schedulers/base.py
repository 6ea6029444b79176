"""What a scheduler tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import ClusterConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a scheduler has put this process.

    Attributes:
        name: The scheduler's, to show.
        hosts: All hosts in order, `host` or `host:port`; empty where it does not tell.
        rank: Which of them this is; None where it does not tell.
    """

    name: str
    hosts: tuple[str, ...]
    rank: int | None


def number(env: Mapping[str, str], name: str) -> int:
    """Read a variable that must hold a whole number.

    Raises:
        ClusterConfigError: It does not.
    """
    text = env.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ClusterConfigError(f"{name}={text[:40]!r} is not a number", hint="pass --rank and --workers instead")
    return int(text)
