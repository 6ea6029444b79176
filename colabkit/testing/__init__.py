"""Doubles that behave like the real thing, for the tests of colabkit and of those who build on it."""

from colabkit.testing._colab.page import Display
from colabkit.testing._drive_mount.settings import DriveSettings
from colabkit.testing.drive_cloud import CloudDrive
from colabkit.testing.drive_folder import DriveFolder
from colabkit.testing.fake_colab import FakeColab, Request
from colabkit.testing.gcs import FakeGCS, GcsFault
from colabkit.testing.google_drive import FakeDrive
from colabkit.testing.kaggle import FakeKaggle
from colabkit.testing.web import FakeWeb

__all__ = [
    "CloudDrive",
    "Display",
    "DriveFolder",
    "DriveSettings",
    "FakeColab",
    "FakeDrive",
    "FakeGCS",
    "FakeKaggle",
    "FakeWeb",
    "GcsFault",
    "Request",
]
