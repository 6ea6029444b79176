"""Notebooks of Colab and Kaggle away from their hosts: modules, folders, forms, uploads, and folders of notebooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from colabkit.errors import NotWritableError
from colabkit.runtime import my_drive
from colabkit.shims import paths
from colabkit.shims.google_colab import drive
from tests.support.notebooks import write_notebook
from tests.unit.headless.test_run import colabkit_run, texts


def test_a_notebook_of_colab_runs_elsewhere(tmp_path, monkeypatch):
    """Drive is a folder, secrets are found, forms are parameters, uploads are paths, /content is the working folder."""
    monkeypatch.setenv("MY_KEY", "hunter2")
    (tmp_path / "up.csv").write_text("1,2")
    write_notebook(
        tmp_path / "n.ipynb",
        [
            "try:\n    import google.colab\n    here = True\nexcept ImportError:\n    here = False\nprint(here)",
            "from google.colab import auth, data_table, drive, files, output, userdata\ndrive.mount('/content/drive')",
            'epochs = 10  #@param {type:"integer"}\nname = "x" #@param ["x", "y"]\nprint(epochs, name)',
            "!mkdir -p /content/data && echo hi > '/content/data/a.txt'\nprint(open('/content/data/a.txt').read())",
            "%cd /content/data\nimport os\nprint(os.path.exists('/content/drive/MyDrive'))",
            "%%writefile /content/data/b.py\nx = '/contents'",
            "print(sorted(files.upload()))\nfiles.download('b.py')\noutput.clear()",
            """print(len(userdata.get('MY_KEY')))
try:
    userdata.get('NONE')
except userdata.SecretNotFoundError:
    print('not found')""",
            "from kaggle_secrets import UserSecretsClient\nprint(len(UserSecretsClient().get_secret('MY_KEY')))",
            "print(os.path.isdir('/kaggle/input'))",
            "import colabkit as ck\nprint(ck.drive.mount())",
        ],
    )
    _, log = colabkit_run("n.ipynb", "-p", "epochs=3", "-p", "name=y", "-p", "upload=up.csv", folder=tmp_path)
    found = texts(tmp_path / "n.out.ipynb")[1:]
    assert found[0] == "False\n"
    assert "without your Drive's files" in found[1]
    assert found[2] == "3 y\n"
    assert found[3] == "hi\n\n"
    assert found[4].endswith("True\n")
    assert (tmp_path / "data" / "b.py").read_text() == "x = '/contents'\n"
    assert (tmp_path / "data" / "up.csv").read_text() == "1,2"
    assert found[7:] == ["7\nnot found\n", "7\n", "True\n", f"{tmp_path.resolve() / 'drive'}\n"]
    assert f"/content in a cell stands for {tmp_path.resolve()}" in log
    assert log.count("google.colab is missing here") == 1
    assert "hunter2" not in log


def test_a_run_on_drive_goes_on_in_the_folder_that_stands_for_it(tmp_path, monkeypatch):
    """Nobody is signed in to Google: the run's copies, and what is pushed, lie where `drive.mount` made a folder."""
    lines = [
        f"from google.colab import drive\ndrive.mount('{tmp_path}/content/drive')\nimport colabkit as ck",
        "run = ck.open_run('drive:runs/digits')\nsaved = run.restore()\nprint(saved and saved.step)",
        "run.save({'weights': [1.0]}, step=(saved.step if saved else 0) + 5)\nprint(run.flush())\nrun.close()",
        "open('result.txt', 'w').write('done')\nck.push('result.txt', 'drive:results/', overwrite=True)",
        "print(open(ck.fetch('drive:results/result.txt', 'back.txt', overwrite=True)).read())",
    ]
    write_notebook(tmp_path / "n.ipynb", lines)
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "first"))
    _, log = colabkit_run("n.ipynb", folder=tmp_path)
    mine = tmp_path / "content" / "drive" / "MyDrive"
    assert f"drive:runs/digits is the folder {mine / 'runs' / 'digits'} of this machine" in log
    assert (mine / "results" / "result.txt").read_text() == "done"
    assert texts(tmp_path / "n.out.ipynb")[4].splitlines()[-1] == "done"
    assert f"drive:results/result.txt is {mine / 'results' / 'result.txt'} of this machine" in log
    assert "auth application-default login" in texts(tmp_path / "n.out.ipynb")[0]
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "second"))  # another machine with the same folder
    colabkit_run("n.ipynb", folder=tmp_path)
    assert texts(tmp_path / "n.out.ipynb")[1].splitlines()[-1] == "5"
    lines[0] = lines[0].replace(f"{tmp_path}/content", f"{tmp_path}/other")  # another folder holds another run
    write_notebook(tmp_path / "n.ipynb", lines)
    colabkit_run("n.ipynb", folder=tmp_path)
    assert texts(tmp_path / "n.out.ipynb")[1].splitlines()[-1] == "None"


def test_a_content_folder_that_a_script_was_given_is_not_colabs(tmp_path, monkeypatch):
    """In a script nothing stands for `/content`, so it is made; a later notebook has its own folder all the same."""
    content, shell = tmp_path / "content", SimpleNamespace(input_transformers_post=[])
    monkeypatch.setattr(paths, "_CONTENT", content)
    monkeypatch.setattr(paths, "_places", {})
    monkeypatch.setattr(paths, "home", [])
    monkeypatch.setattr(my_drive, "stand_ins", [])
    monkeypatch.setattr(drive, "_mounted", {})
    monkeypatch.setattr(paths, "_shell", lambda: shell)
    content.mkdir()
    assert not any(line.startswith("/content") for line in paths.install(tmp_path))  # Colab's own
    content.rmdir()
    shell.input_transformers_post.clear()
    assert drive.make_folder(content / "drive") == content / "drive"
    assert any(line.startswith("/content") for line in paths.install(tmp_path))
    locked = tmp_path / "locked"
    locked.touch()
    with pytest.raises(NotWritableError):
        drive.make_folder(locked / "drive")


def test_what_a_notebook_does_not_name_is_not_spoken_of(tmp_path):
    """An upload without a parameter ends with its name, and only google.colab is told."""
    write_notebook(tmp_path / "n.ipynb", ["from google.colab import files\nup = files.upload()"])
    said, log = colabkit_run("n.ipynb", folder=tmp_path, code=92)
    assert "-p upload=VALUE" in said["error"]["do"]
    assert "kaggle" not in log


def test_the_real_module_is_never_replaced(tmp_path):
    """Where google.colab is installed, the finder is not even there."""
    package = tmp_path / "modules" / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("real = True\n")
    code = (
        "import sys, colabkit as ck\nsaid = ck.colab_shim(quiet=True)\nimport google.colab\n"
        "print(google.colab.real, any('google.colab' in line for line in said))"
    )
    env = {**os.environ, "PYTHONPATH": f"{tmp_path / 'modules'}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "True False\n", done.stderr


@pytest.mark.parametrize("line", ["from google.colab import ai", "import google.colab.widgets"])
def test_a_part_that_only_colab_has_is_refused_in_words(tmp_path, line):
    """Python's own words, an unknown location, would tell nothing; who asks by `try` is told that it is not there."""
    script = tmp_path / "a.py"
    script.write_text(
        "import colabkit as ck\nck.colab_shim(quiet=True)\n"
        f"try:\n    {line}\nexcept ImportError:\n    print('no')\n{line}\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "no\n"
    assert re.search(r"ImportError: google.colab.\w+ is on Colab alone\nWhy: .*\nWhat to do: ", done.stderr)


@pytest.mark.parametrize("way", ["-c", "file", "-m"])
def test_a_program_is_given_the_modules_however_it_is_started(tmp_path, way):
    """`python -c`, a script, a module: an import gets them, and a question is told the truth."""
    code = (
        "import colabkit as ck\nck.colab_shim(quiet=True)\nfrom google.colab import userdata\n"
        "try:\n    import google.colab.files\n    print('Colab')\nexcept ImportError:\n    print('elsewhere')\n"
        "print(userdata.get('MY_KEY'))\n"
    )
    (tmp_path / "a.py").write_text(code)
    words = {"-c": ["-c", code], "file": ["a.py"], "-m": ["-m", "a"]}[way]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "MY_KEY": "hunter2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "elsewhere\nhunter2\n", done.stderr


def test_a_folder_runs_one_after_another_with_a_table(tmp_path):
    """One that fails does not keep the next from running; outputs and hidden folders are passed over."""
    for name, cell in (("a", "print('a')"), ("b", "1 / 0"), ("sub/c", "print('c')"), (".hidden/d", "1 / 0")):
        path = tmp_path / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        write_notebook(path, [cell])
    for _ in range(2):
        said, _ = colabkit_run(tmp_path, folder=tmp_path, code=92)
        assert [(run["name"], run["ok"]) for run in said["runs"]] == [
            ("a.ipynb", True),
            ("b.ipynb", False),
            ("sub/c.ipynb", True),
        ]
    assert "ZeroDivisionError" in said["runs"][1]["error"]["what"]
    said, _ = colabkit_run(tmp_path, "--output", "x.ipynb", folder=tmp_path, code=6)
    assert json.dumps(said).count("folder") == 1
