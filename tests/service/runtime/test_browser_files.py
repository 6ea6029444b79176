"""Files to and from the browser: Colab's dialog and download, a prompt, a link, and words where nobody is."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import colabkit as ck
from colabkit.errors import NotFoundError, UnsupportedError
from colabkit.testing import DriveFolder, FakeColab


@pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())
def test_on_colab_the_page_does_it(tmp_path):
    """The dialog's files are written where they are wanted, a folder goes out as one archive; VS Code is declined."""
    with FakeColab(tmp_path / "colab", uploads={"digits.csv": b"7,0,0"}) as colab:
        colab.run(f"import os, colabkit as ck; os.chdir({str(tmp_path)!r})")
        said = colab.run("print([path.read_bytes() for path in ck.upload('data')])")
        assert "[b'7,0,0']" in said
        colab.run("ck.download('data')")
        (name, data), *more = colab.downloads.items()
        assert (name, more) == ("data.zip", [])
        (tmp_path / "got.zip").write_bytes(data)
        assert zipfile.ZipFile(tmp_path / "got.zip").read("data/digits.csv") == b"7,0,0"


def test_where_nobody_can_answer_it_is_declined(tmp_path):
    """A script has no browser: the error names another way, and a download tells where the file is."""
    with pytest.raises(UnsupportedError, match="no files can be chosen here"):
        ck.upload(tmp_path)
    with pytest.raises(NotFoundError):
        ck.download(tmp_path / "missing")
    (tmp_path / "a.txt").write_text("7")
    assert ck.download(tmp_path / "a.txt") == tmp_path / "a.txt"


def test_paths_are_asked_for_where_there_is_a_prompt(tmp_path, monkeypatch, caplog):
    """In Jupyter its file browser is named; a name that is taken gets a number, and a wrong path copies nothing."""
    caplog.set_level("INFO", logger="colabkit")
    asked = []
    monkeypatch.setattr(
        "colabkit.transfer.browser.detect", lambda: SimpleNamespace(host="local", frontend="jupyterlab")
    )
    (tmp_path / "in").mkdir()
    for name, text in (("a.csv", "7"), ("b.csv", "8")):
        (tmp_path / "in" / name).write_text(text)
    answers = [f"{tmp_path}/in/a.csv, {tmp_path}/in/missing.csv", f"'{tmp_path}/in/a.csv', {tmp_path}/in/b.csv"]
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or answers[min(len(asked), 2) - 1])
    with pytest.raises(NotFoundError, match=r"missing\.csv"):
        ck.upload(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "upload button of Jupyter's file browser" in asked[0]
    assert [path.name for path in ck.upload(tmp_path / "out")] == ["a.csv", "b.csv"]
    (tmp_path / "in" / "a.csv").write_text("9")
    assert [path.read_text() for path in ck.upload(tmp_path / "out")] == ["9", "8"]
    assert (tmp_path / "out" / "a.csv").read_text() == "7"
    assert "a.csv exists already, so the file is" in caplog.text


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Be in a notebook of JupyterLab that lies in `nb`, after `%cd deep`; give what is shown."""
    shown = []
    (tmp_path / "nb" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "nb" / "deep")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    shell = SimpleNamespace(user_ns={"_dh": [str(tmp_path / "nb"), str(tmp_path / "nb" / "deep")]})
    monkeypatch.setattr("colabkit.runtime.frontend.running_shell", lambda: shell)
    monkeypatch.setattr(
        "colabkit.transfer.browser.detect", lambda: SimpleNamespace(host="local", frontend="jupyterlab")
    )
    monkeypatch.setattr("IPython.display.display", lambda data: shown.append(data.data))
    return shown


def test_a_link_counts_from_the_notebooks_folder_after_cd(tmp_path, shown):
    """The page resolves it there, and not where `%cd` has led: it was dead."""
    Path("a b.txt").write_text("7")
    assert ck.download("a b.txt") == Path("a b.txt")
    assert shown == ['<a href="deep/a%20b.txt" download>a b.txt</a>']


def test_a_folder_is_packed_where_a_link_leads(tmp_path, shown):
    """An archive in the system's temporary folder had a link that led nowhere; a name that is taken stays."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.bin").write_bytes(b"weights")
    (tmp_path / "nb" / "run.zip").write_bytes(b"mine")
    made = ck.download(tmp_path / "run")
    assert made == tmp_path / "nb" / "run (1).zip"
    assert zipfile.ZipFile(made).read("run/model.bin") == b"weights"
    assert shown == ['<a href="run%20%281%29.zip" download>run (1).zip</a>']
    assert (tmp_path / "nb" / "run.zip").read_bytes() == b"mine"


def test_a_file_that_no_link_reaches_is_told_with_the_way(tmp_path, shown, caplog):
    """Outside of the notebook's folder the server gives nothing out; the line that is told brings it in."""
    caplog.set_level("INFO", logger="colabkit")
    (tmp_path / "far.txt").write_text("7")
    ck.download(tmp_path / "far.txt")
    assert shown == []
    line = caplog.messages[-1].rpartition("copy it there: ")[2]
    exec(line, {"ck": ck})  # noqa: S102 - as the user pastes it
    assert (tmp_path / "nb" / "far.txt").read_text() == "7"
    assert shown == ['<a href="far.txt" download>far.txt</a>']
