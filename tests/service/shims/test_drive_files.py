"""google.colab's drive.mount away from Colab: the files of the user's Drive come, and what is written goes back."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from colabkit.errors import TransferError
from colabkit.runtime import my_drive
from colabkit.shims.google_colab import drive
from colabkit.testing.google_drive import TOKEN
from colabkit.testing.http import Fault, Page
from tests.support.notebooks import write_notebook
from tests.unit.headless.test_run import colabkit_run, texts

MOUNT = "from google.colab import drive\ndrive.mount('/content/drive')"


def at(fake, path):
    """Return what the double's Drive has under a path, newest last."""
    folder = ""
    *above, name = path.split("/")
    for part in above:
        folder = next(key for key, item in fake.children(folder).items() if item.name == part)
    return [item.data for item in fake.children(folder).values() if item.name == name]


@pytest.fixture
def shared(signed_in_drive):
    """Give the user's Drive a folder with two files, and an empty one."""
    data = signed_in_drive.folder("data", public=False)
    signed_in_drive.put("x.csv", b"a,b\n1,2\n", parent=data, public=False)
    signed_in_drive.put("y.csv", b"a,b\n3,4\n", parent=data, public=False)
    signed_in_drive.folder("out", public=False)
    return signed_in_drive


@pytest.fixture
def mount(tmp_path, monkeypatch):
    """Return a function that mounts in this process as a cell does that names these paths below MyDrive."""
    monkeypatch.setattr(my_drive, "stand_ins", [])
    monkeypatch.setattr(drive, "_mounted", {})
    main = sys.modules["__main__"].__dict__
    top = tmp_path / "drive" / "MyDrive"

    def go(*names, **options):
        monkeypatch.setitem(main, "In", ["", *(f"open({os.path.normpath(top / name)!r})" for name in names)])
        drive._mounted.clear()  # as in a new process
        my_drive.stand_ins.clear()
        drive.mount(str(top.parent), **options)
        return top

    return go


@pytest.fixture
def said(caplog):
    """Return a function that tells what was said since it was last called."""
    caplog.set_level(logging.INFO, "colabkit")

    def lines():
        text = "\n".join(record.getMessage() for record in caplog.records)
        caplog.clear()
        return text

    return lines


def test_a_notebook_reads_from_drive_and_writes_to_it(shared, tmp_path):
    """The day of a user: the notebook of Colab runs as it is, and its result is on Drive afterwards."""
    write_notebook(
        tmp_path / "n.ipynb",
        [
            MOUNT,
            "rows = open('/content/drive/MyDrive/data/x.csv').read()\nprint(rows)",
            "with open('/content/drive/MyDrive/out/model.txt', 'w') as f:\n    f.write('trained on ' + rows)",
        ],
    )
    _, log = colabkit_run("n.ipynb", folder=tmp_path)
    assert at(shared, "out/model.txt") == [b"trained on a,b\n1,2\n"]
    found = texts(tmp_path / "n.out.ipynb")
    assert found[1].endswith("a,b\n1,2\n\n")
    assert "out/model.txt" in found[2]
    assert TOKEN not in log + "".join(found)
    assert not (tmp_path / "drive" / "MyDrive" / "data" / "y.csv").exists()  # nothing names it
    asked = sum("alt=media" in seen.path for seen in shared.interface.seen)
    colabkit_run("n.ipynb", folder=tmp_path)  # again: nothing is fetched or sent twice
    assert sum("alt=media" in seen.path for seen in shared.interface.seen) == asked
    assert at(shared, "out/model.txt") == [b"trained on a,b\n1,2\n"]


def test_without_a_sign_in_it_is_a_folder(google_drive, mount, capsys):
    """Nobody is signed in: no request is sent, and what is written stays here."""
    top = mount("data/x.csv")
    assert "without your Drive's files" in capsys.readouterr().out
    (top / "a.txt").write_text("mine")
    drive.flush_and_unmount()
    assert not google_drive.interface.seen
    assert (top / "a.txt").exists()


def refuse(drive, monkeypatch, page):
    """Let Drive's interface answer everything but the question for a token like this."""
    answer = drive.interface.answer
    monkeypatch.setattr(
        drive.interface, "answer", lambda request: answer(request) if request.path == "/token" else page
    )


def test_a_drive_that_refuses_is_a_folder_and_says_why(shared, mount, monkeypatch, capsys):
    """Drive's own reason is told in the line, and no token is."""
    body = {"error": {"code": 403, "message": "Drive API is off.", "errors": [{"reason": "accessNotConfigured"}]}}
    refuse(shared, monkeypatch, Page(status=403, body=json.dumps(body).encode()))
    top = mount("data/x.csv")
    said = capsys.readouterr().out
    assert "Drive cannot be mounted here (Google Drive refuses this account - Drive API is off.)" in said
    assert TOKEN not in said
    assert not list(top.iterdir())


def test_a_sign_in_that_has_expired_is_a_folder_and_says_why(shared, mount, monkeypatch, capsys):
    """Google no longer gives a token for what gcloud has stored."""
    body = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    monkeypatch.setattr(shared.interface, "answer", lambda _: Page(status=400, body=json.dumps(body).encode()))
    top = mount("data/x.csv")
    assert "(the sign-in to Google is no longer valid - invalid_grant" in capsys.readouterr().out
    assert not list(top.iterdir())


def test_a_drive_that_does_not_answer_is_not_waited_for_longer_than_asked(shared, mount, monkeypatch, capsys):
    """`timeout_ms` is the limit of the first answer."""
    release = threading.Event()
    answer = shared.interface.answer
    monkeypatch.setattr(shared.interface, "answer", lambda request: release.wait(30) and answer(request))
    try:
        mount("data/x.csv", timeout_ms=200)
    finally:
        release.set()
    assert "(Drive does not answer within 0.2 s)" in capsys.readouterr().out


def test_a_drive_that_is_busy_is_asked_again(shared, mount):
    """Rate limits pass: while mounting, while fetching and while sending."""
    shared.limited = 3
    top = mount("data/x.csv")
    assert (top / "data" / "x.csv").exists()
    (top / "out").mkdir()
    (top / "out" / "a.txt").write_text("a")
    shared.limited = 2
    drive.flush_and_unmount()
    assert at(shared, "out/a.txt") == [b"a"]


def test_a_cell_asks_drive_once_for_a_folder_of_many_files(shared, mount):
    """Of fifty files in one folder each is asked for by its name alone."""
    names = [f"data/{number}.csv" for number in range(50)]
    before = len(shared.interface.seen)
    mount(*names)
    assert len(shared.interface.seen) - before <= 50 + 5


def test_what_is_not_on_drive_is_said_and_not_made_up(shared, mount, said):
    """A missing file stays missing; the folder that Drive has is here, so that it can be written into."""
    top = mount("out/new.txt", "none/x.csv", "data/z.csv", "../../x", "..")
    assert "not on your Drive: data/z.csv, none/x.csv, out/new.txt" in said()
    assert (top / "out").is_dir()
    assert not (top / "none").exists()
    assert sorted(os.listdir(top.parent)) == ["My Drive", "MyDrive"]


def test_a_folder_comes_whole_with_what_is_left_out_said(shared, mount, said):
    """Documents without bytes, two files of one name, names that lead elsewhere, and shortcuts, also in a circle."""
    data = shared.ids("data")
    far = shared.folder("far", public=False)
    inside = {"parent": data, "public": False}
    shared.put("z.csv", b"old", id="1old", modified=1.0, **inside)
    shared.put("z.csv", b"new", id="1new", modified=2.0, **inside)
    shared.put("plan", mime="application/vnd.google-apps.document", **inside)
    shared.put("..", b"up", id="1up", **inside)
    shared.put("a/b.csv", b"slash", id="1slash", **inside)
    shared.put("odd\x1b[2J", b"steers", id="1odd", **inside)
    shared.put("größe 100% #1.csv", "ü".encode(), id="1u", **inside)
    shared.put("empty.txt", b"", id="1empty", **inside)
    shared.put("deep.csv", b"deep", id="1deep", parent=far, public=False)
    shared.put("link", id="1link", target=far, **inside)
    shared.put("circle", id="1circle", target=data, parent=far, public=False)
    shared.put("gone", id="1gone", target="1nothing", **inside)
    top = mount("data")
    found = {path.relative_to(top / "data").as_posix(): path.read_bytes() for path in (top / "data").rglob("*.*")}
    assert found == {
        "x.csv": b"a,b\n1,2\n",
        "y.csv": b"a,b\n3,4\n",
        "z.csv": b"new",
        "a_b.csv": b"slash",
        "größe 100% #1.csv": "ü".encode(),
        "empty.txt": b"",
        "link/deep.csv": b"deep",
    }
    told = said()
    assert "of one name, where the newest is taken: data/z.csv" in told
    assert 'Google documents, which ck.fetch("drive:…") exports: data/plan' in told
    assert "with a name that no file here can have: " in told
    assert "the shortcut gone leads to nothing" in told
    assert "fetching 7 files" in told
    assert "\x1b" not in told
    (top / "data" / "a_b.csv").write_bytes(b"slash and more")
    (top / "data" / "link" / "deep.csv").write_bytes(b"deeper")
    drive.flush_and_unmount()
    assert at(shared, "far/deep.csv") == [b"deeper"]  # through the shortcut, to where it leads
    assert shared.items["1slash"].data == b"slash and more"
    assert len(shared.children(data)) == 14 - 2


def test_a_folder_that_does_not_fit_the_disk_is_refused(shared, mount, monkeypatch, said):
    """Nothing of it is fetched, so that no notebook works on half of it; the way out is told."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    top = mount("data")
    told = said()
    assert "drive:data is not here: 16 B do not fit" in told
    assert "name the files that are needed" in told
    assert not (top / "data").exists()


def test_the_whole_of_drive_is_not_fetched(shared, mount, said):
    """A variable that holds MyDrive itself names no file."""
    top = mount("")
    assert "your whole Drive is named" in said()
    assert not list(top.iterdir())


def test_what_is_written_goes_back_verified_and_once(shared, mount, said):
    """New and changed files, in new folders too; a second time nothing is sent."""
    top = mount("data/x.csv")
    (top / "data" / "x.csv").write_text("changed")
    (top / "new" / "deep").mkdir(parents=True)
    (top / "new" / "deep" / "größe #1.bin").write_bytes(b"\0" * 5_000_000)
    (top / "new" / "empty").touch()
    (top / "top.txt").write_text("top")
    drive.flush_and_unmount()
    assert at(shared, "data/x.csv") == [b"changed"]
    assert at(shared, "new/deep/größe #1.bin") == [b"\0" * 5_000_000]
    assert at(shared, "new/empty") == [b""]
    assert at(shared, "top.txt") == [b"top"]
    assert "on your Drive now: data/x.csv, new/deep/größe #1.bin, new/empty and 1 more" in said()
    before = len(shared.items)
    mount("data/x.csv", "new")
    drive.flush_and_unmount()
    assert len(shared.items) == before
    assert "on your Drive" not in said()


def test_readonly_sends_nothing(shared, mount):
    """As the real one: Drive cannot be changed."""
    top = mount("data/x.csv", readonly=True)
    (top / "data" / "x.csv").write_text("changed")
    drive.flush_and_unmount()
    assert at(shared, "data/x.csv") == [b"a,b\n1,2\n"]


def test_a_file_that_changed_on_both_sides_is_kept_twice(shared, mount, said):
    """Nothing is overwritten that this session has not seen."""
    top = mount("data/x.csv")
    x = next(item for key, item in shared.items.items() if item.name == "x.csv")
    x.data, x.revision, x.modified = b"theirs", "rev-9", x.modified + 9
    (top / "data" / "x.csv").write_text("mine")
    drive.flush_and_unmount()
    assert at(shared, "data/x.csv") == [b"theirs"]
    assert at(shared, "data/x (2).csv") == [b"mine"]
    assert "data/x (2).csv (drive:data/x.csv is another one by now; both are kept)" in said()


def test_what_was_written_here_and_not_sent_is_not_overwritten(shared, mount):
    """Nothing goes back from a mount that is read only, so the file here is the only one of its kind."""
    top = mount("data/x.csv", readonly=True)
    key = next(key for key, item in shared.items.items() if item.name == "x.csv")
    shared.items[key].data, shared.items[key].revision = b"newer", "rev-9"
    shared.files[key].replace(b"newer")
    (top / "data" / "x.csv").write_text("mine")
    mount("data/x.csv", readonly=True)
    assert (top / "data" / "x.csv").read_text() == "mine"
    assert at(shared, "data/x.csv") == [b"newer"]


def test_what_changed_on_drive_alone_comes_anew(shared, mount):
    """And only that: the other file is not fetched again."""
    top = mount("data")
    key = next(key for key, item in shared.items.items() if item.name == "x.csv")
    item = shared.items[key]
    item.data, item.revision = b"newer", "rev-9"
    shared.files[key].replace(b"newer")
    asked = [seen.path for seen in shared.interface.seen]
    mount("data")
    assert (top / "data" / "x.csv").read_bytes() == b"newer"
    later = [seen.path for seen in shared.interface.seen][len(asked) :]
    assert {path.partition("?")[0] for path in later if "alt=media" in path} == {f"/drive/v3/files/{key}"}


def test_what_drive_refuses_stays_here_and_is_said(shared, mount, said):
    """A full Drive: the file stays, flushing fails in words, and the next mount sends it."""
    top = mount("data/x.csv")
    (top / "out.bin").write_bytes(b"\1" * 5_000_000)
    shared.quota = 1_000_000
    with pytest.raises(TransferError, match="not all files are on your Drive"):
        drive.flush_and_unmount()
    assert "not on your Drive yet: out.bin" in said()
    shared.quota = 1e9
    mount()
    assert "not on your Drive yet, from before: 1 files" in said()
    assert at(shared, "out.bin") == [b"\1" * 5_000_000]


@pytest.mark.parametrize("way", ["end", "kill"])
def test_a_script_sends_at_its_end_and_after_a_kill_at_its_next_start(shared, tmp_path, way):
    """A process that is killed leaves its file; the next one says so and sends it."""
    top = tmp_path / "drive" / "MyDrive"
    script = tmp_path / "train.py"
    lines = [
        "import os, signal, sys, colabkit as ck",
        "ck.colab_shim(quiet=True)",
        "from google.colab import drive",
        f"drive.mount({str(top.parent)!r})",
        f"text = open({str(top / 'data' / 'x.csv')!r}).read()",
        f"open({str(top / 'out' / 'model.txt')!r}, 'w').write(text)",
        "if sys.argv[1] == 'kill': os.kill(os.getpid(), signal.SIGKILL)",
    ]
    script.write_text("\n".join(lines))

    def run(how):
        command = [sys.executable, str(script), how]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    if way == "end":
        done = run("end")
        assert done.returncode == 0, done.stderr
        assert "on your Drive now: out/model.txt" in done.stderr
    else:
        assert run("kill").returncode == -signal.SIGKILL
        assert at(shared, "out/model.txt") == []
        assert "not on your Drive yet, from before: 1 files" in run("end").stderr
    assert at(shared, "out/model.txt") == [b"a,b\n1,2\n"]


def test_cells_of_all_kinds_bring_what_they_name(shared, tmp_path):
    """Commands, variables of other cells, joins, functions, patterns, a working folder on Drive; errors send, too."""
    images = shared.folder("images", public=False)
    for number in range(3):
        shared.put(f"{number}.png", b"png", parent=images, public=False)
    shared.put("top.txt", b"top", public=False)
    write_notebook(
        tmp_path / "n.ipynb",
        [
            """import glob, os
ROOT = '/content/drive/MyDrive'
DATA = os.path.join(ROOT, 'data')
def load():
    return open(f'{ROOT}/top.txt').read()""",
            "import colabkit as ck\nck.drive.mount()",
            "print(load(), os.path.exists(f'{DATA}/x.csv'))",
            "!cat $DATA/y.csv && cp {DATA}/y.csv /content/drive/MyDrive/out/copied.csv",
            "print(sorted(map(os.path.basename, glob.glob(ROOT + '/images/*.png'))))",
            "%cd /content/drive/MyDrive/out\nopen('relative.txt', 'w').write('r')",
            "open(f'{ROOT}/out/late.txt', 'w').write('l')\nraise SystemError",
        ],
    )
    colabkit_run("n.ipynb", folder=tmp_path, code=92)
    found = texts(tmp_path / "n.out.ipynb")
    assert "top True" in found[2]
    assert "3,4" in found[3]
    assert "['0.png', '1.png', '2.png']" in found[4]
    assert at(shared, "out/copied.csv") == [b"a,b\n3,4\n"]
    assert at(shared, "out/relative.txt") == [b"r"]
    assert at(shared, "out/late.txt") == [b"l"]
    assert not list((tmp_path / "drive" / "MyDrive" / "data").glob("z*"))


def test_drive_is_found_by_its_name_with_a_blank_as_in_old_notebooks(shared, tmp_path):
    """In Python, in quoted and escaped words of commands, and behind %cd, which takes the blank as it is."""
    write_notebook(
        tmp_path / "n.ipynb",
        [
            MOUNT,
            "base = '/content/drive/My Drive'\nprint(open(base + '/data/x.csv').read())",
            "!cat '/content/drive/My Drive/data/y.csv'",
            r"!cp /content/drive/My\ Drive/data/y.csv /content/drive/My\ Drive/out/copied.csv",
            "%cd /content/drive/My Drive/out\nopen('relative.txt', 'w').write('r')",
            '%cd "/content/drive/My Drive/data"\n!ls',
            "new = '/content/drive/My Drive/new'\nimport os\nos.makedirs(new)\nopen(f'{new}/a', 'w').write('a')",
        ],
    )
    colabkit_run("n.ipynb", folder=tmp_path)
    found = texts(tmp_path / "n.out.ipynb")
    assert "1,2" in found[1]
    assert "3,4" in found[2]
    assert at(shared, "out/copied.csv") == [b"a,b\n3,4\n"]
    assert at(shared, "out/relative.txt") == [b"r"]
    assert "x.csv" in found[5]
    assert at(shared, "new/a") == [b"a"]


def test_without_a_sign_in_the_name_with_a_blank_leads_there_too(google_drive, mount):
    """Both names are one folder, whoever is signed in."""
    top = mount()
    (top.with_name("My Drive") / "a.txt").write_text("a")
    assert (top / "a.txt").read_text() == "a"


@pytest.fixture
def team(signed_in_drive):
    """Give the account a shared drive with a folder and a file, and one that no cell names."""
    for name in ("Team & co", "Others"):
        drive = signed_in_drive.folder(name, id=f"0A{name[:2]}", shared_drive=f"0A{name[:2]}", public=False)
        data = signed_in_drive.folder("data", id=f"1{name[:2]}", parent=drive, public=False)
        signed_in_drive.put("x.csv", b"a,b\n1,2\n", id=f"2{name[:2]}", parent=data, public=False)
    return signed_in_drive


def test_shared_drives_are_read_and_written(team, tmp_path):
    """By their names beside MyDrive; what is named comes, and what is written goes back to its shared drive."""
    write_notebook(
        tmp_path / "n.ipynb",
        [
            MOUNT,
            "team = '/content/drive/Shareddrives/Team & co'\nprint(open(f'{team}/data/x.csv').read())",
            """import os
os.makedirs(f'{team}/new')
open(f'{team}/new/a.txt', 'w').write('a')
open(f'{team}/data/x.csv', 'w').write('changed')""",
            "!cat '/content/drive/Shareddrives/None/x.csv'",
        ],
    )
    colabkit_run("n.ipynb", folder=tmp_path)
    found = texts(tmp_path / "n.out.ipynb")
    assert "1,2" in found[1]
    assert "on your Drive now: Shareddrives/Team & co/data/x.csv, Shareddrives/Team & co/new/a.txt" in found[2]
    assert "not on your Drive: Shareddrives/None/x.csv" in found[3]
    assert team.items["2Te"].data == b"changed"
    (made,) = (item for item in team.items.values() if item.name == "a.txt")
    assert (made.data, made.shared_drive, team.items[made.parent].parent) == (b"a", "0ATe", "0ATe")
    assert os.listdir(tmp_path / "drive" / "Shareddrives") == ["Team & co"]  # nothing names the other one
    assert not [item for item in team.items.values() if item.name == "new" and not item.shared_drive]


def test_a_whole_shared_drive_is_not_fetched_and_none_is_made(team, mount, said):
    """A variable that holds a shared drive names no file; a new one, and a file beside them, stay here and are said."""
    top = mount("../Shareddrives/Team & co").with_name("Shareddrives")
    assert "your shared drive Team & co is named as a whole" in said()
    assert not top.exists() or not list(top.iterdir())
    (top / "Mine").mkdir(parents=True)
    (top / "Mine" / "a.txt").write_text("a")
    (top / "b.txt").write_text("b")
    with pytest.raises(TransferError, match="not all files are on your Drive"):
        drive.flush_and_unmount()
    told = said()
    assert "not on your Drive yet: Shareddrives/Mine/a.txt, Shareddrives/b.txt" in told
    assert "there is no shared drive Mine" in told
    assert not [item for item in team.items.values() if item.name in ("a.txt", "b.txt", "Mine")]


def test_a_name_that_is_no_text_keeps_no_other_file_here(shared, mount, said):
    """It is said by name, and the others are sent."""
    top = mount()
    (top / "a\udcff\nb").write_text("odd")
    (top / "b.txt").write_text("plain")
    with pytest.raises(TransferError, match="not all files"):
        drive.flush_and_unmount()
    assert at(shared, "b.txt") == [b"plain"]
    assert "not on your Drive yet: 'a\\udcff\\nb'" in (told := said())
    assert "is no name for Drive" in told


def test_a_file_that_comes_is_resumed_by_the_next_mount(shared, mount, said):
    """The library's own transfers: verified, and gone on with where the last one was stopped."""
    data = os.urandom(9_000_000)
    key = shared.put("big.bin", data, public=False)
    shared.files[key].faults = [Fault(kind="reset", at=5_000_000, times=99)]
    top = mount("big.bin")
    assert "drive:big.bin is not here" in said()
    shared.files[key].faults = []
    mount("big.bin")
    assert (top / "big.bin").read_bytes() == data


def test_ctrl_c_while_a_file_comes_ends_the_cell_and_keeps_what_came(shared, tmp_path):
    """The cell that names it does not run; the next run of the notebook goes on where the file stands."""
    data = os.urandom(9_000_000)
    key = shared.put("big.bin", data, public=False)
    shared.files[key].rate = 400_000
    write_notebook(tmp_path / "n.ipynb", [MOUNT, "print(len(open('/content/drive/MyDrive/big.bin', 'rb').read()))"])
    process = subprocess.Popen(
        [sys.executable, "-m", "colabkit", "run", "n.ipynb"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(
        "alt=media" in seen.path and seen.sent > 1 << 20 for seen in shared.interface.seen
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log
    assert texts(tmp_path / "n.out.ipynb")[1].endswith("KeyboardInterrupt")
    shared.files[key].rate = 0
    before = sum(seen.sent for seen in shared.interface.seen if "alt=media" in seen.path)
    colabkit_run("n.ipynb", folder=tmp_path)
    assert texts(tmp_path / "n.out.ipynb")[1].endswith("9000000\n")
    came = sum(seen.sent for seen in shared.interface.seen if "alt=media" in seen.path) - before
    assert came < len(data) - (1 << 19)


def test_a_token_that_is_taken_back_meanwhile_is_renewed(shared, mount):
    """A session of hours outlives its first token."""
    top = mount("data/x.csv")
    shared.expire()
    (top / "data" / "x.csv").write_text("later")
    drive.flush_and_unmount()
    assert at(shared, "data/x.csv") == [b"later"]


def test_a_network_that_is_gone_keeps_the_files_here(shared, mount, monkeypatch, said):
    """It is said once, no later cell waits for it, and flushing fails in words until the network is back."""
    top = mount("data/x.csv")
    (top / "a.txt").write_text("a")
    (top / "b.txt").write_text("b")
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    drive._send()
    assert "not on your Drive yet: a.txt, b.txt (" in said()
    asked = len(shared.interface.seen)
    drive._send()
    assert (said(), len(shared.interface.seen)) == ("", asked)
    with pytest.raises(TransferError, match="not all files"):
        drive.flush_and_unmount()
    monkeypatch.delenv("COLABKIT_OFFLINE")
    drive.flush_and_unmount()
    assert (at(shared, "a.txt"), at(shared, "b.txt")) == ([b"a"], [b"b"])
