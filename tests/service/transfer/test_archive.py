"""Archives appear whole, or are refused by the name of the member that would do harm."""

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colabkit._archive import extraction
from colabkit.errors import ArchiveError, DataError, ExistsError, ModelFileError, NotebookError
from colabkit.headless import notebook_file
from colabkit.models.datasets import read_digits
from colabkit.models.saving import load_model
from colabkit.port.notebook import NotebookFile
from colabkit.transfer import fetch, fetch_details

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


def test_a_single_file_keeps_the_time_of_its_header_or_of_the_packed_file(server, tmp_path):
    """Gzip writes when the file was changed; the others write nothing, and gunzip takes the time of the packed file."""
    server.put("a.csv.gz", gzip.compress(b"7,0,0", mtime=1_400_000_000))
    path = fetch(server.url("a.csv.gz"), f"{tmp_path}/plain/", unpack=True, progress=False)
    assert path.stat().st_mtime == 1_400_000_000
    for name, packed in (("b.csv.xz", lzma.compress(b"7")), ("c.csv.gz", gzip.compress(b"7", mtime=0))):
        (tmp_path / name).write_bytes(packed)
        os.utime(tmp_path / name, (1_300_000_000, 1_300_000_000))
        assert fetch(tmp_path / name, f"{tmp_path}/plain/", unpack=True).stat().st_mtime == 1_300_000_000


OTHERS = {
    "page.zip": (b"404: Not Found", "it is text that begins: 404: Not Found"),
    "refused.zip": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "Code>AccessDenied</Code"),
    "data.csv.gz": (b"label,pixel\n7,0\n", "text that begins: label,pixel 7,0"),
    "really-rar.zip": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "RAR archive(.|\n)*unrar x"),
    "paper.tar.gz": (b"%PDF-1.7 ", "PDF document"),
    "table.zip": (b"PAR1" + bytes(99), "Parquet"),
    "one.zip": (gzip.compress(b"7,0,0"), "one file, compressed as .gz(.|\n)*gunzip -c"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_archive_is_called_what_it_is(server, tmp_path, name):
    """A server's words, another kind of archive or a table under the name of one that is unpacked: not "damaged"."""
    data, words = OTHERS[name]
    server.put(name, data)
    with pytest.raises(ArchiveError, match=words):
        fetch(server.url(name), f"{tmp_path}/out/", unpack=True, progress=False)


def test_a_zip_behind_a_long_script_is_no_text(tmp_path):
    """Self-extracting archives begin with a program, which may be one that can be read."""
    (tmp_path / "setup.zip").write_bytes(b"#!/bin/sh\n" + b"echo unpacking\n" * 9000 + PACKED["data.zip"])
    assert content(fetch(tmp_path / "setup.zip", tmp_path / "out", unpack=True)) == FILES


def test_a_member_that_was_appended_to_a_tar_takes_the_place_of_the_earlier_one(tmp_path, caplog):
    """`tar -r` and `tar -u` add a newer file to the end, and tar unpacks that; links give way alike, and it is told."""
    caplog.set_level("INFO")
    members = [
        ("a", b"old"),
        (tar_link("h", "a", tarfile.LNKTYPE), b""),
        (tar_link("l", "a"), b""),
        ("a", b"new"),
        (tar_link("a", "a", tarfile.LNKTYPE), b""),
        ("l", b"file"),
    ]
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    (tmp_path / "real").mkdir()
    subprocess.run(["tar", "xf", tmp_path / "x.tar", "-C", tmp_path / "real"], check=True)
    folder = fetch(tmp_path / "x.tar", tmp_path / "out", unpack=True)
    assert content(folder) == content(tmp_path / "real") == {"a": b"new", "h": b"old", "l": b"file"}
    assert "2 of the members of x.tar took the place of earlier ones" in caplog.text


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 440449768\n"


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz"])
def test_pointers_of_git_lfs_in_an_archive_are_told(server, tmp_path, caplog, name):
    """GitHub's archive of a repository has the pointers in the place of its large files; each is named, and the way."""
    files = {"model.h5": POINTER, "data/a.bin": POINTER, "readme.txt": b"hello"}
    server.put(name, zip_bytes(files.items()) if name.endswith("zip") else tar_bytes(files.items(), "w:gz"))
    folder = fetch(server.url(name), f"{tmp_path}/", progress=False)
    assert content(folder) == files
    assert f"2 of the files that were unpacked from {name} are no data but git-lfs pointers" in caplog.text
    assert "model.h5, data/a.bin" in caplog.text
    assert "git lfs pull" in caplog.text


def test_a_pointer_of_git_lfs_is_never_taken_for_the_file(tmp_path):
    """Data, a model, a notebook, and what is to be unpacked: each is called by its name, with the way to the file."""
    tried = {
        "train.csv": (DataError, read_digits),
        "digits.npz": (DataError, read_digits),
        "model.keras": (ModelFileError, load_model),
        "model.pt": (ModelFileError, load_model),
        "a.ipynb": (NotebookError, notebook_file.read),
        "b.ipynb": (NotebookError, NotebookFile),
        "a.csv": (ArchiveError, lambda path: fetch(path, f"{tmp_path}/out/", unpack=True, progress=False)),
        "a.csv.gz": (ArchiveError, lambda path: fetch(path, f"{tmp_path}/out/", unpack=True, progress=False)),
    }
    for name, (kind, read) in tried.items():
        (tmp_path / name).write_bytes(POINTER)
        with pytest.raises(kind, match="it is a git-lfs pointer to a file of 440449768 bytes") as caught:
            read(tmp_path / name)
        assert "media.githubusercontent.com" in caught.value.hint


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
    assert content(tmp_path / "ours") == {"new.csv": b"1"}  # and not below it, in ours/data
    with pytest.raises(ExistsError):  # another version is not put into it, either
        fetch(server.url("data.zip"), tmp_path / "ours", checksum="md5:" + "0" * 32, progress=False)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "data").mkdir()
    (tmp_path / "theirs" / "data" / "thesis.tex").write_text("years")
    with pytest.raises(ExistsError):
        fetch(server.url("data.zip"), tmp_path / "theirs", overwrite=True, progress=False)
    assert content(tmp_path / "theirs") == {"data/thesis.tex": b"years"}


@pytest.mark.parametrize("harm", ["delete", "cut", "add"])
def test_a_folder_of_the_cache_is_whole_or_fetched_again(server, harm):
    """A member that was deleted, moved away or cut costs the next run a fetch, not the file; one more does no harm."""
    server.put("data.zip", PACKED["data.zip"])
    folder = fetch(server.url("data.zip"), progress=False)
    if harm == "delete":
        (folder / "a.csv").unlink()
    elif harm == "cut":
        (folder / "sub" / "b.bin").write_bytes(b"")
    else:
        (folder / "labels.cache").write_bytes(b"mine")
    again = fetch_details(server.url("data.zip"), progress=False)
    assert again.path == folder
    assert again.from_cache is (harm == "add")
    assert content(folder) == FILES | ({"labels.cache": b"mine"} if harm == "add" else {})


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
    extraction.unpack(packed, tmp_path / "out")
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
    "hard-later.tar": (tar_bytes([(tar_link("a", "b", tarfile.LNKTYPE), b""), ("b", b"x")]), "not a file before it"),
    "hard-link-of-link.tar": (
        tar_bytes([(tar_link("a", "b"), b""), (tar_link("c", "a", tarfile.LNKTYPE), b"")]),
        "not a file before it",
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
        extraction.unpack(tmp_path / name, place / "out")
    assert caught.value.exit_code == 28
    assert list(place.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", name])


def test_an_encrypted_zip_is_told(tmp_path):
    """There is no password to try, so it says so."""
    data = bytearray(zip_bytes([("a", b"x")]))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"'a' is encrypted\n.*\n.*unpack=False.*7z x "):
        extraction.unpack(tmp_path / "a.zip", tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 255), st.sampled_from(sorted(PACKED)))
def test_a_flipped_byte_gives_the_right_files_or_our_error(tmp_path_factory, at, value, name):
    """Damage anywhere never ends in another exception, nor outside the folder."""
    data = bytearray(PACKED[name])
    data[at % len(data)] = value
    place = tmp_path_factory.mktemp("flip")
    (place / name).write_bytes(data)
    try:
        extraction.unpack(place / name, place / "out")
    except ArchiveError:
        assert [path.name for path in place.iterdir()] == [name]
    else:
        assert sorted(path.name for path in place.iterdir()) == sorted([name, "out"])


names = st.lists(st.sampled_from(["..", ".", "a", "b", "", "C:", "\\", "..\\x", "\x01"]), min_size=1, max_size=4).map(
    "/".join
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(names, st.none() | names), max_size=5))
@example([("a", "a//.")])
def test_no_tar_writes_outside_its_folder(tmp_path_factory, members):
    """Whatever names and links are combined: no file or link appears elsewhere, and no link leads out."""
    place = tmp_path_factory.mktemp("tar")
    built = [(name, b"x") if target is None else (tar_link(name, target), b"") for name, target in members]
    (place / "a.tar").write_bytes(tar_bytes(built))
    try:
        extraction.unpack(place / "a.tar", place / "out")
    except ArchiveError:
        assert [path.name for path in place.iterdir()] == ["a.tar"]
        return
    assert sorted(path.name for path in place.iterdir()) == ["a.tar", "out"]
    for folder, folders, files in os.walk(place / "out"):
        for name in [*folders, *files]:
            real = os.path.realpath(f"{folder}/{name}")
            assert real == str(place / "out") or real.startswith(f"{place}/out/")


def kind(name, letter):
    """Make a member of a kind that has a letter only."""
    info = tarfile.TarInfo(name)
    info.type = letter
    return info


def test_a_volume_label_and_an_incremental_dump_are_no_devices(tmp_path, caplog):
    """`tar -V` writes a label and `tar -g` folders with a list: GNU tar unpacks both, and so does fetch."""
    caplog.set_level("INFO")
    members = [(kind("backup 1", b"V"), b""), (kind("d", b"D"), b"Yf\0\0"), ("d/f", b"x"), (kind("odd", b"Q"), b"y")]
    (tmp_path / "a.tar").write_bytes(tar_bytes(members))
    extraction.unpack(tmp_path / "a.tar", tmp_path / "out")
    assert content(tmp_path / "out") == {"d/f": b"x", "odd": b"y"}
    told = caplog.text
    assert "volume backup 1" in told
    assert "unknown kind" in told


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
@pytest.mark.parametrize("options", [["-g", "snar"], ["-V", "label"], ["--format=gnu", "--sparse"], ["--format=v7"]])
def test_what_gnu_tar_writes_keeps_its_names(tmp_path, options):
    """The times in GNU's own headers stand where POSIX has a prefix of the name, and are none."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f.txt").write_bytes(b"x")
    done = subprocess.run(["tar", "-cf", "a.tar", *options, "d"], cwd=tmp_path, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this tar is not GNU's")
    extraction.unpack(tmp_path / "a.tar", tmp_path / "out")
    assert content(tmp_path / "out") == {"d/f.txt": b"x"}


@pytest.mark.parametrize("name", ["Icon\r", "a\tb", "T:12.csv"])
@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_names_that_a_file_may_have_are_kept(tmp_path, name, pack):
    """A Mac's Icon, a tab, a colon behind one letter: none of them is an attack."""
    packed = tmp_path / ("a.zip" if pack is zip_bytes else "a.tar")
    packed.write_bytes(pack([(name, b"x")]))
    extraction.unpack(packed, tmp_path / "out")
    assert content(tmp_path / "out") == {name: b"x"}


def named(name, *, system=0, extra=b"", flag=0):
    """Make a zip with one member whose name is these bytes."""
    info = zipfile.ZipInfo("N" * len(name))
    info.create_system, info.extra = system, extra
    data = zip_bytes([(info, b"x")]).replace(b"N" * len(name), name)
    at = data.index(b"PK\x01\x02")
    return data[:6] + bytes([0, flag]) + data[8 : at + 8] + bytes([0, flag]) + data[at + 10 :]


_ENCODINGS = (
    "flag utf-8 gbk cp437 ascii ascii-second second stale-second "
    "cp1252 cp850 shift-jis cp866 cp1251 korean big5 cp852 windows unix"
)


def unicode_path(raw, name):
    """Make the Info-ZIP field that holds a name in UTF-8 beside the one in the code page."""
    field = b"\x01" + zlib.crc32(raw).to_bytes(4, "little") + name.encode()
    return struct.pack("<2H", 0x7075, len(field)) + field


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (named("café.csv".encode(), flag=8), "café.csv"),
        (named("Übung/дом.csv".encode(), system=3), "Übung/дом.csv"),
        (named("训练/图像数据.csv".encode("gbk")), "训练/图像数据.csv"),
        (named("café.csv".encode("cp437")), "café.csv"),
        (named("привет.csv".encode("cp437", "replace")), "??????.csv"),
        (named(b"caf?.csv", extra=unicode_path(b"caf?.csv", "caf\u00e9.csv")), "caf?.csv"),
        (named(b"caf\x82.csv", extra=unicode_path(b"caf\x82.csv", "café-2.csv")), "café-2.csv"),
        (named(b"caf\x82.csv", extra=unicode_path(b"older", "wrong.csv")), "café.csv"),
        (named("São Paulo/Größe.csv".encode("cp1252")), "São Paulo/Größe.csv"),
        (named("Ação/Não.txt".encode("cp850")), "Ação/Não.txt"),
        (named("画像データ/犬_001.jpg".encode("cp932")), "画像データ/犬_001.jpg"),
        (named("Данные/файл.csv".encode("cp866")), "Данные/файл.csv"),
        (named("Новая папка/фото.jpg".encode("cp1251"), system=3), "Новая папка/фото.jpg"),
        (named("데이터/사진.jpg".encode("cp949")), "데이터/사진.jpg"),
        (named("訓練資料.csv".encode("big5")), "訓練資料.csv"),
        (named("Łódź/Żółw.txt".encode("cp852")), "Łódź/Żółw.txt"),
        (named(b"train\\images\\1.png"), "train/images/1.png"),
        (named(b"train\\1.png", system=3), "train\\1.png"),
    ],
    ids=_ENCODINGS.split(),
)
def test_a_zip_name_is_read_as_it_was_written(tmp_path, data, name):
    """UTF-8 without its flag, the code pages of Windows and DOS, a second name in UTF-8, the separator of Windows."""
    (tmp_path / "a.zip").write_bytes(data)
    extraction.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert content(tmp_path / "out") == {name: b"x"}


def test_names_in_two_encodings_are_each_read_as_they_were_written(tmp_path, caplog):
    """One in UTF-8 and one of an old Windows, both without a word of it; the guess is told."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for letters in ("N" * 13, "M" * 8):
            packed.writestr(letters, b"x")
    data = out.getvalue().replace(b"N" * 13, "日本語.txt".encode()).replace(b"M" * 8, "naïve.md".encode("cp1252"))
    (tmp_path / "a.zip").write_bytes(data)
    with caplog.at_level("INFO", "colabkit"):
        extraction.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert content(tmp_path / "out") == {"日本語.txt": b"x", "naïve.md": b"x"}
    assert "does not say how its names are encoded; they were read as Western European" in caplog.text


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("data.tar", "data.tar.gz"),
        ("data.tar.gz", "data.tar"),
        ("data.tgz", "data.tar.xz"),
        ("data.zip", "data.tar.gz"),
        ("data.tar", "data.zip"),
        ("data.tbz", "data.tar.bz2"),
        ("data.taz", "data.tar.gz"),
        ("data.tar.lzma", "data.tar.xz"),
    ],
)
def test_an_archive_is_what_it_holds_and_not_what_it_is_called(tmp_path, name, held):
    """Under another archive's name, or a rare one, the right files come, as with bsdtar and 7z."""
    (tmp_path / name).write_bytes(PACKED[held])
    (tmp_path / held).write_bytes(PACKED[held])
    extraction.unpack(tmp_path / name, tmp_path / "out", name)
    extraction.unpack(tmp_path / held, tmp_path / "right", held)
    assert content(tmp_path / "out") == content(tmp_path / "right")


def test_an_archive_without_an_ending_is_unpacked_when_asked(server, tmp_path):
    """unpack=True looks into a file whose address and server tell no name."""
    for name, held in (("1", "data.zip"), ("2", "data.tar.gz")):
        server.put(name, PACKED[held])
        assert content(fetch(server.url(name), f"{tmp_path}/", unpack=True, progress=False)) == FILES
    server.put("3", gzip.compress(b"7,0,0"))
    assert fetch(server.url("3"), f"{tmp_path}/", unpack=True, progress=False).read_bytes() == b"7,0,0"


def zip_by_method(method, packed, plain, *, crc=None, disk=0):
    """Make a zip with one member whose packed bytes were made elsewhere."""
    crc = zlib.crc32(plain) if crc is None else crc
    sizes = (crc, len(packed), len(plain))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, method, 0, 33, *sizes, 1, 0) + b"a" + packed
    listed = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, method, 0, 33, *sizes, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", disk, 0, 1, 1, len(listed), len(local), 0)
    return local + listed + end


def deflate64(plain):
    """Pack by Deflate64, in a process of its own: beside TensorFlow's zlib the packer ends in a segmentation fault."""
    code = (
        "import sys, inflate64; packer = inflate64.Deflater(); "
        "sys.stdout.buffer.write(packer.deflate(sys.stdin.buffer.read()) + packer.flush())"
    )
    return subprocess.run([sys.executable, "-c", code], input=plain, capture_output=True, check=True).stdout


def test_a_zip_packed_by_deflate64_or_xz_unpacks_and_its_checksum_counts(tmp_path):
    """Windows packs more than 2 GB by Deflate64, 7-Zip by others; zipfile refuses them."""
    pytest.importorskip("inflate64", reason="inflate64 is missing; pip install inflate64")
    plain = b"7,0,0\n" * 100_000
    for number, (method, packed) in enumerate([(9, deflate64(plain)), (95, lzma.compress(plain))]):
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(zip_by_method(method, packed, plain))
        extraction.unpack(archive, tmp_path / f"out{number}")
        assert content(tmp_path / f"out{number}") == {"a": plain}
        for bad in (
            zip_by_method(method, packed, plain, crc=7),
            zip_by_method(method, packed[: len(packed) // 2], plain),
        ):
            archive.write_bytes(bad)
            with pytest.raises(ArchiveError, match="damaged"):
                extraction.unpack(archive, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.zip", zip_by_method(98, b"x", b"x"), "method 98"),
        ("a.zip", zip_by_method(0, b"x", b"x", disk=3), "last of 4 parts"),
        ("a.zip.001", b"PK", "split into several"),
        ("a.z01", b"PK", "split into several"),
        ("a.part1.rar", b"Rar!", "split into several"),
        ("a.rar", b"Rar!", "with: unrar x"),
        ("a.csv.lz4", b"\x04\x22\x4d\x18", "with: lz4 -d"),
        ("a.unknown", b"x", "ending is not known"),
        ("a.zip", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "git-lfs pointer"),
        ("a.7z", b'{"error": "quota"}', "it is JSON"),
        ("a.tar.gz", b"<!doctype html><title>Sign in</title>", "web page"),
    ],
)
def test_what_cannot_be_unpacked_is_not_called_damaged(tmp_path, name, data, why):
    """An odd method and one part of several are told as that, with a way."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchiveError, match=why) as caught:
        extraction.unpack(tmp_path / name, tmp_path / "out", name)
    assert "damaged" not in str(caught.value)
    assert "unpack=False" in str(caught.value)


BOMBS = {
    "long-name.tar.gz": (b"L", 200 * MIB, "header of a member"),
    "pax.tar.gz": (b"x", 200 * MIB, "header of a member"),
    "global.tar.gz": (b"g", 200 * MIB, "header of a member"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_header_that_fills_the_memory_is_refused(tmp_path, name):
    """A name of 200 MiB packs into 200 KB: it is refused before it is read."""
    letter, size, why = BOMBS[name]
    header = kind("x", letter)
    header.size = size
    (tmp_path / name).write_bytes(gzip.compress(header.tobuf() + bytes(MIB), 1))
    with pytest.raises(ArchiveError, match=why):
        extraction.unpack(tmp_path / name, tmp_path / "out")


def test_a_flood_of_folders_is_stopped(tmp_path):
    """More members than an archive of this size can reasonably hold: refused, and all are gone."""
    members = [(kind(f"{number}/", tarfile.DIRTYPE), b"") for number in range(6_000)]
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(tar_bytes(members), preset=0))
    with pytest.raises(ArchiveError, match="more folders than"):
        extraction.unpack(tmp_path / "a.tar.xz", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.xz"]


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes])
def test_folders_nested_without_end_are_refused_and_leave_nothing(tmp_path, pack):
    """1,500 folders in one another: refused by name, with no raw RecursionError and no hidden folder."""
    packed = tmp_path / ("a.zip" if pack is zip_bytes else "a.tar")
    packed.write_bytes(pack([("d/" * 1500 + "f", b"x"), ("../evil", b"x")]))
    with pytest.raises(ArchiveError, match="folders deep"):
        extraction.unpack(packed, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [packed]


def test_headers_chained_without_end_are_refused(tmp_path):
    """3,000 pax headers before one member end in words, not in a RecursionError."""
    (tmp_path / "a.tar").write_bytes(kind("x", b"x").tobuf() * 3000 + tar_bytes([("a", b"x")]))
    with pytest.raises(ArchiveError):
        extraction.unpack(tmp_path / "a.tar", tmp_path / "out")


def test_what_a_kill_left_while_unpacking_is_swept_by_the_next_run(tmp_path):
    """Kill -9 in the middle leaves a hidden folder; the same line again removes it and makes the right one."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(200):
            packed.writestr(f"{number}.bin", bytes(MIB))
    child = "import sys, colabkit as ck; ck.fetch(sys.argv[1], sys.argv[2], progress=False)"
    process = subprocess.Popen([sys.executable, "-c", child, tmp_path / "a.zip", tmp_path / "out"])
    while not list(tmp_path.glob(".out.part-*/new/9.bin")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert list(tmp_path.glob(".out.part-*/new"))
    fetch(tmp_path / "a.zip", tmp_path / "out", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_a_damaged_download_is_not_kept_as_a_folder(server, tmp_path):
    """A zip with a wrong checksum inside is an error with exit 28, and `to` stays free."""
    data = bytearray(zip_bytes([("a", b"x" * 1000)], zipfile.ZIP_STORED))
    data[200] ^= 1
    server.put("a.zip", bytes(data))
    with pytest.raises(ArchiveError, match=r"a\.zip is damaged"):
        fetch(server.url("a.zip"), tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []
