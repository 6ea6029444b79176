"""Parsers of transfers: archives of each kind, answers of servers, notes of unfinished downloads and of the cache."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import socketserver
import struct
import tarfile
import threading
import zlib
from pathlib import Path
from unittest.mock import patch

import py7zr
import zstandard

from colabkit._archive import extraction
from colabkit._engine import cache, downloader
from colabkit._engine.partial_file import PartialFile
from colabkit._http.headers import Validator
from colabkit._internal.retry import Backoff
from colabkit.transfer import fetch

FILES = {"a/b.txt": b"abc" * 100, "c": b"", "long/" * 30 + "name": b"x" * 600}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "1"\r\nContent-Disposition: filename="x.csv"\r\n\r\n7,0,0'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDigest: md5=AAAA\r\n\r\n5\r\n7,0,0\r\n0\r\n\r\n"
PACKED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"


def tar(form=tarfile.PAX_FORMAT):
    """Pack a tar with a folder, a link, long names and extended headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as packed:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "c"
        packed.addfile(link)
    return out.getvalue()


def forged_tar(random, data):
    """Change headers and give them the checksums that belong to them, so that the rest of the parser is reached."""
    forged = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(forged) // 512) * 512
        place = at + random.choice([*range(100), *range(124, 136), 156, 156, *range(157, 257), *range(257, 512)])
        forged[place] = random.choice([0, 0x30, 0x31, 0x37, 0x80, 0xFF, *b"xgLKSVDMN56", random.randrange(256)])
        block = forged[at : at + 148] + b" " * 8 + forged[at + 156 : at + 512]
        forged[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(forged)


DEFLATE64 = (
    # b"7,0,0\n" * 99 as inflate64.Deflater packs it; beside TensorFlow's zlib it ends in a segmentation fault
    "BcEhAQAAAIMw/ywIHP2bfQtxIS7EhbgQF+JCXIgLcSEuxIW4EBfiQlyIC3EhLsSFuBAX4kJciAtxIS7EhbgQF+JCXIgLcSEuxIW4"
    "EBfiQlyIC3EhLsSFuBAX4kJciAtxIS7EhbgQF+JCXIgLcSEuxIW4EBfiQlyIC3EhLsSFuBAX4kJciAtxIS7EhbgQF+JCXIgLcSEu"
    "xIW4EBfiQlyIC3EhLsSFuBAX4kJciAtxIS7EHQ=="
)


def other_zip():
    """Pack zips as other systems do: by Deflate64 and xz, with names in code pages that they do not tell."""
    plain, made = b"7,0,0\n" * 99, []
    for method, packed in ((9, base64.b64decode(DEFLATE64)), (95, lzma.compress(plain)), (0, plain)):
        name = "Größe/数据.csv".encode("gb18030") if method else "Данные.csv".encode("cp866")
        sizes = (zlib.crc32(plain), len(packed), len(plain), len(name), 0)
        local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, method, 0, 33, *sizes) + name + packed
        listed = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, method, 0, 33, *sizes, 0, 0, 0, 0, 0) + name
        made.append(local + listed + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), len(local), 0))
    return made


def seven():
    """Pack a 7z."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w") as packed:
        packed.writestr(b"abc" * 50, "a/b.txt")
    return out.getvalue()


def unpack(name):
    """Unpack an archive of this name."""

    def parse(data, folder):
        path = Path(folder, name)
        path.write_bytes(data)
        extraction.unpack(path, Path(folder, "out"), replace=True)

    return parse


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    answer = b""

    def handle_error(self, *_):
        """Stay silent."""


class _Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)
        self.request.sendall(self.server.answer)


def hear_out(data, folder):
    """Fetch from a server that answers with these bytes."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer = data
        threading.Thread(target=server.serve_forever, args=(0.001,), daemon=True).start()
        try:
            with patch.object(downloader, "Backoff", lambda: Backoff(tries=1, first=0.001)):
                address = f"http://127.0.0.1:{server.server_address[1]}/a.csv"
                fetch(address, f"{folder}/", overwrite=True, progress=False, unpack=False)
        finally:
            server.shutdown()


def resume(data, folder):
    """Open an unfinished download whose note is this."""
    path = Path(folder, ".x.part-fetch")
    path.write_bytes(bytes(100))
    path.with_name(path.name + ".json").write_bytes(data)
    part = PartialFile(path, "id")
    part.missing()
    part.close(keep=False)


def note():
    """Write the note of an unfinished download."""
    return json.dumps(
        {
            "format": 1,
            "identity": "id",
            "size": 100,
            **vars(Validator(etag='"1"')),
            "name": "x",
            "boot": "b",
            "written": [[0, 10], [20, 30]],
            "synced": [[0, 10]],
        }
    ).encode()


def receipt(data, folder):
    """Find a file of the cache by a receipt that is this."""
    place = Path(cache.receipt_of("id", folder))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    if (found := cache.find("id", folder)) is not None:
        found.holds(None)
    cache.listing()


RECEIPT = {
    "format": 1,
    "path": "/x",
    "source": "s",
    "size": 1,
    "modified": 1,
    "fetched": "2026-01-01",
    "checksums": {"md5": "0" * 32},
    "inode": 0,
}
TARGETS = {
    "plain tar": (unpack("a.tar"), [tar(), tar(tarfile.GNU_FORMAT)]),
    "tar.bz2": (unpack("a.tar.bz2"), [bz2.compress(tar())]),
    "tar.xz": (unpack("a.tar.xz"), [lzma.compress(tar())]),
    "tar.zst": (unpack("a.tar.zst"), [zstandard.compress(tar())]),
    "zip of another system": (unpack("a.zip"), other_zip()),
    "an archive by another name": (unpack("a.tar.gz"), [*other_zip(), seven(), tar(), bz2.compress(tar())]),
    "7z": (unpack("a.7z"), [seven()]),
    "gz": (unpack("a.gz"), [gzip.compress(b"7,0,0\n" * 99) + gzip.compress(b"1")]),
    "answer": (hear_out, [ANSWER, CHUNKED, PACKED % len(gzip.compress(b"7,0")) + gzip.compress(b"7,0")]),
    "unfinished download": (resume, [note()]),
    "receipt": (receipt, [json.dumps(RECEIPT).encode()]),
}
FORGERS = {"plain tar": forged_tar}
JSON = {"unfinished download", "receipt"}
