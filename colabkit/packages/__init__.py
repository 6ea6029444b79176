"""The right packages: what is there, what would change, what is stale, and the change itself."""

from __future__ import annotations

from colabkit.packages._install import install
from colabkit.packages._lock import lock
from colabkit.packages._report import Change, Conflict, InstallReport
from colabkit.packages._stale import Stale, stale

__all__ = ["Change", "Conflict", "InstallReport", "Stale", "install", "lock", "stale"]
