"""Names in a sentence: the first ones, and how many more there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def few(names: Sequence[str], most: int, *, between: str = ", ") -> str:
    """Join names, and count those beyond the first ones.

    Args:
        names: They.
        most: How many are shown.
        between: What stands between two.

    Example:
        >>> few(["a", "b", "c"], 2), few(["a", "b"], 2)
        ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def counted(number: int, noun: str) -> str:
    """Say how many there are of something.

    Example:
        >>> counted(1, "epoch"), counted(3, "epoch")
        ('1 epoch', '3 epochs')
    """
    return f"{number} {noun}{'s' * (number != 1)}"
