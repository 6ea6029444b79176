"""The page about fetch tells the truth: each block runs and prints what the page says."""

import re
from pathlib import Path

from colabkit.transfer import fetch

PAGE = Path(__file__).parents[2] / "docs" / "fetch.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_block_runs_and_prints_what_is_written_below_it(capsys):
    """Copying the page from top to bottom works, and its outputs are the real ones."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 10
    space: dict[str, object] = {"fetch": fetch}
    printed = ""
    for language, text in blocks:
        if language == "python":
            assert printed == "", "the page does not show what this block's forerunner prints"
            exec(compile(text, str(PAGE), "exec"), space)  # noqa: S102 - that is the test
            printed = capsys.readouterr().out
        else:
            assert printed == text
            printed = ""
