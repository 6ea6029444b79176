"""The panel and the commands' summaries in Chinese; errors stay as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from colabkit import cli
from colabkit._internal.language import translated
from colabkit._internal.language.chinese import WORDS

SOURCE = Path(cli.__file__).parents[1]


def test_the_texts_of_the_catalogue_are_those_of_the_code():
    """Nine in ten at least: one that was just changed is English until it is translated anew."""
    files = [*(SOURCE / "panel").rglob("*.py"), *(SOURCE / "cli").glob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    joined = re.sub(r'"\s*\n\s*"', "", code)
    unknown = [text for text in WORDS if text not in joined and not text.startswith("Next: ")]
    assert len(unknown) < len(WORDS) / 10, unknown
    assert all(re.search("[\u4e00-\u9fff]", text) for text in WORDS.values())


def test_the_commands_have_summaries_in_chinese(monkeypatch):
    """`COLABKIT_LANG=zh colabkit --help` is Chinese from its first line; a command that is new may be English."""
    monkeypatch.setenv("COLABKIT_LANG", "zh_CN.UTF-8")
    missing = [name for name, summary in cli.COMMANDS.items() if translated(summary) == summary]
    assert len(missing) < len(cli.COMMANDS) / 5, missing
    done = subprocess.run(
        [sys.executable, "-m", "colabkit", "--help"], capture_output=True, check=True, encoding="utf-8", env=None
    )
    assert "训练教程" in done.stdout


@pytest.mark.skipif(find_spec("ipywidgets") is None, reason="ipywidgets is missing: pip install ipywidgets")
def test_the_panel_speaks_chinese(tmp_path, monkeypatch):
    """Titles, buttons, fields and steps; its lines of code and its errors do not change."""
    from colabkit.panel.widgets import Panel

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLABKIT_LANG", "zh")
    panel = Panel()
    labels = {button.description for button in panel.desk._buttons}
    assert len([one for one in labels if one.isascii() and not one.startswith("Plan: ")]) < len(labels) / 5
    state = panel._tab.get_state()  # ipywidgets 8 has titles, 7 has _titles
    state = panel._tab.get_state()  # ipywidgets 8 has titles, 7 has _titles
    assert "运行环境" in str(state.get("titles") or state["_titles"])
    assert panel.desk.code.value == "import colabkit as ck"
