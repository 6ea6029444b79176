"""Archives appear whole, or are refused by the name of the member that would do harm."""

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit.errors import ArchiveError, ExistsError
from colabkit.transfer import archive, fetch, fetch_details

MIB = 1 << 20
FILES = {"a.csv": b"7,0,0", "sub/b.bin": bytes(range(256)) * 5000, "sub/deep/empty": b""}


def zip_bytes(members, compression=zipfile.ZIP_DEFLATED):
    """Pack a zip of (name, content) pairs; a name may be a ZipInfo."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return out.getvalue()


def tar_bytes(members, mode="w"):
    """Pack a tar of (TarInfo or name, content) pairs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tar_link(name, target, kind=tarfile.SYMTYPE):
    """Make a link member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name):
    """Make a member that zip marks as a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def content(folder):
    """Read a folder as a dictionary."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PACKED = {
    "data.zip": zip_bytes(FILES.items()),
    "data.tar": tar_bytes(FILES.items()),
    "data.tar.gz": tar_bytes(FILES.items(), "w:gz"),
    "data.tgz": tar_bytes(FILES.items(), "w:gz"),
    "data.tar.bz2": tar_bytes(FILES.items(), "w:bz2"),
    "data.tar.xz": tar_bytes(FILES.items(), "w:xz"),
}


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_becomes_a_folder_of_its_name(server, tmp_path, name):
    """Each kind unpacks to what was packed; the archive itself and temporary names are gone."""
    server.put(name, PACKED[name])
    folder = fetch(server.url(name), f"{tmp_path}/", progress=False)
    assert folder == tmp_path / "data"
    assert content(folder) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("to", "found"), [("images", "images"), ("new/", "new/data"), (None, None)], ids=["name", "folder", "cache"]
)
def test_the_second_fetch_of_an_archive_needs_no_server(server, tmp_path, to, found):
    """Named, in a folder or in the cache: the folder is known again, also after the user wrote into it."""
    server.put("data.zip", PACKED["data.zip"])
    to = to and f"{tmp_path}/{to}"
    first = fetch_details(server.url("data.zip"), to, progress=False)
    assert found is None or first.path == tmp_path / found
    (first.path / "notes.txt").write_text("mine")
    server.close()
    second = fetch_details(server.url("data.zip"), to, progress=False)
    assert (second.path, second.from_cache) == (first.path, True)


def test_a_file_name_or_unpack_false_keeps_the_archive_packed(server, tmp_path):
    """Who names data.zip or says unpack=False gets the archive."""
    server.put("data.zip", PACKED["data.zip"])
    assert fetch(server.url("data.zip"), tmp_path / "x.zip").read_bytes() == PACKED["data.zip"]
    assert fetch(server.url("data.zip"), f"{tmp_path}/in/", unpack=False).read_bytes() == PACKED["data.zip"]


@pytest.mark.parametrize(
    ("name", "pack"), [("a.csv.gz", gzip.compress), ("a.csv.bz2", bz2.compress), ("a.csv.xz", lzma.compress)]
)
def test_a_single_compressed_file_unpacks_when_asked(server, tmp_path, name, pack):
    """A compressed CSV stays as it is by itself, and becomes a.csv with unpack=True."""
    server.put(name, pack(b"7,0,0"))
    assert fetch(server.url(name), f"{tmp_path}/").name == name
    path = fetch(server.url(name), f"{tmp_path}/plain/", unpack=True, progress=False)
    assert (path.name, path.read_bytes()) == ("a.csv", b"7,0,0")


@pytest.mark.skipif(
    importlib.util.find_spec("zstandard") is None,
    reason="needs zstandard; run: pip install zstandard",
)
def test_zst_unpacks_where_a_reader_is_there(tmp_path):
    """.tar.zst works with Python 3.14 or zstandard."""
    import zstandard

    (tmp_path / "data.tar.zst").write_bytes(zstandard.compress(PACKED["data.tar"]))
    assert content(fetch(tmp_path / "data.tar.zst", f"{tmp_path}/", progress=False)) == FILES


def test_a_local_archive_unpacks_and_stays(tmp_path):
    """A path without `to` is returned as it is; with `to` it is unpacked and the archive is left alone."""
    packed = tmp_path / "data.zip"
    packed.write_bytes(PACKED["data.zip"])
    assert fetch(packed) == packed
    assert content(fetch(packed, tmp_path / "images", progress=False)) == FILES
    assert content(fetch(packed, unpack=True, progress=False)) == FILES
    assert packed.exists()


def test_overwrite_replaces_only_a_folder_that_a_fetch_made(server, tmp_path):
    """A folder of the user's own is never deleted, whatever overwrite says."""
    resource = server.put("data.zip", PACKED["data.zip"])
    fetch(server.url("data.zip"), tmp_path / "ours", progress=False)
    resource.replace(zip_bytes([("new.csv", b"1")]))
    assert content(fetch(server.url("data.zip"), tmp_path / "ours", overwrite=True, progress=False)) == {
        "new.csv": b"1"
    }
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "data").mkdir()
    (tmp_path / "theirs" / "data" / "thesis.tex").write_text("years")
    with pytest.raises(ExistsError):
        fetch(server.url("data.zip"), tmp_path / "theirs", overwrite=True, progress=False)
    assert content(tmp_path / "theirs") == {"data/thesis.tex": b"years"}


def test_links_inside_and_modes_are_kept(tmp_path):
    """A link to a neighbour, a hard link and an executable bit survive."""
    script = tarfile.TarInfo("bin/run.sh")
    script.mode = 0o755
    packed = tmp_path / "data.tar"
    members = [
        (script, b"#!/bin/sh"),
        (tar_link("bin/go", "run.sh"), b""),
        (tar_link("top", "bin/run.sh", tarfile.LNKTYPE), b""),
    ]
    packed.write_bytes(tar_bytes([*members, (tar_link("bin/up", "../top"), b"")]))
    archive.unpack(packed, tmp_path / "out")
    assert (tmp_path / "out" / "bin" / "go").resolve() == tmp_path / "out" / "bin" / "run.sh"
    assert (tmp_path / "out" / "bin" / "up").read_bytes() == b"#!/bin/sh"
    assert os.access(tmp_path / "out" / "bin" / "run.sh", os.X_OK)


DEVICE = tarfile.TarInfo("dev")
DEVICE.type = tarfile.CHRTYPE

HOSTILE = {
    "climb.zip": (zip_bytes([("../evil", b"x")]), r"'\.\./evil'.*\n.*climbs"),
    "climb-late.zip": (zip_bytes([("ok", b"x"), ("a/../../evil", b"x")]), "climbs"),
    "absolute.zip": (zip_bytes([("/evil", b"x")]), "absolute"),
    "drive.zip": (zip_bytes([("C:/evil", b"x")]), "absolute"),
    "backslash.zip": (zip_bytes([("a\\..\\..\\evil", b"x")]), "climbs"),
    "twice.zip": (zip_bytes([("a/b", b"x"), ("./a//b", b"y")]), "same name"),
    "below-a-file.zip": (zip_bytes([("a", b"x"), ("a/b", b"y")]), "below another"),
    "over-a-folder.zip": (zip_bytes([("a/b", b"x"), ("a", b"y")]), "same name"),
    "control.zip": (zip_bytes([("a\x1b[31m", b"x")]), "control"),
    "link.zip": (zip_bytes([(zip_link("a"), "/etc/passwd")]), "leads out"),
    "through.zip": (zip_bytes([(zip_link("a"), "b"), ("a/c", b"x")]), "below another"),
    "climb.tar": (tar_bytes([("../evil", b"x")]), "climbs"),
    "absolute.tar": (tar_bytes([("/evil", b"x")]), "absolute"),
    "link.tar": (tar_bytes([(tar_link("a", "../../etc/passwd"), b"")]), "leads out"),
    "bend.tar": (tar_bytes([(tar_link("a", "b/../../etc"), b"")]), "leads out"),
    "top.tar": (tar_bytes([(tar_link("a", ".."), b"")]), "leads out"),
    "through.tar": (tar_bytes([(tar_link("a", "b"), b""), ("a/c", b"x")]), "below another"),
    "hard.tar": (tar_bytes([(tar_link("a", "/etc/passwd", tarfile.LNKTYPE), b"")]), "absolute"),
    "hard-later.tar": (tar_bytes([(tar_link("a", "b", tarfile.LNKTYPE), b""), ("b", b"x")]), "no file before it"),
    "hard-link-of-link.tar": (
        tar_bytes([(tar_link("a", "b"), b""), (tar_link("c", "a", tarfile.LNKTYPE), b"")]),
        "no file before it",
    ),
    "device.tar": (tar_bytes([(DEVICE, b"")]), "device"),
    "bomb.zip": (zip_bytes([("zeros", bytes(300 * MIB))]), "'zeros'.*\n.*250 times"),
    "bomb.tar.gz": (gzip.compress(tar_bytes([("zeros", bytes(300 * MIB))])), "'zeros'.*\n.*times"),
    "cut.zip": (PACKED["data.zip"][:-40], "is damaged"),
    "cut.tar.gz": (PACKED["data.tar.gz"][:-40], "is damaged"),
    "cut.tar": (PACKED["data.tar"][:300_000], "is damaged"),
    "no.zip": (b"hello", "is damaged"),
    "no.tar.xz": (b"hello", "is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_damaged_archive_is_refused_by_name_and_leaves_nothing(tmp_path, name):
    """Members that climb, link out, collide or explode, and damage: ArchiveError (28), and an empty folder."""
    data, why = HOSTILE[name]
    place = tmp_path / "in"
    place.mkdir()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchiveError, match=why) as caught:
        archive.unpack(tmp_path / name, place / "out")
    assert caught.value.exit_code == 28
    assert list(place.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", name])


def test_an_encrypted_zip_is_told(tmp_path):
    """There is no password to try, so it says so."""
    data = bytearray(zip_bytes([("a", b"x")]))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match="'a' is encrypted"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 255), st.sampled_from(sorted(PACKED)))
def test_a_flipped_byte_gives_the_right_files_or_our_error(tmp_path_factory, at, value, name):
    """Damage anywhere never ends in another exception, nor outside the folder."""
    data = bytearray(PACKED[name])
    data[at % len(data)] = value
    place = tmp_path_factory.mktemp("flip")
    (place / name).write_bytes(data)
    try:
        archive.unpack(place / name, place / "out")
    except ArchiveError:
        assert [path.name for path in place.iterdir()] == [name]
    else:
        assert sorted(path.name for path in place.iterdir()) == sorted([name, "out"])


names = st.lists(st.sampled_from(["..", ".", "a", "b", "", "C:", "\\", "..\\x", "\x01"]), min_size=1, max_size=4).map(
    "/".join
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(names, st.none() | names), max_size=5))
def test_no_tar_writes_outside_its_folder(tmp_path_factory, members):
    """Whatever names and links are combined: no file or link appears elsewhere, and no link leads out."""
    place = tmp_path_factory.mktemp("tar")
    built = [(name, b"x") if target is None else (tar_link(name, target), b"") for name, target in members]
    (place / "a.tar").write_bytes(tar_bytes(built))
    try:
        archive.unpack(place / "a.tar", place / "out")
    except ArchiveError:
        assert [path.name for path in place.iterdir()] == ["a.tar"]
        return
    assert sorted(path.name for path in place.iterdir()) == ["a.tar", "out"]
    for folder, folders, files in os.walk(place / "out"):
        for name in [*folders, *files]:
            real = os.path.realpath(f"{folder}/{name}")
            assert real == str(place / "out") or real.startswith(f"{place}/out/")


def test_a_damaged_download_is_not_kept_as_a_folder(server, tmp_path):
    """A zip with a wrong checksum inside is an error with exit 28, and `to` stays free."""
    data = bytearray(zip_bytes([("a", b"x" * 1000)], zipfile.ZIP_STORED))
    data[200] ^= 1
    server.put("a.zip", bytes(data))
    with pytest.raises(ArchiveError, match=r"a\.zip is damaged"):
        fetch(server.url("a.zip"), tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []
