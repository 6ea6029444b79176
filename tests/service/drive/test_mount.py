"""drive.mount() in a real kernel, with a program behind it that really mounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.errors import MountPointError, UnsupportedError
from colabkit.runtime import mounts
from colabkit.testing import DriveFolder, FakeColab
from tests.support.waiting import wait_until
from tests.unit.runtime import recorded


def test_mounted_and_well_asks_nothing(mounted):
    """The second call sends no message, prints nothing, and returns the same path."""
    assert mounted.run("ck.drive.mount(MP)") == f"PosixPath('{mounted.mountpoint}')"
    assert mounted.run("print(ck.drive.mount(MP + '/'))") == f"{mounted.mountpoint}\n"
    assert mounted.run("print(ck.drive.mount(MP, False, 60_000))") == f"{mounted.mountpoint}\n"
    assert mounted.requests == []


def test_another_process_finds_it_mounted(mounted):
    """A process that could not ask for anything gets the path, too."""
    code = "import os, colabkit as ck; print(ck.drive.mount(os.environ['MP']))"
    words = [sys.executable, "-c", code]
    env = {**os.environ, **mounted.environment(), "MP": str(mounted.mountpoint)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{mounted.mountpoint}\n"


def test_a_dead_mount_is_made_anew(mounted):
    """A mount that answers ENOTCONN is taken away and mounted again, with what the dead program had not uploaded."""
    mounted.drive.set(offline=True)
    mounted.run("open(MY + '/a', 'w').write('1')")
    mounted.drive.kill()
    said = mounted.run("attempt(ck.drive.mount, MP)")
    assert said.startswith(f"Drive at {mounted.mountpoint} is dead (Transport endpoint is not connected)")
    assert mounted.run("print(open(MY + '/a').read())") == "1\n"
    mounted.drive.set(offline=False)
    mounted.drive.settle()
    assert [request.kind for request in mounted.requests] == ["request_auth"]


def test_a_mount_that_fails_is_made_anew(mounted):
    """A root that answers EIO is remounted; it recovers when its program is started anew."""
    mounted.drive.set(eio={"list": 1.0})
    pid = mounted.drive.pid

    def recover():
        wait_until(lambda: mounted.requests)  # the mount was looked at, and the user is asked
        mounted.drive.set(eio=0.0)

    thread = threading.Thread(target=recover)
    thread.start()
    said = mounted.run("attempt(ck.drive.mount, MP)")
    thread.join()
    assert "is dead (Input/output error): mounting it again" in said
    assert mounted.drive.pid != pid


@pytest.mark.slow
def test_a_stalled_mount_does_not_hold_the_kernel(mounted):
    """A mount that hangs for an hour costs ten seconds, a typed error, and is replaced on request."""
    mounted.drive.set(stall=3600)
    said = mounted.run("attempt(ck.drive.mount, MP)")
    assert said.startswith(f"DriveTimeoutError: Drive is mounted at {mounted.mountpoint} and does not answer")
    assert float(said.split()[-2]) < 12
    assert mounted.run("print(ck.detect().persistent_dir)").strip() == str(mounted.mountpoint / "MyDrive")
    mounted.drive.set(stall=0)
    assert "Mounted at" in mounted.run("attempt(ck.drive.mount, MP, force_remount=True)")


def test_read_only(colab):
    """readonly=True makes a mount that refuses to be written; a later call without it says how it stays."""
    colab.run("ck.drive.mount(MP, readonly=True)")
    assert "Read-only file system" in colab.run("open(MY + '/a', 'w')")
    assert "can be read only; force_remount=True changes that" in colab.run("ck.drive.mount(MP)")
    colab.run("ck.drive.mount(MP, force_remount=True)")
    assert colab.run("open(MY + '/a', 'w').write('1')") == "1"


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"consent": "refused"}, "DriveConsentError", "credential propagation was unsuccessful"),
        ({"mount_fault": "policy"}, "DrivePolicyError", "https://support.google.com/a/answer/7496409"),
        ({"mount_fault": "timeout"}, "DriveTimeoutError", "QueryManager timed out during the initial read"),
        ({"mount_fault": "quota"}, "DriveQuotaError", "fetch of root failed: QUOTA_EXCEEDED"),
        ({"mount_fault": "stops"}, "DriveStoppedError", "fatal: database is corrupt"),
        ({"consent": "silent"}, "DriveUnansweredError", "nobody answered the question for access"),
        ({"frontend": "headless"}, "DriveUnansweredError", "nobody watches this run"),
    ],
)
def test_each_cause_has_its_error(colab, changes, kind, words):
    """What google.colab calls a ValueError is a class with a remedy, and quotes the log where it tells something."""
    for name, value in changes.items():
        setattr(colab, name, value)
    waits = kind in ("DriveTimeoutError", "DriveUnansweredError")  # for the others the answer tells, however late
    said = colab.run(f"attempt(ck.drive.mount, MP, timeout_ms={1000 if waits else 60_000})")
    assert said.startswith(kind)
    assert words in said
    assert "What to do: " in said


@pytest.mark.parametrize("frontend", ["vscode", "cli"])
def test_vs_code_and_the_command_can_mount(colab, frontend):
    """They answer the one question that a mount asks, so no browser is needed, and none is looked for."""
    colab.frontend = frontend
    assert "Mounted at" in colab.run("attempt(ck.drive.mount, MP)")
    assert [request.kind for request in colab.requests] == ["request_auth"]


def test_a_missing_service_is_named(colab):
    """A runtime without the variable that leads to its credentials is told from a refusal."""
    said = colab.run("import os; del os.environ['TBE_EPHEM_CREDS_ADDR']; attempt(ck.drive.mount, MP)")
    assert said.startswith("DriveError")
    assert "TBE_EPHEM_CREDS_ADDR is not set" in said


def test_words_of_an_earlier_attempt_are_not_blamed_on_this_one(colab):
    """google.colab searches the whole log for a timeout; here only what this attempt wrote counts."""
    colab.mount_fault = "timeout"
    assert colab.run("attempt(ck.drive.mount, MP)").startswith("DriveTimeoutError")
    colab.mount_fault = "stops"
    assert colab.run("attempt(ck.drive.mount, MP)").startswith("DriveStoppedError")


def test_a_thread_does_not_ask(colab):
    """A mount in a background thread is refused before a message is sent."""
    code = "import threading\nt = threading.Thread(target=attempt, args=(ck.drive.mount, MP)); t.start(); t.join()"
    said = colab.run(code)
    assert said.startswith("DriveUnansweredError")
    assert "this is a thread" in said
    assert colab.requests == []


def test_a_command_says_where_to_mount(colab):
    """`!colabkit drive mount` cannot ask; it names the line for a cell. Once mounted, it says so."""
    command = [sys.executable, "-m", "colabkit", "drive", "mount", "--json", "--mountpoint", str(colab.mountpoint)]
    env = {**os.environ, **colab.environment()}
    refused = subprocess.run(command, env=env, capture_output=True, text=True)
    assert refused.returncode == 72
    assert "ck.drive.mount()" in json.loads(refused.stdout)["error"]["do"]
    colab.run("ck.drive.mount(MP)")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"mountpoint": str(colab.mountpoint)}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "the path is empty"),
        ("content/drive", "the path is relative"),
        ("/content/my drive", "the path holds a space"),
        ("/content/drive\n", "the path holds a line break"),
        ("/content/drive;reboot", "the path holds ';'"),
        ("/content/$(reboot)", "the path holds '$'"),
        ("/content/a,read_only_mode:true", "the path holds ','"),
        ("/content/caf\u00e9", "the path holds '\u00e9'"),
        ("~nobody-of-that-name/drive", "the path is relative"),
    ],
)
def test_a_path_that_would_reach_a_shell_is_refused(path, why):
    """Google's code puts the path into shell commands and lists: what it cannot take is refused, here and anywhere."""
    with pytest.raises(MountPointError) as raised:
        ck.drive.mount(path)
    assert raised.value.why == why
    assert raised.value.do


def test_folders_that_cannot_be_used(colab, tmp_path):
    """A symlink, a file, a folder with files and a folder without a parent are told apart, before anything is asked."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "data.csv").touch()
    for name, why in {
        "link": "it is a symbolic link",
        "file": "it is a file",
        "full": "it holds files ('data.csv' is one), which are on this machine alone",
        "none/drive": f"there is no folder '{tmp_path}/none'",
    }.items():
        said = colab.run(f"attempt(ck.drive.mount, {str(tmp_path / name)!r})")
        assert said.startswith("MountPointError")
        assert f"Why: {why}\n" in said
    assert colab.requests == []


def test_another_file_system_is_left_alone():
    """A folder at which something else is mounted is refused, not unmounted."""
    assert mounts.find("/proc") is not None
    with pytest.raises(MountPointError, match="cannot be mounted at '/proc'") as raised:
        ck.drive.mount("/proc", force_remount=True)
    assert raised.value.why == "/proc is a mount of proc"


@pytest.mark.parametrize(
    ("machine", "why", "do"),
    [
        (recorded.KAGGLE, "this is Kaggle", "/kaggle/working, which lasts here"),
        (recorded.COLAB_ENTERPRISE, "this is Colab Enterprise", "Cloud Storage (gs://)"),
        (recorded.LIGHTNING, "this is Lightning", "this_studio, which lasts here"),
        (recorded.LOCAL_COLAB_IMAGE, "only Google Colab mounts Drive", "keep files in"),
    ],
)
def test_off_colab_it_names_the_runtime_and_the_alternative(machine, why, do, tmp_path, monkeypatch):
    """On other hosts, and where Colab's image runs on one's own machine, the refusal says where to keep files."""
    machine.build(tmp_path)
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLABKIT_MACHINE_ROOT", str(tmp_path))
    with pytest.raises(UnsupportedError) as raised:
        ck.drive.mount(tmp_path / "drive")
    assert why in raised.value.why
    assert do in raised.value.do


@pytest.mark.slow
def test_on_colabs_own_kernel(tmp_path, colab_kernels):
    """With the versions of ipykernel and IPython that Colab has, Drive is mounted, asks nothing again, and heals."""
    if missing := DriveFolder.missing():
        pytest.skip(missing)
    with FakeColab(tmp_path, python=colab_kernels.python) as one:
        assert "Mounted at" in one.run(f"import colabkit as ck; ck.drive.mount({str(one.mountpoint)!r})")
        again = one.run(f"print(ck.drive.mount({str(one.mountpoint)!r}))")
        assert (again, len(one.requests)) == (f"{one.mountpoint}\n", 1)
        one.drive.kill()
        assert "mounting it again" in one.run(f"ck.drive.mount({str(one.mountpoint)!r})")


def test_it_is_a_drop_in():
    """The names and defaults are google.colab's; all failures are a ValueError, as there."""
    import inspect

    defaults = {name: one.default for name, one in inspect.signature(ck.drive.mount).parameters.items()}
    assert defaults == {
        "mountpoint": "/content/drive",
        "force_remount": False,
        "timeout_ms": 120_000,
        "readonly": False,
    }
    kinds = [getattr(ck.errors, name) for name in ck.errors.__all__ if name.startswith(("Drive", "MountPoint"))]
    assert len(kinds) == 8
    assert all(issubclass(kind, ValueError) for kind in kinds)


def test_detect_is_not_held_by_a_dead_mount(mounted):
    """detect() and doctor() work where Drive is mounted and dead, in the kernel and beside it."""
    mounted.drive.kill()
    assert mounted.run("print(ck.detect().host)") == "colab\n"
    assert "Drive at" in mounted.run("print(ck.doctor())")
    words = [sys.executable, "-m", "colabkit", "detect", "--json"]
    done = subprocess.run(
        words, env={**os.environ, **mounted.environment()}, capture_output=True, text=True, check=True
    )
    assert Path(json.loads(done.stdout)["persistent_dir"]) == mounted.mountpoint / "MyDrive"


STAND = "import os; os.makedirs(MY + '/p', exist_ok=True); open(MY + '/p/a.txt', 'w').write('1')\n%cd -q {MY}/p"
AWAY = "%cd -q {os.path.dirname(MP)}"


@pytest.mark.parametrize("options", ["", ", force_remount=True"], ids=["dead", "forced"])
def test_a_working_folder_inside_drive_is_left_and_entered_again(mounted, options):
    """Users stand in their project on Drive: a mount made anew steps out of it and back, and says so."""
    mounted.run(STAND)
    mounted.drive.settle()
    if not options:
        mounted.drive.kill()
        said = mounted.run("attempt(ck.drive.health, MP)\nattempt(ck.secret, 'NO', None)\nattempt(ck.detect)")
        assert "Error" not in said
    said = mounted.run(f"attempt(ck.drive.mount, MP{options})")
    assert f"The working folder {mounted.mountpoint}/MyDrive/p was left for the mount, and entered again." in said
    assert mounted.run("print(os.getcwd(), open('a.txt').read())") == f"{mounted.mountpoint}/MyDrive/p 1\n"
    mounted.run(AWAY)


def test_a_mount_that_fails_says_where_the_working_folder_is(mounted):
    """Where the mount is not made anew, the words say which folder this process has left for which."""
    mounted.run(STAND)
    mounted.drive.settle()
    mounted.drive.kill()
    mounted.consent = "refused"
    said = mounted.run("attempt(ck.drive.mount, MP)")
    assert f"The working folder was {mounted.mountpoint}/MyDrive/p, and is {mounted.mountpoint.parent} now." in said
    assert "DriveConsentError" in said
    assert mounted.run("print(os.getcwd())") == f"{mounted.mountpoint.parent}\n"


def test_a_deleted_working_folder_holds_no_verb_up(colab):
    """After `%cd repo` and `!rm -rf repo` what needs no working folder works, and doctor says what is wrong."""
    colab.run("import os, shutil; os.makedirs('repo')\n%cd -q repo\nshutil.rmtree(os.getcwd())")
    try:
        assert "what='the working folder of this process is gone'" in colab.run("print(ck.doctor().findings)")
        assert "Mounted at" in colab.run("attempt(ck.drive.mount, MP)")
        assert colab.run("attempt(ck.secret, 'NOBODY', None)").startswith("None")
        said = colab.run("attempt(ck.open_run, './runs/a')")
        assert said.startswith("StorageError: './runs/a' is a path in the working folder, which is gone")
    finally:
        colab.run(AWAY)


def test_a_second_mount_point_is_refused_while_the_first_is_well(mounted):
    """Colab runs one program for Drive: a second mount would end the first without a word."""
    said = mounted.run("attempt(ck.drive.mount, MP + '2')")
    assert said.startswith("MountPointError: Drive cannot be mounted at")
    assert f"it is mounted at {mounted.mountpoint}" in said
    assert mounted.requests == []
    assert mounted.run("ck.drive.health(MP, write=False).ok") == "True"


def test_less_than_a_second_is_one_second(colab):
    """google.colab takes 900 ms for no time at all, which is for ever."""
    colab.consent = "silent"
    said = colab.run("attempt(ck.drive.mount, MP, timeout_ms=900)", timeout=20)
    assert said.startswith("DriveUnansweredError")


def test_a_run_says_nothing_of_a_secret_that_nobody_set(mounted):
    """Its mirror asks Drive's interface in a thread, which cannot ask the page for keys: no user has to read that."""
    said = mounted.run(
        "run = ck.open_run('drive:runs/quiet')\nrun.save({'seen': 1}, step=1)\nrun.flush()\nrun.close()\n"
        "print(run.status().mirrored_step, run.pack().name)"
    )
    assert "GOOGLE_CREDENTIALS" not in said
    assert said.splitlines()[-1] == "1 quiet.run.zip"  # and its file has its name, not that of its folder here


def test_a_runs_mirror_asks_drive_with_the_key_of_the_notebooks_secret(mounted):
    """Colab's page gives secrets to a cell alone, so `open_run` reads the key that the mirror's thread asks with."""
    read = (
        "import threading\nfrom colabkit._clients import google_auth\ndef read():\n"
        "    found = google_auth.find('drive', os.environ, extra='drive', do='')\n"
        "    print('key', getattr(found, 'token', None))\n"
        "def elsewhere():\n    one = threading.Thread(target=read); one.start(); one.join()\n"
        "os.environ['NO_GCE_CHECK'] = 'true'\nrun = ck.open_run('drive:runs/keyed')\nelsewhere()\nrun.close()"
    )
    assert "key None" in mounted.run(read)
    mounted.secrets["GOOGLE_CREDENTIALS"] = "ya29.a-token-of-the-user"
    try:
        said = mounted.run(read)
    finally:
        del mounted.secrets["GOOGLE_CREDENTIALS"]
        mounted.run("google_auth._read_before = ''")
    assert said.strip() == "key ya29.a-token-of-the-user"
