"""One notebook with typical cells, ported: on the double of Colab, and away from Colab with the modules given."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from colabkit.port import port
from colabkit.testing import FakeColab
from colabkit.testing.drive_folder import DriveFolder
from colabkit.testing.kaggle import TOKEN, FakeKaggle
from colabkit.testing.web import FakeWeb
from tests.support.notebooks import write_notebook

CELLS = [
    "!pip install -q packaging\nimport os",
    "from google.colab import drive\ndrive.mount('{mountpoint}')",
    "from google.colab import userdata\nos.environ['MY_KEY'] = userdata.get('MY_KEY')",
    "!mkdir -p ~/.kaggle\n!chmod 700 ~/.kaggle",
    "name = 'digits'\n!kaggle datasets download -d ada/{name} -p data --unzip\nprint(open('data/train.csv').read())",
    "open('{mountpoint}/MyDrive/result.txt', 'w').write(str(len(os.environ['MY_KEY'])))",
    "from google.colab import files\nfiles.download('data/train.csv')",
]


def _notebook(folder, mountpoint):
    return port(
        write_notebook(folder / "n.ipynb", [cell.replace("{mountpoint}", str(mountpoint)) for cell in CELLS])
    ).output


def _kaggle():
    kaggle = FakeKaggle()
    kaggle.put("datasets/ada/digits", {"train.csv": b"label\n7\n"})
    return kaggle


@pytest.mark.skipif(DriveFolder.missing() != "", reason=str(DriveFolder.missing()))
def test_a_ported_notebook_runs_on_colab(tmp_path):
    """The real google.colab is used: Drive's mount, the page's secrets, the browser's download."""
    secrets = {"KAGGLE_API_TOKEN": TOKEN, "MY_KEY": "hunter2"}
    with FakeColab(tmp_path / "colab", web=[_kaggle()], secrets=secrets) as colab:
        colab.run(f"import os; os.chdir({str(tmp_path)!r})")
        for cell in json.loads(_notebook(tmp_path, colab.mountpoint).read_text())["cells"]:
            said = colab.run("".join(cell["source"]))
            assert "Error" not in said, said
        colab.drive.settle()
        assert (colab.drive.cloud / "result.txt").read_text() == "7"
        assert colab.downloads == {"train.csv": b"label\n7\n"}


def test_a_ported_notebook_runs_away_from_colab(tmp_path):
    """`colabkit run` gives what is missing; `fetch` and `install` are the same lines as on Colab."""
    notebook = _notebook(tmp_path, "/content/drive")
    source = notebook.read_text()
    assert "kaggle datasets download -d ada/{name}" in source
    assert "chmod" not in source
    with FakeWeb(_kaggle()) as web:
        env = {**os.environ, **web.env, "KAGGLE_API_TOKEN": TOKEN, "MY_KEY": "hunter2"}
        done = subprocess.run(
            [sys.executable, "-m", "colabkit", "run", notebook, "--json"],
            env={name: value for name, value in env.items() if not name.startswith("PYTEST_")},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "label\n7" in done.stderr
    assert (tmp_path / "drive" / "MyDrive" / "result.txt").read_text() == "7"
