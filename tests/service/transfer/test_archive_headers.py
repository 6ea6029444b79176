"""Headers of tar archives that fill the memory or the time, and names of members that deceive who reads them."""

from __future__ import annotations

import gzip
import struct
import tarfile
import zipfile
import zlib

import pytest

from colabkit._archive import extraction
from colabkit.errors import ArchiveError

END = bytes(1024)


def header(name, size=0, kind=tarfile.REGTYPE):
    """Make a header."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(data):
    """Fill up to a block."""
    return data + bytes(-len(data) % 512)


def extended(kind=tarfile.XHDTYPE, **records):
    """Make an extended header of these records."""
    lines = b""
    for key, value in records.items():
        text = f" {key.replace('__', '.')}={value}\n".encode()
        length = next(n for n in range(len(text), len(text) + 9) if len(str(n)) + len(text) == n)
        lines += str(length).encode() + text
    return header("pax", len(lines), kind) + padded(lines)


def map_of_holes():
    """Claim, as GNU tar 1.0 does before the data, a map of a hundred million holes."""
    notes = extended(GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__name="x", GNU__sparse__realsize=10)
    return notes + header("x", 64 << 20) + b"100000000\n" + b"0\n" * (16 << 20) + END


def old_map_of_holes():
    """Claim the same as old GNU tar does, in blocks that each say that another one follows."""
    first = bytearray(header("x", kind=b"S"))
    first[482] = 1
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + 256 + sum(first[156:]))
    more = (b"%011o\0" % 1) * 42 + b"\1" + bytes(7)
    return bytes(first) + more * (32 << 20 >> 9) + END


def notes_for_all():
    """Give notes for all members that follow, a few hundred times."""
    notes = extended(tarfile.XGLTYPE, **{f"k{number}": "v" for number in range(60_000)})
    return notes * 40 + header("x") + END


HOSTILE = {
    "map.tar.gz": (gzip.compress(map_of_holes(), 1), "header of a member is"),
    "old-map.tar.gz": (gzip.compress(old_map_of_holes(), 1), "header of a member is"),
    "notes.tar.gz": (gzip.compress(notes_for_all(), 1), "header of a member is"),
    "digits.tar.gz": (gzip.compress(extended(mtime="9" * 500_000) + header("x") + END), "500,000 digits"),
    "csi.tar": (header("\x9b2Jcleared") + END, "control characters"),
    "delete.tar": (header("a\x7f\x7fb") + END, "control characters"),
    "turned.tar": (header("photo\u202egpj.exe") + END, "turn the direction"),
    "isolated.tar": (header("photo\u2066gpj.exe") + END, "turn the direction"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_headers_without_end_and_deceiving_names_are_refused(tmp_path, name):
    """Maps of holes, notes, numbers and names that steer a terminal: an ArchiveError, and nothing is left."""
    data, why = HOSTILE[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArchiveError, match=why):
        extraction.unpack(tmp_path / name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_notes_for_all_members_are_not_copied_for_each(tmp_path):
    """A header with 20,000 notes and 3,000 members that have notes of their own: 60 million copies were made."""
    notes = extended(tarfile.XGLTYPE, **{f"k{number}": "v" for number in range(20_000)}, mtime=1)
    members = b"".join(extended(comment="x") + header(f"f{number}") for number in range(3000))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(notes + members + END, 1))
    extraction.unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 3000


def test_a_file_with_holes_unpacks_as_tar_does(tmp_path):
    """The bound on headers lets a real map pass: data, a hole, data."""
    notes = extended(GNU__sparse__major=1, GNU__sparse__minor=0, GNU__sparse__name="x", GNU__sparse__realsize=20)
    body = padded(b"2\n0\n3\n17\n3\n") + padded(b"abcxyz")
    (tmp_path / "a.tar").write_bytes(notes + header("GNUSparseFile.0/x", len(body)) + padded(body) + END)
    extraction.unpack(tmp_path / "a.tar", tmp_path / "out")
    assert (tmp_path / "out" / "x").read_bytes() == b"abc" + bytes(14) + b"xyz"


def test_the_second_name_of_a_zip_cannot_climb(tmp_path):
    """The Info-ZIP field with a name in UTF-8 is judged as every name is."""
    raw, second = b"a\x84", b"../../evil"
    extra = struct.pack("<2HBL", 0x7075, 5 + len(second), 1, zlib.crc32(raw)) + second
    sizes = (zlib.crc32(b"x"), 1, 1, len(raw), len(extra))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, *sizes) + raw + extra + b"x"
    listed = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, *sizes, 0, 0, 0, 0, 0) + raw + extra
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), len(local), 0)
    (tmp_path / "a.zip").write_bytes(local + listed + end)
    with pytest.raises(ArchiveError, match="climbs out"):
        extraction.unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("system", [0, 10])
def test_bits_of_unix_in_a_zip_of_windows_make_no_link(tmp_path, system):
    """Old archivers of DOS leave garbage there (XADMaster#183); unzip makes the plain file, too."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        info = zipfile.ZipInfo("a.csv")
        info.create_system, info.external_attr = system, (0o120777 << 16) | 0x20
        packed.writestr(info, "7,0,0")
    extraction.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out" / "a.csv").is_symlink()
    assert (tmp_path / "out" / "a.csv").read_bytes() == b"7,0,0"


def test_kinds_of_a_zip_that_are_no_file_become_plain_ones(tmp_path):
    """A device, a pipe, a set-uid program: an empty file each, with no more rights than a new file has."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for number, kind in enumerate((0o020000, 0o010000, 0o140000, 0o106777)):
            info = zipfile.ZipInfo(f"n{number}")
            info.create_system, info.external_attr = 3, (kind | 0o6777) << 16
            packed.writestr(info, "")
    extraction.unpack(tmp_path / "a.zip", tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert path.is_file()
        assert path.stat().st_mode & 0o7000 == 0
