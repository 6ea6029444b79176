"""Where files land, what is taken from the cache, and what is refused before any network."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from colabkit.errors import AddressError, ColabKitError, ExistsError, IntegrityError, NotFoundError, OfflineError
from colabkit.testing.kaggle import packed
from colabkit.transfer import fetch, fetch_details, listing, push
from colabkit.transfer.sources.registry import open_source

MIB = 1 << 20
PACKED = packed({"7.txt": b"seven"})


def sha256(data: bytes) -> str:
    """Write the checksum of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["fetch", "push"])
def test_the_name_is_the_function_whatever_was_imported_before(name):
    """`from colabkit.transfer import fetch` is never the module that it lives in."""
    code = f"import colabkit.transfer.{name}ing; from colabkit.transfer import {name}; assert callable({name})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_transfer_loads_no_http_library():
    """`import colabkit.transfer` costs the standard library only."""
    code = "import sys, colabkit.transfer; print([m for m in ('requests', 'urllib3', 'tqdm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_second_fetch_needs_no_server(server, tmp_path):
    """Without `to` the file lies in the cache under its own name, and the second call takes it from there."""
    server.put("digits.csv", b"7,0,0")
    first = fetch_details(server.url("digits.csv"))
    server.close()
    second = fetch_details(server.url("digits.csv"))
    assert (first.path.name, first.path.read_bytes()) == ("digits.csv", b"7,0,0")
    assert (first.from_cache, second.from_cache) == (False, True)
    assert second.path == first.path
    assert [receipt.path for receipt in listing()] == [first.path]


def test_a_cached_file_that_somebody_changed_is_fetched_again(server):
    """The cache hands out only what it put there."""
    server.put("a.csv", b"7,0,0")
    path = fetch(server.url("a.csv"))
    path.write_bytes(b"spoilt")
    assert listing() == []
    assert fetch(server.url("a.csv")).read_bytes() == b"7,0,0"


def test_a_checksum_decides_whether_the_cache_will_do(server):
    """The file changed at the source: with the new checksum the cache is passed over."""
    resource = server.put("a.csv", b"old")
    fetch(server.url("a.csv"))
    resource.replace(b"new")
    assert fetch(server.url("a.csv")).read_bytes() == b"old"
    assert fetch(server.url("a.csv"), checksum=sha256(b"new")).read_bytes() == b"new"


def test_overwrite_fetches_again(server, tmp_path):
    """overwrite=True asks the source, and replaces the file in the cache or at `to`."""
    resource = server.put("a.csv", b"old")
    for to in (None, tmp_path / "a.csv"):
        resource.replace(b"old")
        fetch(server.url("a.csv"), to, overwrite=True)
        resource.replace(b"new")
        assert fetch(server.url("a.csv"), to).read_bytes() == b"old"
        assert fetch(server.url("a.csv"), to, overwrite=True).read_bytes() == b"new"


def test_to_a_folder_takes_the_servers_name(server, tmp_path):
    """A folder, there already or named with a slash, gets the file under the name that the server gives."""
    header = {"Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9.csv"}
    server.put("download", b"7,0,0", headers=header)
    assert fetch(server.url("download"), tmp_path).name == "café.csv"
    assert fetch(server.url("download"), f"{tmp_path}/new/").relative_to(tmp_path).as_posix() == "new/café.csv"


def test_a_hostile_name_stays_in_the_folder(server, tmp_path):
    """A server cannot choose another folder, a hidden file or nothing."""
    inside = tmp_path / "inside"
    for name in ("../../evil.sh", "/etc/evil.sh", "..", ".bashrc", "a\\..\\evil.sh", ""):
        server.put("file", name.encode(), headers={"Content-Disposition": f'attachment; filename="{name}"'})
        path = fetch(server.url("file"), f"{inside}/", overwrite=True)
        assert path.parent == inside
        assert not path.name.startswith(".")


def test_what_is_in_the_way_is_not_overwritten(server, tmp_path):
    """A file that did not come from this source stays, and the error names both ways out."""
    server.put("a.csv", b"theirs")
    mine = tmp_path / "a.csv"
    mine.write_bytes(b"mine")
    for to in (mine, tmp_path):
        with pytest.raises(ExistsError, match="overwrite=True") as caught:
            fetch(server.url("a.csv"), to)
        assert caught.value.exit_code == 25
        assert mine.read_bytes() == b"mine"
    assert fetch(server.url("a.csv"), mine, overwrite=True).read_bytes() == b"theirs"


def test_a_file_that_has_the_checksum_is_taken_whoever_put_it_there(server, tmp_path):
    """With the right file at `to` nothing is fetched, even offline."""
    (tmp_path / "a.csv").write_bytes(b"data")
    url = server.url("a.csv")
    server.close()
    done = fetch_details(url, tmp_path / "a.csv", checksum=sha256(b"data"))
    assert (done.from_cache, done.checksum) == (True, sha256(b"data"))


def test_a_cached_file_is_copied_to_where_it_is_wanted(server, tmp_path):
    """What the cache has does not travel again because of another `to`."""
    server.put("a.csv", b"data")
    fetch(server.url("a.csv"))
    server.close()
    assert fetch(server.url("a.csv"), tmp_path / "b.csv").read_bytes() == b"data"


def test_without_the_cache_nothing_is_kept(server, tmp_path, monkeypatch, isolated):
    """use_cache=False puts the file into the present folder and leaves no note."""
    monkeypatch.chdir(tmp_path)
    server.put("a.csv", b"data")
    assert fetch_details(server.url("a.csv"), use_cache=False).path.resolve() == tmp_path / "a.csv"
    assert list((isolated / ".cache").rglob("*")) == []


def test_a_cache_that_cannot_be_written_does_not_stop_a_fetch(server, tmp_path, monkeypatch):
    """With `to` the cache is a courtesy."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "file" / "cache"))
    server.put("a.csv", b"data")
    assert fetch(server.url("a.csv"), tmp_path / "a.csv").read_bytes() == b"data"


def test_asked_to_stay_offline_it_is_told_at_once(server, tmp_path, monkeypatch):
    """COLABKIT_OFFLINE stops before the first packet; what is cached still works."""
    server.put("a.csv", b"data")
    server.put("b.csv", b"data")
    cached = fetch(server.url("a.csv"))
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    before = len(server.seen)
    assert fetch(server.url("a.csv")) == cached
    with pytest.raises(OfflineError, match="not here yet"):
        fetch(server.url("b.csv"))
    assert len(server.seen) == before


def test_local_files_are_returned_copied_and_verified(tmp_path):
    """A path or a file: address is the file itself; with `to` it is a copy that appears whole."""
    file = tmp_path / "my file.csv"
    file.write_bytes(b"data")
    assert fetch(file) == file
    assert fetch(file.as_uri(), checksum=sha256(b"data")) == file
    assert fetch(str(file), f"{tmp_path}/sub/").read_bytes() == b"data"
    with pytest.raises(IntegrityError, match="you said"):
        fetch(file, checksum=sha256(b"other"))
    with pytest.raises(ExistsError):
        fetch(file, tmp_path / "sub" / "my file.csv")
    with pytest.raises(NotFoundError, match=r"no file at .*nothing\.csv"):
        fetch(tmp_path / "nothing.csv")


def test_a_folder_is_copied_whole(tmp_path):
    """A local folder works like a file, and never merges into one that is there."""
    source = tmp_path / "data"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.csv").write_bytes(b"7")
    copy = fetch(source, tmp_path / "copy")
    assert (copy / "sub" / "a.csv").read_bytes() == b"7"
    with pytest.raises(ExistsError, match="folder that exists"):
        fetch(source / "sub" / "a.csv", tmp_path / "new" / "a.csv", overwrite=True) and fetch(
            source / "sub", f"{copy}/"
        )


@pytest.mark.parametrize(
    "source",
    [
        "",
        "  ",
        "a\0b",
        "http://",
        "https:///x",
        "http://host:99999/x",
        "http://[::1/x",
        "ftp://host/x",
        "s3://b/k",
        "file://otherhost/x",
        "file:",
        "http://a b/",
    ],
)
def test_what_is_no_address_is_refused_in_words(source):
    """Each malformed source is an AddressError, before any network."""
    with pytest.raises(AddressError):
        fetch(source)


@pytest.mark.parametrize("source", [None, 7, b"https://a.org/a", {"https://a.org/a"}, ["https://a.org/a", None]])
def test_what_is_no_address_and_no_path_is_refused_by_its_type(source, tmp_path):
    """A variable that was never set, or a set of addresses: ours, not a TypeError of Python's own."""
    with pytest.raises(AddressError, match="is neither a path nor an address"):
        fetch(source[1:] if isinstance(source, list) else source, tmp_path)


def test_options_that_mean_nothing_are_refused(server, tmp_path):
    """The text "no" counts as true in Python, and would have replaced the file."""
    server.put("a.csv", b"new")
    (tmp_path / "a.csv").write_bytes(b"old")
    for options in ({"overwrite": "no"}, {"unpack": "yes"}, {"connections": "4"}, {"connections": 1.5}):
        with pytest.raises(AddressError, match=next(iter(options))):
            fetch(server.url("a.csv"), tmp_path / "a.csv", **options)
    for place in (3, b"here"):
        with pytest.raises(AddressError, match="is neither a path nor an address"):
            fetch(server.url("a.csv"), place)
        with pytest.raises(AddressError, match="is neither a path nor an address"):
            fetch(server.url("a.csv"), keep=place)
    assert (tmp_path / "a.csv").read_bytes() == b"old"


@pytest.mark.parametrize("form", ["SHA256:{}", "sha256={}", " sha256: {}\n", "{}", "{}  a.csv", "{} *a.csv"])
def test_a_checksum_is_read_as_programs_print_it(server, tmp_path, form):
    """sha256sum puts the name behind it, pip writes =, and a page has a blank."""
    server.put("a.csv", b"7,0,0")
    digits = sha256(b"7,0,0").partition(":")[2]
    fetch(server.url("a.csv"), tmp_path / "a.csv", checksum=form.format(digits))
    with pytest.raises(IntegrityError):
        fetch(server.url("a.csv"), tmp_path / "b.csv", checksum=form.format(digits[::-1]))


def test_two_sources_never_become_one_file_in_silence(server, tmp_path):
    """Two of a list have the same name: with overwrite=True one was lost, and its path was returned twice."""
    server.put("x/a.csv", b"1")
    server.put("y/a.csv", b"2")
    with pytest.raises(ExistsError, match="became one file"):
        fetch([server.url("x/a.csv"), server.url("y/a.csv")], tmp_path, overwrite=True, progress=False)
    same = [server.url("x/a.csv")] * 2
    assert fetch(same, tmp_path / "same", progress=False) == [tmp_path / "same" / "a.csv"] * 2


def test_two_addresses_in_one_text_are_told(tmp_path):
    """Pasted side by side or in two lines they were one address, with %20 between, that no server has."""
    for text in ("https://a.org/1.csv https://a.org/2.csv", "https://a.org/1.csv,\nhttps://a.org/2.csv"):
        with pytest.raises(AddressError, match=r"2 addresses[\s\S]*pass a list"):
            fetch(text, tmp_path)


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("https://github.com/ada/digits/blob/main/data/a.csv", "https://github.com/ada/digits/raw/main/data/a.csv"),
        ("https://gitlab.com/a/b/c/-/blob/main/a.csv", "https://gitlab.com/a/b/c/-/raw/main/a.csv"),
        ("https://www.dropbox.com/scl/fi/1/a.zip?rlkey=2&dl=0", "https://www.dropbox.com/scl/fi/1/a.zip?rlkey=2&dl=1"),
        ("https://github.com/ada/digits/releases/download/v1/blob/a.zip", ""),
        ("https://example.org/ada/digits/blob/main/a.csv", ""),
    ],
)
@pytest.mark.parametrize("form", ["{}", "wget '{}'", "In [3]: !curl -LO '{}'"])
def test_a_page_that_shows_a_file_is_the_file(page, file, form):
    """The address in the browser's bar is what people copy; GitHub's raw address leads on to git's large files, too."""
    source = open_source(form.format(page)).source
    assert source.remote().target.url == (file or page)


def test_pipes_and_devices_are_no_sources_and_no_folder_is_copied_into_itself(tmp_path, caplog):
    """A pipe would be waited for, /dev/zero would fill the disk, and the copy of a copy has no end."""
    caplog.set_level("INFO")
    folder = tmp_path / "data"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "a.csv").write_bytes(b"7")
    for source in (folder / "pipe", Path("/dev/zero")):
        with pytest.raises(AddressError, match="is a device or a pipe"):
            fetch(source, f"{tmp_path}/to/")
    with pytest.raises(AddressError, match="lies in"):
        fetch(folder, folder / "copy")
    assert [path.name for path in fetch(folder, tmp_path / "copy").iterdir()] == ["a.csv"]
    assert "pipe is left out: it is not a file" in caplog.text


def test_a_link_keeps_its_own_name(tmp_path):
    """The Hub's cache holds links to files that are called by their hash; cp takes the name of the link, too."""
    (tmp_path / "e4375d1f").write_bytes(b"w")
    (tmp_path / "model.bin").symlink_to("e4375d1f")
    assert fetch(tmp_path / "model.bin", f"{tmp_path}/to/").name == "model.bin"
    assert fetch([tmp_path / "model.bin"], tmp_path / "list")[0].name == "model.bin"
    assert push(tmp_path / "model.bin", f"{tmp_path}/pushed/").endswith("pushed/model.bin")


def test_a_place_that_is_none_is_told(server, tmp_path, monkeypatch):
    """As with curl -o - it would be the screen; and in a folder that was removed nothing can be put."""
    server.put("a.csv", b"7")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    with pytest.raises(AddressError, match='to="-" is no place'):
        fetch(server.url("a.csv"), "-")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ColabKitError, match="working folder, which is gone"):
        fetch_details(server.url("a.csv"), use_cache=False)


def test_an_address_in_bytes_of_a_terminal_is_read(server, tmp_path):
    """Where the locale is C, Python hands the bytes of a letter on one by one."""
    server.put("%C3%A9.csv", b"7")
    text = server.url("é.csv").encode().decode("ascii", "surrogateescape")
    assert fetch(text, f"{tmp_path}/").name == "é.csv"


def test_a_path_of_windows_is_told(server, tmp_path, monkeypatch):
    """On a notebook's machine it became a file whose name begins with C:."""
    monkeypatch.chdir(tmp_path)
    server.put("a.csv", b"7")
    for call in (lambda: fetch(server.url("a.csv"), r"C:\data\a.csv"), lambda: fetch(r"C:\data\a.csv")):
        with pytest.raises(AddressError, match="is a path of Windows"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("checksum", ["", "sha256:", "sha256:xyz", "crc:12", "d41d8cd98f00b204", "sha256:" + "é" * 64])
def test_what_is_no_checksum_is_refused_in_words(checksum):
    """A checksum with a typing error is not taken for none."""
    with pytest.raises(AddressError, match="sha256:HEX"):
        fetch("https://example.org/a", checksum=checksum)


def test_an_address_with_blanks_and_letters_is_quoted(server):
    """What a person pastes works: blanks, umlauts and quoted forms alike."""
    server.put("my%20d%C3%A4ta.csv", b"data")
    path = fetch(server.url("my däta.csv"))
    assert (path.name, path.read_bytes()) == ("my däta.csv", b"data")
    assert fetch(server.url("my%20d%C3%A4ta.csv")) == path


def test_progress_is_told_in_bytes(server, blob):
    """A function gets (done, total), never backwards, up to the whole."""
    server.put("a.bin", blob(3 * MIB))
    calls = []
    fetch(server.url("a.bin"), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (3 * MIB, 3 * MIB)
    assert calls == sorted(calls)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc, which only Linux has")
def test_memory_stays_flat(tmp_path, command):
    """Fetching 300 MiB takes less than 120 MiB of memory, whatever the number of connections."""
    code = (
        "import pathlib, sys; from colabkit.transfer import fetch; fetch(sys.argv[1], sys.argv[2]);"
        "status = pathlib.Path('/proc/self/status').read_text();"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )
    from colabkit.testing.http import FaultServer

    with FaultServer() as server:
        server.put("a.bin", bytes(300 * MIB))
        done = subprocess.run(
            [sys.executable, "-c", code, server.url("a.bin"), tmp_path / "a.bin"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert int(done.stdout) < 120


def test_the_command_prints_the_path_or_one_json_object(server, tmp_path, command):
    """`colabkit fetch` prints the path alone; with --json an object; an error has its class's exit code."""
    server.put("a.csv", b"data")
    out, errors = command(server.url("a.csv"), "--to", tmp_path / "a.csv").communicate(timeout=30)
    assert (out, errors) == (f"{tmp_path / 'a.csv'}\n", "")
    out, _ = command(server.url("a.csv"), "--to", tmp_path / "a.csv", "--json").communicate(timeout=30)
    assert json.loads(out)["from_cache"] is True
    process = command(server.url("b.csv"), "--json", "--quiet")
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["error"]["type"]) == (22, "NotFoundError")
    assert "there is no file at" in errors


def run(*words: str, cwd=None) -> dict:
    """Run `colabkit fetch … --json` and return the object that it prints."""
    command = [sys.executable, "-m", "colabkit", "fetch", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    return {"code": done.returncode, **json.loads(done.stdout)}


def test_the_list_tells_what_the_cache_holds(server, tmp_path):
    """`colabkit fetch --list` names each file with its source, size and path; a spoilt one is left out."""
    server.put("a.csv", b"7,0,0")
    server.put("b.csv", b"1")
    assert run("--list")["files"] == []
    path, other = (run(server.url(name), "--quiet")["path"] for name in ("a.csv", "b.csv"))
    Path(other).write_bytes(b"spoilt")
    (one,) = run("--list")["files"]
    assert (one["path"], one["source"], one["size"]) == (path, server.url("a.csv"), 5)
    assert run("--list", server.url("a.csv"))["code"] == 6
    assert run()["code"] == 6


def test_no_cache_leaves_no_trace(server, tmp_path, isolated):
    """`--no-cache` puts a file, or what an archive unpacks to, into this folder; nothing is noted or looked up."""
    server.put("a.csv", b"old")
    server.put("data.zip", PACKED)
    assert run(server.url("a.csv"), "--no-cache", cwd=tmp_path)["from_cache"] is False
    assert run(server.url("data.zip"), "--no-cache", cwd=tmp_path)["path"] == "data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "data"]
    assert not (isolated / ".cache" / "colabkit").exists()
    assert run("--list")["files"] == []
