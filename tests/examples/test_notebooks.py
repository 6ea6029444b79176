"""Claims about the notebooks in examples/: they run to the end in a real kernel, and are committed without outputs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

nbclient = pytest.importorskip("nbclient", reason="nbclient is missing; pip install nbclient ipykernel")
nbformat = pytest.importorskip("nbformat", reason="nbformat is missing; pip install nbformat")


NEEDS = {
    "digits_fastai": ("fastai", 'fastai is missing; pip install torch==2.13.0 "fastai>=2.7"'),
    "quickstart": ("tensorflow", 'TensorFlow is missing; pip install "tensorflow>=2.18"'),
}


def test_there_are_notebooks():
    """The folder is not empty, so that the tests below test something."""
    assert NOTEBOOKS


SLOW = ("digits_fastai",)  # fastai takes long to import, and each run has a kernel of its own
RUNS = [pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else []) for path in NOTEBOOKS]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_twice(path, tmp_path, monkeypatch):
    """Run all works on a fresh kernel, and again where the run is finished; the last cell shows an accuracy."""
    module, install = NEEDS[path.stem]
    if importlib.util.find_spec(module) is None:
        pytest.skip(install)
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    (tmp_path / "kernels" / "here").mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "here",
        "language": "python",
    }
    (tmp_path / "kernels" / "here" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    for _ in range(2):
        notebook = nbformat.read(path, as_version=4)
        client = nbclient.NotebookClient(
            notebook, kernel_name="here", timeout=300, resources={"metadata": {"path": tmp_path}}
        )
        client.execute()
        shown = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
        assert "accuracy" in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    """Outputs would go stale and bloat the repository."""
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
