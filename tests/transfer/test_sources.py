"""The table of sources: each row leads to a file that reads, and to an extra that exists."""

import importlib
import tomllib
from pathlib import Path

import pytest

from colabkit.errors import AddressError
from colabkit.transfer._sources import SOURCES, open_source

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("row", SOURCES, ids=lambda row: row.module)
def test_each_row_leads_to_a_file_that_reads(row):
    """Its module has open_source, and its extra is one that can be installed."""
    assert callable(importlib.import_module(f"colabkit.transfer.{row.module}").open_source)
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert row.extra in ("", *extras)


@pytest.mark.parametrize("text", ["s3://bucket/a", "ftp://host/a", "nosuch://x"])
def test_what_no_row_takes_is_refused_with_what_can_be_fetched(text):
    """An unknown scheme is told by name, before any network; the message lists the kinds that exist."""
    with pytest.raises(AddressError, match=rf"{text.partition(':')[0]}://") as caught:
        open_source(text)
    assert all(row.takes in caught.value.why for row in SOURCES)
