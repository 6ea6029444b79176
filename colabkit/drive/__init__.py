"""Google Drive on Colab: mounted, healed, watched, and honest about what has arrived."""

from __future__ import annotations

from colabkit.drive.health_report import Health, health
from colabkit.drive.mounting import DEFAULT, mount
from colabkit.drive.probe import check_mount
from colabkit.drive.unmounting import Unmounted, unmount
from colabkit.drive.upload_status import Upload, uploaded

__all__ = ["DEFAULT", "Health", "Unmounted", "Upload", "check_mount", "health", "mount", "unmount", "uploaded"]
