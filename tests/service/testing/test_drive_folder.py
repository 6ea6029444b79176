"""The Drive folder misbehaves as users report of Colab's mount, and nothing of it is left when a test ends."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colabkit.testing import DriveFolder, DriveSettings
from colabkit.testing._drive_mount import daemon
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())


@pytest.fixture
def drive(tmp_path):
    """Mount a folder whose uploads begin at once, and take it away."""
    with DriveFolder(tmp_path, lag=0.0) as folder:
        yield folder


def command_of(pid):
    """Return what a process was started with; "" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def test_it_is_mounted_as_drive_is(drive):
    """The type of the mount, its two folders and the old name with a space are those of Colab."""
    line = next(line for line in Path("/proc/mounts").read_text().splitlines() if str(drive.mountpoint) in line)
    assert line.split()[2] == "fuse.drive"
    assert sorted(os.listdir(drive.mountpoint)) == ["MyDrive", "Shareddrives"]
    (drive.path / "a").write_text("1")
    assert (drive.mountpoint / "My Drive" / "a").read_text() == "1"


def test_a_file_looks_finished_before_it_is(drive):
    """While there is no network a written, synced file can be read and is in no cloud; afterwards it gets there."""
    drive.set(offline=True)
    with open(drive.path / "a", "wb") as file:
        file.write(b"weights")
        file.flush()
        os.fsync(file.fileno())
    assert (drive.path / "a").read_bytes() == b"weights"
    assert not (drive.cloud / "a").exists()
    assert drive.pending() == ["a"]
    drive.set(offline=False)
    drive.settle()
    assert (drive.cloud / "a").read_bytes() == b"weights"


def test_what_was_not_uploaded_dies_with_the_machine(drive):
    """Another daemon on this machine still uploads it; on a new machine it is gone."""
    drive.set(offline=True)
    (drive.path / "a").write_bytes(b"1")
    drive.unmount()
    drive.set(offline=False)
    drive.mount()
    drive.settle()
    drive.set(offline=True)
    (drive.path / "b").write_bytes(b"2")
    drive.new_machine()
    drive.mount()
    assert os.listdir(drive.path) == ["a"]


def test_uploads_come_in_no_order(drive):
    """Of files written one after the other, a later one arrives before an earlier one."""
    drive.set(offline=True, rate=100e3)
    names = [f"{number}" for number in range(10)]
    for name in names:
        (drive.path / name).write_bytes(bytes(1000))
    drive.set(offline=False)
    arrived = []
    while len(arrived) < len(names):
        arrived += [name for name in sorted(os.listdir(drive.cloud)) if name not in arrived]
    assert arrived != names


@pytest.mark.parametrize(("empties", "kept"), [(False, 3000), (True, 0)])
def test_the_trash_keeps_what_was_deleted(drive, empties, kept):
    """A deleted file and one that a rename replaced stay in the trash and count, unless they were emptied before."""
    (drive.path / "a").write_bytes(bytes(1000))
    (drive.path / "b").write_bytes(bytes(2000))
    drive.settle()
    for name in ("a", "b") if empties else ():
        os.truncate(drive.path / name, 0)
    os.unlink(drive.path / "a")
    (drive.path / "new").write_bytes(b"1")
    os.replace(drive.path / "new", drive.path / "b")
    drive.settle()
    assert drive.trash_bytes == kept
    assert (drive.cloud / "b").read_bytes() == b"1"
    assert not (drive.cloud / "a").exists()


def test_writing_in_place_makes_no_trash(drive):
    """A file that is opened for writing again is another version of the same item."""
    for text in ("first", "second"):
        (drive.path / "a").write_text(text)
        drive.settle()
    assert (drive.cloud / "a").read_text() == "second"
    assert drive.trash_bytes == 0


def test_a_full_quota_is_told_by_the_log_alone(drive):
    """A file that does not fit is written without an error and never uploaded, until there is room."""
    drive.set(quota=1000)
    (drive.path / "a").write_bytes(bytes(2000))
    assert os.statvfs(drive.path).f_bavail * os.statvfs(drive.path).f_frsize <= 1000
    wait_until(lambda: drive.log.exists() and "QUOTA_EXCEEDED" in drive.log.read_text())
    # It may have been seen before its first byte was written, and fits then.
    assert not (drive.cloud / "a").exists() or (drive.cloud / "a").stat().st_size == 0
    drive.set(quota=10_000)
    drive.settle()


@pytest.mark.parametrize("kind", ["list", "read", "write"])
def test_one_kind_of_operation_fails(drive, kind):
    """EIO strikes the kind that is named and no other."""
    (drive.path / "a").write_bytes(b"1")
    drive.set(eio={kind: 1.0})
    works = {
        "list": lambda: os.listdir(drive.path),
        "read": (drive.path / "a").read_bytes,
        "write": lambda: (drive.path / "b").write_bytes(b"2"),
    }
    for name, work in works.items():
        if name == kind:
            with pytest.raises(OSError, match="Input/output error") as raised:
                work()
            assert raised.value.errno == errno.EIO
        else:
            work()


def test_a_stall_ends_when_it_is_lifted(drive):
    """An operation hangs as long as it is told to, and no longer than the setting stands."""
    drive.set(stall={"list": 60})
    words = [sys.executable, "-c", "import os, sys; os.listdir(sys.argv[1])", str(drive.path)]
    with subprocess.Popen(words) as listing:
        with pytest.raises(subprocess.TimeoutExpired):
            listing.wait(0.5)
        drive.set(stall=0.0)
        assert listing.wait(20) == 0


def test_half_a_listing(drive):
    """A folder of the user's shows half of its names; each file can still be opened."""
    for number in range(10):
        (drive.path / f"{number}").touch()
    (drive.path / "folder").mkdir()
    drive.set(listing=0.5)
    assert len(os.listdir(drive.path)) == 5
    for number in range(10):
        (drive.path / "folder" / f"{number}").touch()
    assert len(os.listdir(drive.path / "folder")) == 5
    assert (drive.path / "folder" / "9").exists()


def test_the_daemon_dies_in_the_middle_of_a_write(drive):
    """The write that was under way may be aborted, all later calls get ENOTCONN, and it can be mounted again."""
    drive.set(die_after=100_000)
    with pytest.raises(OSError, match=r"Transport endpoint|connection abort") as raised:
        (drive.path / "a").write_bytes(bytes(1_000_000))
    assert raised.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(drive.path)
    assert str(drive.mountpoint) in Path("/proc/mounts").read_text()
    drive.unmount()
    drive.set(die_after=None)
    drive.mount()
    assert os.listdir(drive.path) == ["a"]


def test_names_in_composed_form(drive):
    """A name that was written decomposed is listed composed, and is the same file under both."""
    drive.set(nfc=True)
    (drive.path / "cafe\u0301").write_text("1")
    assert os.listdir(drive.path) == ["caf\u00e9"]
    assert (drive.path / "caf\u00e9").read_text() == (drive.path / "cafe\u0301").read_text() == "1"


def test_a_folder_is_renamed_with_what_is_in_it(drive):
    """A rename of a folder takes along what was uploaded and what was not."""
    (drive.path / "old").mkdir()
    (drive.path / "old" / "a").write_text("1")
    drive.settle()
    drive.set(offline=True)
    (drive.path / "old" / "b").write_text("2")
    (drive.path / "old").rename(drive.path / "new")
    drive.set(offline=False)
    drive.settle()
    assert {path.name: path.read_text() for path in (drive.cloud / "new").iterdir()} == {"a": "1", "b": "2"}
    assert not (drive.cloud / "old").exists()


@pytest.mark.parametrize("seed", range(3))
def test_a_replacement_during_an_upload_arrives(drive, seed):
    """A file that is set aside and replaced while another one is uploaded has its new bytes in the cloud, for good."""
    drive.unmount()
    drive.set(offline=True, rate=1e6, seed=seed)
    drive.mount()
    (drive.path / "a").write_bytes(b"old")
    (drive.path / "large").write_bytes(bytes(1 << 19))
    drive.set(offline=False)
    part = drive.state / "upload.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 100_000)  # of "large": "a" has three bytes
    (drive.path / "new").write_bytes(b"newer")
    (drive.path / "a").rename(drive.path / "aside")
    (drive.path / "new").rename(drive.path / "a")
    (drive.path / "aside").unlink()
    drive.settle()
    (drive.path / "last").touch()
    drive.settle()
    assert (drive.cloud / "a").read_bytes() == b"newer"
    assert drive.pending() == []


def test_a_folder_whose_time_is_set_hinders_no_upload(drive, tmp_path):
    """A copied folder, to which the copy gives the time of its source, reaches the cloud, and so does what follows."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a").write_text("1")
    shutil.copytree(tmp_path / "here", drive.path / "there")
    for name in "bcd":  # the first may be uploaded together with the folder's time
        drive.settle()
        (drive.path / name).write_text("2")
    drive.settle()
    assert (drive.cloud / "there" / "a").read_text() == "1"


def test_an_emptied_trash_hinders_no_upload(drive):
    """Somebody who removes the trash is no reason to upload nothing more."""
    (drive.path / "a").write_text("1")
    drive.settle()
    shutil.rmtree(drive.trash)
    (drive.path / "a").unlink()
    (drive.path / "b").write_text("2")
    drive.settle()
    assert drive.trash_bytes == 1


def test_nothing_waits_for_a_daemon_that_cannot_upload(drive):
    """Where the cloud cannot be written, the daemon ends; a wait for it ends, too, and says why."""
    drive.set(offline=True)
    (drive.path / "a").write_text("1")
    (drive.cloud / "a").mkdir(parents=True)
    (drive.cloud / "a" / "b").touch()
    drive.set(offline=False)
    with pytest.raises(RuntimeError, match=r"no daemon uploads a(.|\n)*(IsADirectory|Is a directory|not empty)"):
        drive.settle()
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(drive.path)


def test_a_push_by_a_daemon_that_dies_is_none(drive):
    """A push whose daemon ended before everything was uploaded fails, and its log says so."""
    drive.set(offline=True)
    (drive.path / "a").write_text("1")
    words = [sys.executable, "-m", daemon.__name__, "--push_changes_and_quit", "--timeout_sec=60"]
    with subprocess.Popen(words, env={**os.environ, **drive.environment()}) as push:
        wait_until((drive.state / daemon.PUSH).exists)
        os.kill(drive.pid, signal.SIGKILL)
        assert push.wait(30) == 1
    assert "ended with changes pending" in drive.log.read_text()


def test_a_wait_for_uploads_says_why_it_ended(drive):
    """A file that does not fit the quota is named with the log's last words."""
    drive.set(quota=10)
    (drive.path / "a").write_bytes(bytes(100))
    wait_until(lambda: drive.log.exists() and "QUOTA_EXCEEDED" in drive.log.read_text())
    with pytest.raises(TimeoutError, match=r"a\n.*QUOTA_EXCEEDED"):
        drive.settle(0.1)


def test_nothing_is_left_of_it(tmp_path):
    """After the block there is no mount, no process and no temporary folder, even when the daemon hangs."""
    with DriveFolder() as drive:
        pid = drive.pid
        drive.set(stall=3600)
    assert str(drive.mountpoint) not in Path("/proc/mounts").read_text()
    assert command_of(pid) == ""
    assert not drive.folder.exists()


def test_it_ends_with_the_process_that_made_it(tmp_path):
    """A test run that is killed leaves neither mount nor daemon."""
    code = (
        "import sys, os; from colabkit.testing import DriveFolder\n"
        "drive = DriveFolder(sys.argv[1]); drive.mount(); print(drive.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    pid = int(done.stdout)
    until = time.monotonic() + 20
    while "drive" in command_of(pid) or str(tmp_path) in Path("/proc/mounts").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_unknown_kind_is_refused():
    """A misspelt kind of operation is an error, not a fault that never strikes."""
    with pytest.raises(ValueError, match="eio knows look, list, read, write, not raed"):
        DriveSettings(eio={"raed": 1.0})
