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


class TestCloudStorage(StorageContract):
    """A folder of a bucket."""

    @pytest.fixture
    def storage(self, gcs):
        """Give a folder of a bucket that holds more."""
        gcs.page_size = 7
        gcs.put("bucket", "runs", b"not of this folder")
        gcs.put("bucket", "runs/other/a", b"neither")
        return open_storage("gs://bucket/runs/with space")

    def again(self, storage):
        """Open the folder anew."""
        return open_storage(storage.address)


class TestCloudStorageWithFaults(TestCloudStorage):
    """The same where now and then a request breaks, is refused as too many, or its answer is lost."""

    @pytest.fixture
    def storage(self, gcs):
        """Let one request in a few of each kind go wrong."""
        gcs.bucket("bucket")
        for after in range(0, 200, 5):
            gcs.fail("metadata", "reset", after=after)
            gcs.fail("list", "status", after=after)
            gcs.fail("insert", "lose", after=after)
            gcs.fail("upload", "reset", at=5_000_000, after=after)
            gcs.fail("download", "truncate", at=1, after=after)
            gcs.fail("delete", "status", status=429, after=after)
        return open_storage("gs://bucket/runs")
