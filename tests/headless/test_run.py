"""Headless runs with a real kernel and real processes: outputs, parameters, crashes, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colabkit.errors import AddressError
from colabkit.headless import run_file
from tests.runtime.conftest import kernels  # noqa: F401 - a fixture
from tests.runtime.notebooks import kernel_environment, write_notebook

FORMAT_4 = '{"nbformat": 4, "nbformat_minor": 5,'
SURVIVES = """import os, signal
import colabkit as ck
run = ck.open_run("run")
saved = run.restore()
begin = saved.step if saved else 0
print("begins at", begin)
for step in range(begin, 6):
    if step == 3 and begin == 0:
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    run.save({"step": step}, step=step + 1)
run.close()
print("ended at", step + 1)
"""


def colabkit_run(*words, folder, code=0):
    """Run the command; return what it says as JSON and on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "colabkit", "run", *map(str, words), "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout), done.stderr


def texts(path):
    """Return what each cell of a saved notebook printed, and the names of its errors."""
    cells = json.loads(path.read_text())["cells"]
    return [
        "".join("".join(output.get("text", output.get("ename", ""))) for output in cell.get("outputs", ()))
        for cell in cells
    ]


def test_a_notebook_runs_with_parameters_and_its_outputs_are_saved(tmp_path):
    """The parameters come behind the defaults, the folder is the notebook's, the source file is left alone."""
    source = write_notebook(tmp_path / "train.ipynb", ["epochs = 1", "print(epochs, name)\nopen('made', 'w').close()"])
    notebook = json.loads(source.read_text())
    notebook["cells"][0]["metadata"]["tags"] = ["parameters"]
    source.write_text(json.dumps(notebook))
    before = source.read_bytes()
    said, log = colabkit_run("train.ipynb", "-p", "epochs=3", "-p", "name=first", folder=tmp_path)
    assert said["attempts"] == 1
    assert texts(tmp_path / "train.out.ipynb") == ["", "", "3 first\n"]
    assert "3 first" in log
    assert (tmp_path / "made").exists()
    assert source.read_bytes() == before


def test_parameters_never_come_before_the_set_up(tmp_path):
    """A first cell that sets up stays the first: what an earlier cell made would be lost at its restart."""
    source = write_notebook(
        tmp_path / "n.ipynb",
        ["# /// script\n# dependencies = []\n# ///\nimport colabkit as ck\nck.setup()", "print(x)"],
    )
    colabkit_run(source, "-p", "x=7", folder=tmp_path)
    cells = json.loads((tmp_path / "n.out.ipynb").read_text())["cells"]
    assert ["script" in "".join(cell["source"]) for cell in cells] == [True, False, False]
    assert texts(tmp_path / "n.out.ipynb")[2] == "7\n"


def test_a_cell_that_fails_ends_the_run_and_is_saved(tmp_path):
    """The code is 92, the traceback and all outputs before it are saved, nothing behind it runs or is tried again."""
    write_notebook(tmp_path / "n.ipynb", ["print('first')", "1 / 0", "open('never', 'w')"])
    said, _ = colabkit_run("n.ipynb", folder=tmp_path, code=92)
    assert "cell 2 of n.ipynb raised ZeroDivisionError: division by zero" in said["error"]["what"]
    assert texts(tmp_path / "n.out.ipynb") == ["first\n", "ZeroDivisionError", ""]
    assert not (tmp_path / "never").exists()


def test_a_killed_kernel_is_run_again_and_resumes(tmp_path):
    """A kill -9 in the middle of a training: the second run begins at the last checkpoint and ends well."""
    write_notebook(tmp_path / "n.ipynb", [SURVIVES])
    said, log = colabkit_run("n.ipynb", folder=tmp_path)
    assert said["attempts"] == 2
    assert "the kernel died in cell 1 of n.ipynb; running it again, 1 of 3" in log
    assert texts(tmp_path / "n.out.ipynb") == ["begins at 3\nended at 6\n"]


def test_a_kernel_that_always_dies_is_given_up(tmp_path):
    """After as many retries as were allowed the code is 93, and what the last attempt printed is saved."""
    write_notebook(
        tmp_path / "n.ipynb", ["print('here', flush=True)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    )
    said, _ = colabkit_run("n.ipynb", "--retries", "1", folder=tmp_path, code=93)
    assert said["error"]["what"] == "the kernel died in cell 2 of n.ipynb, 2 times in all"
    assert texts(tmp_path / "n.out.ipynb")[0] == "here\n"


def test_ctrl_c_lets_the_cell_save_and_leaves_no_kernel(tmp_path):
    """The cell is interrupted as by the notebook's button, its outputs are saved, and its process is gone."""
    write_notebook(
        tmp_path / "n.ipynb",
        [
            (
                "import os, time\nopen('pid', 'w').write(str(os.getpid()))\n"
                "try:\n    print('waits', flush=True)\n    time.sleep(100)\n"
                "except KeyboardInterrupt:\n    print('saved')\n    raise"
            ),
            "open('never', 'w')",
        ],
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "colabkit", "run", "n.ipynb"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "waits" in line:
            break
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 130, log
    assert texts(tmp_path / "n.out.ipynb") == ["waits\nsaved\nKeyboardInterrupt", ""]
    assert not (tmp_path / "never").exists()
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 20
    while _is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{not json", "it is no JSON"),
        ("[]", "it has no nbformat"),
        ('{"nbformat": 3, "worksheets": []}', "format 3, and only format 4"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}', "no sound notebook"),
        (
            f'{FORMAT_4} "cells": [], "metadata": {{"kernelspec": {{"name": "x", "display_name": ""}}}}}}',
            "wants the kernel 'x'",
        ),
        (
            '{"nbformat": 4, "nbformat_minor": 5, "cells": [], "metadata": {"language_info": {"name": "R"}}}',
            "names no kernel, and is in R",
        ),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, content, words):
    """Each is told in words, ends with 91, and leaves no file."""
    (tmp_path / "n.ipynb").write_text(content)
    said, _ = colabkit_run("n.ipynb", folder=tmp_path, code=91)
    assert words in f"{said['error']['what']} {said['error']['why']}"
    assert not (tmp_path / "n.out.ipynb").exists()


def test_a_parameter_that_is_none_is_refused(tmp_path):
    """A name that Python could not use would be code in the notebook."""
    write_notebook(tmp_path / "n.ipynb", ["pass"])
    for word in ("epochs", "a b=1", "import os; x=1", "class=1"):
        said, _ = colabkit_run("n.ipynb", "-p", word, folder=tmp_path, code=6)
        assert "is no parameter" in said["error"]["what"]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), Path("data"), {"rate": [1.0, float("-inf")]}])
def test_a_value_that_python_cannot_read_back_is_refused(tmp_path, value):
    """It would be a name that nobody has defined in the notebook's first cell."""
    notebook = tmp_path / "notebook.ipynb"
    write_notebook(notebook, ["print(rate)"])
    with pytest.raises(AddressError, match="the parameter rate cannot be written"):
        run_file(notebook, {"rate": value})


def test_a_script_gets_parameters_and_keeps_its_code(tmp_path):
    """Parameters are arguments, what it prints is saved, and its exit code is the command's."""
    (tmp_path / "train.py").write_text("import sys\nprint(sys.argv[1:])\nprint('oh', file=sys.stderr)\nsys.exit(7)\n")
    said, _ = colabkit_run("train.py", "-p", "epochs=3", folder=tmp_path, code=7)
    assert said["code"] == 7
    assert (tmp_path / "train.out.txt").read_text() == "['--epochs=3']\noh\n"


def test_a_killed_script_is_run_again_and_resumes(tmp_path):
    """A kill -9 on a script is met as one on a kernel."""
    (tmp_path / "train.py").write_text(SURVIVES)
    said, _ = colabkit_run("train.py", folder=tmp_path)
    assert said["attempts"] == 2
    assert (tmp_path / "train.out.txt").read_text().splitlines()[-2:] == ["begins at 3", "ended at 6"]


@pytest.mark.slow
def test_a_kernel_that_restarts_in_place_goes_on(kernels, tmp_path):  # noqa: F811
    """install() replaces a package that is loaded: one run, one attempt, and the later cells have the new one."""
    kernels.install(f"numpy=={kernels.numpy}")
    source = write_notebook(
        tmp_path / "n.ipynb",
        ["import numpy, colabkit\ncolabkit.install('numpy==2.3.5')", "print(numpy.__version__, epochs)"],
    )
    done = subprocess.run(
        [kernels.python, "-m", "colabkit", "run", source, "-p", "epochs=3", "--json"],
        env=kernel_environment(kernels, tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["attempts"] == 1
    assert texts(tmp_path / "n.out.ipynb")[2] == "2.3.5 3\n"
