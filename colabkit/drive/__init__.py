"""Google Drive on Colab: mounted, healed, watched, and honest about what has arrived."""

from __future__ import annotations

from colabkit.drive._health import Health, health
from colabkit.drive._look import look
from colabkit.drive._mount import DEFAULT, mount
from colabkit.drive._unmount import Unmounted, unmount
from colabkit.drive._uploaded import Upload, uploaded

__all__ = ["DEFAULT", "Health", "Unmounted", "Upload", "health", "look", "mount", "unmount", "uploaded"]
