"""The table of sources: each row leads to a file that reads, and to an extra that exists."""

import importlib
import tomllib
from pathlib import Path

import pytest

from colabkit.checkpoint import open_run
from colabkit.errors import AddressError, ColabKitError
from colabkit.transfer import fetch, push
from colabkit.transfer.pushing import TARGETS
from colabkit.transfer.sources.registry import SOURCES, open_source

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.mark.parametrize("row", SOURCES, ids=lambda row: row.module)
def test_each_row_leads_to_a_file_that_reads(row):
    """Its module has open_source, and its extra is one that can be installed."""
    assert callable(importlib.import_module(f"colabkit.transfer.{row.module}").open_source)
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert row.extra in ("", *extras)


_UNKNOWN = [
    ("s3://bucket/a", "s3:// addresses(.|\n)*signed"),
    ("s3:bucket/x", "s3: addresses(.|\n)*signed"),
    ("nosuch://x", "nosuch:// addresses"),
    ("kagle:ada/net", "did you mean kaggle:ada/net"),
    ("hdfs://host/x.csv", "hdfs dfs -get"),
    ("drvie:runs/x", "did you mean drive:runs/x"),
    ("gdrive:runs/x", "write drive:PATH"),
    ("GCS://bucket/x", "write gs://BUCKET/OBJECT"),
    ("dropbox:x/y", "dl=1"),
    ("gs;//bucket/x", "did you mean gs://bucket/x"),
    ("g s://bucket/x", "did you mean gs://bucket/x"),
    ("gs//bucket/x", "did you mean gs://bucket/x"),
    ("https//example.org/x", "https: addresses"),
    ("ada@example.org:/data/x", "use an https address, or scp"),
]


@pytest.mark.parametrize(("text", "said"), _UNKNOWN)
def test_what_no_row_takes_is_refused_with_what_is_known(text, said, tmp_path, monkeypatch):
    """An unknown or mistyped scheme is told by name, before any network; nothing is written under that name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AddressError, match=said) as caught:
        open_source(text)
    assert all(row.takes in caught.value.why for row in SOURCES)
    with pytest.raises(AddressError, match=said) as caught:
        push(b"weights", text)
    assert all(row.takes in caught.value.why for row in TARGETS)
    with pytest.raises(ColabKitError):
        open_run(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gs://", "write it as gs://BUCKET"),
        ("gs;//bucket/x", "did you mean gs://bucket/x"),
        ("drive:", "drive:runs/digits"),
    ],
)
def test_the_address_of_a_run_that_cannot_be_read_is_told_with_one_that_can(text, said):
    """What the hint writes is an address that open_run takes."""
    with pytest.raises(ColabKitError, match=said):
        open_run(text)


@pytest.mark.parametrize("address", ["file://[", "file://elsewhere/a.csv", "file:", "file://"])
def test_a_file_address_that_names_no_file_of_this_machine_is_refused(address):
    """In words, whatever stands where a host would."""
    with pytest.raises(AddressError, match="cannot read the address"):
        fetch(address)


def test_a_file_address_is_a_path_both_ways(tmp_path, monkeypatch):
    """file:///… names the same file to push and to fetch; no folder called "file:" is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.csv").write_bytes(b"7")
    assert push(tmp_path / "a b.csv", f"{tmp_path.as_uri()}/there/") == str(tmp_path / "there" / "a b.csv")
    assert fetch(f"{tmp_path.as_uri()}/there/a%20b.csv").read_bytes() == b"7"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b.csv", "there"]


@pytest.mark.parametrize("name", ["ab:x", "ck:b.csv", "12:30.csv", "notes: 7.txt"])
def test_a_file_of_such_a_name_is_reached_with_its_path(name, tmp_path, monkeypatch):
    """./ before it, or a Path; a file that is there is found by its name alone."""
    monkeypatch.chdir(tmp_path)
    push(b"7", f"./{name}")
    assert fetch(name).read_bytes() == fetch(f"./{name}").read_bytes() == fetch(Path(name)).read_bytes() == b"7"
