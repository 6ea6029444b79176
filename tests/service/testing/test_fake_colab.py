"""FakeColab says, asks and fails as google.colab does; its words were compared with the real one's source."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colabkit.testing import DriveFolder, FakeColab, Request

pytestmark = pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())

FAQ = "https://research.google.com/colaboratory/faq.html#drive-timeout"
POLICY = "https://support.google.com/a/answer/7496409"
DRIVE_AUTH = Request(kind="request_auth", body={"authType": "dfs_ephemeral"})


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Start one runtime for the tests of this file."""
    with FakeColab(tmp_path_factory.mktemp("colab"), javascript=lambda script: f"ran {script}") as one:
        one.run(f"from google.colab import auth, drive, output, userdata\nMP = {str(one.mountpoint)!r}\n%xmode Minimal")
        yield one


@pytest.fixture
def colab(machine):
    """Return it as at the begin of a session."""
    machine.set_back()
    return machine


def is_alive(pid):
    """Say whether a process runs; one that has ended and that its parent has not noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def said(colab, code):
    """Run a cell and return what it said, without colours."""
    return colab.run(code).replace("\x1b[31m", "").replace("\x1b[39m", "").strip()


def test_mount_asks_every_time_and_prints_as_colab_does(colab):
    """Even where Drive is mounted, google.colab asks the frontend first."""
    assert said(colab, "drive.mount(MP)") == f"Mounted at {colab.mountpoint}"
    assert said(colab, "drive.mount(MP)") == (
        f"Drive already mounted at {colab.mountpoint}; to attempt to forcibly remount, "
        f'call drive.mount("{colab.mountpoint}", force_remount=True).'
    )
    assert colab.requests == [DRIVE_AUTH, DRIVE_AUTH]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("policy", f"ValueError: The domain policy has disabled Drive File Stream: {POLICY}"),
        ("timeout", f"ValueError: mount failed: timeout during initial read of root folder; for more info: {FAQ}"),
        ("stops", "ValueError: mount failed"),
        ("quota", "ValueError: mount failed"),
    ],
)
def test_a_mount_fails_in_its_words(colab, fault, words):
    """Each fault of Drive's program ends in the one error class that google.colab has for all of them."""
    colab.mount_fault = fault
    assert said(colab, "drive.mount(MP)") == words


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a b", "Mountpoint must not contain a space."),
        ("/etc/passwd", "Mountpoint must either be a directory or not exist"),
        ("/etc", "Mountpoint must not already contain files"),
        ("/none/drive", "Mountpoint must be in a directory that exists"),
    ],
)
def test_bad_mount_points(colab, path, words):
    """All but a space are found only after the user was asked."""
    assert said(colab, f"drive.mount({path!r})") == f"ValueError: {words}"
    assert colab.requests == ([] if " " in path else [DRIVE_AUTH])


def test_a_refusal_and_silence(colab):
    """A refusal is a MessageError; a dialog that nobody clicks is waited for, let pass, and fails later."""
    colab.consent = "refused"
    assert said(colab, "drive.mount(MP)").endswith("MessageError: Error: credential propagation was unsuccessful")
    colab.consent = "silent"
    begun = time.monotonic()
    assert said(colab, "drive.mount(MP, timeout_ms=1000)") == "ValueError: mount failed"
    assert time.monotonic() - begun >= 1


def test_flush_and_unmount(colab):
    """It uploads, unmounts, and says when there is nothing to do."""
    colab.run("drive.mount(MP); open(MP + '/MyDrive/a', 'w').write('1')")
    assert said(colab, "drive.flush_and_unmount()") == ""
    assert (colab.drive.cloud / "a").read_text() == "1"
    assert said(colab, "drive.flush_and_unmount()") == "Drive not mounted, so nothing to flush and unmount."
    colab.run("drive.mount(MP)")
    colab.drive.set(offline=True)
    colab.run("open(MP + '/MyDrive/b', 'w').write('1')")
    assert said(colab, "drive.flush_and_unmount(timeout_ms=1000)") == "ValueError: flush_and_unmount failed"
    colab.drive.set(offline=False)


def test_authenticate_user(colab):
    """The user is asked once; a refusal is an error; later calls find the credentials."""
    colab.consent = "refused"
    assert "MessageError" in said(colab, "auth.authenticate_user()")
    colab.consent = "granted"
    assert said(colab, "auth.authenticate_user(); auth.authenticate_user()") == ""
    assert colab.requests == [Request(kind="request_auth", body={"authType": "auth_user_ephemeral"})] * 2


@pytest.mark.parametrize(
    ("frontend", "answers"),
    [
        ("browser", {"auth": True, "secret": True, "script": True}),
        ("vscode", {"auth": True, "secret": False, "script": False}),
        ("cli", {"auth": True, "secret": False, "script": False}),
        ("silent", {"auth": False, "secret": False, "script": False}),
        ("headless", {"auth": False, "secret": False, "script": False}),
    ],
)
def test_who_answers_what(colab, frontend, answers):
    """A browser answers all; VS Code and the colab command only the question for access; the others nothing."""
    colab.frontend = frontend
    colab.secrets = {"TOKEN": "abc"}
    ask = "from google.colab import _message\nprint(_message.blocking_request({!r}, {!r}, timeout_sec={}))"
    begun = time.monotonic()
    said(colab, ask.format("request_auth", {"authType": "dfs_ephemeral"}, 3))
    assert (time.monotonic() - begun < 3) is answers["auth"]
    secret = said(colab, ask.format("GetSecret", {"key": "TOKEN"}, 0.5))
    assert ("abc" in secret) is answers["secret"]
    assert (said(colab, "print(output.eval_js('1 + 1', timeout_sec=0.5))") == "ran 1 + 1") is answers["script"]


def test_a_subprocess_is_on_colab_as_well(colab):
    """The host's variables and files lead `!python` to Colab, and it has no kernel to ask with."""
    code = "import colabkit as ck; r = ck.detect(); print(r.host, r.frontend, r.work_dir)"
    env = {**os.environ, **colab.environment()}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["colab", "none", str(colab.root / "content")]
    assert said(colab, "!echo $COLAB_RELEASE_TAG").startswith("release-colab_")


def test_drive_outlives_the_kernel(colab):
    """After a restart of the kernel Drive is still mounted."""
    colab.run("drive.mount(MP)")
    colab.restart_kernel()
    assert said(colab, f"import os; os.listdir({str(colab.mountpoint)!r})") == "['MyDrive', 'Shareddrives']"
    colab.run(f"from google.colab import auth, drive, output, userdata\nMP = {str(colab.mountpoint)!r}\n%xmode Minimal")


def test_a_cell_that_never_ends_is_given_up(colab):
    """run() raises after its time, with what was printed so far, and does not hang a test suite."""
    with pytest.raises(TimeoutError, match="the cell never ended: so far"):
        colab.run("import time; print('so far', flush=True); time.sleep(2)", timeout=1)
    assert said(colab, "1 + 1") == "2"


def test_a_kernel_that_dies_is_told_at_once(colab):
    """As by the kill for want of memory: run() says so long before its time is over, and another kernel can begin."""
    with pytest.raises(RuntimeError, match="the kernel died: so far"):
        colab.run("import os, time; print('so far', flush=True); time.sleep(0.5); os.kill(os.getpid(), 9)", timeout=600)
    colab.restart_kernel()
    assert said(colab, "1 + 1") == "2"
    colab.run(f"from google.colab import auth, drive, output, userdata\nMP = {str(colab.mountpoint)!r}\n%xmode Minimal")


def test_a_kernel_that_cannot_start_is_told(tmp_path):
    """The reason comes out, not a failure to clean up after it; nothing runs."""
    with (
        pytest.raises(FileNotFoundError, match="no-such-python"),
        FakeColab(tmp_path, python=tmp_path / "no-such-python"),
    ):
        pass
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_nothing_is_left_of_it():
    """After the block there is no kernel, no Drive, no mount, no folder."""
    with FakeColab() as colab:
        kernel = int(colab.run("import os; print(os.getpid())"))
        colab.run(f"from google.colab import drive; drive.mount({str(colab.mountpoint)!r})")
        drive = colab.drive.pid
    assert not is_alive(kernel)
    assert not is_alive(drive)
    assert str(colab.folder) not in Path("/proc/mounts").read_text()
    assert not colab.folder.exists()


def test_a_fresh_kernel_has_numpy_loaded_and_notes_import_errors(colab):
    """So another numpy needs a restart from the first cell on, as in Colab, and an ImportError brings Colab's note."""
    assert said(colab, "import sys; print('numpy' in sys.modules, 'pandas' in sys.modules)").startswith("True")
    assert "NOTE: If your import is failing due to a missing package" in said(colab, "import no_such_module_here")


def test_secrets_errors_make_their_own_words(colab):
    """The real constructors take the key, and a bad name is a ValueError."""
    words = said(colab, "e = userdata.SecretNotFoundError('KEY'); print(e, '|', userdata.TimeoutException('KEY'))")
    assert words.startswith("Secret KEY does not exist. | Requesting secret KEY timed out.")
    assert "Secret name cannot contain spaces" in said(colab, "userdata.get('a b')")


def test_a_remount_is_not_lazy(colab):
    """With the working folder inside, google.colab's own forced remount leaves a dead mount behind."""
    colab.run("drive.mount(MP)\nimport os\nos.chdir(MP + '/MyDrive')")
    try:
        assert "Mounted at" not in said(colab, "drive.mount(MP, force_remount=True, timeout_ms=1000)")
    finally:
        colab.run("os.chdir('/')")


def test_a_program_that_ends_unseen(tmp_path):
    """google.colab may miss that Drive's program has ended, and waits for its time and half a minute more."""
    env = {"FAKE_COLAB_EXTRA": "0.5"}
    with FakeColab(tmp_path, mount_fault="unseen", env=env) as colab:
        code = f"from google.colab import drive\ndrive.mount({str(colab.mountpoint)!r}, timeout_ms=1000)"
        assert "TIMEOUT" in colab.run(code)
