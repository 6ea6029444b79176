"""A server that misbehaves, files to serve, and fetches in processes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from colabkit._http import service
from colabkit._internal.retry import Backoff
from colabkit.testing.http import FaultServer
from colabkit.testing.kaggle import TOKEN, FakeKaggle
from colabkit.testing.web import FakeWeb

MIB = 1 << 20
# Google's own emulator comes from a checkout of its source, which no package brings.
collect_ignore = [] if os.environ.get("COLABKIT_TEST_TESTBENCH") else ["test_storage_testbench.py"]


@pytest.fixture
def server():
    """Run a fault server."""
    with FaultServer() as running:
        yield running


@pytest.fixture
def kaggle(monkeypatch):
    """Play Kaggle to this process and its children, which are signed in; waits are short."""
    played = FakeKaggle()
    with FakeWeb(played) as web:
        for name, value in {**web.env, "KAGGLE_API_TOKEN": TOKEN}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(service, "Backoff", lambda **_: Backoff(tries=3, first=0.01))
        yield played


@pytest.fixture
def blob():
    """Make bytes that no compressor or shift can fake, the same at each call with one seed."""

    def make(size: int, seed: int = 0) -> bytes:
        return random.Random(seed).randbytes(size)  # noqa: S311 - test data

    return make


@pytest.fixture
def command():
    """Start `colabkit fetch …`, or another verb, as a process of its own."""
    started = []

    def start(*words: str, verb: str = "fetch", **env: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "colabkit", verb, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
