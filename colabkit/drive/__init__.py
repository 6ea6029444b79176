"""Google Drive on Colab: mounted, healed, watched, and honest about what has arrived."""

from __future__ import annotations

from colabkit.drive._health import Health, health
from colabkit.drive._mount import mount

__all__ = ["Health", "health", "mount"]
