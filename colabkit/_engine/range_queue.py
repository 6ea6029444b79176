"""Which bytes of a file are still to come, and which connection fetches them."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST = 1 << 20
LARGEST = 32 << 20
"""Bounds of a piece: large enough that asking costs little, small enough that the last ones end together."""


@dataclass
class ByteRange:
    at: int
    stop: int


def _without(spans: list[tuple[int, int]], gone: tuple[int, int]) -> list[tuple[int, int]]:
    """Take one span out of others.

    Example:
        >>> _without([(0, 10), (20, 30)], (0, 4))
        [(4, 10), (20, 30)]
    """
    left = []
    for start, stop in spans:
        pairs = ((start, min(stop, gone[0])), (max(start, gone[1]), stop))
        left += [(low, high) for low, high in pairs if low < high]
    return left
