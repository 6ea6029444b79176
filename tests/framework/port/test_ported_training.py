"""Notebooks that train, as people write them, ported, killed in the middle, and run again: the weights are the same."""

from __future__ import annotations

import json

import pytest

from colabkit.port import port
from colabkit.testing import FakeColab
from colabkit.testing.drive_folder import DriveFolder
from tests.support.notebooks import write_notebook
from tests.support.ported_notebooks import NOTEBOOKS, ends

SHOWS = {"images": "3 ", "loop": "(2, 7)"}  # the length of the history, the numbers of the last batch


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_ported_training_goes_on_after_a_kill(tmp_path, name):
    """Killed once, and never, away from Colab: both print the same weights and the same of their loops, bit for bit."""
    killed, never = (ends(tmp_path / str(die), name, die=die) for die in (True, False))
    assert killed == never
    assert SHOWS.get(name, "") in never


@pytest.mark.slow
@pytest.mark.skipif(DriveFolder.missing() != "", reason=str(DriveFolder.missing()))
@pytest.mark.parametrize("name", ["drive", "loop"])
def test_a_ported_training_goes_on_in_a_kernel_of_colab_that_died(tmp_path, name):
    """All cells are run again in the new kernel, as a user does who sees that the session crashed."""
    printed = []
    for die in (True, False):
        folder = tmp_path / str(die)
        folder.mkdir()
        with FakeColab(folder / "colab") as colab:
            cells = [cell.replace("/content/drive", str(colab.mountpoint)) for cell in NOTEBOOKS[name]]
            ported = json.loads(port(write_notebook(folder / "n.ipynb", cells)).output.read_text())
            cells = [f"import os; os.chdir({str(folder)!r}); die = {die}", *map("".join, _sources(ported))]
            for kills in range(die, -1, -1):
                said = _run_all(colab, cells, dies=kills == 1)
        printed.append(said.splitlines()[-1])
    assert printed[0] == printed[1]


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
