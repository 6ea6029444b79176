"""Files chosen in a page of JupyterLab and of the classic notebook come into the cell that asks, while it runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, is_available, open_notebook, serve
from tests.support.notebooks import kernel_environment, write_notebook

ARTIFACTS = os.environ.get("COLABKIT_TEST_ARTIFACTS")  # read now: a test's environment has none of our variables

FILES = {"größe #1 100%.csv": b"a,b\n1,2\n", "empty.txt": b"", "big.bin": os.urandom(3_500_000)}
CELLS = [
    """import colabkit as ck, hashlib
ck.colab_shim(quiet=True)
from google.colab import files
up = files.upload()
print({name: hashlib.sha256(data).hexdigest() for name, data in up.items()})""",
    *["print([path.name for path in ck.upload('data')])"] * 2,
    "files.upload_file('one.bin')",
    "print(files.upload())",
    "try:\n    ck.upload()\nexcept KeyboardInterrupt:\n    print('interrupted')",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_available(), reason=f"needs {CHROMIUM} (apt-get install chromium) and playwright (PyPI)"),
]


@pytest.mark.parametrize(("frontend", "name"), [("jupyterlab", "newest"), ("classic", "colab")])
def test_files_come_from_the_browser(frontend, name, tmp_path, kernel_set):
    """All of their bytes and letters; Cancel and the stop button end the cell, and nothing is left of the way."""
    kernels = kernel_set(name)
    root = tmp_path / "notebooks"
    (root / "sub folder").mkdir(parents=True)
    write_notebook(root / "sub folder" / "up.ipynb", CELLS)
    (tmp_path / "mine").mkdir()
    for file, data in FILES.items():
        (tmp_path / "mine" / file).write_bytes(data)
    mine = [tmp_path / "mine" / file for file in FILES]
    pictures = Path(ARTIFACTS) if ARTIFACTS else tmp_path
    pictures.mkdir(parents=True, exist_ok=True)
    environment = kernel_environment(kernels, tmp_path / "home")
    with (
        serve(kernels, environment, root, tmp_path / "server.log") as port,
        open_notebook(frontend, port, "sub%20folder/up.ipynb") as notebook,
    ):
        dialog = notebook.page.locator("input[type=file]")
        notebook.run(0)
        dialog.wait_for()
        notebook.page.screenshot(path=pictures / f"upload-{frontend}.png")
        dialog.set_input_files(mine)
        notebook.await_number(0, 1)
        shown = notebook.text_of(0)
        assert "big.bin (3.5 MB)" in shown
        assert str({file: hashlib.sha256(data).hexdigest() for file, data in FILES.items()}) in shown
        assert all((root / "sub folder" / file).read_bytes() == data for file, data in FILES.items())
        for number in (1, 2):  # the second time its name is taken
            notebook.run(number)
            dialog.wait_for()
            dialog.set_input_files(mine[0])
            notebook.await_number(number, number + 1)
        assert "'größe #1 100% (1).csv'" in notebook.text_of(2)
        notebook.run(3)
        dialog.wait_for()
        assert dialog.get_attribute("multiple") is None
        dialog.set_input_files(mine[2])
        notebook.await_number(3, 4)
        assert (root / "sub folder" / "one.bin").read_bytes() == FILES["big.bin"]
        notebook.run(4)
        dialog.wait_for()
        notebook.page.locator("div:has(> label input[type=file]) > button").click()
        notebook.await_number(4, 5)
        assert "{}" in notebook.text_of(4)
        notebook.run(5)
        dialog.wait_for()
        notebook.interrupt()
        notebook.await_number(5, 6)
        assert "interrupted" in notebook.text_of(5)
        assert dialog.count() == 0
        notebook.page.screenshot(path=pictures / f"uploaded-{frontend}.png")
    assert not list(root.rglob("colabkit-upload-*"))
