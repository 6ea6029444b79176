"""Write the help of every command into docs/cli.md anew: python tests/unit/docs/cli_page.py ."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

from tests.unit.docs.pages import ROOT

_SECTION = re.compile(r"(^## (\S+)$.*?^```text\n)(usage: colabkit \2.*?)(^```$)", re.DOTALL | re.MULTILINE)


def shown(command: str) -> str:
    """Return the help of a command on 100 columns, and that of each of its actions without the examples."""
    actions = getattr(importlib.import_module(f"colabkit.cli.{command}"), "ACTIONS", {})
    return "\n".join([_help(command), *(_help(command, one).partition("\nexamples:")[0] for one in actions)])


def _help(*words: str) -> str:
    command = [sys.executable, "-m", "colabkit", *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={"COLUMNS": "102"}).stdout


if __name__ == "__main__":
    page = ROOT / "docs" / "cli.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(_SECTION.sub(lambda match: match[1] + shown(match[2]) + match[4], text), encoding="utf-8")
