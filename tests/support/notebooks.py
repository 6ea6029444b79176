"""Notebooks run by real programs, with the kernels of `tests/support/kernels.py`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import colabkit

_NBCLIENT = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120, kernel_name=sys.argv[3]).execute()
nbformat.write(notebook, sys.argv[2])
"""

RUNNERS = {
    "nbclient": lambda kernels, source, result: [kernels.python, "-c", _NBCLIENT, source, result, "python3"],
    "nbclient with Colab's classes": lambda kernels, source, result: [
        *(kernels.python, "-c", _NBCLIENT, source, result),
        "colab-double",
    ],
    "papermill": lambda kernels, source, result: [
        kernels.path / "bin" / "papermill",
        "--no-progress-bar",
        source,
        result,
    ],
    "jupyter execute": lambda kernels, source, result: [
        kernels.path / "bin" / "jupyter-execute",
        f"--output={result.with_suffix('')}",
        source,
    ],
}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a run of a notebook left.

    Attributes:
        code: The runner's exit code.
        texts: The printed text of each cell.
        log: What the runner said.
    """

    code: int
    texts: tuple[str, ...]
    log: str


def write_notebook(path, cells):
    """Write a notebook of code cells."""
    path.write_text(
        json.dumps(
            {
                "nbformat": 4,
                "nbformat_minor": 5,
                "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
                "cells": [
                    {
                        "cell_type": "code",
                        "id": f"cell-{number}",
                        "metadata": {},
                        "execution_count": None,
                        "outputs": [],
                        "source": source,
                    }
                    for number, source in enumerate(cells)
                ],
            }
        )
    )
    return path


def kernel_environment(kernels, home):
    """The variables of a run: a home of its own, this colabkit, and the set's programs."""
    modules = home / "modules"
    if not modules.exists():
        modules.mkdir(parents=True)
        (modules / "colabkit").symlink_to(Path(colabkit.__file__).parent)
        double = home / "data" / "kernels" / "colab-double"
        double.mkdir(parents=True)
        argv = [str(kernels.python), str(Path(__file__).with_name("colab_double.py")), "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "Colab", "language": "python"}
        (double / "kernel.json").write_text(json.dumps(spec))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {
        **inherited,  # ipykernel captures no descriptors where it sees pytest
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "PATH": f"{kernels.path / 'bin'}:{os.environ['PATH']}",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONPATH": str(modules),
    }


def run_notebook(kernels, cells, *, runner="nbclient", env=()):
    """Run cells as one notebook with a set of kernels; return what it left."""
    folder = Path(tempfile.mkdtemp(prefix="colabkit-notebook-"))
    try:
        source, result = write_notebook(folder / "in.ipynb", cells), folder / "out.ipynb"
        done = subprocess.run(
            RUNNERS[runner](kernels, source, result),
            env={**kernel_environment(kernels, folder / "home"), **dict(env)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        texts = _texts(result) if result.exists() else ()
        leftovers = list((folder / "home" / "ipython").rglob("00-colabkit-*"))
        assert leftovers == [], "a startup file stayed behind"
        return Ran(code=done.returncode, texts=texts, log=done.stdout + done.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def talk(kernels, *steps):
    """Run steps of `frontend_double.py` against a kernel of the set, in a home of its own; return what came back."""
    folder = Path(tempfile.mkdtemp(prefix="colabkit-frontend-"))
    try:
        done = subprocess.run(
            [kernels.python, Path(__file__).with_name("frontend_double.py"), json.dumps(steps)],
            env=kernel_environment(kernels, folder / "home"),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        leftovers = list((folder / "home" / "ipython").rglob("00-colabkit-*"))
        assert leftovers == [], "a startup file stayed behind"
        return json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _texts(path):
    found = []
    for cell in json.loads(path.read_text())["cells"]:
        pieces = ["".join(output.get("text", [])) for output in cell["outputs"]]
        pieces += [
            "\n".join([output["ename"], *output["traceback"]])
            for output in cell["outputs"]
            if output["output_type"] == "error"
        ]
        found.append(re.sub(r"\x1b\[[0-9;]*m", "", "".join(pieces)))
    return tuple(found)
