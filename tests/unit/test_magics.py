"""`%colabkit` and `%%colabkit` in real kernels."""

from __future__ import annotations

import pytest

from tests.support.notebooks import run_notebook

pytestmark = pytest.mark.slow

CELLS = [
    "%load_ext colabkit\nimport numpy\n%colabkit install numpy==2.3.5\nprint('has', numpy.__version__)",
    "found = %colabkit detect --json\nprint(found['frontend'], type(found).__name__)",
    "name = 'digits'\n%colabkit push made.txt kept/{name}.txt --quiet",
    "%%colabkit\n# what came\nfetch kept/digits.txt \\\n  --to again.txt --quiet\n\nlock all.lock",
    "print(open('again.txt').read(), 'numpy==2.3.5' in open('all.lock').read())",
    "%%colabkit setup\n# /// script\n# dependencies = ['numpy']\n# ///",
    "%colabkit --version\n%colabkit lock --help",
    "open('one.py', 'w').write('print(6 * 7)')\n%colabkit launch --local 1 one.py",
    """
def tried(*words):
    try:
        getattr(get_ipython(), f"run_{words[0]}_magic")("colabkit", *words[1:])
    except Exception as error:
        print(type(error).__name__, error)

tried("cell", "", "train no-such-model\\nlock never.lock")
tried("line", "detect --no-such")
import os
print(os.path.exists("never.lock"))
""",
]


@pytest.mark.parametrize("name", ["colab", "newest"])
def test_commands_run_in_the_kernel(name, kernel_set):
    """They see its frontend, restart it in place, take its variables, read the cell's block, and stop at what fails."""
    kernels = kernel_set(name)
    kernels.install(f"numpy=={kernels.numpy}")
    made = "open('made.txt', 'w').write('made here')"
    ran = run_notebook(kernels, [CELLS[0], made, *CELLS[1:]])
    assert ran.code == 0, ran.log
    assert ran.texts[0].count("restarting the kernel in place") == 1
    assert ran.texts[0].endswith("has 2.3.5\n")
    assert ran.texts[2].endswith(" dict\n")
    assert not ran.texts[2].startswith("none")
    assert ran.texts[3].strip().endswith("kept/digits.txt")
    assert "again.txt" in ran.texts[4]
    assert ran.texts[4].splitlines()[-1] == "wrote all.lock"
    assert ran.texts[5] == "made here True\n"
    assert "numpy is there" in ran.texts[6]
    assert "colabkit 0." in ran.texts[7]
    assert "usage: colabkit lock" in ran.texts[7]
    assert "42" in ran.texts[8]
    assert "UnknownNameError there is no model" in ran.texts[9]
    assert "UsageError %colabkit detect --no-such: see above" in ran.texts[9]
    assert "\nFalse\n" in ran.texts[9], "the line behind the failed one was run"
