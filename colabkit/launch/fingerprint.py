"""What must be the same on every worker, compared before any of them trains."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.disk.files import sha256
from colabkit._version import __version__
from colabkit.errors import WorkerMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.launch.plan import Plan

_PACKAGES = ("numpy", "keras", "tensorflow", "tensorflow-cpu", "jax", "jaxlib")
_WORDS = {"script": "the script's content", "args": "the script's arguments"}  # named, never quoted


def fingerprint(plan: Plan, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the facts that decide what a worker computes, as `fact: value`."""
    env = config.environment(env)
    versions = {
        "script": sha256(plan.script)[:16],
        "args": hashlib.sha256(json.dumps(plan.args).encode()).hexdigest(),  # they may hold a token
        "workers": ",".join(plan.workers) or str(plan.count),
        "KERAS_BACKEND": env.get("KERAS_BACKEND", ""),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "colabkit": __version__,
    }
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


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
        lines = [_WORDS.get(name) or f"{name}: {own.get(name)} and {_shown(other.get(name))}" for name in differing]
        raise WorkerMismatchError(
            f"worker {rank} differs from worker 0",
            why="; ".join(lines)[:600],
            hint="give every host the same script, command and packages, as `colabkit lock` and `install` do",
        )


def _shown(value: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:80])
