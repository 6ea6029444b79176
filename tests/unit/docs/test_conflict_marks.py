"""No file carries the marks of a merge that nobody ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.unit.docs import conflict_marks


def test_no_tracked_file_has_the_marks_of_a_merge():
    """Sphinx makes a heading of them and says nothing, so they are looked for in every file."""
    files = conflict_marks.tracked()
    root = conflict_marks.ROOT
    assert {root / "README.md", root / "docs" / "train.md", Path(__file__)} <= set(files)
    assert conflict_marks.find(files) == []


def test_the_check_sees_each_mark_and_lets_titles_be(tmp_path):
    """The hook ends with 1 and names file and line; a title of seven letters that is underlined is none."""
    page = tmp_path / "page.md"
    page.write_text("The end\n=======\n\na row of ======= in a line\n")
    assert conflict_marks.find([page]) == []
    page.write_text(f"a\n{'<' * 7} HEAD\nb\n{'=' * 7}\nc\n{'>' * 7} main\n")
    command = [sys.executable, conflict_marks.__file__, str(page)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()[-3:]) == (1, [f"{page}:{line}" for line in (2, 4, 6)])
