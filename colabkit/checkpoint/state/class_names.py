"""Names for objects that have none: their class, so that the same objects have the same names in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def by_class_name(objects: Iterable[Any]) -> dict[str, Any]:
    """Name objects by class, the second of a class with its number.

    Example:
        >>> list(by_class_name([1, 2.0, 3]))
        ['int', 'float', 'int 2']
    """
    by_name: dict[str, Any] = {}
    for each in objects:
        name, number = type(each).__name__, 2
        key = name
        while key in by_name:
            key, number = f"{name} {number}", number + 1
        by_name[key] = each
    return by_name
