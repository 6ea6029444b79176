"""Files to and from the browser: Colab's dialog and download, a prompt, a link, and words where nobody is."""

from __future__ import annotations

import zipfile
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
