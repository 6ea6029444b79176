"""Notebooks in the manner of public ones, ported, run to the end, and killed in the middle: the same weights?

python -m tests.benchmarks.ported [NAME …]      those of tests/support/ported_notebooks.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.ported_notebooks import NOTEBOOKS, ends


def main(names):
    """Print a row for each notebook; return 1 where one does not end as it should."""
    failed = 0
    print("| notebook | ends as if it was never killed |\n|---|---|")
    for name in names or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                same = ends(Path(folder, "killed"), name, die=True) == ends(Path(folder, "never"), name, die=False)
                word = "yes" if same else "NO"
            except AssertionError as error:
                word = f"NO: {error}"
        failed += word != "yes"
        print(f"| {name} | {word} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
