"""An object of Cloud Storage keeps the contract of sources, read by anyone and by an account."""

from __future__ import annotations

import pytest

from colabkit._clients import gcs as _gcs_api
from colabkit._clients.gcs import auth as gcs_auth
from colabkit.testing.contracts.source import DATA, SecretSourceContract, Served, SourceContract


def serve(gcs, secret=""):
    """Serve the file in a bucket."""
    gcs.put("bucket", "data/a.bin", DATA)
    return Served(
        text="gs://bucket/data/a.bin",
        asked=lambda: len(gcs.seen),
        sent=lambda: gcs.sent,
        break_at=lambda at, times: gcs.fail("download", "reset", at=at, times=times),
        repair=gcs.faults.clear,
        replace=lambda data: gcs.put("bucket", "data/a.bin", data),
        secret=secret,
    )


class TestObject(SourceContract):
    """A public object."""

    @pytest.fixture
    def served(self, gcs):
        """Serve the file in an open bucket."""
        return serve(gcs)


class TestObjectOfAnAccount(SecretSourceContract):
    """An object that only an account may read."""

    @pytest.fixture(autouse=True)
    def signed_in(self, gcs, monkeypatch):
        """Let the service be found with credentials instead of as an emulator."""
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        monkeypatch.setattr(_gcs_api, "SERVICE", gcs.endpoint)
        _gcs_api._connect.cache_clear()
        yield
        _gcs_api._connect.cache_clear()

    @pytest.fixture
    def served(self, gcs, monkeypatch, tmp_path_factory):
        """Serve the file in a closed bucket."""
        key = gcs.write_credentials(tmp_path_factory.mktemp("keys") / "key.json")
        monkeypatch.setenv(gcs_auth.CREDENTIALS, str(key))
        gcs.bucket("bucket", public=False)
        return serve(gcs, next(iter(gcs.tokens)))
