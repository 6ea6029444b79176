"""What every test gets: a home, a cache and an environment of its own."""

from __future__ import annotations

import json
import logging
import os
import signal

import pytest

from colabkit._tools.log import logger

# In the background of a script Ctrl-C is ignored, and so it would be by every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HOST_MARKS = (
    "COLAB_",
    "KAGGLE_",
    "TBE_",
    "VERTEX_",
    "SAGEMAKER_",
    "SM_",
    "LIGHTNING_",
    "PAPERSPACE_",
    "DEEPNOTE_",
)


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path_factory):
    """No test reads a developer's keys, settings or cache, or takes this machine for a notebook host."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith((*HOST_MARKS, "COLABKIT_", "GOOGLE_", "CLOUDSDK_", "STORAGE_", "AWS_", "HF_", "WANDB_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name, folder in {
        "XDG_CACHE_HOME": ".cache",
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".share",
    }.items():
        monkeypatch.setenv(name, str(home / folder))
    logger.handlers.clear()  # as in a new process: a thread of an earlier test may have spoken between two tests
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    return home


@pytest.fixture
def quick_retries(monkeypatch):
    """Let the waits between two tries of a service be a twentieth."""
    from colabkit._tools.retry import Backoff
    from colabkit.transfer import _service, engine

    for module in (_service, engine):
        monkeypatch.setattr(module, "Backoff", lambda **options: Backoff(first=0.025, longest=1.0, **options))


@pytest.fixture
def gcs(monkeypatch, quick_retries):
    """Run Cloud Storage on this machine, found as Google's client finds an emulator."""
    from colabkit.testing.gcs import FakeGCS

    with FakeGCS() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.endpoint)
        yield running


@pytest.fixture
def google_drive(monkeypatch, quick_retries):
    """Play Drive to this process and to those that it starts; nobody is signed in."""
    from colabkit.testing.google_drive import FakeDrive
    from colabkit.testing.web import FakeWeb

    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    drive = FakeDrive()
    with FakeWeb(drive) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        yield drive


@pytest.fixture
def signed_in_drive(google_drive, monkeypatch, tmp_path_factory):
    """Play Drive, and leave credentials where gcloud leaves them."""
    from colabkit.testing.google_drive import CREDENTIALS

    path = tmp_path_factory.mktemp("google") / "credentials.json"
    path.write_text(json.dumps(CREDENTIALS))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return google_drive
