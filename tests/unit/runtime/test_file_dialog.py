"""The dialog for files without a browser: what the page may write, and never brings about, and pages that are gone."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from types import SimpleNamespace

import pytest

import colabkit as ck
from colabkit.errors import IntegrityError, TransferError
from colabkit.runtime.frontend import file_dialog
from colabkit.runtime.frontend.jupyter_server import find_server
from colabkit.shims.google_colab import files


class Page:
    """A page of Jupyter as the kernel knows it: it writes into the folder that the dialog's HTML names."""

    def __init__(self, root):
        self.root = root
        self.shown = []
        self.acts = None

    def draw(self, html, plain):
        """Take the place of the cell's output."""
        self.shown.append((html, plain))
        if self.acts is not None and (match := re.search(r'"folder": "([^"]+)"', html)):
            threading.Thread(target=self.acts, args=(self.root / match[1],)).start()


def chosen(*entries):
    """Return what a page does in which files of these names, sizes and bytes are chosen."""

    def act(folder):
        (folder / "page.txt").touch()
        for number, (_, _, data) in enumerate(entries):
            (folder / str(number)).write_bytes(data)
        listed = [{"name": name, "size": size} for name, size, _ in entries]
        (folder / "chosen.json").write_text(json.dumps({"files": listed}))

    return act


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Let this process be a kernel that a Jupyter server has started, and play the page."""
    root = tmp_path / "root"
    (root / "work").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    note = tmp_path / "run" / f"jpserver-{os.getppid()}.json"
    note.write_text(json.dumps({"root_dir": str(root), "pid": os.getppid()}))
    app = SimpleNamespace(abs_connection_file=str(tmp_path / "run" / "kernel-1.json"))
    shell = SimpleNamespace(kernel=SimpleNamespace(parent=app))
    monkeypatch.setattr("colabkit.runtime.frontend.running_shell", lambda: shell)
    runtime = SimpleNamespace(host="local", frontend="jupyterlab")
    for module in ("colabkit.transfer.browser", "colabkit.shims.google_colab.files"):
        monkeypatch.setattr(f"{module}.detect", lambda: runtime)
    playing = Page(root)
    monkeypatch.setattr(file_dialog, "NotebookBlock", lambda: playing)
    monkeypatch.chdir(root / "work")
    yield playing
    assert not list(tmp_path.rglob("colabkit-upload-*")), "the folder of the way stays behind"


def test_names_from_the_page_lead_nowhere_else(page):
    """A name with folders, of the folder itself, or with letters that steer a terminal is made one plain name."""
    names = ["../x.csv", "/etc/passwd", "..", "C:\\mine\\a.txt", "a\x1b[2J\n.txt", "é" * 300 + ".png"]
    page.acts = chosen(*((name, 1, b"1") for name in names))
    assert {path.parent for path in ck.upload()} == {page.root / "work"}
    written = sorted(path.name for path in (page.root / "work").iterdir())
    assert written == sorted(["x.csv", "passwd", "file", "a.txt", "a_[2J_.txt", "é" * 98 + ".png"])
    assert not (page.root / "x.csv").exists()


def test_a_link_in_the_place_of_a_file_is_not_followed(page, tmp_path):
    """Who can write into the folder cannot make the kernel read another file for it."""
    (tmp_path / "secret").write_bytes(b"12345")

    def act(folder):
        (folder / "0").symlink_to(tmp_path / "secret")
        (folder / "page.txt").touch()
        (folder / "chosen.json").write_text(json.dumps({"files": [{"name": "a", "size": 5}]}))

    page.acts = act
    with pytest.raises(IntegrityError, match="a has not arrived whole"):
        files.upload()


def test_a_file_that_is_not_whole_is_refused(page):
    """A server that takes the last piece for the whole file gives a shorter one."""
    page.acts = chosen(("a.csv", 9, b"1234"))
    with pytest.raises(IntegrityError, match=r"a\.csv has not arrived whole"):
        ck.upload("data")
    assert not (page.root / "work" / "data").exists()


def test_what_the_page_could_not_send_is_an_error_with_its_reason(page):
    """The server's answer is told."""

    def act(folder):
        (folder / "page.txt").touch()
        (folder / "chosen.json").write_text('{"failed": "a.csv: the server answers 413"}')

    page.acts = act
    with pytest.raises(TransferError, match="413"):
        ck.upload()
    assert page.shown[-1][1] == "The upload has ended."


def test_cancel_returns_nothing(page):
    """As on Colab."""
    page.acts = chosen()
    assert files.upload() == {}
    assert ck.upload() == []
    with pytest.raises(ValueError, match="File has not been uploaded"):
        files.upload_file("a.csv")


def test_a_page_that_is_closed_ends_the_cell(page, monkeypatch):
    """It has shown the dialog, and gives no sign any more."""
    monkeypatch.setattr(file_dialog, "_SILENCE", 0.3)
    page.acts = lambda folder: (folder / "page.txt").touch()
    with pytest.raises(TransferError, match="the page that showed the dialog was closed"):
        files.upload()


def test_ctrl_c_leaves_nothing(page):
    """While the page still writes, too."""

    def act(folder):
        (folder / "page.txt").touch()
        os.kill(os.getpid(), signal.SIGINT)
        for number in range(200):
            try:
                (folder / str(number)).write_bytes(b"more")
            except OSError:
                break

    page.acts = act
    with pytest.raises(KeyboardInterrupt):
        files.upload()


def test_without_a_page_a_path_is_asked_for(page, tmp_path, monkeypatch):
    """A kernel of Jupyter that no page shows, as in an editor: soon, and with what was shown taken away."""
    monkeypatch.setattr(file_dialog, "_FIRST_SIGN", 0.3)
    (tmp_path / "in.csv").write_text("7")
    monkeypatch.setattr("builtins.input", lambda _: str(tmp_path / "in.csv"))
    assert files.upload() == {"in.csv": b"7"}
    assert page.shown[-1] == ("", "")


def test_a_kernel_that_another_program_started_has_no_server(page, tmp_path):
    """A note of another server in the same folder is none of this kernel's."""
    (tmp_path / "run" / f"jpserver-{os.getppid()}.json").rename(tmp_path / "run" / "jpserver-1234567.json")
    (tmp_path / "run" / f"nbserver-{os.getppid()}.json").write_text("not json")
    from colabkit.runtime import frontend

    assert find_server(frontend.running_shell(), {}) is None
    assert find_server(frontend.running_shell(), {"JPY_PARENT_PID": "1234567"}).root == page.root
    assert find_server(None, {}) is None


def test_the_folder_is_where_a_page_sees_it(page):
    """In the working folder if the server shows it, else in the server's own."""
    from colabkit.runtime import frontend

    server = find_server(frontend.running_shell(), {})
    (page.root / ".hidden").mkdir()
    assert server.folder_for("a", page.root / "work") == page.root / "work" / "a"
    assert server.folder_for("a", page.root / ".hidden") == page.root / "a"
    assert server.folder_for("a", page.root.parent) == page.root / "a"
    assert server.path_of(page.root / "work" / "a") == "work/a"
