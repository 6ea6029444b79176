"""setup() in real kernels: the cell's own block, a restart in its middle, a prompt."""

from __future__ import annotations

import pytest

from tests.support.notebooks import run_notebook, talk

pytestmark = pytest.mark.slow

CELL = """# /// script
# dependencies = ["numpy==2.3.5"]
#
# [tool.colabkit]
# run = "runs/digits"
#
# [tool.colabkit.data]
# digits = {{ source = "{address}", to = "data/digits.csv" }}
# ///
import numpy
import colabkit as ck
print('numpy', numpy.__version__)
ready = ck.setup()
print('complete', ready.complete)
"""

BROKEN = """import colabkit as ck
# /// script
# dependencies = [
# ///
try:
    ck.setup()
except ck.errors.SetupFileError as error:
    print(error)
"""


def test_a_restart_in_the_middle(kernels, server):
    """One run of the notebook: packages and data come, the kernel restarts in place, the set-up goes on."""
    runner = "nbclient with Colab's classes" if kernels.name == "colab" else "nbclient"
    kernels.install(f"numpy=={kernels.numpy}")
    server.put("digits.csv", b"7,0,0\n")
    ran = run_notebook(
        kernels,
        [
            CELL.format(address=server.url("digits.csv")),
            "print(numpy.__version__, ready.data['digits'].read_text().strip(), ready.run.dir.name)",
            "print(ck.setup(packages='numpy==2.3.5').complete, ready.steps[0].state)",
        ],
        runner=runner,
    )
    assert ran.code == 0, ran.log
    first = ran.texts[0]
    assert first.count(f"numpy {kernels.numpy}\n") == 1
    assert first.count("restarting the kernel in place") == 1
    assert first.index("  data digits: ") < first.index("restarting the kernel in place")
    assert first.index("restarting the kernel in place") < first.index("numpy 2.3.5\n") < first.index("complete True")
    assert ran.texts[1] == "2.3.5 7,0,0 digits\n"
    assert ran.texts[2] == "True ready\n"
    assert len(server.seen) == 1


def test_a_block_that_does_not_parse_is_told_in_the_cell(kernels):
    """The message counts the lines of the cell."""
    ran = run_notebook(kernels, [BROKEN])
    assert "this cell, line 3, column 19: this is not TOML" in ran.texts[0]


def test_a_secret_is_asked_for_once(kernels):
    """A secret that nobody has is typed once, never shown, and there for the second call and for other tools."""
    said = talk(
        kernels,
        ["run", "import colabkit as ck; print(ck.setup(secrets='MY_KEY').complete)", "the-key"],
        ["run", "import os; print(ck.setup(secrets='MY_KEY').complete, len(os.environ['MY_KEY']))"],
    )
    assert "MY_KEY" in said[0]
    assert "True" in said[0]
    assert "the-key" not in said[0]
    assert said[1] == "True 7\n"
