"""Set-ups as they are written: what is read, and what is refused with its line and column."""

from __future__ import annotations

import contextlib
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit.errors import NotFoundError, SetupFileError
from colabkit.setup_file import manifest, plan_setup
from colabkit.setup_file import spec as _spec

BLOCK = """%matplotlib inline
# /// script
# requires-python = ">=3.11"
# dependencies = ["packaging", "tqdm>=4"]
#
# [tool.colabkit]
# secrets = ["HF_TOKEN"]
# accelerator = "gpu"
# run = "drive:runs/digits"
#
# [tool.colabkit.data]
# digits = "https://example.org/digits.csv"
# more = { source = "https://example.org/more.zip", to = "data/", unpack = false }
# ///
import colabkit as ck
"""
FILE = """
python = ">=3.11"
packages = ["packaging", "tqdm>=4"]
secrets = ["HF_TOKEN"]
accelerator = "gpu"
run = "drive:runs/digits"

[data]
digits = "https://example.org/digits.csv"
more = { source = "https://example.org/more.zip", to = "data/", unpack = false }
"""


def written(folder, text, name="colabkit.toml"):
    """Write a set-up file and read it."""
    (folder / name).write_text(text, encoding="utf-8")
    return _spec.read(manifest.of_file(folder / name))


def refused(folder, text, name="colabkit.toml"):
    """Return the error of a set-up file."""
    with pytest.raises(SetupFileError) as caught:
        written(folder, text, name)
    return caught.value


def test_a_block_and_a_file_say_the_same(tmp_path):
    """A PEP 723 block, the same in a script and in a notebook, and a colabkit.toml make one set-up."""
    notebook = {"cells": [{"cell_type": "markdown", "source": "#"}, {"cell_type": "code", "source": [BLOCK]}]}
    specs = [
        written(tmp_path, FILE),
        written(tmp_path, BLOCK, "train.py"),
        written(tmp_path, json.dumps(notebook), "train.ipynb"),
        written(tmp_path, "[tool.colabkit]\n" + FILE.replace("[data]", "[tool.colabkit.data]"), "pyproject.toml"),
    ]
    plain = [{**vars(spec), "origin": ""} for spec in specs]
    assert plain[1:] == plain[:1] * 3
    assert specs[0].packages == ("packaging", "tqdm>=4")
    assert specs[0].data[1].to == f"{tmp_path}/data/"
    assert [spec.origin for spec in specs] == ["colabkit.toml", "train.py", "train.ipynb, cell 2", "pyproject.toml"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('packages = ["a"', "line 1, column 16", "Unclosed array"),
        ("\n\nx = = 1", "line 3, column 5", "Invalid value"),
        ('python = ">=3"\npackges = ["polars"]', "line 2", "did you mean packages?"),
        ("[data]\na = 3", "line 2", "data.a is a number"),
        ('[data.a]\nsource = "https://example.org/a"\nfrom = 1', "line 3", "there is no key from"),
        ("[data.a]\nsource = 3", "line 2", "data.a.source is a number"),
        ('drive = "yes"', "line 1", "drive is a text"),
        ('packages = "polars"', "line 1", "packages is a text"),
        ("packages = [1]", "line 1", "packages holds a number"),
        ('packages = ["polars --index-url http://x"]', "line 1", "carries an option"),
        ('packages = ["requirements.txt"]', "line 1", "a file belongs under `lock`"),
        ('accelerator = "T4"', "line 1", "no accelerator 'T4'"),
        ('python = "three"', "line 1", "names no versions"),
        ('[data]\na = "ftp://example.org/x"', "line 2", "cannot fetch from ftp://"),
        ('[data.a]\nsource = "https://example.org/x"\nchecksum = "abc"', "line 1", "checksum"),
        ('secrets = ["a name"]', "line 1", "secrets holds something that is not a name"),
        ('lock = "lock.json"', "line 1", "not a name of a lock"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, place, words):
    """Broken TOML, unknown keys and wrong types are told with the place where they stand."""
    error = refused(tmp_path, text)
    assert place in error.what
    assert words in str(error)


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("x = 1\n# /// script\n# dependencies = [\n# ///", "line 3, column"),
        ("# /// script\n# dependencies = []\nimport x", "line 3, column 1: the block that begins in line 1"),
        ("# /// script\n#dependencies = []\n# ///", "line 2, column 1: the block that begins in line 1"),
        ("# /// script\n# ///\n\n# /// script\n# ///", "line 4: a second"),
        ("# /// script\n# packages = []\n# ///", "line 2: there is no key packages"),
        ("# /// script\n# [tool.colabkit]\n# run = 1\n# ///", "line 3: run is a number"),
    ],
)
def test_a_block_that_does_not_parse_is_told_with_its_line(tmp_path, code, place):
    """The lines are those of the cell, not those of the TOML inside."""
    assert place in refused(tmp_path, code, "train.py").what


def test_a_column_is_that_of_the_cell(tmp_path):
    """`# ` before each line is counted: the column is where the fault is on the screen."""
    line = "# dependencies = [1 2]"
    assert f"line 2, column {line.index('2') + 1}" in refused(tmp_path, f"# /// script\n{line}\n# ///", "a.py").what


KEY = "hf_" + "aB3" * 10
HIDDEN = [
    f'run = "{KEY}"',
    f'secrets = ["{KEY}"]',
    f'secrets = ["{"0123456789abcdef" * 2}"]',
    f'[secrets]\nHF_TOKEN = "{KEY}"',
    '[data]\na = "https://ada:wordpass@example.org/a.csv"',
    '[data]\na = "https://example.org/a.csv?X-Amz-Signature=wordpass"',
    '[data]\na = "https://example.org/a.csv?access_token=wordpass"',
    "[data]\na = \"curl -H 'Authorization: Bearer wordpass' https://example.org/a.csv\"",
    '[data]\na = "curl -u ada:wordpass https://example.org/a.csv"',
    "[data]\na = \"curl -b 'session=wordpass' https://example.org/a.csv\"",
    '[data.a]\nsource = "https://example.org/a.csv"\ntoken = "wordpass"',
    'packages = ["demo @ https://wordpass@example.org/demo.whl"]',
    f'kaggle_key = "{KEY}"',
]


@pytest.mark.parametrize("text", HIDDEN)
def test_a_secret_in_clear_text_is_refused_and_not_repeated(tmp_path, text):
    """A set-up file is shared; a secret in it is refused, and neither message nor cause shows it."""
    error = refused(tmp_path, text)
    shown = f"{error} {error.__cause__}"
    assert KEY not in shown
    assert "wordpass" not in shown
    assert "0123456789abcdef" not in shown


@pytest.mark.parametrize(
    "text",
    [
        '[data.a]\nsource = "https://example.org/a"\nto = "../a"',
        '[data.a]\nsource = "https://example.org/a"\nto = "/etc/cron.d/a"',
        '[data.a]\nsource = "https://example.org/a"\nto = "~/.ssh/authorized_keys"',
        '[data.a]\nsource = "https://example.org/a"\nto = "x/../../a"',
        '[data.a]\nsource = "https://example.org/a"\nto = "x\\\\..\\\\..\\\\a"',
        '[data]\na = "curl -o ../../a https://example.org/a"',
        '[data]\na = "wget https://example.org/a.zip && unzip a.zip -d ../b"',
        '[data]\na = "wget https://example.org/a.zip && cd .. && unzip b.zip"',
        '[data]\na = "wget https://example.org/a && cd .. && wget https://example.org/b"',
        'lock = "../requirements.lock"',
        'run = "/root/runs"',
        'run = "drive:../runs"',
        'run = "gs://bucket/../x"',
        'run = ""',
    ],
)
def test_a_path_that_climbs_is_refused(tmp_path, text):
    """A file from elsewhere writes below its own folder only."""
    assert "line" in refused(tmp_path, text).what


def test_what_looks_like_a_secret_and_is_none_is_read(tmp_path):
    """Commits, checksums and ordinary queries are no secrets."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    spec = written(
        tmp_path,
        f'packages = ["demo==0+{commit}"]\n[data]\na = "https://example.org/{commit}/a.csv?version=2"\n'
        f'b = {{ source = "https://example.org/b", checksum = "sha1:{commit}" }}',
    )
    assert len(spec.data) == 2


def test_what_is_no_set_up_is_told(tmp_path, monkeypatch):
    """No file, no block, no text, no notebook: each in words."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="no set-up file at"):
        plan_setup("colabkit.toml")
    with pytest.raises(SetupFileError, match="there is no set-up to read"):
        plan_setup()
    assert "no set-up in it" in refused(tmp_path, "print()", "a.py").what
    assert "is not a notebook" in refused(tmp_path, "[]", "a.ipynb").what
    assert "has no set-up" in refused(tmp_path, "[project]", "pyproject.toml").what
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SetupFileError, match="not text in UTF-8"):
        plan_setup(tmp_path / "b.toml")
    with pytest.raises(SetupFileError, match="cannot read"):
        plan_setup(tmp_path)


def test_another_python_is_refused(tmp_path):
    """A set-up for another Python is refused before anything is done, with both versions."""
    (tmp_path / "colabkit.toml").write_text('python = ">=4"\npackages = ["no-such-package"]')
    with pytest.raises(SetupFileError, match="is for Python >=4, and this is 3"):
        plan_setup(tmp_path / "colabkit.toml")


def test_arguments_take_the_place_of_what_the_file_says(tmp_path):
    """What is given counts, the rest stays; arguments may lie anywhere and hold what a file must not."""
    (tmp_path / "colabkit.toml").write_text(FILE.replace('accelerator = "gpu"\n', ""))
    data = ["https://example.org/a?token=x"]
    spec = plan_setup(tmp_path / "colabkit.toml", data=data, run="/data/runs", secrets="HOME").spec
    assert spec.packages == ("packaging", "tqdm>=4")
    assert [one.name for one in spec.data] == ["data-1"]
    assert spec.run == "/data/runs"
    assert spec.origin == "colabkit.toml and the arguments"
    with pytest.raises(SetupFileError, match="the arguments: packages holds a number"):
        plan_setup(packages=[1])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*_spec.KEYS, "x"]), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*_spec.KEYS, "tool", "dependencies"]), VALUES, max_size=4), st.booleans())
def test_no_value_is_met_with_anything_but_our_error(values, is_block):
    """Whatever stands in a file, it is read or refused in words."""
    sheet = manifest.Document(origin="x", folder=Path("/x"), values=values, text="", is_block=is_block)
    with contextlib.suppress(SetupFileError):
        _spec.read(sheet)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["# /// script", "# ///", "#", "# a = 1", "# [tool", "x", "#y", "# b = [", ""])))
def test_any_text_is_a_block_or_none_or_refused(lines):
    """The block that is found is the one that PEP 723's own expression finds."""
    import re

    code = "\n".join(lines)
    pattern = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
    theirs = [match["content"] for match in re.finditer(pattern, code) if match["type"] == "script"]
    try:
        sheet = manifest.of_code(code, "x", Path("/x"))
    except SetupFileError:
        return
    if sheet is None:
        assert theirs == []
    elif theirs:
        text = "".join(line[2:] if line.startswith("# ") else line[1:] for line in theirs[0].splitlines(keepends=True))
        assert sheet.values == tomllib.loads(text)


OUTSIDE = {
    "an address of a package": 'packages = ["evil @ https://example.org/evil-1.tar.gz"]',
    "a repository": 'packages = ["evil @ git+https://example.org/evil"]',
    "a wheel's address": 'packages = ["demo", "evil @ file:///x/evil-1-py3-none-any.whl"]',
    "an address in the lock": 'lock = "requirements.lock"',
    "a file outside": '[data.x]\nsource = "{home}/.netrc"\nto = "x.txt"',
    "a file of the home": '[data.x]\nsource = "~/.netrc"\nto = "x.txt"',
    "a file above": '[data.x]\nsource = "../secret"\nto = "x.txt"',
    "a file by a command": '[data]\nx = "curl file://{home}/.netrc"',
    "a source by a link": '[data.x]\nsource = "link/.netrc"\nto = "x.txt"',
    "a target by a link": '[data.x]\nsource = "https://example.org/x"\nto = "link/x.txt"',
    "a run by a link": 'run = "link/r"',
    "a lock by a link": 'lock = "link/r.lock"',
}


@pytest.mark.parametrize("text", OUTSIDE.values(), ids=OUTSIDE)
def test_a_set_up_stays_in_its_folder_unless_it_is_trusted(tmp_path, monkeypatch, text):
    """A set-up from elsewhere brings no code from an address and reads and writes nothing outside, links counted."""
    home, project = tmp_path / "home", tmp_path / "project"
    for folder in (home, project):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / ".netrc").write_text("machine x login y password z\n")
    (project / "link").symlink_to(home)
    (project / "requirements.lock").write_text("# colabkit lock 1\nevil @ git+https://example.org/evil@0\n")
    file = project / "colabkit.toml"
    file.write_text(text.replace("{home}", str(home)))
    with pytest.raises(SetupFileError) as caught:
        plan_setup(file)
    if "curl" not in text:  # a local file is no source of a command at all
        assert "trusted=True" in caught.value.do
        assert _spec.read(replace(manifest.of_file(file), is_trusted=True)).origin == "colabkit.toml"
    assert not (home / "r").exists()


def test_a_block_of_the_running_cell_is_the_users_own_code():
    """What stands beside the call could do anything itself, so it may name addresses."""
    sheet = manifest._own(
        manifest.of_code('# /// script\n# dependencies = ["x @ https://e.org/x.whl"]\n# ///', "c", Path())
    )
    assert _spec.read(sheet).packages == ("x @ https://e.org/x.whl",)
