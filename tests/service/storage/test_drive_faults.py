"""Every fault of a mounted Drive against every verb: the right bytes or a typed error, and nothing lost in silence."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from colabkit.errors import ColabKitError
from colabkit.testing import DriveFolder
from tests.support.drive_faults import FAULTS, VERBS, opened, outcome


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    """Mount a Drive once for this file."""
    if missing := DriveFolder.missing():
        pytest.skip(missing)
    with DriveFolder(tmp_path_factory.mktemp("drive"), lag=0.0, rate=1e9) as drive:
        yield drive


@pytest.fixture
def drive(mounted):
    """Give the Drive with nothing in it."""
    if mounted.pid is None:
        mounted.unmount()
        mounted.mount()
    for path in mounted.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    mounted.settle()
    return mounted


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fault", FAULTS)
def test_right_or_told(drive, fault, verb, tmp_path):
    """What a verb says to have done is so when the fault is over; what it could not do is an error."""
    said, lost = outcome(drive, fault, verb, tmp_path, seconds=1.0)
    assert lost == "", said


def test_a_replacement_that_fails_leaves_the_old_one(drive):
    """Whichever call of the mount fails while an object is replaced, its name has one of the contents, whole."""
    storage = opened(drive)
    storage.put("a", b"0" * 100_000)
    drive.set(eio={"write": 0.3})
    last = b"0"
    for number in range(1, 30):
        content = str(number % 10).encode()
        with contextlib.suppress(ColabKitError):
            storage.put("a", content * 100_000)
            last = content
        drive.set(eio=0.0)
        assert opened(drive).read("a") == last * 100_000
        assert [stored.name for stored in opened(drive).list()] == ["a"]
        drive.set(eio={"write": 0.3})
    drive.set(eio=0.0)


def test_what_a_dead_machine_had_set_aside_is_what_the_name_has(drive):
    """Between the two steps of a replacement the old content is found by every verb, and goes with its name."""
    storage = opened(drive)
    storage.put("x/a", b"old")
    (drive.path / "runs/x/a").rename(drive.path / "runs/x/.a.part-old")
    fresh = opened(drive)
    assert [stored.name for stored in fresh.list("x/")] == ["x/a"]
    assert fresh.read("x/a") == b"old"
    fresh.put("x/a", b"new")
    assert fresh.read("x/a") == b"new"
    assert sorted(path.name for path in (drive.path / "runs/x").iterdir()) == ["a"]
    (drive.path / "runs/x/a").rename(drive.path / "runs/x/.a.part-old")
    fresh.delete("x/a")
    assert fresh.entry("x/a") is None
