"""Colab with a Drive that is really mounted: one kernel for the tests of a file, set back before each."""

from __future__ import annotations

import dataclasses

import pytest

from colabkit.testing import DriveFolder, DriveSettings, FakeColab

TRY = """
import os, time, colabkit as ck
ENV = dict(os.environ)
def attempt(work, *args, **options):
    start = time.monotonic()
    try:
        print(work(*args, **options))
    except ck.errors.ColabKitError as error:
        print(f"{type(error).__name__}: {error}")
    print(f"{time.monotonic() - start:.1f} s")
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Start a runtime, with `ck` imported, MP as its mount point and MY as the user's folder."""
    if missing := DriveFolder.missing():
        pytest.skip(missing)
    with FakeColab(tmp_path_factory.mktemp("colab"), drive={"lag": 0.0}) as one:
        one.run(f"{TRY}\nMP = {str(one.mountpoint)!r}\nMY = MP + '/MyDrive'")
        yield one


@pytest.fixture
def colab(machine):
    """Return the runtime as it is when a session begins: Drive not mounted and empty, nothing allowed or asked."""
    machine.set_back()
    machine.drive.set(**dataclasses.asdict(DriveSettings(lag=0.0)))
    machine.run("os.environ.clear(); os.environ.update(ENV)")
    return machine


@pytest.fixture
def mounted(colab):
    """Return the runtime with Drive mounted, and the question for access forgotten."""
    assert colab.run("attempt(ck.drive.mount, MP)").startswith(f"Mounted at {colab.mountpoint}\n{colab.mountpoint}")
    colab.requests.clear()
    return colab
