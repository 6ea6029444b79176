"""Keep notebooks as they are committed: without outputs, and with a badge that opens them in Colab.

Run by the pre-commit step: python tests/framework/examples/tidy.py FILE ... ; ends with 1 when it changed one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

COLAB = "https://colab.research.google.com/"
BADGE = f"[![Open in Colab]({COLAB}assets/colab-badge.svg)]"
_BADGE_LINE = re.compile(re.escape(BADGE) + r"\(\S*\)")
_GITHUB = re.compile(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$")
_KEPT = ("kernelspec", "language_info")


def tidied(notebook: dict[str, Any], address: str) -> dict[str, Any]:
    """Return a notebook without what running it leaves, its badge leading to an address."""
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        tags = {"tags": cell["metadata"]["tags"]} if cell["metadata"].get("tags") else {}
        kept = {**cell, "id": f"cell-{number}", "metadata": tags, "source": _lines(cell["source"])}
        if cell["cell_type"] == "code":
            kept |= {"outputs": [], "execution_count": None}
        cells.append(kept)
    if cells:
        cells[0]["source"] = _lines(_BADGE_LINE.sub(f"{BADGE}({address})", "".join(cells[0]["source"])))
    metadata = {name: notebook["metadata"][name] for name in _KEPT if name in notebook["metadata"]}
    metadata["language_info"] = {"name": metadata.get("language_info", {}).get("name", "python")}
    return {**notebook, "cells": cells, "metadata": metadata}


def text_of(notebook: dict[str, Any]) -> str:
    """Write a notebook as its file holds it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def colab_address(path: Path, remote: str) -> str:
    """Say where the badge leads: to the file on GitHub, and to Colab's dialog with Upload where it is not there."""
    found = _GITHUB.search(remote)
    return f"{COLAB}github/{found[1]}/blob/main/examples/{path.name}" if found else COLAB


def main(names: list[str]) -> int:
    """Tidy the files in place."""
    words = ["git", "config", "--get", "remote.origin.url"]
    remote = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    changed = 0
    for path in map(Path, names):
        before = path.read_text(encoding="utf-8")
        after = text_of(tidied(json.loads(before), colab_address(path, remote)))
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"tidied {path}")  # noqa: T201 - a step of pre-commit says what it did
            changed = 1
    return changed


def _lines(source: str | list[str]) -> list[str]:
    return "".join(source).splitlines(keepends=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
