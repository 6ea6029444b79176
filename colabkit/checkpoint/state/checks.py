"""What every trainer looks at before it goes on from a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def require_keys(run: str, meta: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a checkpoint that does not say what those of its kind do.

    Args:
        run: The run's name.
        meta: What the checkpoint says.
        keys: What it must say.

    Raises:
        CorruptCheckpointError: It lacks some.
    """
    if missing := set(keys) - meta.keys():
        raise CorruptCheckpointError(f"the checkpoint of {run} lacks {', '.join(sorted(missing))}")


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name the packages whose version is another one now; empty where none is.

    Example:
        >>> changed_versions({"numpy": "2.1", "torch": "2.8"}, {"numpy": "2.2", "torch": "2.8", "keras": "3.11"})
        'numpy 2.1 -> 2.2'
    """
    return "; ".join(
        f"{package} {before[package]} -> {version}"
        for package, version in now.items()
        if before.get(package, version) != version
    )
