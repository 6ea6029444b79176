"""A folder of many files: each whole, resumable by file, and the folder appears when all are there."""

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit._engine import downloader
from colabkit._engine import source as sources
from colabkit._engine.fetch_task import Options
from colabkit._http import url
from colabkit._internal.disk import checksum
from colabkit._internal.retry import Backoff
from colabkit.errors import AddressError, ExistsError, NotFoundError
from colabkit.testing.http import Fault
from colabkit.transfer.fetch_folder import fetch_folder, local_paths
from colabkit.transfer.sources.web import WebSource

SILENT = Options(show=False)


@dataclass
class Listed:
    """A folder whose listing is written down here, and whose files come from the fault server."""

    server: object
    paths: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    at_once: int = 4
    pause: float = 0.0
    identity: str = "listed:1"
    shown: str = "listed:1"
    name: str = ""

    def here(self):
        """Nowhere."""

    def entries(self):
        """List all."""
        return "photos", [
            sources.Entry(
                path=path,
                source=WebSource(address=url.parse(self.server.url(name))),
                version=self.versions.get(path, ""),
            )
            for path, name in self.paths.items()
        ]


@pytest.fixture
def listed(server):
    """A folder of three files in two folders."""
    for name in ("1", "2", "3"):
        server.put(name, name.encode() * 1000)
    return Listed(server, {"a.bin": "1", "in/b.bin": "2", "in/side/c.bin": "3"})


def tree(folder):
    """List the files below a folder with their sizes."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_with_all_that_is_inside(listed, tmp_path):
    """All files lie where they lay at the source; nothing else is left, and the second call needs no server."""
    done = fetch_folder(listed, f"{tmp_path}/", SILENT)
    assert done.path == tmp_path / "photos"
    assert tree(tmp_path) == {"photos/a.bin": 1000, "photos/in/b.bin": 1000, "photos/in/side/c.bin": 1000}
    listed.server.close()
    again = fetch_folder(listed, f"{tmp_path}/", SILENT)
    assert (again.path, again.from_cache) == (done.path, True)


def test_a_folder_that_failed_goes_on_with_what_is_missing(listed, tmp_path):
    """One file is missing: nothing is at the final name; when it is there only that one travels."""
    missing = listed.server.resources.pop("2")
    with pytest.raises(NotFoundError) as caught:
        fetch_folder(listed, tmp_path / "out", SILENT)
    assert caught.value.__notes__ == ["2 of 3 files are kept; run it again for the rest"]
    assert not (tmp_path / "out").exists()
    listed.server.resources["2"] = missing
    listed.server.seen.clear()
    assert tree(fetch_folder(listed, tmp_path / "out", SILENT).path).keys() == listed.paths.keys()
    assert {seen.path for seen in listed.server.seen} == {"/2"}


def test_a_file_that_changed_meanwhile_is_fetched_again(listed, tmp_path):
    """Between two tries the owner replaced a file: its version differs, so the kept one is not used."""
    missing = listed.server.resources.pop("2")
    with pytest.raises(NotFoundError):
        fetch_folder(listed, tmp_path / "out", SILENT)
    listed.server.resources["2"] = missing
    listed.server.resources["1"].replace(b"new")
    listed.versions["a.bin"] = "2"
    assert (fetch_folder(listed, tmp_path / "out", SILENT).path / "a.bin").read_bytes() == b"new"


def test_a_file_that_is_gone_meanwhile_is_not_in_the_folder(listed, tmp_path):
    """What an earlier try brought and the source has no more is not published."""
    missing = listed.server.resources.pop("2")
    with pytest.raises(NotFoundError):
        fetch_folder(listed, tmp_path / "out", SILENT)
    listed.server.resources["2"] = missing
    del listed.paths["a.bin"]
    assert tree(fetch_folder(listed, tmp_path / "out", SILENT).path).keys() == {"in/b.bin", "in/side/c.bin"}


def test_a_kept_file_that_somebody_changed_is_fetched_again(listed, tmp_path):
    """What lies in the hidden folder is used only as it was left."""
    missing = listed.server.resources.pop("2")
    with pytest.raises(NotFoundError):
        fetch_folder(listed, tmp_path / "out", SILENT)
    (kept,) = tmp_path.rglob("a.bin")
    kept.write_bytes(b"spoilt")
    listed.server.resources["2"] = missing
    assert (fetch_folder(listed, tmp_path / "out", SILENT).path / "a.bin").read_bytes() == b"1" * 1000


def test_what_is_in_the_way_stays(listed, tmp_path):
    """A folder of that name that is not ours is neither mixed with nor replaced, even with overwrite=True."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "photos").mkdir()
    for options in (SILENT, Options(show=False, overwrite=True)):
        with pytest.raises(ExistsError):
            fetch_folder(listed, f"{tmp_path}/", options)
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    assert fetch_folder(listed, tmp_path / "out", SILENT).path == tmp_path / "out" / "photos"


def test_overwrite_brings_the_folder_anew(listed, tmp_path):
    """A folder that an earlier fetch made is replaced as a whole."""
    fetch_folder(listed, tmp_path / "out", SILENT)
    listed.server.resources["1"].replace(b"new")
    again = fetch_folder(listed, tmp_path / "out", Options(show=False, overwrite=True))
    assert (again.path / "a.bin").read_bytes() == b"new"
    assert again.path == tmp_path / "out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_pause_keeps_requests_apart(listed, tmp_path):
    """A source that counts requests gets them one by one, with a pause between."""
    listed.at_once, listed.pause = 1, 0.2
    begun = time.monotonic()
    fetch_folder(listed, tmp_path / "out", SILENT)
    assert time.monotonic() - begun >= 0.4


def test_a_checksum_is_for_one_file(listed, tmp_path):
    """A checksum for a folder is refused before anything is asked."""
    with pytest.raises(AddressError, match="one file"):
        fetch_folder(listed, tmp_path, Options(wanted=checksum.parse("md5:" + "0" * 32)))
    assert listed.server.seen == []


def test_a_busy_file_is_tried_again_while_the_others_go_on(listed, tmp_path, monkeypatch):
    """Retries work inside a folder as they do alone."""
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(first=0.02))
    listed.server.resources["2"].faults = [Fault(kind="status", status=503, times=2)]
    assert len(tree(fetch_folder(listed, tmp_path / "out", SILENT).path)) == 3


@given(st.lists(st.text(alphabet="a./\\\0 ()2", max_size=8), max_size=8))
def test_paths_stay_below_and_apart(paths):
    """Whatever a source calls its files: all paths are relative, plain, and different; no file is also a folder."""
    found = local_paths(paths)
    assert len(found) == len(set(found)) == len(paths)
    folders = {path.rsplit("/", end)[0] for path in found for end in range(1, path.count("/") + 1)}
    assert not folders & set(found)
    for path in found:
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))
