"""Claims about a mounted Drive as a storage, on a folder that is really mounted and behaves as Colab's does."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil

import pytest

from colabkit.errors import AddressError, ChangedError, ColabKitError, NotStoredError, StorageError, UnreachableError
from colabkit.storage.drive import DriveStorage
from colabkit.testing import CloudDrive, DriveFolder, FakeWeb
from colabkit.testing.contracts.storage import StorageContract
from colabkit.testing.google_drive import CREDENTIALS
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    """Mount a Drive once for this file."""
    if missing := DriveFolder.missing():
        pytest.skip(missing)
    with DriveFolder(tmp_path_factory.mktemp("drive"), lag=0.0, latency=0.0, rate=1e9) as drive:
        yield drive


@pytest.fixture
def drive(mounted):
    """Give the Drive, healthy and with nothing in it."""
    mounted.set(lag=0.0, latency=0.0, rate=1e9, eio=0.0, stall=0.0, offline=False, quota=15e9, die_after=None)
    if mounted.pid is None:
        mounted.unmount()
        mounted.mount()
    for path in mounted.path.iterdir():
        shutil.rmtree(path)
    mounted.settle()
    shutil.rmtree(mounted.trash)
    mounted.trash.mkdir()
    return mounted


def opened(drive):
    """Open a folder of it."""
    return DriveStorage(drive.path / "runs", mount=drive.path, address="drive:runs")


class TestDrive(StorageContract):
    """The contract, on the mount."""

    @pytest.fixture
    def storage(self, drive):
        """Give a folder that does not exist yet."""
        return opened(drive)

    def again(self, storage):
        """Open the folder anew."""
        return DriveStorage(storage.root, mount=storage._mount, address=storage.address)

    def test_one_of_many_comes_first(self, storage):
        """Two machines may each have their own file of one name, so it does not promise it."""
        assert not storage.atomic


def test_a_file_that_the_mount_has_numbered_anew_is_the_same_version(tmp_path):
    """A mount gives another inode to a file that nobody has touched; other bytes are another version."""
    storage = DriveStorage(tmp_path / "runs", mount=tmp_path, address="drive:runs")
    before = storage.put("lock.json", b"mine")
    path = tmp_path / "runs" / "lock.json"
    shutil.copy2(path, tmp_path / "copy")
    os.replace(tmp_path / "copy", path)
    assert storage.entry("lock.json").version == before.version
    assert storage.put("lock.json", b"more", only_if=before).version != before.version


VERBS = {
    "open": lambda storage, _: DriveStorage(storage.root, mount=storage._mount, address=storage.address),
    "entry": lambda storage, before: storage.entry("lock.json").version == before.version or pytest.fail("another"),
    "read": lambda storage, _: storage.read("lock.json") == b"mine" or pytest.fail("other bytes"),
    "list": lambda storage, _: storage.list() or pytest.fail("nothing is listed"),
    "put": lambda storage, before: storage.put("lock.json", b"mine", only_if=before),
}


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_one_look_that_fails_makes_nothing_absent(tmp_path, monkeypatch, verb, link):
    """Whichever of a verb's looks at a file the mount fails, it gives the right answer or says that none was given.

    An old version lies beside, as of a machine that died while it was replaced.
    """
    looks = {name: getattr(os, name) for name in ("stat", "lstat")}
    number = failing = 0

    def look(name, path, *args, **options):
        nonlocal number
        number += str(path).startswith(str(tmp_path))
        if number == failing:
            number += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return looks[name](path, *args, **options)

    while failing <= number:
        folder = tmp_path / f"{failing}"
        (folder / "runs").mkdir(parents=True)
        storage = DriveStorage(folder / "runs", mount=folder, address="drive:runs")
        before = storage.put("lock.json", b"mine")
        if link:
            (folder / "runs" / "lock.json").rename(folder / "lock.json")
            (folder / "runs" / "lock.json").symlink_to(folder / "lock.json")
            before = storage.entry("lock.json")
        (folder / "runs" / ".lock.json.part-old").write_bytes(b"older")
        number, failing = 0, failing + 1
        with monkeypatch.context() as patched:
            for name in looks:
                patched.setattr(os, name, functools.partial(look, name))
            try:
                VERBS[verb](storage, before)
            except (ChangedError, NotStoredError):
                raise  # it was there all the time, and nobody changed it
            except StorageError:
                pass
    assert failing > 1


def test_a_mount_that_does_not_answer_can_be_opened(drive):
    """A mount that fails at that moment is no error of the opening: the first look that succeeds shows its device."""
    opened(drive).put("a", b"x")
    drive.unmount()
    drive.mount()  # nothing that was looked at is remembered
    drive.set(eio={"look": 1.0})
    storage = opened(drive)
    with pytest.raises(UnreachableError):
        storage.list()
    drive.set(eio=0.0)
    assert [stored.name for stored in storage.list()] == ["a"]
    drive.unmount()
    with pytest.raises(UnreachableError, match="no longer mounted"):
        storage.put("b", b"x")


def test_a_mount_that_was_made_anew_goes_on(drive, tmp_path):
    """Healed by `ck.drive.mount()`, it may have another device: the run that was open goes on with it."""
    storage = opened(drive)
    storage.put("a", b"x")
    before = drive.path.stat().st_dev
    drive.kill()
    drive.unmount()
    with DriveFolder(tmp_path / "other"):  # takes the number that is free
        drive.mount()
        assert drive.path.stat().st_dev != before
        storage.put("b", b"y")
        assert {stored.name for stored in storage.list()} >= {"b"}


def test_the_trash_stays_empty(drive, tmp_path):
    """Fifty overwrites and ten deletes of a file of 1 MiB leave less than 1 MB in the trash."""
    storage = opened(drive)
    (tmp_path / "big").write_bytes(os.urandom(1 << 20))
    for number in range(50):
        storage.put("big", tmp_path / "big")
        if number % 5 == 0:
            drive.settle()
            storage.delete("big")
    drive.settle()
    assert drive.trash_bytes < 1_000_000


def test_an_empty_file_is_refused(drive):
    """A file of 0 bytes cannot be told from one that is being deleted."""
    with pytest.raises(AddressError, match="keeps no empty files"):
        opened(drive).put("empty", b"")


def test_without_credentials_it_cannot_tell(drive):
    """A file that the mount shows is not called confirmed: nobody has asked Drive."""
    storage = opened(drive)
    storage.put("a", b"x")
    assert storage.confirmed("a") == "cannot tell"


def test_a_dead_mount_is_told_and_nothing_lands_below_it(drive):
    """After the daemon's death every method says so, and no file is written to the disk under the mount point."""
    storage = opened(drive)
    storage.put("a", b"x")
    drive.kill()
    for attempt in (
        lambda: storage.put("b", b"x"),
        lambda: storage.read("a"),
        storage.list,
        lambda: storage.delete("a"),
    ):
        with pytest.raises(UnreachableError):
            attempt()
    drive.unmount()
    with pytest.raises(UnreachableError, match="no longer mounted"):
        storage.put("b", b"x")
    assert not drive.path.exists()


@pytest.mark.parametrize("kind", ["read", "write", "list", "look"])
def test_errors_of_the_mount_are_typed_and_lose_nothing(drive, kind):
    """With every second call failing, each method gives the right bytes or a typed error, and the old content stays."""
    storage = opened(drive)
    storage.put("a", b"old")
    drive.set(eio={kind: 0.5})
    ended = 0
    for _ in range(10):
        try:
            assert storage.read("a") == b"old"
            assert [stored.name for stored in storage.list()] == ["a"]
            storage.put("b", b"new")
            storage.delete("b")
        except StorageError:
            ended += 1
    drive.set(eio=0.0)
    assert storage.read("a") == b"old"
    assert {stored.name for stored in storage.list()} <= {"a", "b"}


def test_a_full_drive_is_not_confirmed(drive, tmp_path):
    """What does not fit the quota is never called confirmed, though the mount takes it."""
    storage = opened(drive)
    drive.set(quota=1e6)
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    try:
        storage.put("big", tmp_path / "big")
    except ColabKitError:
        return
    assert storage.confirmed("big") != "yes"


def test_one_name_twice_in_the_cloud(drive, tmp_path, monkeypatch):
    """Another machine made a file of the same name: the mount shows it under a number, as another object.

    Neither takes the place of the other, and "confirmed" is true of the one whose bytes Drive really has.
    """
    (tmp_path / "account.json").write_text(json.dumps(CREDENTIALS))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    storage = opened(drive)
    storage.put("a.csv", b"mine")
    (storage.root / "a (1).csv").write_bytes(b"theirs")
    drive.settle()
    cloud = drive.cloud / "runs"
    (cloud / "a (1).csv").rename(cloud / "a.csv~2")  # as Drive itself has it
    with FakeWeb(CloudDrive(shown=drive.cloud)) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        assert storage.confirmed("a.csv") == "yes"
        (cloud / "a.csv").write_bytes(b"lost")
        assert storage.confirmed("a.csv") == "no"
    assert [(stored.name, stored.size) for stored in storage.list()] == [("a (1).csv", 6), ("a.csv", 4)]
    storage.put("a.csv", b"newer")
    storage.delete("a.csv")
    assert storage.read("a (1).csv") == b"theirs"


def test_only_what_reached_the_cloud_survives(drive, tmp_path):
    """A run whose machine is lost goes on from the newest checkpoint that had reached the cloud, whole."""
    from colabkit.checkpoint import open_run

    def arrived():
        return [int(path.name[5:14]) for path in drive.cloud.glob("runs/checkpoints/step-*")]

    drive.set(lag=0.3, rate=2e6)
    run = open_run(tmp_path / "here", mirror=opened(drive))
    for step in range(1, 6):
        run.save({"x": os.urandom(300_000)}, step=step)
        run.written()
        if step == 3:
            wait_until(arrived)
            drive.set(offline=True)
    wait_until(lambda: run.status().mirrored_step == 5)
    drive.new_machine()
    drive.set(offline=False)
    drive.mount()
    run._mirror.lease.release()  # the lost machine is this one: nobody waits for its silence
    run._lock.release()
    heir = open_run(tmp_path / "there", mirror=opened(drive))
    found = heir.restore()
    assert found is not None
    assert found.step == max(arrived()) <= 3
    heir.close()
