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

from colabkit.errors import AddressError, CellError
from colabkit.headless import kernel, run_file
from tests.support.notebooks import kernel_environment, write_notebook

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
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},  # else no pipes
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
    write_notebook(tmp_path / "n.ipynb", ["print('here', flush=True)", "import faulthandler; faulthandler._sigsegv()"])
    said, _ = colabkit_run("n.ipynb", "--retries", "1", folder=tmp_path, code=93)
    assert said["error"]["what"] == "the kernel died in cell 2 of n.ipynb, 2 times in all"
    assert said["error"]["why"] == "Fatal Python error: Segmentation fault"
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
        ("{not json", "it is not JSON"),
        ("[]", "it has no nbformat"),
        ('{"nbformat": 3, "worksheets": []}', "format 3, and only format 4"),
        (
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
            "not a valid notebook",
        ),
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
    for word in ("a b=1", "import os; x=1", "class=1"):
        said, _ = colabkit_run("n.ipynb", "-p", word, folder=tmp_path, code=6)
        assert "is not a parameter" in said["error"]["what"]
    said, _ = colabkit_run("n.ipynb", "-p", "epochs", folder=tmp_path, code=6)
    assert said["error"]["what"] == "a parameter has no value"  # what was typed there may be a key


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
    said, _ = colabkit_run("train.py", "-p", "epochs=3", "-p", "version=2.10", folder=tmp_path, code=7)
    assert said["code"] == 7
    assert (tmp_path / "train.out.txt").read_text() == "['--epochs=3', '--version=2.10']\noh\n"


def test_a_killed_script_is_run_again_and_resumes(tmp_path):
    """A kill -9 on a script is met as one on a kernel."""
    (tmp_path / "train.py").write_text(SURVIVES)
    said, _ = colabkit_run("train.py", folder=tmp_path)
    assert said["attempts"] == 2
    assert (tmp_path / "train.out.txt").read_text().splitlines()[-2:] == ["begins at 3", "ended at 6"]


def test_what_children_print_comes_once_and_json_stays_one_object(tmp_path):
    """A child's stdout, descriptors 1 and 2 and `!` reach the notebook and stderr once each, and stdout never."""
    write_notebook(
        tmp_path / "n.ipynb",
        ["import os, subprocess\nsubprocess.run(['echo', 'by a child'])\nos.write(2, b'by two\\n')", "!echo by bang"],
    )
    said, log = colabkit_run("n.ipynb", folder=tmp_path)
    assert said["failed"] == []
    for words in ("by a child", "by two", "by bang"):
        assert log.count(words) == 1
        assert "".join(texts(tmp_path / "n.out.ipynb")).count(words) == 1
    assert "encryption" not in log


def test_a_command_that_fails_is_told_and_ends_a_strict_run(tmp_path):
    """The cell, the program and the exit code are told, never the arguments, where secrets stand."""
    write_notebook(
        tmp_path / "n.ipynb", ["!true", "for n in (3,):\n    !sh -c 'exit {n}' --key hunter2\nprint('goes on')"]
    )
    said, log = colabkit_run("n.ipynb", folder=tmp_path)
    assert said["failed"] == [{"cell": 2, "command": "sh …", "code": 3}]
    assert "!sh … in cell 2 ended with 3" in log
    assert "hunter2" not in log
    assert "goes on" in log
    said, log = colabkit_run("n.ipynb", "--strict", folder=tmp_path, code=92)
    assert said["error"]["what"] == "!sh … in cell 2 ended with 3, of n.ipynb"
    assert "goes on" not in log


def test_a_cell_that_ends_its_kernel_behind_an_installation_means_a_restart(tmp_path):
    """Each time a fresh kernel goes on behind it, with the parameters, in one attempt: no cell runs twice."""
    install = "!echo pip install nothing\n"
    cells = [
        "count = open('count', 'a').write('x')\n" + install,
        "import os\nos.kill(os.getpid(), 9)",
        install + "def again():\n    import os\n    os._exit(00)\nagain()",
        "import IPython\nIPython.Application.instance().kernel.do_shutdown(True)",
        "print(epochs, 'count' in dir())",
    ]
    write_notebook(tmp_path / "n.ipynb", cells)
    said, log = colabkit_run("n.ipynb", "-p", "epochs=3", folder=tmp_path)
    assert (said["attempts"], said["restarts"]) == (1, 3)
    assert (tmp_path / "count").read_text() == "x"
    for cell, how in ((3, "os.kill"), (4, "os._exit"), (5, "the kernel's do_shutdown")):
        assert f"cell {cell} restarts its kernel by {how}; continuing after it" in log
    assert texts(tmp_path / "n.out.ipynb")[-1] == "3 False\n"


def test_a_question_is_answered_by_its_parameter_or_ends_with_its_name(tmp_path, monkeypatch):
    """`name = input(…)` takes -p name=…, `getpass` the variable of its name; else each error says what to give."""
    write_notebook(
        tmp_path / "n.ipynb",
        [
            "import getpass, os",
            "age = int(input('How old? '))\nos.environ['MY_KEY'] = getpass.getpass()\nprint(age + 1)",
        ],
    )
    said, _ = colabkit_run("n.ipynb", folder=tmp_path, code=92)
    assert said["error"]["what"] == "cell 2 of n.ipynb asks 'How old?', and nobody is there to answer"
    assert "-p age=VALUE" in said["error"]["do"]
    said, _ = colabkit_run("n.ipynb", "-p", "age=7", folder=tmp_path, code=92)
    assert "export MY_KEY=" in said["error"]["do"]
    monkeypatch.setenv("MY_KEY", "hunter2")
    _, log = colabkit_run("n.ipynb", "-p", "age=7", folder=tmp_path)
    assert texts(tmp_path / "n.out.ipynb")[-1] == "How old? 7\n8\n"
    assert "hunter2" not in log + (tmp_path / "n.out.ipynb").read_text()


@pytest.mark.slow
def test_a_kernel_that_restarts_in_place_goes_on(kernels, tmp_path):
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


LOSES = """kernel, lost = get_ipython().kernel, []
send = kernel.session.send
def lossy(stream, kind, *args, **more):
    if kind == "execute_reply" and len(lost) < 1:
        lost.append(kind)
        return None
    return send(stream, kind, *args, **more)
kernel.session.send = lossy
"""


@pytest.mark.parametrize(("ends", "code"), [("print('trained')", 0), ("raise ValueError('no data')", 1)])
def test_a_reply_that_is_lost_does_not_hold_up_the_run(tmp_path, monkeypatch, ends, code):
    """The kernel has ended the cell, its reply never comes; the run goes on, or ends with the cell's error."""
    monkeypatch.setattr(kernel, "_PATIENCE", 0.2)
    notebook = write_notebook(tmp_path / "n.ipynb", [LOSES + ends, "print('behind it')"])
    if code:
        with pytest.raises(CellError, match="ValueError: no data"):
            run_file(notebook, quiet=True)
        return
    run_file(notebook, quiet=True)
    assert texts(tmp_path / "n.out.ipynb")[-2:] == ["trained\n", "behind it\n"]
