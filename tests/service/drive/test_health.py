"""drive.health() tells each fault of a mount, in bounded time, and doctor() tells what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from colabkit.drive import health, log
from colabkit.testing import DriveFolder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())

DOCTOR = "print([(f.severity, f.what) for f in ck.doctor().findings if 'Drive' in f.what])"


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """Mount a folder whose home is this process' home."""
    with DriveFolder(tmp_path, lag=0.0) as folder:
        monkeypatch.setenv("HOME", str(folder.home))
        yield folder


def test_a_well_mount(drive):
    """It lists, writes and reads back; the quota and the disk are told; nothing of the check is left."""
    drive.set(quota=10e9)
    (drive.path / "a").write_bytes(bytes(1_000_000))
    found = health(drive.mountpoint)
    assert (found.state, found.readable, found.writable, found.ok) == ("healthy", True, True, True)
    assert found.quota == pytest.approx(10e9, rel=1e-3)
    assert found.quota >= found.free > 9.9e9
    assert found.cache >= 1_000_000
    assert found.disk_free > 0
    drive.settle()
    assert os.listdir(drive.path) == ["a"]
    assert drive.trash_bytes == 0
    assert json.loads(json.dumps(found.to_json()))["ok"] is True


def test_nothing_is_written_when_asked_so(drive):
    """write=False leaves the folder alone and says that writing was not tried."""
    drive.set(eio={"write": 1.0})
    found = health(drive.mountpoint, write=False)
    assert (found.ok, found.writable) == (True, None)
    assert "writable     not tried" in str(found)


@pytest.mark.parametrize(
    ("settings", "state", "readable", "writable", "said"),
    [
        ({"eio": {"list": 1.0}}, "dead", None, None, "Input/output error"),
        ({"eio": {"read": 1.0}}, "healthy", True, False, "write: Input/output error"),
        ({"eio": {"write": 1.0}}, "healthy", True, False, "write: Input/output error"),
        ({"stall": {"write": 60}}, "stalled", True, None, "writing took longer than 1 s"),
        ({"stall": {"list": 60}}, "stalled", None, None, "was not listed within 1 s"),
    ],
)
def test_each_fault(drive, settings, state, readable, writable, said):
    """What fails is told apart, and a mount that hangs for a minute holds the call for a second."""
    drive.set(**settings)
    found = health(drive.mountpoint, timeout=1.0)
    assert (found.state, found.readable, found.writable, found.ok) == (state, readable, writable, False)
    assert found.said.endswith(said)


def test_a_dead_mount(drive):
    """A mount without its program is dead, and mounted."""
    drive.kill()
    found = health(drive.mountpoint)
    assert (found.state, found.mounted, found.ok) == ("dead", True, False)
    assert found.said == "Transport endpoint is not connected"


@pytest.mark.parametrize("fault", ["kill", "stall"])
def test_from_inside_the_mount(drive, monkeypatch, fault):
    """A working folder on the mount that died or hangs does not keep health() from telling so."""
    monkeypatch.chdir(drive.path)
    drive.kill() if fault == "kill" else drive.set(stall=60)
    begun = time.monotonic()
    assert health(drive.mountpoint, timeout=1.0).state == ("dead" if fault == "kill" else "stalled")
    assert time.monotonic() - begun < 8


def test_not_mounted(drive):
    """A folder without a mount is absent, not ill."""
    drive.unmount()
    found = health(drive.mountpoint)
    assert (found.state, found.mounted) == ("absent", False)


def test_a_read_only_mount_is_not_writable(colab):
    """A mount that was made read-only says so."""
    colab.run("ck.drive.mount(MP, readonly=True)")
    assert colab.run("h = ck.drive.health(MP); print(h.readable, h.writable, h.said)") == (
        "True False write: Read-only file system\n"
    )


def test_the_log_is_quoted_without_secrets(drive):
    """The last failures of the log are told in its own words; tokens, keys, mail addresses and escapes are not."""
    lines = [
        "04.180ZI [1:core] stream.cc:1 all is well",
        "05.180ZE [1:core] auth.cc:1 refused: refresh_token=1//0abcdefghijkl access_token: ya29.a0Afb_x-y",
        "06.180ZE [1:core] http.cc:1 Authorization: Bearer abc.def for someone@example.org \x1b[31mred",
        "07.180ZI [1:core_107768412345678901234] content.cc:1 Failed to download content (QUOTA_EXCEEDED)",
    ]
    drive.log.parent.mkdir(parents=True, exist_ok=True)
    drive.log.write_text("".join(f"2099-11-24T11:26:{line}\n" for line in lines))
    found = health(drive.mountpoint, write=False).log
    assert len(found) == 3
    text = "\n".join(found)
    for secret in ("1//0abc", "ya29", "abc.def", "someone", "\x1b", "107768412345678901234"):
        assert secret not in text
    assert "Failed to download content (QUOTA_EXCEEDED)" in found[-1]


def test_a_huge_log_is_read_at_its_end(drive):
    """A log of many megabytes costs no more than its last quarter of one."""
    drive.log.parent.mkdir(parents=True, exist_ok=True)
    line = "2099-11-24T11:26:05.180ZI [1:core] stream.cc:1 reading\n"
    drive.log.write_text(line * 200_000 + "2099-11-24T11:26:05.180ZE [1:core] db.cc:1 broken\n")
    assert len(log.read(drive.home)) < 6000
    assert health(drive.mountpoint, write=False).log[-1].endswith("broken")


def test_doctor_tells_a_dead_and_a_full_drive(mounted):
    """doctor() says nothing of a well Drive; dead is a problem, little room a warning and then a problem."""
    assert mounted.run(DOCTOR) == "[]\n"
    mounted.drive.set(quota=500e6)
    assert mounted.run(DOCTOR) == "[('warning', '477 MiB are left in Drive')]\n"
    mounted.drive.set(quota=50e6)
    assert mounted.run(DOCTOR) == "[('problem', '47.7 MiB are left in Drive')]\n"
    mounted.drive.kill()
    assert mounted.run(DOCTOR) == f"[('problem', 'Drive at {mounted.mountpoint} is dead')]\n"


def test_doctor_tells_what_the_log_says(mounted):
    """An upload that a full quota refused is told from the log, the only place that has it."""
    mounted.drive.set(quota=10e9)
    mounted.run("open(MY + '/a', 'wb').write(bytes(1000))")
    mounted.drive.settle()
    mounted.drive.set(quota=900)
    mounted.run("open(MY + '/b', 'wb').write(bytes(1000))")
    wait_until(lambda: mounted.drive.log.exists() and "QUOTA" in mounted.drive.log.read_text())
    mounted.drive.set(quota=10e9)
    assert "Drive has refused reads or uploads lately" in mounted.run(DOCTOR)


def test_the_command_ends_with_1_when_it_is_not_well(drive):
    """`colabkit drive status --json` prints the same, and its exit code says whether all is well."""
    words = [sys.executable, "-m", "colabkit", "drive", "status", "--json", "--mountpoint", str(drive.mountpoint)]
    well = subprocess.run(words, capture_output=True, text=True)
    assert (well.returncode, json.loads(well.stdout)["state"]) == (0, "healthy")
    drive.kill()
    ill = subprocess.run(words, capture_output=True, text=True)
    assert (ill.returncode, json.loads(ill.stdout)["state"]) == (1, "dead")


def test_an_earlier_attempts_words_are_not_told_of_a_good_mount(drive):
    """What the log says of a program that is gone is no fault of the mount that is well."""
    file = log.file_of(drive.home)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.write("2021-01-12T11:26:04.180ZE [1:core_1] root.cc:1 QueryManager timed out\n")
        out.write("2099-01-12T11:26:04.180ZE [1:core_1] content.cc:1 upload failed: QUOTA_EXCEEDED\n")
    [line] = health(drive.mountpoint, write=False).log
    assert "QUOTA_EXCEEDED" in line
