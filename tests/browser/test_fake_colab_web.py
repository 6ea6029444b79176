"""A Colab with Kaggle and Drive's links behind it: the kernel, its secrets and its subprocesses, in one `with`."""

from __future__ import annotations

import pytest

from colabkit.testing import DriveFolder, FakeColab, FakeDrive, FakeKaggle
from colabkit.testing.kaggle import TOKEN

pytestmark = pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())


def test_kaggle_is_behind_colab(tmp_path):
    """A private dataset comes by the token in the notebook's secrets; another host is refused."""
    kaggle, drive = FakeKaggle(), FakeDrive()
    kaggle.put("datasets/ada/digits", {"digits.csv": b"7,0,0"}, private=True)
    shared = drive.put("notes.txt", b"kept")
    with FakeColab(tmp_path, web=[kaggle, drive], secrets={"KAGGLE_API_TOKEN": TOKEN}) as colab:
        colab.run("import colabkit as ck\ndef show(what): print(ck.fetch(what).read_text())")
        assert colab.run("show('kaggle:ada/digits/digits.csv')").endswith("7,0,0\n")
        assert colab.secrets_asked[-1] == "KAGGLE_API_TOKEN"
        assert colab.run(f"show('https://drive.google.com/file/d/{shared}/view')").endswith("kept\n")
        colab.run("import subprocess, sys")
        get = "import requests; requests.get('https://example.org')"
        said = colab.run(
            f"print(subprocess.run([sys.executable, '-c', {get!r}], capture_output=True, text=True).stderr)"
        )
        assert "ProxyError" in said
    assert "DownloadDataset" in [method.rpartition("/")[2] for method, _ in kaggle.calls]
