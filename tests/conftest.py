"""What every test gets: a home, a cache and an environment of its own."""

from __future__ import annotations

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
def gcs(monkeypatch):
    """Run Cloud Storage on this machine, found as Google's client finds an emulator; waits are a twentieth."""
    from colabkit._tools.retry import Backoff
    from colabkit.testing.gcs import FakeGCS
    from colabkit.transfer import _service, engine

    for module in (_service, engine):
        monkeypatch.setattr(module, "Backoff", lambda **options: Backoff(first=0.025, longest=1.0, **options))
    with FakeGCS() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.endpoint)
        yield running
