"""Every storage keeps the contract."""

from __future__ import annotations

import pytest

from colabkit._clients.huggingface import parse
from colabkit.errors import NotStoredError
from colabkit.storage import MemoryStorage, open_storage
from colabkit.storage.huggingface import CommitBudget, HubStorage
from colabkit.storage.local import LocalStorage
from colabkit.testing.contracts.storage import StorageContract


class TestFolder(StorageContract):
    """A plain folder."""

    @pytest.fixture
    def storage(self, tmp_path):
        """Give a folder that does not exist yet."""
        return open_storage(tmp_path / "runs" / "with space")

    def again(self, storage):
        """Open the folder anew."""
        return open_storage(storage.address)

    def test_what_goes_while_it_is_opened_is_missing(self, storage, tmp_path, monkeypatch):
        """A file that another process deletes just then is no fault of the disk."""
        look = LocalStorage._stored

        def look_and_lose(self, name, path):
            found = look(self, name, path)
            path.unlink()
            return found

        for read in (storage.read, lambda name: storage.get(name, tmp_path / "copy")):
            storage.put("a", b"x")
            with monkeypatch.context() as patch:
                patch.setattr(LocalStorage, "_stored", look_and_lose)
                with pytest.raises(NotStoredError, match="there is no a"):
                    read("a")
        assert not (tmp_path / "copy").exists()


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
        gcs.fail_now_and_then(every=5, until=200, upload_breaks_at=5_000_000)
        return open_storage("gs://bucket/runs")


class TestHub(StorageContract):
    """A folder of a repository of Hugging Face's Hub, asked by its own client; the repository is made on the way."""

    @pytest.fixture
    def storage(self, hub):
        """Give a folder of a repository that is not there yet."""
        return HubStorage(parse("hf:ada/runs/with space"), budget=CommitBudget(0))

    def again(self, storage):
        """Open the folder anew."""
        return HubStorage(parse(storage.address), budget=CommitBudget(0))

    def test_putting_again_replaces(self, storage):
        """The version is the hash: the Hub makes no commit of what is the same, and so it stays."""
        first = storage.put("a", b"one")
        second = storage.put("a", b"two")
        assert storage.put("a", b"two").version == second.version != first.version
        assert storage.read("a") == b"two"
        assert [stored.name for stored in storage.list()] == ["a"]
