"""Run all in a real browser: the first cell installs another numpy, the kernel restarts in place, the rest follows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, is_available, open_notebook, serve
from tests.support.notebooks import kernel_environment, write_notebook

ARTIFACTS = os.environ.get("COLABKIT_TEST_ARTIFACTS")  # read now: a test's environment has none of our variables

CELLS = [
    (
        "import os\nimport numpy\nimport colabkit as ck\nprint('numpy', numpy.__version__, 'in process', os.getpid())\n"
        "report = ck.install('numpy==2.3.5')\nprint(report)"
    ),
    "print('second cell: numpy', numpy.__version__, 'in process', os.getpid())",
    "print('third cell:', numpy.linalg.norm([3, 4]))",
    "print('hello', input('your name? '))",
]

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not is_available(), reason=f"needs {CHROMIUM} (apt-get install chromium) and playwright (PyPI)")
@pytest.mark.parametrize(("frontend", "name"), [("jupyterlab", "newest"), ("classic", "colab")])
def test_run_all_goes_on_after_the_restart(frontend, name, tmp_path, kernel_set):
    """No dialog, no crash, the same process, every cell in its order; prompts still work; the screen is kept."""
    kernels = kernel_set(name)
    kernels.install(f"numpy=={kernels.numpy}")
    root = tmp_path / "notebooks"
    root.mkdir()
    write_notebook(root / "restart.ipynb", CELLS)
    pictures = Path(ARTIFACTS) if ARTIFACTS else tmp_path
    pictures.mkdir(parents=True, exist_ok=True)
    environment = kernel_environment(kernels, tmp_path / "home")
    with (
        serve(kernels, environment, root, tmp_path / "server.log") as port,
        open_notebook(frontend, port, "restart.ipynb") as notebook,
    ):
        notebook.run_all()
        notebook.await_number(2, 3)
        prompt = notebook.page.locator("input.jp-Stdin-input, input.raw_input").first
        prompt.fill("world")
        prompt.press("Enter")
        notebook.await_number(3, 4)
        texts = [notebook.text_of(number) for number in range(4)]
        notebook.page.screenshot(path=pictures / f"restart-{frontend}.png")
        assert notebook.dialogs() == 0
    lines = texts[0].splitlines()
    pid = lines[0].split()[-1]
    assert lines[0] == f"numpy {kernels.numpy} in process {pid}"
    assert lines[-2:] == [f"numpy 2.3.5 in process {pid}", "everything is already there"]
    assert texts[1].strip() == f"second cell: numpy 2.3.5 in process {pid}"
    assert texts[2].strip() == "third cell: 5.0"
    assert "hello world" in texts[3]
