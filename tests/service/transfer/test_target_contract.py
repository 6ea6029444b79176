"""Every target keeps the contract: a path, gs:, hf:, drive: by its interface, kaggle:."""

from __future__ import annotations

import os

import pytest

from colabkit.testing.contracts.target import Place, TargetContract
from colabkit.testing.http import Fault
from colabkit.testing.kaggle import TOKEN, FakeKaggle
from colabkit.testing.web import FakeWeb


class TestPath(TargetContract):
    """A path of this machine."""

    test_a_connection_that_breaks_costs_nothing = None  # there is none

    @pytest.fixture
    def place(self, tmp_path):
        """Give a name in a folder that is not there yet."""
        path = tmp_path / "to" / "it.bin"

        def deny():
            path.parent.write_bytes(b"no folder")

        return Place(
            text=str(path),
            read=lambda: path.read_bytes() if os.path.lexists(path) else None,
            deny=deny,
        )


class TestCloudStorage(TargetContract):
    """An object of a bucket."""

    @pytest.fixture
    def place(self, gcs):
        """Give a name in a bucket."""
        bucket = gcs.bucket("bucket")
        return Place(
            text="gs://bucket/data/it.bin",
            read=lambda: bucket.objects["data/it.bin"].data if "data/it.bin" in bucket.objects else None,
            break_once=lambda: gcs.fail("upload", "reset", at=5_000_000),
            deny=lambda: gcs.bucket("bucket", public=False),
        )


class TestHub(TargetContract):
    """A file of a repository of Hugging Face's Hub, which is made on the way."""

    @pytest.fixture
    def place(self, hub, monkeypatch):
        """Give a name in a repository that is not there."""

        def read():
            repo = hub.repos.get("models/ada/net")
            return None if repo is None else repo.files.get("data/it.bin")

        return Place(
            text="hf:ada/net/data/it.bin",
            read=read,
            break_once=lambda: setattr(hub, "lost", 1),
            deny=lambda: monkeypatch.setenv("HF_TOKEN", "hf_of_nobody"),
        )


class TestDrive(TargetContract):
    """A file of one's own Drive, by its interface."""

    # test_google_drive.py breaks connections and takes rights away.
    test_a_connection_that_breaks_costs_nothing = None
    test_who_may_not_write_is_told_and_nothing_is_there = None

    @pytest.fixture
    def place(self, signed_in_drive):
        """Give a name in a folder that is not there yet."""

        def read():
            found = [item for item in signed_in_drive.items.values() if item.name == "it.bin"]
            return found[-1].data if found else None

        return Place(text="drive:runs/it.bin", read=read)


class TestKaggle(TargetContract):
    """The one file of a dataset, whose versions stay."""

    @pytest.fixture
    def place(self, monkeypatch, quick_retries):
        """Give a dataset that is not there."""
        kaggle = FakeKaggle()

        def read():
            bundle = kaggle.bundles.get("datasets/ada/digits-data")
            return None if bundle is None else next(iter(bundle.files.values()))

        with FakeWeb(kaggle) as web:
            for name, value in {**web.env, "KAGGLE_API_TOKEN": TOKEN}.items():
                monkeypatch.setenv(name, value)
            yield Place(
                text="kaggle:ada/digits-data",
                read=read,
                break_once=lambda: kaggle.storage.uploads.faults.append(Fault(kind="reset", at=5_000_000)),
                deny=lambda: monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_of_nobody"),
                keeps_versions=True,
            )
