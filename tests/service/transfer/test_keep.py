"""keep=: fetched once for all sessions, never half, never another's, never an older version in silence."""

import json
import shutil
import subprocess
import sys
import threading

import pytest

from colabkit import setup
from colabkit._engine.fetch_task import Options
from colabkit.errors import AccessError, AddressError, ColabKitError, DiskFullError, UnsupportedError
from colabkit.storage import MemoryStorage
from colabkit.storage.drive import DriveStorage
from colabkit.testing import DriveFolder
from colabkit.testing.google_drive import FakeDrive
from colabkit.testing.kaggle import TOKEN, FakeKaggle, packed
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch, fetch_details, keeping, kept_storage
from colabkit.transfer.sources.registry import open_source

FILES = {"train.csv": b"7,0,0", "images/7.png": b"seven"}


@pytest.fixture
def session(monkeypatch, tmp_path_factory):
    """Begin a session on a machine that has forgotten all: an empty cache."""

    def begin():
        monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path_factory.mktemp("cache")))

    begin()
    return begin


def _below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _gets(server):
    return [seen for seen in server.seen if seen.method == "GET"]


def test_a_later_session_takes_it_from_there(server, session, tmp_path, caplog):
    """One fetch for all sessions, said aloud; the server is only asked whether it has changed."""
    caplog.set_level("INFO", logger="colabkit")
    server.put("digits.csv", b"7,0,0")
    keep = tmp_path / "keep"
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"7,0,0"
    assert f"is kept in {keep}" in caplog.text
    before = len(_gets(server))
    for to in (None, tmp_path / "a.csv", f"{tmp_path}/into/"):
        session()
        done = fetch_details(server.url("digits.csv"), to, keep=keep)
        assert done.path.read_bytes() == b"7,0,0"
        assert str(keep) in done.source
    assert (tmp_path / "into" / "digits.csv").is_file()
    assert "where it was kept on" in caplog.text
    assert len(_gets(server)) == before
    assert fetch_details(server.url("digits.csv"), keep=keep).path.name == "digits.csv"


@pytest.mark.parametrize("copied_first", [True, False])
def test_a_new_version_is_fetched_and_kept_in_its_place(server, session, tmp_path, monkeypatch, copied_first):
    """The server's tag changed: the old one is not served, and goes away; also where its copy was begun meanwhile."""
    if not copied_first:  # as of a large file
        monkeypatch.setattr("colabkit.transfer.keeping._QUICK_COPY", 0)
    file = server.put("digits.csv", b"old")
    keep = tmp_path / "keep"
    fetch(server.url("digits.csv"), keep=keep)
    file.replace(b"new!")
    session()
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"new!"
    session()
    server.close()
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"new!"
    assert len([path for path in keep.iterdir() if not path.name.startswith(".")]) == 2


def test_a_source_that_is_gone_or_away_is_taken_from_there(server, session, tmp_path, caplog, monkeypatch):
    """A 404, a server that is down, no network at all: what is kept serves, and the reason is told."""
    caplog.set_level("INFO", logger="colabkit")
    server.put("digits.csv", b"7")
    keep = tmp_path / "keep"
    fetch(server.url("digits.csv"), keep=keep)
    del server.resources["digits.csv"]
    session()
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"7"
    assert "cannot be checked for changes" in caplog.text
    session()
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"7"


@pytest.mark.parametrize(
    "harm", ["flipped", "flipped, of an older version", "cut", "gone", "no manifest", "a manifest of another"]
)
def test_what_is_damaged_there_is_fetched_again(server, session, tmp_path, harm):
    """Nothing wrong is ever served, and the next session finds a good one."""
    server.put("digits.csv", b"7,0,0")
    keep = tmp_path / "keep"
    fetch(server.url("digits.csv"), keep=keep)
    manifest = next(keep.glob("*.json"))
    data = next(path for path in keep.iterdir() if path.suffix != ".json")
    if harm.startswith("flipped"):
        data.write_bytes(b"7,0,1")
        content = json.loads(manifest.read_text())
        if "older" in harm:  # it had the sha256 alone
            del content["crc32c"]
        manifest.write_text(json.dumps(content))
    elif harm == "cut":
        data.write_bytes(b"7,")
    elif harm == "gone":
        data.unlink()
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace('"identity": "', '"identity": "0'))
    session()
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"7,0,0"
    before = len(_gets(server))
    session()
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"7,0,0"
    assert len(_gets(server)) == before


def test_an_archive_is_kept_packed_and_unpacked_here(server, session, tmp_path):
    """One object for many files; a pasted command finds it, too."""
    server.put("data.zip", packed(FILES))
    keep = tmp_path / "keep"
    assert _below(fetch(server.url("data.zip"), keep=keep)) == FILES
    assert len([path for path in keep.iterdir() if not path.name.startswith(".")]) == 2
    before = len(_gets(server))
    session()
    assert _below(fetch(server.url("data.zip"), tmp_path / "there", keep=keep)) == FILES
    assert len(_gets(server)) == before


def test_kaggle_is_kept_by_its_version_and_only_for_who_may(session, tmp_path, monkeypatch):
    """A new version is fetched; who is refused gets nothing from there either."""
    kaggle = FakeKaggle()
    kaggle.put("datasets/ada/digits", FILES, private=True)
    with FakeWeb(kaggle) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        keep = tmp_path / "keep"
        assert _below(fetch("kaggle:ada/digits", keep=keep)) == FILES
        sent = kaggle.storage.sent
        session()
        assert _below(fetch("kaggle:ada/digits", keep=keep)) == FILES
        assert kaggle.storage.sent == sent
        kaggle.put("datasets/ada/digits", {"train.csv": b"new"}, version=2, private=True)
        session()
        assert _below(fetch("kaggle:ada/digits", keep=keep)) == {"train.csv": b"new"}
        session()
        monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_of_nobody")
        with pytest.raises(AccessError):
            fetch("kaggle:ada/digits", keep=keep)


def test_many_small_files_are_one_archive_there(session, tmp_path, monkeypatch):
    """A folder of Drive: listed once more, fetched once."""
    from colabkit.transfer.sources import gdrive

    monkeypatch.setattr(gdrive, "PAUSE", 0.0)
    drive = FakeDrive()
    top = drive.folder("photos")
    for number in range(5):
        drive.put(f"{number}.bin", bytes([number]) * 9, parent=top)
    address = f"https://drive.google.com/drive/folders/{top}"
    with FakeWeb(drive) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        keep = tmp_path / "keep"
        files = _below(fetch(address, keep=keep))
        sent = drive.storage.sent
        session()
        done = fetch_details(address, f"{tmp_path}/", keep=keep)
        assert (done.path.name, _below(done.path)) == ("photos", files)
        assert drive.storage.sent == sent
        assert len(list(keep.glob("*.zip"))) == 1
        drive.put("new.bin", b"new", parent=top)
        session()
        assert "new.bin" in _below(fetch(address, keep=keep))
        assert len(list(keep.glob("*.zip"))) == 1


def test_a_full_place_costs_no_fetch(server, session, monkeypatch, caplog):
    """The file is here, and what is wrong with the place is told in its own words."""

    class Full(MemoryStorage):
        def put(self, *args, **options):
            raise DiskFullError("no room in memory:", why="the quota is used up", hint="free some of it")

    server.put("digits.csv", b"7")
    monkeypatch.setattr(keeping, "open_storage", lambda _: Full())
    assert fetch(server.url("digits.csv"), keep="memory:").read_bytes() == b"7"
    assert "the quota is used up (free some of it)" in caplog.text


def test_two_logins_share_nothing(server, session, tmp_path):
    """What one sees at an address is not given to another."""
    server.put("mine.csv", b"of ada")
    keep = tmp_path / "keep"
    line = "curl -u {}:secret " + server.url("mine.csv")
    assert fetch(line.format("ada"), keep=keep).read_bytes() == b"of ada"
    server.resources["mine.csv"].data = b"of bob"
    session()
    assert fetch(line.format("bob"), keep=keep).read_bytes() == b"of bob"
    assert len(list(keep.glob("*.json"))) == 2


def test_several_sessions_at_once_get_it_whole(server, session, tmp_path):
    """Threads with caches of their own stand for machines: each has the file, and one is kept."""
    server.put("digits.bin", bytes(range(256)) * 4000)
    keep, errors = tmp_path / "keep", []

    def run(number):
        script = (
            "import sys; from colabkit import fetch; fetch(sys.argv[1], sys.argv[2], keep=sys.argv[3], progress=False)"
        )
        place = tmp_path / f"{number}.bin"
        done = subprocess.run([sys.executable, "-c", script, server.url("digits.bin"), place, keep], check=False)
        if done.returncode or place.read_bytes() != bytes(range(256)) * 4000:
            errors.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len([path for path in keep.iterdir() if not path.name.startswith(".")]) == 2


def test_what_was_fetched_before_is_kept_afterwards(server, session, tmp_path):
    """keep= that comes later in a session needs no second fetch."""
    server.put("digits.csv", b"7")
    fetch(server.url("digits.csv"))
    before = len(_gets(server))
    fetch(server.url("digits.csv"), keep=tmp_path / "keep")
    assert len(_gets(server)) == before
    session()
    server.close()
    assert fetch(server.url("digits.csv"), keep=tmp_path / "keep").read_bytes() == b"7"


def test_the_environment_a_set_up_and_the_command_line_name_the_place(server, session, tmp_path, monkeypatch, command):
    """COLABKIT_KEEP for all, keep in a set-up file, --keep in a shell; a wrong place is told at once."""
    server.put("digits.csv", b"7")
    monkeypatch.setenv("COLABKIT_KEEP", str(tmp_path / "all"))
    fetch(server.url("digits.csv"))
    assert list((tmp_path / "all").glob("*.json"))
    monkeypatch.delenv("COLABKIT_KEEP")
    sheet = tmp_path / "project" / "colabkit.toml"
    sheet.parent.mkdir()
    sheet.write_text(f'[data.digits]\nsource = "{server.url("digits.csv")}"\nto = "data/"\nkeep = "kept"\n')
    setup(sheet)
    assert list((sheet.parent / "kept").glob("*.json"))
    process = command(server.url("digits.csv"), "--to", str(tmp_path / "x.csv"), "--keep", str(tmp_path / "shell"))
    assert process.wait() == 0
    assert list((tmp_path / "shell").glob("*.json"))
    with pytest.raises(ColabKitError):
        fetch(server.url("digits.csv"), keep="s3:bucket")
    with pytest.raises((UnsupportedError, AddressError)):
        fetch(server.url("digits.csv"), keep="drive:")


def test_a_folder_that_joins_others_is_kept_too(session, gcs, tmp_path, monkeypatch):
    """What a command puts beside other files comes in a later session from where it is kept."""
    monkeypatch.chdir(tmp_path)
    for name, data in FILES.items():
        gcs.put("bucket", f"dir/{name}", data)
    for _ in range(2):
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine.txt").write_bytes(b"mine")
        before = gcs.sent
        fetch("!gsutil -m cp -r gs://bucket/dir/* data", keep=tmp_path / "keep")
        assert _below(tmp_path / "data") == {**FILES, "mine.txt": b"mine"}
        session()
    assert gcs.sent == before


def test_in_the_background_it_is_kept_when_the_process_ends(server, session, tmp_path, monkeypatch):
    """The file is here before; a folder that is changed meanwhile is not kept as what it is not."""
    server.put("digits.csv", b"7,0,0")
    keep = tmp_path / "keep"
    line = f"import colabkit as ck; print(ck.fetch({server.url('digits.csv')!r}, keep={str(keep)!r}).read_text())"
    monkeypatch.setenv("COLABKIT_KEEP_IN_BACKGROUND", "1")
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "7,0,0\n"
    before = len(_gets(server))
    session()
    assert fetch(server.url("digits.csv"), keep=keep).read_bytes() == b"7,0,0"
    assert len(_gets(server)) == before


def test_a_folder_that_changes_on_its_way_is_not_kept(session, gcs, tmp_path, monkeypatch, caplog):
    """A later session must not take for the source's what somebody has written over."""
    gcs.put("bucket", "dir/train.csv", b"7,0,0")
    real = kept_storage.put_tree

    def put_and_change(storage, name, path):
        real(storage, name, path)
        (path / "train.csv").write_bytes(b"changed")

    monkeypatch.setattr(kept_storage, "put_tree", put_and_change)
    fetch("gs://bucket/dir/", keep=tmp_path / "keep")
    assert "is here, but not kept" in caplog.text
    assert [path for path in (tmp_path / "keep").rglob("*") if path.suffix in (".json", ".zip")] == []


@pytest.mark.parametrize("many", [False, True])
def test_it_is_kept_on_drive_by_its_interface(session, signed_in_drive, server, tmp_path, many, caplog):
    """Outside Colab: the file, and many as one archive; the next session takes them from the user's own Drive."""
    caplog.set_level("INFO", logger="colabkit")
    server.put("data.zip", packed(FILES))
    server.put("digits.csv", b"7,0,0")
    name = "data.zip" if many else "digits.csv"
    first = fetch(server.url(name), keep="drive:data/kept")
    assert "is kept in drive:data/kept for later sessions" in caplog.text
    before = len(_gets(server))
    session()
    done = fetch_details(server.url(name), tmp_path / "again", keep="drive:data/kept")
    assert "kept in drive:data/kept" in done.source or "comes from drive:data/kept" in caplog.text
    assert (_below(done.path) if many else done.path.read_bytes()) == (_below(first) if many else b"7,0,0")
    assert len(_gets(server)) == before


def test_it_is_kept_on_a_mounted_drive(session, server, tmp_path):
    """On the mount: what has not arrived in the cloud is said to be on its way, and it is read back right."""
    if missing := DriveFolder.missing():
        pytest.skip(missing)
    server.put("digits.csv", b"7,0,0" * 1000)
    with DriveFolder(tmp_path / "drive", lag=0.0, latency=0.0, rate=1e9) as drive:
        keep = DriveStorage(drive.path / "kept", mount=drive.path, address="drive:kept")
        keeper = keeping.Keeper(keep)
        source = open_source(server.url("digits.csv")).source
        options = Options(show=False)
        assert keeper.file(source, None, options).path.read_bytes() == b"7,0,0" * 1000
        drive.settle()
        session()
        done = keeper.file(source, tmp_path / "again.csv", options)
        assert done.source.endswith("kept in drive:kept")
        assert done.path.read_bytes() == b"7,0,0" * 1000
