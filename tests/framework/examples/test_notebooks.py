"""Claims about the notebooks in examples/: `colabkit run` takes them to their end, and they are committed tidy."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from colabkit.headless import run_file
from tests.framework.examples import tidy

EXAMPLES = Path(__file__).parents[3] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

pytest.importorskip("nbclient", reason="nbclient is missing; pip install nbclient ipykernel")
pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.18"')


def test_there_are_notebooks():
    """The folder is not empty, so that the tests below test something."""
    assert {"quickstart", "resume_after_a_kill"} <= {path.stem for path in NOTEBOOKS}


def _params():
    return [
        pytest.param(path, id=path.stem, marks=[] if path.stem == "quickstart" else pytest.mark.slow)
        for path in NOTEBOOKS
    ]


@pytest.mark.parametrize("path", _params())
def test_a_notebook_runs_to_its_end(path, tmp_path, monkeypatch):
    """Run all works on a fresh kernel with the data that ships with colabkit, and the last cell shows something.

    The quickstart is run again where its run is finished, and shows an accuracy.
    """
    if path.stem == "digits_fastai" and importlib.util.find_spec("fastai") is None:
        pytest.skip('fastai is missing; pip install torch==2.13.0 "fastai>=2.7"')
    text = path.read_text(encoding="utf-8")
    if "colabkit.testing" not in text:  # such a one talks to servers of its own
        monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    (tmp_path / "kernels" / "here").mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "here",
        "language": "python",
    }
    (tmp_path / "kernels" / "here" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    for _ in range(2 if path.stem == "quickstart" else 1):
        ran = run_file(copy, kernel="here", retries=0, cell_timeout=300, quiet=True)
        shown = json.loads(ran.output.read_text())["cells"][-1]["outputs"]
        assert shown, f"the last cell of {path.name} shows nothing"
    if path.stem == "quickstart":
        assert "accuracy" in "".join(shown[-1]["data"]["text/plain"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_tidy(path):
    """No outputs, which would go stale and bloat the repository; a badge; the first code cell can install colabkit."""
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    first = "".join(notebook["cells"][0]["source"])
    address = first.partition(f"{tidy.BADGE}(")[2].partition(")")[0]
    assert address.startswith(tidy.COLAB), "no badge in the first cell"
    assert text == tidy.text_of(tidy.tidied(notebook, address)), (
        "run: python tests/framework/examples/tidy.py examples/*.ipynb"
    )
    code = next("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "%pip install" in code


def test_tidying_takes_off_what_a_run_leaves(tmp_path, monkeypatch):
    """Outputs, counts and a browser's notes go; the badge leads to the file on GitHub once there is one."""
    cell = {"cell_type": "code", "metadata": {"collapsed": True}, "execution_count": 3, "source": "1 / 2"}
    cell["outputs"] = [{"output_type": "execute_result", "data": {}, "metadata": {}, "execution_count": 3}]
    head = {"cell_type": "markdown", "metadata": {}, "source": f"# Title\n\n{tidy.BADGE}({tidy.COLAB})"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"widgets": {}}, "cells": [head, cell]}
    address = tidy.colab_address(Path("a.ipynb"), "git@github.com:owner/repo.git")
    assert address == f"{tidy.COLAB}github/owner/repo/blob/main/examples/a.ipynb"
    after = tidy.tidied(notebook, address)
    assert after["cells"][1]["outputs"] == []
    assert after["cells"][1]["execution_count"] is None
    assert after["cells"][1]["metadata"] == {}
    assert "".join(after["cells"][0]["source"]).endswith(f"({address})")
    assert after["metadata"] == {"language_info": {"name": "python"}}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook))
    monkeypatch.chdir(tmp_path)
    assert (tidy.main([str(path)]), tidy.main([str(path)])) == (1, 0)
