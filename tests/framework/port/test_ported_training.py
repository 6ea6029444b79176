"""Notebooks that train, as people write them, ported, killed in the middle, and run again: the weights are the same."""

from __future__ import annotations

import functools
import json

import pytest

from colabkit.port import port
from colabkit.testing import FakeColab
from colabkit.testing.drive_folder import DriveFolder
from tests.support.notebooks import write_notebook
from tests.support.ported_notebooks import NOTEBOOKS, ends

SHOWS = {"images": "3 ", "loop": "(2, 7)"}  # the length of the history, the numbers of the last batch


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    """Return a function that gives what a notebook ends with away from Colab, run once for all tests."""
    return functools.cache(lambda name: ends(tmp_path_factory.mktemp("never") / name, name, die=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_ported_training_goes_on_after_a_kill(tmp_path, never_killed, name):
    """Killed once, and never, away from Colab: both print the same weights and the same of their loops, bit for bit."""
    assert ends(tmp_path / "killed", name, die=True) == never_killed(name)
    assert SHOWS.get(name, "") in never_killed(name)


@pytest.mark.slow
@pytest.mark.skipif(DriveFolder.missing() != "", reason=str(DriveFolder.missing()))
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_ported_training_goes_on_in_a_kernel_of_colab_that_died(tmp_path, never_killed, name):
    """All cells are run again in the new kernel, as a user does who sees that the session crashed; the end is the same.

    The same as away from Colab, too: the port changes nothing of what is trained.
    """
    with FakeColab(tmp_path / "colab") as colab:
        cells = [cell.replace("/content/drive", str(colab.mountpoint)) for cell in NOTEBOOKS[name]]
        ported = json.loads(port(write_notebook(tmp_path / "n.ipynb", cells)).output.read_text())
        cells = [f"import os; os.chdir({str(tmp_path)!r}); die = True", *map("".join, _sources(ported))]
        _run_all(colab, cells, dies=True)
        said = _run_all(colab, cells, dies=False)
    expected = never_killed(name).splitlines()
    assert said.splitlines()[-len(expected) :] == expected


def _sources(notebook):
    return [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _run_all(colab, cells, *, dies):
    """Run the cells in their order; give what the last one printed, or begin a new kernel where one died."""
    for cell in cells:
        try:
            said = colab.run(cell)
        except RuntimeError:  # the kernel died
            assert dies
            colab.restart_kernel()
            return ""
        assert "Error" not in said, said
    assert not dies
    return said
