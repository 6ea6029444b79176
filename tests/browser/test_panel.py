"""The panel in real browsers: every tab, every button, its failure, a busy cell, a restart, accessibility."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from colabkit.testing.http import FaultServer
from tests.support.browser import CHROMIUM, is_available, open_notebook, serve
from tests.support.notebooks import kernel_environment, write_notebook

ARTIFACTS = os.environ.get("COLABKIT_TEST_ARTIFACTS")  # read now: a test's environment has none of our variables

CELLS = [
    "import colabkit as ck\nrun = ck.open_run('runs/one')\nck.setup_panel(run)",
    (
        "import time\nfor step in range(1, 13):\n    run.save({'seen': step}, step=step)\n    time.sleep(0.5)\n"
        "run.flush()\nprint('trained')"
    ),
    "print('nothing else is printed here')",
    "import colabkit as ck\ntry:\n    ck.detect().restart(force=True)\nexcept ck.errors.RestartError:\n    pass",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_available(), reason=f"needs {CHROMIUM} (apt-get install chromium) and playwright (PyPI)"),
]


class Panel:
    """The panel as its user sees it."""

    def __init__(self, notebook, pictures, frontend):
        self.notebook = notebook
        self.page = notebook.page
        self._pictures = pictures
        self._frontend = frontend

    def draw(self):
        """Run the first cell, and wait for a panel that was not there before."""
        self.page.evaluate("() => document.querySelectorAll('[data-ck-said]').forEach(one => one.remove())")
        self.notebook.run(0)
        self.page.locator("[data-ck-said=idle]").wait_for()

    def tab(self, name):
        """Open a tab."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def fill(self, label, text):
        """Type into the input of a label."""
        self.page.get_by_label(label, exact=True).locator("visible=true").fill(text)

    def press(self, name):
        """Press a button."""
        self.page.get_by_role("button", name=name, exact=True).locator("visible=true").click()

    def awaited(self, kind, words):
        """Wait for a message of a kind with words in it."""
        from playwright.sync_api import expect

        expect(self.page.locator(f"[data-ck-said={kind}]")).to_contain_text(re.compile(words), timeout=30_000)

    def photograph(self, name):
        """Keep a picture of the whole."""
        self.page.screenshot(path=self._pictures / f"panel-{self._frontend}-{name}.png")


@pytest.fixture(params=[("jupyterlab", "newest"), ("classic", "colab")], ids=lambda pair: pair[0], scope="module")
def opened(request, tmp_path_factory, kernel_set_of_module):
    """A notebook in a browser, one for all tests of a frontend."""
    frontend, name = request.param
    kernels = kernel_set_of_module(name)
    folder = tmp_path_factory.mktemp(frontend)
    (folder / "notebooks").mkdir()
    write_notebook(folder / "notebooks" / "panel.ipynb", CELLS)
    pictures = Path(ARTIFACTS) if ARTIFACTS else folder
    pictures.mkdir(parents=True, exist_ok=True)
    environment = kernel_environment(kernels, folder / "home")
    with (
        serve(kernels, environment, folder / "notebooks", folder / "server.log") as port,
        open_notebook(frontend, port, "panel.ipynb") as notebook,
    ):
        yield Panel(notebook, pictures, frontend)


@pytest.fixture
def panel(opened):
    """The panel, drawn anew by the first cell."""
    opened.draw()
    return opened


def test_every_tab_and_every_button(panel):
    """Each button answers, each failure is told in the panel's own words, and nothing lands in a cell."""
    broken = []
    panel.page.on("pageerror", lambda error: broken.append(str(error)))
    panel.photograph("runtime")
    panel.press("Look again")
    panel.awaited("ok", "looked at GPU and TPU")

    panel.tab("Packages")
    panel.fill("Packages", "two words, none of them")
    panel.press("Plan")
    panel.awaited("problem", "cannot read the requirement")
    panel.press("Install")
    panel.awaited("problem", "cannot read the requirement")
    panel.fill("Packages", "packaging\nrequests>=2")
    panel.press("Plan")
    panel.awaited("ok", "everything is already there")
    panel.press("Install")
    panel.awaited("ok", "everything is already there")
    panel.photograph("packages")

    panel.tab("Data")
    with FaultServer() as server:
        server.put("digits.csv", b"7,0,0\n" * 1000)
        server.put("endless.bin", b"7" * (8 << 20)).rate = 100_000.0
        panel.fill("Source", server.url("no-such.csv"))
        panel.press("Fetch")
        panel.awaited("problem", "no-such.csv")
        panel.fill("Source", server.url("endless.bin"))
        panel.press("Fetch")
        panel.page.get_by_text(re.compile(r"of 8\.4 MB")).wait_for()
        panel.press("Stop")
        panel.awaited("warning", "stopped; partial data was kept")
        panel.fill("Source", server.url("digits.csv"))
        panel.fill("To", "data/")
        panel.press("Fetch")
        panel.awaited("ok", "fetched: 6.0 kB")
        panel.photograph("data")

    panel.tab("Drive")
    panel.press("Mount")
    panel.awaited("problem", "Drive cannot be mounted")
    panel.press("Health")
    panel.awaited("ok", "Drive is absent")
    panel.press("Has it arrived?")
    panel.awaited("problem", ".")
    panel.photograph("drive")

    panel.tab("Logins")
    panel.fill("Token", "")
    panel.press("Use token")
    panel.awaited("problem", "is not a token of Kaggle")
    panel.press("Sign in to Google")
    panel.awaited("problem", "has no Google sign-in")
    panel.photograph("logins")

    panel.tab("Train")
    panel.fill("Epochs", "many")
    panel.press("Start")
    panel.awaited("problem", "Epochs=many is not a whole number")
    panel.fill("Epochs", "")
    panel.fill("Data", "no-such-folder/")
    panel.press("Start")
    panel.awaited("problem", "no-such-folder")
    panel.photograph("train")

    panel.tab("Run")
    box = panel.page.get_by_role("textbox", name="Run", exact=True)  # the classic toolbar has a button of that name
    where = box.input_value()
    box.fill("ftp://nowhere/run")
    panel.press("Look")
    panel.awaited("problem", "ftp")
    box.fill(where)
    panel.press("Look")
    panel.awaited("ok", "has no checkpoint yet")
    panel.press("Flush")
    panel.awaited("ok", "everything that was saved is on disk")
    panel.press("Resume")
    panel.awaited("note", "goes on in a cell")
    panel.press("Download")
    panel.awaited("problem", "no run")
    panel.press("Delete")
    panel.page.get_by_text(re.compile("There is no other copy")).wait_for()
    panel.press("Keep it")

    panel.tab("Code")
    code = panel.page.get_by_label("Code", exact=True).locator("visible=true").input_value()
    assert "ck.install('packaging', 'requests>=2')" in code
    assert "digits.csv', 'data/')" in code
    assert "callbacks=[run.resume()]" in code
    assert "no-such" not in code  # what failed is nobody's next line
    panel.photograph("code")
    panel.notebook.run(2)
    panel.page.get_by_text("nothing else is printed here", exact=True).wait_for()
    assert panel.notebook.text_of(2).strip() == "nothing else is printed here"
    assert broken == []


def test_everybody_can_use_it(panel):
    """By the keyboard alone, in the order of the page; axe finds nothing serious in any tab."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for name in ("Runtime", "Packages", "Data", "Drive", "Logins", "Train", "Run", "Port", "Code"):
        panel.tab(name)
        result = Axe().run(panel.page, context=".ck-panel")
        assert result.response["passes"], "axe looked at nothing"
        found += [
            (name, one["id"], one["nodes"][0]["html"][:200])
            for one in result.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    assert found == []
    panel.tab("Data")
    panel.page.get_by_label("Source", exact=True).locator("visible=true").focus()
    order = []
    for _ in range(3):
        panel.page.keyboard.press("Tab")
        order.append(
            panel.page.evaluate(
                "() => { const one = document.activeElement; return one.labels?.[0]?.innerText || one.innerText; }"
            )
        )
    assert order == ["To", "Keep in", "Fetch"]


def test_while_a_cell_trains_and_after_a_restart(panel):
    """The run is drawn while a cell trains; a button is answered after it; after a restart the cell draws it anew."""
    panel.tab("Run")
    panel.page.get_by_label("Refresh every 5 s, also while a cell trains").check()
    panel.notebook.run(1)
    panel.page.get_by_text(re.compile(r"^step \d+$")).first.wait_for()
    assert "*" in panel.notebook.prompt_of(1), "the cell had ended before its run was drawn"
    panel.press("Look")
    panel.awaited("ok", "the newest at step 12")
    assert panel.notebook.text_of(1).strip() == "trained"
    panel.photograph("run")
    panel.notebook.run(3)
    panel.page.get_by_text("restarting the kernel in place").wait_for()
    panel.draw()
    panel.press("Look again")
    panel.awaited("ok", "looked at GPU and TPU")
