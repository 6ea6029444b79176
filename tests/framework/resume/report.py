"""Writes docs/what-resumes-exactly.md from the verdicts of the runner; those of an earlier page stay where none is new.

for backend in tensorflow jax torch; do
    KERAS_BACKEND=$backend python tests/framework/resume/runner.py --out verdicts-$backend.json
done
python tests/framework/resume/report.py verdicts-*.json
"""

# ruff: noqa: D103, T201
from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import runner

PAGE = Path(__file__).parents[3] / "docs" / "what-resumes-exactly.md"
BACKENDS = ("tensorflow", "jax", "torch")
WORDS = {"identical": "exact", "said": "said", "refused": "refused", "SILENT": "DIFFERS", "error": "ERROR"}
NOT_RUN, NOT_FOR = "not run", ""
TITLES = {
    "arrays": "Arrays",
    "tfdata": "tf.data",
    "pipelines": "tf.data: files, texts, windows, several data sets, options",
    "generators": "Generators, PyDataset, DataLoader",
    "feeds": "Generators, PyDataset, DataLoader: what shuffles late or keeps something",
    "models": "Models that Keras cannot build ahead, several optimizers, states of their own",
    "parts": "Layers, optimizers, losses, metrics, backbones",
    "callbacks": "Callbacks",
    "habits": "Callbacks that people write, and several together",
    "loops": "Several fits in one script, and loops without fit",
    "notebooks": "What notebooks do",
    "drawn": "What the script draws before it trains, and uses later",
}
HEAD = """# What resumes exactly

Each row is a training as people write it, without a seed unless it says so: a script of `tests/framework/resume/cases`.
It is trained once without interruption, then stopped in the middle of an epoch and at the end of one, and run again by
new processes. Weights, optimizer, history, callbacks and random states are compared bit by bit.

- **exact**: all of them are the same.
- **said**: they differ, and a message said so before training went on, or when it began.
- **refused**: an error says why, and what to write instead.
- **not run**: the case is new, and waits for its first run on that backend.

No row may differ in silence. How it works: [How exact resume works](how-exact-resume-works.md); what you can do about a
row that is not exact: [Resume](resume.md#what-is-exact). The table is written by
`python tests/framework/resume/report.py`, from verdicts of `runner.py` beside it.
"""


def read_page(text):
    """Read the verdicts of a page: name -> backend -> word, and what is said."""
    found = {}
    for row in re.findall(r"^\| (.+) \|$", text, re.MULTILINE):
        cells = [cell.strip() for cell in row.split(" | ")]
        if len(cells) == 5 and cells[0] not in ("training", "---"):
            found[cells[0]] = {**dict(zip(BACKENDS, cells[1:4], strict=True)), "said": cells[4]}
    return found


def rows_of(verdicts):
    """Lay new verdicts out as the rows of a page."""
    found = {}
    for name, backend, verdict in verdicts:
        row = found.setdefault(name, {})
        row[backend] = WORDS[verdict["verdict"]]
        if verdict["verdict"] in ("said", "refused") and not row.get("said"):
            row["said"] = plain((verdict.get("said") or [verdict.get("why", "")])[0])
    return found


def plain(text):
    """Make one line of a message, without the name of the run."""
    text = re.sub(r"^\w+Error: ", "", text.strip().splitlines()[0] if text.strip() else "")
    text = re.sub(r"/\S+/(?=run)", "", text.replace("|", "/"))  # the folder of this suite
    return text if len(text) <= 130 else text[:127].rsplit(" ", 1)[0] + " ..."


def page_of(rows):
    parts = [HEAD]
    for module in runner.MODULES:
        cases = importlib.import_module(f"cases.{module}").CASES
        parts.append(
            f"\n## {TITLES[module]}\n\n| training | TensorFlow | JAX | torch | what is said |\n|---|---|---|---|---|"
        )
        for name, (backends, _) in cases.items():
            row = rows.get(name, {})
            cells = [row.get(each) or NOT_RUN if each in backends else NOT_FOR for each in BACKENDS]
            said = row.get("said", "") if {"said", "refused"} & set(cells) else ""
            parts.append(f"| {name} | {' | '.join(cells)} | {said} |")
    return "\n".join(parts) + "\n"


def main():
    rows = read_page(PAGE.read_text()) if PAGE.exists() else {}
    verdicts = []
    for path in map(Path, sys.argv[1:]):
        text = path.read_text()
        if path.suffix == ".json":
            verdicts += [(name, each["backend"], each) for name, each in json.loads(text).items()]
        else:  # the lines that the runner prints
            verdicts += [(each["case"], each["backend"], each) for each in map(json.loads, text.splitlines())]
    for name, row in rows_of(verdicts).items():
        before = rows.setdefault(name, {})
        before.update(row)
    PAGE.write_text(page_of(rows))
    cells = [row.get(each) for row in rows.values() for each in BACKENDS]
    print({word: cells.count(word) for word in {*WORDS.values(), NOT_RUN}})


if __name__ == "__main__":
    main()
