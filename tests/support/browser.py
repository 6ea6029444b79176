"""A Jupyter server on 127.0.0.1 and a page of it in Debian's chromium, for the two frontends people use."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request

from colabkit._internal.process.ports import free_ports

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE = 120  # seconds for the server and for a page


@contextlib.contextmanager
def serve(kernels, environment, root, log):
    """Start the set's Jupyter server on the folder `root`; yield its port."""
    port = free_ports(1)[0]
    if "jupyterlab" in " ".join(kernels.packages):
        settings = kernels.path / "share" / "jupyter" / "lab" / "settings"
        settings.mkdir(parents=True, exist_ok=True)
        quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
        (settings / "overrides.json").write_text(json.dumps(quiet))
        command = [
            kernels.path / "bin" / "jupyter-lab",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--IdentityProvider.token=",
            "--ServerApp.password=",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",
            f"--ServerApp.root_dir={root}",
            "--LabApp.expose_app_in_browser=True",
        ]
    else:
        command = [
            kernels.path / "bin" / "jupyter-notebook",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--NotebookApp.token=",
            "--no-browser",
            "--allow-root",
            f"--notebook-dir={root}",
        ]
    with log.open("w") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        _await_server(port, server, log)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_server(port, server, log):
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def is_available():
    """Say whether there are a chromium and a playwright."""
    import importlib.util

    return shutil.which(CHROMIUM) is not None and importlib.util.find_spec("playwright") is not None


@contextlib.contextmanager
def open_notebook(frontend, port, name):
    """Open a notebook and wait until its kernel answers; yield the frontend's page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            page = chromium.new_page(viewport={"width": 1100, "height": 900})
            page.set_default_timeout(_PATIENCE * 1000)
            opened = FRONTENDS[frontend](page)
            opened.open(f"http://127.0.0.1:{port}", name)
            yield opened
        finally:
            chromium.close()


class Lab:
    """JupyterLab 4."""

    CELL = ".jp-Notebook .jp-CodeCell"
    OUTPUT = ".jp-Cell-outputArea"
    PROMPT = ".jp-InputPrompt"
    DIALOG = ".jp-Dialog"

    def __init__(self, page):
        self.page = page

    def open(self, server, name):
        """Open it alone; "idle" is shown before the kernel is connected, so the session itself is asked."""
        self.page.goto(f"{server}/doc/tree/{name}?reset")
        self.page.locator(self.CELL).first.wait_for()
        self.page.wait_for_function(
            "() => { const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;"
            " return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle'; }"
        )

    def run_all(self):
        """Choose "Run All Cells"."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def run(self, number):
        """Run one cell; do not wait for it."""
        self.page.evaluate(
            "number => { const app = window.jupyterapp; app.shell.currentWidget.content.activeCellIndex = number;"
            " app.commands.execute('notebook:run-cell'); }",
            number,
        )

    def interrupt(self):
        """Press the stop button."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:interrupt-kernel'); }")

    def text_of(self, number):
        """Return what a cell shows below itself."""
        return self.page.locator(self.CELL).nth(number).locator(self.OUTPUT).first.inner_text()

    def prompt_of(self, number):
        """Return a cell's prompt: a star while it runs."""
        return self.page.locator(self.CELL).nth(number).locator(self.PROMPT).first.inner_text()

    def await_number(self, number, shown):
        """Wait until a cell has ended, as its prompt says."""
        prompt = self.page.locator(self.CELL).nth(number).locator(self.PROMPT).first
        from playwright.sync_api import expect

        expect(prompt).to_contain_text(f"[{shown}]", timeout=_PATIENCE * 1000)

    def dialogs(self):
        """Count the dialogs on the screen."""
        return self.page.locator(self.DIALOG).count()


class Classic(Lab):
    """Notebook 6."""

    CELL = "div.code_cell"
    OUTPUT = "div.output"
    PROMPT = ".input_prompt"
    DIALOG = ".modal.in"

    def open(self, server, name):
        """Open it and wait for its kernel."""
        self.page.goto(f"{server}/notebooks/{name}")
        self.page.locator(".kernel_idle_icon").wait_for()

    def run_all(self):
        """Choose "Run All"."""
        self.page.evaluate("Jupyter.notebook.execute_all_cells()")

    def run(self, number):
        """Run one cell; do not wait for it."""
        self.page.evaluate("number => Jupyter.notebook.execute_cells([number])", number)

    def interrupt(self):
        """Press the stop button."""
        self.page.evaluate("Jupyter.notebook.kernel.interrupt()")


FRONTENDS = {"jupyterlab": Lab, "classic": Classic}
