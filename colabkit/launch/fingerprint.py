"""What must be the same on every worker, compared before any of them trains."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from typing import TYPE_CHECKING

from colabkit._tools.files import sha256
from colabkit._version import __version__
from colabkit.errors import WorkerMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.launch.plan import Plan

_PACKAGES = ("numpy", "keras", "tensorflow", "tensorflow-cpu", "jax", "jaxlib")
_WORDS = {"script": "the script's content (sha256)", "args": "the script's arguments"}


def fingerprint(plan: Plan, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the facts that decide what a worker computes, as `fact: value`."""
    found = {
        "script": sha256(plan.script)[:16],
        "args": json.dumps(plan.args),
        "workers": ",".join(plan.workers) or str(plan.count),
        "KERAS_BACKEND": env.get("KERAS_BACKEND", ""),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "colabkit": __version__,
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def compare(own: Mapping[str, str], other: Mapping[str, str], *, rank: int) -> None:
    """Refuse a worker that would compute something else.

    Args:
        own: The fingerprint of worker 0.
        other: That of another worker.
        rank: Its rank, for the message.

    Raises:
        WorkerMismatchError: They differ; the message names what differs.

    Example:
        >>> compare({"keras": "3.15.1"}, {"keras": "3.15.1"}, rank=1)
    """
    differing = [name for name in sorted(own.keys() | other.keys()) if own.get(name) != other.get(name)]
    if differing:
        lines = [f"{_WORDS.get(name, name)}: {own.get(name)} and {other.get(name)}" for name in differing]
        raise WorkerMismatchError(
            f"worker {rank} differs from worker 0",
            why="; ".join(lines)[:600],
            do="give every host the same script, command and packages, as `colabkit lock` and `install` do",
        )
