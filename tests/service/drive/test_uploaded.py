"""drive.uploaded() proves by Drive's own checksums, or says that it cannot tell; drive.unmount() uploads first."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.errors import AddressError, DriveError, DriveTimeoutError
from colabkit.testing import CloudDrive, DriveFolder, FakeWeb
from colabkit.testing.google_drive import CREDENTIALS

pytestmark = pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())


@pytest.fixture
def drive(tmp_path):
    """Mount a folder whose uploads begin at once."""
    with DriveFolder(tmp_path, lag=0.0) as folder:
        yield folder


@pytest.fixture
def credentials(tmp_path):
    """Write the file of an account that is signed in."""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(CREDENTIALS))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


@pytest.fixture
def google(drive, credentials, monkeypatch):
    """Play Google's hosts, which show what the cloud has, to an account that is signed in."""
    shown = CloudDrive(shown=drive.cloud)
    with FakeWeb(shown) as web:
        for name, value in {**web.env, **credentials}.items():
            monkeypatch.setenv(name, value)
        yield shown


def test_a_file_has_arrived_when_drive_shows_its_bytes(drive, google):
    """It waits for the upload, and what it then says is true in an `if`."""
    drive.set(lag=0.5)
    (drive.path / "model.bin").write_bytes(b"weights" * 1000)
    found = ck.drive.uploaded(drive.path / "model.bin", timeout=20)
    assert found
    assert (found.state, found.checked) == ("arrived", 1)
    assert (drive.cloud / "model.bin").read_bytes() == b"weights" * 1000


def test_another_version_is_not_these_bytes(drive, google):
    """While Drive has the version before, of the same size, the file is pending."""
    (drive.path / "a").write_bytes(b"first")
    drive.settle()
    drive.set(offline=True)
    (drive.path / "a").write_bytes(b"later")
    found = ck.drive.uploaded(drive.path / "a", timeout=0.0)
    assert not found
    assert (found.state, found.pending) == ("pending", ("a",))
    drive.set(offline=False)
    assert ck.drive.uploaded(drive.path / "a", timeout=20)


def test_a_folder_with_names_that_drive_and_linux_treat_differently(drive, google):
    """Quotes, backslashes, trailing dots, long and decomposed names: all are found, and missed when changed."""
    names = ["it's", "back\\slash", "dot.", "caf\u00e9", "cafe\u0301 2", "x" * 255, "\U0001f600"]
    folder = drive.path / "runs" / "it's 1"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(name)
    assert ck.drive.uploaded(drive.path / "runs", timeout=20)
    drive.set(offline=True)
    (folder / "dot.").write_text("another")
    (folder / "caf\u00e9").write_text("another")
    found = ck.drive.uploaded(drive.path / "runs", timeout=0.0)
    assert set(found.pending) == {"runs/it's 1/dot.", "runs/it's 1/caf\u00e9"}


def test_one_name_twice_in_a_folder(drive, google):
    """Where Drive holds two files of one name, the one with the same bytes counts."""
    (drive.path / "a").write_text("mine")
    drive.settle()
    (drive.cloud / "a~2").write_text("mine")
    (drive.cloud / "a").write_text("other")
    assert ck.drive.uploaded(drive.path / "a", timeout=0.0)
    (drive.cloud / "a~2").unlink()
    assert not ck.drive.uploaded(drive.path / "a", timeout=0.0)


def test_many_files_in_pages(drive, google):
    """More files than a page or a query holds are all compared."""
    for number in range(50):
        (drive.path / f"{number}").write_text(str(number))
    found = ck.drive.uploaded(drive.path, timeout=20)
    assert (found.state, found.checked) == ("arrived", 50)


def test_an_account_that_is_refused_gives_no_verdict(drive, google, monkeypatch):
    """A limit, a sign-in that is no longer valid and a network that is down are "unknown", each with its reason."""
    (drive.path / "a").write_text("1")
    drive.settle()
    google.limited = 100
    found = ck.drive.uploaded(drive.path / "a", timeout=1)
    assert (found.state, bool(found)) == ("unknown", False)
    assert "User Rate Limit Exceeded" in found.why
    google.limited = 0
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    offline = ck.drive.uploaded(drive.path / "a", timeout=1)
    assert offline.state == "unknown"
    assert "there is no network" in offline.why


def test_without_credentials_it_says_that_it_cannot_tell(drive, monkeypatch):
    """No guess is made from the mount, which shows the file as finished."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    (drive.path / "a").write_text("1")
    drive.settle()
    found = ck.drive.uploaded(drive.path / "a", timeout=1)
    assert found.state == "unknown"
    assert "the mount does not tell, and no Google account is signed in" in found.why
    assert "auth.authenticate_user()" in found.do


def test_a_shared_drive_is_not_judged(drive, google):
    """What is not in My Drive is unknown, not looked for in the wrong place."""
    (drive.mountpoint / "Shareddrives" / "a").write_text("1")
    assert ck.drive.uploaded(drive.mountpoint / "Shareddrives" / "a").state == "unknown"
    assert google.listed == 0


@pytest.mark.parametrize("path", ["/usr/x", "MyDrive/x", ""])
def test_what_is_on_no_drive_is_refused(path):
    """A path that no Drive mount holds is an error, not a pending upload."""
    with pytest.raises(AddressError, match="is not on a mounted Drive"):
        ck.drive.uploaded(path)


def test_a_path_that_climbs_out(drive, google):
    """`..` does not lead out of the mount."""
    with pytest.raises(AddressError, match="is not on a mounted Drive"):
        ck.drive.uploaded(f"{drive.path}/../../../etc/passwd")


def test_a_mount_that_fails_is_an_error(drive, google):
    """A missing file, EIO, a stall and a dead mount each end in a typed error in bounded time."""
    with pytest.raises(DriveError, match="cannot be compared") as raised:
        ck.drive.uploaded(drive.path / "none", timeout=5)
    assert "no such file" in raised.value.why.lower()
    (drive.path / "a").write_bytes(bytes(100_000))
    drive.set(eio={"read": 1.0})
    with pytest.raises(DriveError, match="cannot be compared"):
        ck.drive.uploaded(drive.path / "a", timeout=5)
    drive.set(eio=0.0, stall=60)
    begun = time.monotonic()
    with pytest.raises(DriveTimeoutError):
        ck.drive.uploaded(drive.path / "a", timeout=1)
    assert time.monotonic() - begun < 10
    drive.kill()
    with pytest.raises(DriveError, match="cannot be compared"):
        ck.drive.uploaded(drive.path / "a", timeout=5)


def test_the_command(drive, google):
    """`colabkit drive uploaded` ends with 0 when all has arrived and with 1 otherwise."""
    (drive.path / "a").write_text("1")
    words = [sys.executable, "-m", "colabkit", "drive", "uploaded", str(drive.path / "a"), "--json", "--timeout", "20"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "arrived")
    google.limited = 100
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)["state"]) == (1, "unknown")


def test_unmount_uploads_first(mounted):
    """When it says flushed, the cloud has the bytes and the mount is gone; a second time there is nothing to do."""
    mounted.drive.set(rate=2e6)
    mounted.run("open(MY + '/a', 'wb').write(bytes(2_000_000))")
    said = mounted.run("u = ck.drive.unmount(MP); print(u.was_mounted, u.flushed)")
    assert "everything is uploaded, as Drive's program says" in said
    assert said.endswith("True True\n")
    assert (mounted.drive.cloud / "a").stat().st_size == 2_000_000
    assert str(mounted.mountpoint) not in Path("/proc/mounts").read_text()
    assert mounted.run("print(ck.drive.unmount(MP))") == f"Drive is not mounted at {mounted.mountpoint}.\n"


def test_unmount_says_what_is_pending(mounted):
    """Without a network it stays mounted, names what was changed lately, and works once the network is back."""
    mounted.drive.set(offline=True)
    mounted.run("open(MY + '/last.ckpt', 'w').write('1')")
    said = mounted.run("attempt(ck.drive.unmount, MP, timeout_ms=1000)")
    assert said.startswith(f"DriveTimeoutError: Drive stays mounted at {mounted.mountpoint}")
    assert "perhaps pending: last.ckpt" in said
    assert mounted.run("print(open(MY + '/last.ckpt').read())") == "1\n"
    mounted.drive.set(offline=False)
    assert "everything is uploaded" in mounted.run("attempt(ck.drive.unmount, MP)")
    assert (mounted.drive.cloud / "last.ckpt").exists()


def test_unmount_of_a_dead_mount(mounted):
    """It is taken away, and what had not been uploaded is said to wait for the next mount, which uploads it."""
    mounted.drive.set(offline=True)
    mounted.run("open(MY + '/a', 'w').write('1')")
    mounted.drive.kill()
    said = mounted.run("print(ck.drive.unmount(MP).flushed)")
    assert "waits for the next mount on this machine" in said
    assert said.endswith("False\n")
    mounted.drive.set(offline=False)
    mounted.run("ck.drive.mount(MP)")
    mounted.drive.settle()
    assert (mounted.drive.cloud / "a").exists()


def test_a_kill_in_the_middle_of_a_write_loses_no_word(mounted, credentials):
    """The program gets an error, mount() heals, and uploaded() does not take the half file for the whole."""
    mounted.drive.set(die_after=1_000_000)
    said = mounted.run("open(MY + '/a', 'wb').write(bytes(5_000_000))")
    assert "Transport endpoint is not connected" in said or "Software caused connection abort" in said
    mounted.drive.set(die_after=None)
    mounted.run("ck.drive.mount(MP)")
    mounted.run("open(MY + '/a', 'wb').write(bytes(5_000_000))")
    with FakeWeb(CloudDrive(shown=mounted.drive.cloud)) as web:
        mounted.run(f"os.environ.update({web.env | credentials!r})")
        assert mounted.run("print(ck.drive.uploaded(MY + '/a', 30).state)") == "arrived\n"
    assert (mounted.drive.cloud / "a").read_bytes() == bytes(5_000_000)
