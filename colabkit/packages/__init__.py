"""The right packages: what is there, what would change, what is stale, and the change itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.packages.installation import install
from colabkit.packages.report import Change, Conflict, InstallReport
from colabkit.packages.stale import Stale, stale

if TYPE_CHECKING:
    from colabkit.packages.lock_file import lock as lock


def __getattr__(name: str) -> Any:
    if name != "lock":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from colabkit.packages.lock_file import lock  # it brings the runtime's detection, which install() seldom needs

    return lock


__all__ = ["Change", "Conflict", "InstallReport", "Stale", "install", "lock", "stale"]
