"""How long the set-up panel takes to appear, and to answer a click on an idle kernel, in a real browser.

COLABKIT_TEST_KERNELS=kernels python -m tests.benchmarks.panel [CLICKS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.support.browser import open_notebook, serve
from tests.support.kernels import SETS
from tests.support.notebooks import kernel_environment, write_notebook

FRONTENDS = {"jupyterlab": "newest", "classic": "colab"}
CELLS = ["import colabkit as ck", "ck.setup_panel()"]
# Measured by the page itself, from the click to the frame in which the message has changed.
CLICK = """
name => new Promise(done => {
    const said = document.querySelector('[data-ck-said]').parentElement;
    const before = document.querySelector('[data-ck-said]').outerHTML;
    const button = [...document.querySelectorAll('.ck-panel button')].find(one => one.innerText === name);
    const begin = performance.now();
    const watch = () => document.querySelector('[data-ck-said]')?.outerHTML !== before
        ? done(performance.now() - begin) : requestAnimationFrame(watch);
    button.click();
    watch();
})
"""


def measure(frontend: str, clicks: int, folder: Path) -> tuple[float, list[float]]:
    """Return the seconds until the panel is there, and the milliseconds of each click."""
    kernels = SETS[FRONTENDS[frontend]]
    (folder / "notebooks").mkdir(parents=True)
    write_notebook(folder / "notebooks" / "panel.ipynb", CELLS)
    environment = kernel_environment(kernels, folder / "home")
    with (
        serve(kernels, environment, folder / "notebooks", folder / "server.log") as port,
        open_notebook(frontend, port, "panel.ipynb") as notebook,
    ):
        page = notebook.page
        notebook.run(0)
        notebook.await_number(0, "1")
        begin = time.perf_counter()
        notebook.run(1)
        page.locator("[data-ck-said=idle]").wait_for()
        drawn = time.perf_counter() - begin
        page.get_by_role("tab", name="Run", exact=True).click()
        times = [page.evaluate(CLICK, "Resume") for _ in range(clicks)]
    return drawn, times


def main(clicks: int = 20) -> None:
    """Print the table."""
    print(f"| frontend | on screen, s | a click answered, median of {clicks}, ms | slowest, ms |\n|---|---|---|---|")
    for frontend in FRONTENDS:
        with tempfile.TemporaryDirectory() as folder:
            drawn, times = measure(frontend, clicks, Path(folder) / frontend)
        print(f"| {frontend} | {drawn:.2f} | {statistics.median(times):.0f} | {max(times):.0f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
