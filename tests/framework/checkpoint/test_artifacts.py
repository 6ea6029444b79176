"""Claims about the other files of a run that come from a storage, whatever they are called there."""

from __future__ import annotations

import time

import pytest

from colabkit.checkpoint import open_run
from colabkit.storage import MemoryStorage, Stored


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "lock", ".ssh/evil", "a/./evil"])
def test_hostile_names_leave_the_folder_alone(tmp_path, name):
    """A name that climbs out, is hidden or is one of ours is not brought; a plain one beside it is."""
    storage = MemoryStorage()
    for key in (name, "plot.png", "checkpoints/step-000000001-0123456789ab.safetensors"):
        storage._objects[key] = (Stored(name=key, size=1, modified=time.time(), version="1"), b"x")
    run = open_run(tmp_path / "inner" / "run", mirror=storage)
    assert (run.dir / "plot.png").read_bytes() == b"x"
    downloaded = [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"x"]
    assert downloaded == [run.dir / "plot.png"]
