"""Doubles that behave like the real thing, for the tests of colabkit and of those who build on it."""

from colabkit.testing._drive_settings import DriveSettings
from colabkit.testing.drive_folder import DriveFolder
from colabkit.testing.fake_colab import FakeColab, Request

__all__ = ["DriveFolder", "DriveSettings", "FakeColab", "Request"]
