"""Look for the marks of a merge in files: python tests/unit/docs/conflict_marks.py [FILE …]; ends with 1 if any.

Without names it reads every file that git tracks, or outside a repository every text beside this folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_MARK = re.compile(rb"^(?:<{7} |>{7} |\|{7} |={7}\r?$)", re.MULTILINE)
_HEADING = re.compile(rb"^[^\n]{7}\r?\n={7}\r?$", re.MULTILINE)  # a title of seven letters, underlined


def tracked(root: Path = ROOT) -> list[Path]:
    """List what git tracks; what lies there where git has nothing to say."""
    done = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        return [root / name for name in done.stdout.split("\0") if name]
    folders = ("colabkit", "docs", "examples", "tests")
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    return [*files, *root.glob("*.md"), *root.glob("*.toml")]


def find(files: list[Path]) -> list[str]:
    """List the places of marks, as `file:line`."""
    found = []
    for path in files:
        if not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" in content[:8192]:
            continue
        text = _HEADING.sub(lambda match: match[0].replace(b"=======", b"-------"), content)
        lines = [text.count(b"\n", 0, match.start()) + 1 for match in _MARK.finditer(text)]
        found += [f"{path}:{line}" for line in lines]
    return found


if __name__ == "__main__":
    places = find([Path(name) for name in sys.argv[1:]] or tracked())
    sys.exit("\n".join(["a merge left its marks:", *places]) if places else 0)
