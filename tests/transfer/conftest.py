"""A server that misbehaves, files to serve, and fetches in processes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from colabkit.testing.http import FaultServer

MIB = 1 << 20


@pytest.fixture
def server():
    """Run a fault server."""
    with FaultServer() as running:
        yield running


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
