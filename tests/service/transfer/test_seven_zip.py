"""7z archives appear whole, or are refused by the name of the member that would do harm."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit._archive import extraction, target
from colabkit.errors import ArchiveError, MissingDependencyError
from colabkit.transfer import fetch

MIB = 1 << 20
FILES = {"a.csv": b"7,0,0", "sub/b.bin": bytes(range(256)) * 5000, "sub/deep/empty": b""}


def packed(members, **options) -> bytes:
    """Pack (name, content) pairs; names are written as they are, as an attacker would."""
    out = io.BytesIO()
    placeholders = {f"member{number:04d}": name for number, (name, _) in enumerate(members)}
    with py7zr.SevenZipFile(out, "w", **options) as writer:
        writer.set_encoded_header_mode(False)
        for placeholder, (_, content) in zip(placeholders, members, strict=True):
            writer.writestr(content, placeholder)
    return renamed(out.getvalue(), placeholders)


def renamed(data: bytes, names: dict[str, str]) -> bytes:
    """Give members other names by rewriting the header, which keeps a checksum of itself in two places."""
    at, size = struct.unpack("<QQ", data[12:28])
    header = data[32 + at : 32 + at + size]
    before = sum(len(name) * 2 for name in names)
    for old, new in names.items():
        header = header.replace(old.encode("utf-16-le"), new.encode("utf-16-le"))
    grown = len(header) - size
    if grown:  # the block of names tells its own length: type 0x11, then a number below 128 or of two bytes
        length = before + 2 * len(names) + 1
        header = header.replace(b"\x11" + number(length), b"\x11" + number(length + grown), 1)
    start = struct.pack("<QQI", at, len(header), zlib.crc32(header))
    return data[:8] + struct.pack("<I", zlib.crc32(start)) + start + data[32 : 32 + at] + header


def number(value: int) -> bytes:
    """Write a number as 7z does."""
    return bytes([value]) if value < 128 else bytes([0x80 | value >> 8, value & 255])


def from_folder(folder: Path) -> bytes:
    """Pack a folder with its links and modes."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as writer:
        for path in sorted(folder.iterdir()):
            writer.write(path, path.name)
    return out.getvalue()


def content(folder):
    """Read a folder as a dictionary."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_becomes_a_folder_of_its_name(server, tmp_path):
    """It unpacks to what was packed, and nothing else is left."""
    server.put("data.7z", packed(list(FILES.items())))
    folder = fetch(server.url("data.7z"), f"{tmp_path}/", progress=False)
    assert folder == tmp_path / "data"
    assert content(folder) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_links_inside_and_modes_are_kept(tmp_path):
    """A link within the folder stays one, and what could be run still can."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "plain").write_text("x")
    (source / "link").symlink_to("plain")
    (tmp_path / "a.7z").write_bytes(from_folder(source))
    extraction.unpack(tmp_path / "a.7z", tmp_path / "out")
    assert (tmp_path / "out" / "link").readlink() == Path("plain")
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert not (tmp_path / "out" / "plain").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.sh", "climbs out"),
        ("a/../../evil.sh", "climbs out"),
        ("/etc/evil.sh", "absolute"),
        ("C:/evil.sh", "absolute"),
        ("..\\evil.sh", "climbs out"),
    ],
)
def test_a_member_that_leaves_the_folder_is_refused_by_name(tmp_path, name, why):
    """Nothing is written, inside or outside."""
    (tmp_path / "inside").mkdir()
    file = tmp_path / "inside" / "a.7z"
    file.write_bytes(packed([("good", b"1"), (name, b"evil")]))
    with pytest.raises(ArchiveError, match=why):
        extraction.unpack(file, tmp_path / "inside" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "a.7z"]


@pytest.mark.parametrize("outside", ["../secret", "/etc/passwd"])
def test_a_link_that_leads_out_is_refused(tmp_path, outside):
    """A link is no way out either."""
    (tmp_path / "secret").touch()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(outside)
    (tmp_path / "a.7z").write_bytes(from_folder(tmp_path / "source"))
    with pytest.raises(ArchiveError, match="leads out"):
        extraction.unpack(tmp_path / "a.7z", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_of_the_present_folder_has_an_entry_for_it(tmp_path):
    """py7zr writes one called "." where `writeall(folder, ".")` made it; it is the folder itself."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "a.csv").write_bytes(b"7,0,0")
    with py7zr.SevenZipFile(tmp_path / "data.7z", "w") as packed:
        packed.writeall(tmp_path / "in", ".")
    extraction.unpack(tmp_path / "data.7z", tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "a.csv").read_bytes() == b"7,0,0"


def test_two_members_of_one_name_are_refused(tmp_path):
    """Which of the two would be the file?"""
    (tmp_path / "a.7z").write_bytes(packed([("a.csv", b"1"), ("a.csv", b"2")]))
    with pytest.raises(ArchiveError, match="same name"):
        extraction.unpack(tmp_path / "a.7z", tmp_path / "out")


def test_an_archive_that_explodes_is_stopped(tmp_path, monkeypatch):
    """300 MB of zeros out of a few KB end at the limit, and nothing is left."""
    file = tmp_path / "a.7z"
    file.write_bytes(packed([("zeros.bin", bytes(20 * MIB))]))
    monkeypatch.setattr(target, "_SMALL", 5 * MIB)
    with pytest.raises(ArchiveError, match=r"explodes at the member 'zeros\.bin'"):
        extraction.unpack(file, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.7z"]


@pytest.mark.parametrize("header", [False, True])
def test_an_encrypted_archive_is_told(tmp_path, header):
    """There is nobody to ask for a password."""
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w", password="x", header_encryption=header) as writer:  # noqa: S106
        writer.writestr(b"1", "a.csv")
    with pytest.raises(ArchiveError, match=r"encrypted\n.*\n.*unpack=False.*7z x a\.7z"):
        extraction.unpack(tmp_path / "a.7z", tmp_path / "out")


SOUND = packed(list(FILES.items()))


def test_the_first_of_several_volumes_is_told_as_that(tmp_path):
    """7z -v cuts anywhere; the first volume begins as an archive does, and ends too early."""
    (tmp_path / "a.7z.001").write_bytes(SOUND[:-20])
    with pytest.raises(ArchiveError, match=r"one part of an archive[\s\S]*with: 7z x"):
        extraction.unpack(tmp_path / "a.7z.001", tmp_path / "out")


def test_a_wrong_checksum_is_told_in_words(tmp_path):
    """py7zr raises two numbers and a name."""
    data = os.urandom(5000)
    archive = bytearray(packed([("a.bin", data)]))
    archive[2000] ^= 1
    (tmp_path / "a.7z").write_bytes(bytes(archive))
    with pytest.raises(ArchiveError, match=r"checksum of the member 'a\.bin' is wrong"):
        extraction.unpack(tmp_path / "a.7z", tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(SOUND) - 1), st.integers(1, 255))
def test_a_flipped_byte_gives_the_right_files_or_our_error(tmp_path_factory, at, value):
    """Damage anywhere is found, by a checksum of the archive itself or by its reader's failing."""
    folder = tmp_path_factory.mktemp("flipped")
    (folder / "a.7z").write_bytes(SOUND[:at] + bytes([SOUND[at] ^ value]) + SOUND[at + 1 :])
    try:
        extraction.unpack(folder / "a.7z", folder / "out")
    except ArchiveError:
        assert [path.name for path in folder.iterdir()] == ["a.7z"]
    else:
        assert content(folder / "out") == FILES


def test_without_the_package_the_install_line_is_told(tmp_path, monkeypatch):
    """7z needs py7zr, which no image has."""
    (tmp_path / "a.7z").write_bytes(SOUND)
    monkeypatch.setitem(sys.modules, "py7zr", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*py7zr"):
        extraction.unpack(tmp_path / "a.7z", tmp_path / "out")
