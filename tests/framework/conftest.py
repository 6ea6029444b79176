"""What tests with frameworks share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def compiled_once(tmp_path_factory):
    """Let the processes of JAX that the tests start share what XLA has compiled: they compile the same again and again.

    Weights are compared bit by bit between a process that compiles and one that finds it compiled; `test_exact.py` and
    the kills of `tests/benchmarks` compile anew.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    os.environ.update(settings)
    yield
    for name in settings:
        os.environ.pop(name, None)
