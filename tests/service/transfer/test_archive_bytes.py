"""Every archive format and every byte: damaged archives are refused, or give the right files."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile

import py7zr
import pytest
import zstandard

from colabkit._archive import extraction
from colabkit.errors import ArchiveError

RANDOM = random.Random(16)  # noqa: S311 - test data
FILES = {"empty": b""} | {f"d{i % 3}/f{i}.bin": RANDOM.randbytes(200 + i * 97) + b"abc" * (i * 30) for i in range(6)}
TABLE = b"7,0,0\n" * 300 + RANDOM.randbytes(2000)


def tar(end=True):
    """Pack FILES as a tar, with or without the blocks that mark its end."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
        last = packed.offset
    return out.getvalue() if end else out.getvalue()[:last]


def zipped(compression, *, wide=False):
    """Pack FILES as a zip; a wide one has the end record of 64 bits."""
    out = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        if wide:
            patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
        with zipfile.ZipFile(out, "w", compression) as packed:
            for name, data in FILES.items():
                packed.writestr(name, data)
    return out.getvalue()


def seven():
    """Pack FILES as a 7z."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as packed:
        for name, data in FILES.items():
            packed.writestr(data, name)
    return out.getvalue()


def zst(data):
    """Compress with the checksum that the program zstd writes by default."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def in_members(compress, data):
    """Compress in three members one after the other, as pigz and `cat` do."""
    third = len(data) // 3
    return b"".join(compress(data[at : at + third]) for at in range(0, len(data), third))


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst}
CHECKED = {
    "a.zip": zipped(zipfile.ZIP_DEFLATED),
    "stored.zip": zipped(zipfile.ZIP_STORED),
    "wide.zip": zipped(zipfile.ZIP_DEFLATED, wide=True),
    "a.7z": seven(),
    **{f"a.tar.{ending}": pack(tar()) for ending, pack in PACKERS.items()},
    **{f"padded.tar.{ending}": pack(tar()) + bytes(700) for ending, pack in PACKERS.items()},
    **{f"members.tar.{ending}": in_members(pack, tar()) for ending, pack in PACKERS.items()},
    **{f"a.{ending}": pack(TABLE) for ending, pack in PACKERS.items()},
    **{f"members.{ending}": in_members(pack, TABLE) for ending, pack in PACKERS.items()},
}


def unpacked(place, name, data):
    """Unpack bytes and return what was made; None if they were refused and nothing was left."""
    (place / name).write_bytes(data)
    try:
        extraction.unpack(place / name, place / "out")
    except ArchiveError:
        assert [path.name for path in place.iterdir()] == [name]
        return None
    out = place / "out"
    if out.is_file():
        return out.read_bytes()
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def damage(data, dice):
    """Yield a format's bytes flipped, cut, with a part taken out, zeroed or put in."""
    edges = [0, 1, 2, 3, 5, len(data) - 1, len(data) - 5, len(data) - 12, len(data) - 20]
    for at in [*edges, *(dice.randrange(len(data)) for _ in range(24))]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << dice.randrange(8)
        yield f"flip at {at}", bytes(flipped)
    for at in [*edges, *(dice.randrange(len(data)) for _ in range(6))]:
        yield f"cut at {at}", data[:at]
    for at in [dice.randrange(len(data)) for _ in range(4)]:
        yield f"zeros at {at}", data[:at] + bytes(300) + data[at + 300 :]
        yield f"gap at {at}", data[:at] + data[at + 99 :]
        yield f"more at {at}", data[:at] + dice.randbytes(99) + data[at:]


@pytest.mark.parametrize("name", CHECKED)
def test_a_damaged_archive_is_refused_or_gives_the_right_files(tmp_path_factory, name):
    """Flip a bit, cut, zero, remove or insert anywhere: the checksum decides, as the stream is read to its end."""
    right = FILES if extraction.kind_of(name) else TABLE
    assert unpacked(tmp_path_factory.mktemp("whole"), name, CHECKED[name]) == right
    for what, data in damage(CHECKED[name], random.Random(name)):  # noqa: S311
        found = unpacked(tmp_path_factory.mktemp("damaged"), name, data)
        assert found in (None, right), what


@pytest.mark.parametrize("name", [*CHECKED, "a.tar"])
@pytest.mark.parametrize("junk", [bytes(3000), b"<html>" * 20_000], ids=["zeros", "page"])
def test_junk_behind_a_sound_archive_is_told_and_not_fatal(tmp_path, caplog, name, junk):
    """Zeros are padding; anything else is told in one line, and all files are there."""
    caplog.set_level("INFO")
    data = CHECKED.get(name, tar())
    assert unpacked(tmp_path, name, data + junk) == (FILES if extraction.kind_of(name) else TABLE)
    told = caplog.text
    assert told.count("after its end") == (1 if junk.strip(b"\0") or name.endswith(("zip", "7z")) else 0)


def headers():
    """Return where the headers of the tar begin."""
    with tarfile.open(fileobj=io.BytesIO(tar())) as packed:
        return [member.offset for member in packed]


@pytest.mark.parametrize("at", headers()[1:])
@pytest.mark.parametrize("how", ["flip", "zero", "cut in", "cut before"])
def test_every_header_of_a_tar_counts(tmp_path, caplog, at, how):
    """One that is damaged or zeroed is an error (cpython#120740); all that end before one are told to be so."""
    data = bytearray(tar())
    if how == "flip":
        data[at + 30] ^= 1
    elif how == "zero":
        data[at : at + 512] = bytes(512)
    else:
        del data[at + (200 if how == "cut in" else 0) :]
    found = unpacked(tmp_path, "a.tar", bytes(data))
    assert (found is None) == (how != "cut before")
    assert ("a.tar has no end" in caplog.text) == (how == "cut before")
    assert found is None or found.items() < FILES.items()


def test_a_tar_without_its_end_is_told_unless_a_checksum_says_that_it_is_whole(tmp_path, caplog):
    """Some programs write no end, and tar unpacks it; cut between two members looks alike, within one is refused."""
    (tmp_path / "in").mkdir()
    (tmp_path / "plain").mkdir()
    assert unpacked(tmp_path / "in", "a.tar.gz", gzip.compress(tar(end=False))) == FILES
    assert "no end" not in caplog.text
    assert unpacked(tmp_path / "plain", "a.tar", tar(end=False)) == FILES
    assert "a.tar has no end" in caplog.text
    (tmp_path / "plain" / "b.tar").write_bytes(tar(end=False)[:-600])
    with pytest.raises(ArchiveError, match="is damaged"):
        extraction.unpack(tmp_path / "plain" / "b.tar", tmp_path / "plain" / "out_of_b")


def test_archives_joined_end_to_end_are_all_unpacked(tmp_path, caplog):
    """`cat a.tar.gz b.tar.gz` holds both; tar alone shows the first and says nothing."""
    caplog.set_level("INFO")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        info = tarfile.TarInfo("more.csv")
        info.size = 5
        packed.addfile(info, io.BytesIO(b"7,0,0"))
    joined = gzip.compress(tar()) + gzip.compress(out.getvalue())
    assert unpacked(tmp_path, "a.tar.gz", joined) == FILES | {"more.csv": b"7,0,0"}
    assert "2 archives joined" in caplog.text


@pytest.mark.parametrize("wide", [False, True])
def test_a_zip_with_fewer_members_than_it_counts_is_refused(tmp_path, wide):
    """The number in the end record is held against the list, in 16 and in 64 bits."""
    data = bytearray(zipped(zipfile.ZIP_DEFLATED, wide=wide))
    at = data.rindex(b"PK\x06\x06") + 24 if wide else data.rindex(b"PK\x05\x06") + 8
    data[at] += 1
    data[at + (8 if wide else 2)] += 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match="it counts 8 members and lists 7"):
        extraction.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_the_beginning_of_a_zip_that_holds_a_zip_is_not_the_inner_one(tmp_path):
    """Cut behind a stored inner archive, the file ends in a sound list: of another archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("inner.zip", zipped(zipfile.ZIP_STORED))
        packed.writestr("outer.csv", b"7,0,0")
    cut = out.getvalue()[: out.getvalue().index(b"PK\x05\x06") + 22]
    assert unpacked(tmp_path, "a.zip", cut) is None


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.7z"])
def test_files_and_folders_keep_the_time_of_their_last_change(tmp_path, name):
    """As unzip, tar and 7z keep them: what goes by times, as make and rsync do, sees the same."""
    source = tmp_path / "in"
    (source / "a").mkdir(parents=True)
    (source / "a" / "b.csv").write_bytes(b"7,0,0")
    for path, changed in ((source / "a" / "b.csv", 1_500_000_001), (source / "a", 1_400_000_000)):
        os.utime(path, (changed, changed))
    packed = tmp_path / name
    if name == "a.7z":
        with pytest.importorskip("py7zr").SevenZipFile(packed, "w") as archive:
            archive.writeall(source / "a", "a")
    elif name == "a.zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(source / "a", "a")
            archive.write(source / "a" / "b.csv", "a/b.csv")
    else:
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(source / "a", "a")
    extraction.unpack(packed, tmp_path / "out")
    rough = 2 if name == "a.zip" else 0.001  # its clock has steps of two seconds
    assert (tmp_path / "out" / "a" / "b.csv").stat().st_mtime == pytest.approx(1_500_000_001, abs=rough)
    assert (tmp_path / "out" / "a").stat().st_mtime == pytest.approx(1_400_000_000, abs=rough)


def test_a_zip_of_infozip_tells_the_moment(tmp_path):
    """Its own field goes before the clock's time, which is another moment in another time zone."""
    moment = 1_500_000_001
    member = zipfile.ZipInfo("a.csv", date_time=(2001, 1, 1, 0, 0, 0))
    member.extra = struct.pack("<HHBi", 0x5455, 5, 1, moment)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, b"7,0,0")
    extraction.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a.csv").stat().st_mtime == moment
