"""Claims about cells and lines of a shell: all of it is said in Python, or it stays with the reason."""

from __future__ import annotations

import json

import pytest

from colabkit.port import port

GET = "https://example.org/a.zip"


def ported(folder, source):
    """Port a notebook of one cell; return the last cell's text, the report, and whether a second port changes it."""
    path, out = folder / "n.ipynb", folder / "o.ipynb"
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}))
    report = port(path, out)
    text = "".join(json.loads(out.read_text())["cells"][-1]["source"]) if out.exists() else source
    again = port(out, folder / "p.ipynb").changes if out.exists() else []
    return text, report, again


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"%%bash\npip install -q six\nmkdir -p data\nwget -q {GET} -O data/a.zip\nunzip -q data/a.zip -d data",
            f"""ck.install("six")\n!mkdir -p data\nck.fetch("wget -q {GET} -O data/a.zip")
ck.fetch("unzip -q data/a.zip -d data")""",
        ),
        (
            f"%%bash\n# the data\ngdown {'1' * 33}\ncurl -L -o x.tgz {GET} && tar xzf x.tgz",
            f'# the data\nck.fetch("gdown {"1" * 33}")\nck.fetch("curl -L -o x.tgz {GET}")\nck.fetch("tar xzf x.tgz")',
        ),
        (
            "%%sh\ngit clone https://github.com/ada/b.git\npip install six \\\n  polars",
            'ck.fetch("github:ada/b", to="b")\nck.install("six", "polars")',
        ),
        ("%%shell\nset -euo pipefail\npip install six", 'ck.install("six")'),
        (
            "%%bash\nkaggle datasets download -d ada/digits\nunzip -q digits.zip\nrm digits.zip",
            'ck.fetch("kaggle datasets download -d ada/digits")\nck.fetch("unzip -q digits.zip")\n!rm digits.zip',
        ),
        (f"!pip install -q six && wget -q {GET}", f'ck.install("six")\nck.fetch("wget -q {GET}")'),
        (
            f"if True:\n    !mkdir -p data && wget -q {GET} -P data && unzip -q data/a.zip -d data",
            f"""if True:\n    !mkdir -p data\n    ck.fetch("wget -q {GET} -P data")
    ck.fetch("unzip -q data/a.zip -d data")""",
        ),
    ],
)
def test_what_is_understood_becomes_python(tmp_path, before, after):
    """Each command becomes its call, what only makes room stays a `!` line, and a second port changes nothing."""
    text, report, again = ported(tmp_path, before)
    assert text == after
    assert report.changes
    assert not report.kept
    assert not again


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("%%bash\ngit clone https://github.com/ada/b.git\ncd b\npip install -e .", "work in another folder"),
        ("%%bash\nfor i in 1 2; do wget https://example.org/$i.zip; done", "variables"),
        ("%%bash -s 3\npip install six", "options: %%bash -s 3"),
        ("%%bash\nset -e\npip install six\nls", "set -e"),
        ("%%bash\npip install six\napt-get install -y ffmpeg", "system packages"),
        ("%%bash\npip install six\npython train.py", "python is none of the commands"),
        ("%%bash\nexport X=1\npip install six", "what the shell keeps"),
        ("%%bash\npip install six || pip install polars", "joined by more"),
        ("%%bash\npip install six\ncat <<EOF > a\nx\nEOF", "<<"),
        ("%%bash\npip install six\necho {a,b}", "means one thing"),
        (f"!cd data && wget -q {GET}", "work in another folder"),
        (f"!test -f a.zip && wget -q {GET}", "depends on whether test succeeds|none of the commands"),
    ],
)
def test_what_is_not_understood_stays_as_it_is_with_the_reason(tmp_path, source, reason):
    """The cell is left alone as a whole: a half of it elsewhere would be another notebook."""
    text, report, _ = ported(tmp_path, source)
    assert text == source
    assert not report.changes
    assert any(part in one.reason for one in report.kept for part in reason.split("|"))


def test_a_cell_that_sets_nothing_up_is_nobodys_business(tmp_path):
    """It is neither changed nor listed."""
    text, report, _ = ported(tmp_path, "%%bash\nls -la\necho hi")
    assert text == "%%bash\nls -la\necho hi"
    assert not report.kept
