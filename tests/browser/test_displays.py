"""What a notebook shows: the live display of a training, errors, objects and progress, in JupyterLab and classic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, is_available, open_notebook, serve
from tests.support.notebooks import kernel_environment, write_notebook

ARTIFACTS = os.environ.get("COLABKIT_TEST_ARTIFACTS")  # read now: a test's environment has none of our variables

CELLS = [
    (
        "import time\nimport colabkit as ck\nrun, state = ck.open_run('runs/one'), {}\n"
        "loop = run.loop(range(60), epochs=3, state=state)\n"
        "for epoch in loop.each_epoch():\n    for step in loop:\n        loop.log(loss=1 / (1 + step))\n"
        "        time.sleep(0.02)\n"
        "    loop.log(val_loss=0.5 / (epoch + 1))"
    ),
    "ck.open_run('runs/two', every='often')",
    "run",
    (
        "from colabkit._internal.display.progress import progress\nwith progress('digits.csv') as bar:\n"
        "    for part in range(11):\n        bar.update(part * 1e6, 1e7)"
    ),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_available(), reason=f"needs {CHROMIUM} (apt-get install chromium) and playwright (PyPI)"),
]


@pytest.mark.parametrize(("frontend", "name"), [("jupyterlab", "newest"), ("classic", "colab")])
def test_what_a_cell_shows(frontend, name, tmp_path, kernel_set):
    """One output a training, no flood and no red bar; an error is the user's line and its cure, the rest folded."""
    kernels = kernel_set(name)
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "shown.ipynb", CELLS)
    environment = kernel_environment(kernels, tmp_path / "home")
    pictures = Path(ARTIFACTS) if ARTIFACTS else tmp_path
    pictures.mkdir(parents=True, exist_ok=True)
    with (
        serve(kernels, environment, tmp_path / "notebooks", tmp_path / "server.log") as port,
        open_notebook(frontend, port, "shown.ipynb") as notebook,
    ):
        notebook.run(0)
        notebook.page.locator(".ck-training progress").first.wait_for()
        notebook.await_number(0, 1)
        shown = notebook.page.locator(".ck-training")
        assert shown.count() == 1
        assert "one: 3 epochs in" in shown.inner_text()
        assert shown.locator("tr").count() == 4
        assert shown.locator("svg").count() == 1
        assert shown.locator("progress").count() == 0
        for number in (1, 2, 3):
            notebook.run(number)
            notebook.await_number(number, number + 1)
        notebook.page.screenshot(path=pictures / f"displays-{frontend}.png")
        error = notebook.text_of(1)
        assert "every='often' is not an interval" in error
        assert "What to do:" in error
        assert notebook.page.locator("details.ck-traceback").count() == 1
        assert "run_code" not in error  # nothing of the way through libraries is open
        assert "Run one" in notebook.text_of(2)
        assert "10.0 MB in" in notebook.text_of(3)
        assert notebook.page.locator(".ck-progress progress").count() == 0
