"""Every storage keeps the contract."""

from __future__ import annotations

import pytest

from colabkit.storage import MemoryStorage, open_storage
from colabkit.testing.storage_contract import StorageContract


class TestFolder(StorageContract):
    """A plain folder."""

    @pytest.fixture
    def storage(self, tmp_path):
        """Give a folder that does not exist yet."""
        return open_storage(tmp_path / "runs" / "with space")

    def again(self, storage):
        """Open the folder anew."""
        return open_storage(storage.address)


class TestMemory(StorageContract):
    """The memory of this process."""

    @pytest.fixture
    def storage(self):
        """Give an empty dictionary."""
        return MemoryStorage()
