"""The double of Drive's interface answers as its documentation says, to programs that ask for too little or wrongly."""

import json
import urllib.parse

import pytest

from colabkit.testing.google_drive import TOKEN, FakeDrive
from colabkit.testing.http import Request


def _ask(drive, path="", **query):
    """Ask as an account; returns the status and what was told."""
    address = f"/drive/v3/files{path}?{urllib.parse.urlencode(query)}"
    request = Request(method="GET", path=address, headers={"authorization": f"Bearer {TOKEN}"}, body=b"")
    page = drive.interface.answer(request)
    return page.status, json.loads(page.body)


@pytest.fixture
def drive():
    """Give a folder with a file, one in the trash, and a file of a shared drive."""
    drive = FakeDrive()
    folder = drive.folder("data", id="folder")
    drive.put("a.csv", b"7,0", id="file", parent=folder)
    drive.put("old.csv", b"1", id="old", parent=folder)
    drive.trash.add("old")
    drive.put("b.csv", b"2", id="shared", parent=folder, shared_drive="0AShared")
    return drive


def test_without_fields_few_are_told(drive):
    """No size and no checksum, for whoever forgets to ask for them."""
    assert _ask(drive, "/file") == (
        200,
        {"kind": "drive#file", "id": "file", "name": "a.csv", "mimeType": "application/octet-stream"},
    )
    assert set(_ask(drive, q="'folder' in parents")[1]["files"][0]) == {"kind", "id", "name", "mimeType"}
    assert _ask(drive, "/file", fields="size,md5Checksum")[1].keys() == {"size", "md5Checksum"}
    assert _ask(drive, fields="files(id),files/size", q="name = 'A.CSV'")[1] == {"files": [{"id": "file", "size": "3"}]}
    assert "headRevisionId" in _ask(drive, "/file", fields="*")[1]


@pytest.mark.parametrize("fields", ["title", "files(items)", "id(", "nextPageToken,files(id,sizes)"])
def test_a_field_that_there_is_not_is_refused(drive, fields):
    """As those of Drive's second version are."""
    status, told = _ask(drive, "" if "files" in fields else "/file", fields=fields)
    assert (status, told["error"]["errors"][0]["location"]) == (400, "fields")


@pytest.mark.parametrize(
    "condition", ["title = 'a'", 'name = "a"', "'folder' in", "(name = 'a'", "trashed", "name 'a'"]
)
def test_a_condition_that_drive_cannot_read_is_refused(drive, condition):
    """And not passed over, which would give the whole Drive."""
    status, told = _ask(drive, q=condition)
    assert (status, told["error"]["message"]) == (400, "Invalid Value")


def test_conditions_are_those_that_were_written(drive):
    """The trash is told unless a condition leaves it out; shared drives only to those who ask for them."""

    def names(q, **more):
        return [file["id"] for file in _ask(drive, q=q, **more)[1]["files"]]

    assert names("'folder' in parents") == ["file", "old"]
    assert names("'folder' in parents and trashed = false") == ["file"]
    assert names("'folder' in parents and not (name = 'a.csv' or trashed=true)") == []
    everywhere = {"supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
    assert names("name contains 'b' and mimeType != 'text/csv'", **everywhere) == ["shared"]
    assert _ask(drive, "/shared")[0] == 404
    assert _ask(drive, "/shared", supportsAllDrives="true")[0] == 200
