"""Google's hosts as they show a Drive that is a folder on this machine: what a `DriveFolder`'s cloud has by now."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from colabkit.testing.google_drive import FOLDER, FakeDrive, Item


@dataclass
class CloudDrive(FakeDrive):
    """Plays the hosts of Google Drive for `FakeWeb`, with the files of a folder as they are at the moment.

    A file or folder whose name ends with `~2` is shown under the name without it: Drive allows one name twice in a
    folder, and Linux does not.

    Attributes:
        shown: What stands for My Drive, for example `DriveFolder.cloud`.
        listed: How many listings were asked for.
    """

    shown: Path = field(default_factory=Path)
    listed: int = 0

    def item(self, identity: str) -> Item | None:
        """Return what has an id, which is its path."""
        path = self.shown / bytes.fromhex(identity).decode()
        return _item(path) if path.exists() else None

    def children(self, identity: str) -> dict[str, Item]:
        """Return what lies in a folder."""
        self.listed += 1
        parent = self.shown / bytes.fromhex(identity).decode()
        paths = sorted(parent.iterdir()) if parent.is_dir() else []
        return {str(path.relative_to(self.shown)).encode().hex(): _item(path) for path in paths}


def _item(path: Path) -> Item:
    name = path.name.removesuffix("~2")
    return Item(name=name, mime=FOLDER) if path.is_dir() else Item(name=name, data=path.read_bytes())
