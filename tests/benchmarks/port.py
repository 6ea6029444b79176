"""Port every notebook of a folder, and count: `python tests/benchmarks/port.py FOLDER [--show REASON]`.

Nothing is run and nothing written. A set-up line has a way when it is rewritten, or works everywhere as it is.
"""

from __future__ import annotations

import collections
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from colabkit.errors import NotebookError
from colabkit.port import cell as cells
from colabkit.port import port

SETS_UP = ("install", "fetch", "drive", "secret", "board", "kaggle", "system", "colab")


def main(folder: str, show: str = "") -> None:
    """Print the counts."""
    count: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    begun = time.monotonic()
    for path in sorted(Path(folder).rglob("*.ipynb")):
        try:
            ported = port(path, write=False)
        except NotebookError as error:
            count["refused"] += 1
            reasons[f"refused: {error.why or error.what.partition(' is ')[2]}"] += 1
            continue
        except Exception:  # noqa: BLE001 - counted, and shown
            count["crashed"] += 1
            print(path, traceback.format_exc(limit=-3))
            continue
        count["read"] += 1
        changed = [change for change in ported.changes if change.kind in SETS_UP]
        stays = [one for one in ported.kept if one.kind in SETS_UP]
        without = [one for one in stays if not one.works]
        if changed or stays:
            count["notebooks with set-up lines"] += 1
            count["every set-up line has a way"] += not without
        count["set-up lines with a way"] += len(changed) + len(stays) - len(without)
        count["set-up lines without"] += len(without)
        count["notebooks changed"] += bool(ported.changes)
        kinds.update(change.kind for change in ported.changes)
        for one in ported.kept:
            reasons[f"{'' if one.works else 'NO WAY '}{one.kind}: {one.reason[:90]}"] += 1
            if show and show in one.reason:
                print(f"{path.name}: cell {one.cell}: {one.line!r}: {one.reason}")
        count["parse again"] += all(_parses(after, before) for _, before, after in ported.cells)
        count["ported twice unchanged"] += _is_stable(ported.text, path)
    for name, number in count.most_common():
        print(f"{number:6} {name}")
    share = count["every set-up line has a way"] / max(1, count["notebooks with set-up lines"])
    print(f"{share:6.1%} of the notebooks with set-up lines have a way for each; {time.monotonic() - begun:.0f} s")
    print("changes:", dict(kinds.most_common()))
    for reason, number in reasons.most_common(40):
        print(f"{number:6} {reason}")


def _parses(after: str, before: str) -> bool:
    return not after.strip() or cells.read(after).tree is not None or cells.read(before).tree is None


def _is_stable(text: str, path: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder, path.name)
        again.write_bytes(text.encode("utf-8", errors="surrogateescape"))
        twice = port(again, write=False)
    if twice.text != text:
        print(f"not stable: {path}: {twice.changes[:2]}\n{twice.diff()[:500]}")
    json.loads(text)
    return twice.text == text


def read_by_eye(folder: str, number: int, seed: int) -> None:
    """Print the differences of notebooks drawn at random."""
    paths = sorted(Path(folder).rglob("*.ipynb"))
    random.Random(seed).shuffle(paths)
    for path in paths:
        try:
            ported = port(path, write=False)
        except NotebookError:
            continue
        if ported.changes and number:
            print(f"===== {path.name}\n{ported.diff()}\n{ported}")
            number -= 1


if __name__ == "__main__":
    if "--eye" in sys.argv:
        read_by_eye(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(sys.argv[1], sys.argv[3] if "--show" in sys.argv else "")
