"""A notebook on a machine of Colab or Kaggle, by doubles of their official commands."""

from __future__ import annotations

import json
import os

import pytest

from colabkit.cli import main
from colabkit.errors import AccessError, CellError, KernelDiedError, MissingDependencyError
from colabkit.remote import run_remote
from tests.support.doubles import remote_commands
from tests.support.notebooks import write_notebook

COUNTING = """
import os, pathlib
"""
TRAIN = """
state = pathlib.Path({kept!r})
done = int(state.read_text()) if state.exists() else 0
print("from", done, "to", epochs)
for step in range(done, epochs):
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(str(step + 1))
    if step == 1 and not done:
        os.kill(os.getpid(), 9)
pathlib.Path("result.txt").write_text(f"{{epochs}} epochs")
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The doubles on PATH; returns their state's folder."""
    state = tmp_path / "state"
    remote_commands.install(tmp_path / "bin", state)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("colabkit.remote.kaggle._EVERY", 0.05)
    return state


def calls(state, *verbs):
    """The calls of the commands, those with certain verbs."""
    lines = (state / "calls.txt").read_text().splitlines()
    return [line for line in lines if any(f" {verb}" in line for verb in verbs)]


def printed(path):
    """What the cells of a notebook printed."""
    cells = json.loads(path.read_text())["cells"]
    return "".join("".join(one.get("text", "")) for cell in cells for one in cell["outputs"])


def test_colab_resumes_on_the_next_machine_and_gives_each_back(commands, tmp_path, capsys):
    """The first machine dies in the middle; the next one continues, its files come here, and none is left running."""
    kept = tmp_path / "storage" / "step"  # as a Drive: it outlives the machine
    notebook = write_notebook(tmp_path / "My training.ipynb", [COUNTING, TRAIN.format(kept=str(kept))])
    words = ["remote", "run", str(notebook), "--on", "colab", "--accelerator", "T4", "-p", "epochs=5", "--json"]
    assert main([*words, "--bring", "result.txt"]) == 0
    said = capsys.readouterr()
    ran = json.loads(said.out)
    assert ran["machines"] == 2
    assert "from 2 to 5" in said.err
    assert "from 2 to 5" in printed(tmp_path / "My training.out.ipynb")
    assert (tmp_path / "result.txt").read_text() == "5 epochs"
    assert [line.split()[-2:] for line in calls(commands, "new")] == [["--gpu", "T4"]] * 2
    assert all("--timeout 21600" in line for line in calls(commands, "exec -s") if ".ipynb" in line)
    assert not list((commands / "machines").iterdir())
    assert "epochs=5" not in notebook.read_text()


def test_a_folder_that_was_brought_goes_along_to_the_next_machine(commands, tmp_path):
    """Without a storage the folder itself travels: here at the end, and there at the next start."""
    code = """
import pathlib
run = pathlib.Path("runs/digits"); run.mkdir(parents=True, exist_ok=True)
before = len(list(run.iterdir()))
(run / f"state-{before}").write_text("x")
print("before", before)
"""
    notebook = write_notebook(tmp_path / "a.ipynb", [code])
    for number in range(2):
        ran = run_remote(notebook, on="colab", bring=["runs/digits"], accelerator="v5e1", quiet=True)
        assert printed(ran.output) == f"before {number}\n"
        assert sorted(path.name for path in ran.brought[0].iterdir()) == [f"state-{n}" for n in range(number + 1)]
    assert "--tpu v5e1" in calls(commands, "new")[0]


def test_colab_tells_what_goes_wrong_and_leaves_no_machine(commands, tmp_path):
    """A cell's error, which Colab's command passes over; machines that die again and again; none to be had."""
    bad = write_notebook(tmp_path / "bad.ipynb", ["print(1)", "1 / 0", "print(3)"])
    with pytest.raises(CellError, match="cell 2 raised ZeroDivisionError"):
        run_remote(bad, on="colab", quiet=True)
    dying = write_notebook(tmp_path / "dying.ipynb", ["import os; os.kill(os.getpid(), 9)"])
    with pytest.raises(KernelDiedError, match="on 2 machines"):
        run_remote(dying, on="colab", retries=1, quiet=True)
    (commands / "refuse").touch()
    with pytest.raises(AccessError, match="Colab gives no machine") as caught:
        run_remote(bad, on="colab", quiet=True)
    assert "too many sessions" in caught.value.why
    assert not list((commands / "machines").iterdir())


def test_kaggle_runs_versions_until_one_is_complete(commands, tmp_path):
    """A machine that ran out of memory is followed by the next version, which has the earlier one's output."""
    kept = tmp_path / "storage" / "step"
    notebook = write_notebook(tmp_path / "digits.ipynb", [COUNTING, TRAIN.format(kept=str(kept))])
    ran = run_remote(
        notebook, {"epochs": 4}, on="kaggle", accelerator="NvidiaTeslaT4", inputs=["a/b", "competitions/c"], quiet=True
    )
    assert ran.machines == 2
    assert (ran.output / "result.txt").read_text() == "4 epochs"
    versions = [json.loads(path.read_text()) for path in sorted((commands / "kernels/me").rglob("v*.json"))]
    assert [one["kernel_sources"] for one in versions] == [[], ["me/colabkit-digits"]]
    assert (versions[0]["dataset_sources"], versions[0]["competition_sources"]) == (["a/b"], ["c"])
    assert versions[0]["is_private"] == "true"
    assert "--accelerator NvidiaTeslaT4" in calls(commands, "push")[0]
    bad = write_notebook(tmp_path / "bad.ipynb", ["raise ValueError('no such column')"])
    with pytest.raises(CellError, match="ValueError: no such column"):
        run_remote(bad, on="kaggle", quiet=True)
    (commands / "refuse").touch()
    with pytest.raises(AccessError) as caught:
        run_remote(bad, on="kaggle", quiet=True)
    assert "weekly GPU quota" in caught.value.why
    assert "without --accelerator" in caught.value.do


def test_inputs_that_kaggle_does_not_add_are_named(commands, tmp_path, caplog):
    """Its command pushes the version all the same, and ends with 0."""
    (commands / "absent").touch()
    notebook = write_notebook(tmp_path / "digits.ipynb", ["print(1)"])
    run_remote(notebook, on="kaggle", inputs=["ada/no-such"], quiet=True)
    assert "runs without its dataset sources ['ada/no-such']: Kaggle did not add them" in caplog.text


def test_a_command_that_is_missing_is_named(tmp_path, monkeypatch):
    """What has to be installed stands in the error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    notebook = write_notebook(tmp_path / "a.ipynb", ["1"])
    for host, package in (("colab", "google-colab-cli"), ("kaggle", "kaggle")):
        with pytest.raises(MissingDependencyError) as caught:
            run_remote(notebook, on=host)
        assert caught.value.hint == f"pip install {package}"
