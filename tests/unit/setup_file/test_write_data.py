"""What a written set-up says of the data that was fetched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from colabkit.setup_file import write


def test_data_whose_address_is_not_kept_is_named_once(monkeypatch):
    """Many parts behind one hidden address are one line."""
    receipts = [SimpleNamespace(source="gs://bucket/data/", path=Path(f"{number}")) for number in range(3)]
    monkeypatch.setattr(write, "listing", lambda: receipts)
    monkeypatch.setattr(write, "here", lambda _: None)
    assert list(write._data()) == ['# "gs://bucket/data/" was fetched too; its whole address is not kept']
