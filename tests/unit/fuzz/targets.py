"""Every parser of bytes that others made: how it is called, and a sound example that is then damaged."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import socket
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from colabkit._archive import extraction
from colabkit._clients.gdrive import page as gdrive_page
from colabkit._http import error_page, headers, url
from colabkit._http.json_api import ApiResponse
from colabkit._internal.disk import checksum
from colabkit._internal.disk.files import FileLock, read_note
from colabkit.checkpoint import open_run
from colabkit.checkpoint.format import delta, file, naming
from colabkit.checkpoint.mirror.lease import Lease
from colabkit.errors import ColabKitError
from colabkit.headless import notebook_file, parameters
from colabkit.launch import agent, fingerprint, plan, protocol
from colabkit.launch.coordinator import Lead
from colabkit.models import datasets
from colabkit.models.readers import csv, idx, images
from colabkit.packages import lock_file
from colabkit.packages.request import requirements_file
from colabkit.port import port
from colabkit.setup_file import manifest, spec
from colabkit.storage import open_storage
from colabkit.tracking import event_file, jsonl
from colabkit.transfer.sources import registry
from colabkit.transfer.sources import web_listing as listing
from tests.unit.fuzz import handed_over, transfers

COLUMNS = ["label", *(f"pixel{number}" for number in range(3))]
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3"}, "language_info": {"name": "python"}},
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": ["# /// script\n", "# dependencies = []\n", "# ///\n", "!pip install numpy\n", "x = 1"],
        },
        {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "text"},
    ],
}
TOML = b"""packages = ["numpy>=2"]
python = ">=3.11"
secrets = ["HF_TOKEN"]
run = "runs/a"
[data.digits]
source = "https://example.org/a.zip"
to = "data"
[accelerator]
prefer = "gpu"
"""
HEADERS = (
    "bytes 0-99/1234|attachment; filename*=UTF-8''a%20b.zip|W/\"abc\"|Wed, 21 Oct 2015 07:28:00 GMT|120|md5=:a=:,x=y"
)
COMMANDS = [
    "curl -L -H 'Accept: text/csv' -o data.csv 'https://user:pw@example.org/a?b=c'",
    "!wget -q --header='X: y' https://example.org/a.zip -O a.zip && unzip -q a.zip",
    "gsutil -m cp -r gs://bucket/folder/* .",
    "kaggle datasets download -d owner/name --unzip",
    "hf:owner/name/file.txt@main",
    "https://drive.google.com/file/d/1A2b3C4d5E6f7G8h9I0j1K2l3M4n5O6p7/view?usp=sharing",
    "git clone --depth 1 https://github.com/a/b.git",
    "wget -r -N -np -nH --cut-dirs=3 -l 2 -A '*.csv,zip' -R 'index.html*' https://example.org/files/db/",
    "unzip -jq a.zip 'x/[a-c!]*' -x '*.t' -d out; tar xzf a.tgz -C o --wildcards '*.png' --exclude=b; 7z x a.7z -r a*",
    "wget --load-cookies c --save-cookies c --keep-session-cookies https://example.org/a.nc",
]


def of_file(name, read):
    """Make a parser of bytes of one that takes a path."""

    def parse(data, folder):
        path = Path(folder, name)
        path.write_bytes(data)
        read(path)

    return parse


def zipped(members):
    """Pack a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


def tarred():
    """Pack a tar.gz with a pax header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as packed:
        info = tarfile.TarInfo("a" * 150 + "é")
        info.size = 3
        packed.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def npz():
    """Pack MNIST's arrays, small."""
    out, x = io.BytesIO(), np.zeros((4, 28, 28), np.uint8)
    y = np.array([1, 2, 3, 4])
    np.savez_compressed(out, x_train=x, y_train=y, x_test=x, y_test=y)
    return out.getvalue()


def png():
    """Draw a picture."""
    out = io.BytesIO()
    Image.new("L", (28, 28)).save(out, "PNG")
    return out.getvalue()


def checkpoint():
    """Write a checkpoint as run.save does."""
    out = io.BytesIO()
    state = {"$dict": [[1, {"$tensor": "state/x"}]], "a": {"$tuple": [{"$float": "inf"}, {"$bytes": "YQ=="}]}}
    meta = {"kind": "state", "step": 7, "saved_at": 1.0, "versions": {}, "state": state, "best": {"step": 7}}
    base = {"file": "step-000000001-0123456789ab.safetensors", "sha256": "0" * 64, "tensors": {}, "meta": {}}
    file.write(out, {"state/x": np.arange(3.0)}, {**meta, "base": {**base, "whole": "0" * 64}})
    return out.getvalue()


def read_checkpoint(data, folder):
    """Read it by every door; what is proven is proven by a hash that an attacker can compute as well."""
    path = Path(folder, "c")
    path.write_bytes(data)
    for read in (file.read, file.verify, file.Tensors):
        try:
            made = read(path)
        except ColabKitError:
            continue
        if isinstance(made, file.Tensors):
            for name in made.sizes:
                try:
                    made.load(name)
                    made.sha256(name)
                except ColabKitError:
                    continue
            made.__exit__()
    file.meta_of("c", data[:4096])


def forged_checkpoint(random, data):
    """Change the header of a checkpoint, and give it the hash that belongs to it."""
    from tests.unit.fuzz.mutate import mutated_json

    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    meta = json.loads(header["__metadata__"]["colabkit"])
    if random.random() < 0.5:
        header = mutated_json(random, header)
    elif isinstance(header, dict):
        header["__metadata__"] = {"colabkit": json.dumps(mutated_json(random, meta))}
    text = json.dumps(header).encode()
    body = struct.pack("<Q", len(text)) + text + data[8 + size : -32]
    return body + hashlib.sha256(body).digest()


def restore(data, folder):
    """Restore a run whose newest checkpoint was forged."""
    place = Path(folder, "run", "checkpoints")
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    name = naming.CheckpointName(step=7, state=hashlib.sha256(data[:-32]).hexdigest()[:12])
    (place / str(name)).write_bytes(data)
    run = open_run(place.parent)
    run.status()
    delta.base_of(file.verify(place / str(name)), str(name))
    run.restore()


class Clock:
    """Time that passes while one sleeps."""

    now = 0.0

    def sleep(self, seconds):
        """Let time pass."""
        self.now += seconds


def take_over(data, folder):
    """Wait for the holder of a mirror's lock, whatever it wrote there, and take over."""
    storage, clock = open_storage(Path(folder, "mirror")), Clock()
    storage.put("lock.json", data)
    lease = Lease(storage, run="r", session="s", clock=lambda: clock.now, sleep=clock.sleep)
    lease.acquire()
    lease.release()
    path = Path(folder, "lock")
    path.write_bytes(data)
    FileLock(path).acquire()
    read_note(path)


def read_headers(data, _):
    """Read each header by each reader."""
    for text in [data.decode("latin-1"), *data.decode("latin-1").split("|")]:
        for read in (
            headers.content_range,
            headers.content_length,
            headers.unsatisfied_total,
            headers.disposition_name,
        ):
            read(text)
        headers.safe_name(text)
        headers.url_name(text)
        named = dict.fromkeys(
            ("ETag", "Last-Modified", "Date", "Retry-After", "x-goog-hash", "Digest", "Content-MD5"), text
        )
        headers.validator(named)
        headers.retry_after(named)
        checksum.promised(named, is_complete=True)
        for read in (url.parse, checksum.parse):
            try:
                read(text)
            except ColabKitError:
                continue


def read_page(data, _):
    """Read what a server says in place of a file."""
    error_page.words(data)
    error_page.is_page(data, "text/html")
    gdrive_page.read(data)
    reply = ApiResponse(status=404, headers={}, body=data, url="")
    reply.value()
    reply.words()


def read_listing(data, folder):
    """Read the page by which a server lists a folder; what it names stays in the folder."""
    for link in listing.read(data, "https://a.org/d/") or []:
        assert link.url.startswith("https://a.org/d/")
        assert not {"/", "\\", "\0"} & set(link.name)
        assert link.name not in ("", ".", "..")


def read_events(data, folder):
    """Read the logs of a training."""
    for payload in event_file.unpack(io.BytesIO(data)):
        event_file.step_of(payload)
    event_file.step_of(data)
    of_file("metrics.jsonl", jsonl.read)(data, folder)


def hear(data, folder):
    """Hear a peer of a launch out: before it has proven anything, and after."""
    script = Path(folder, "s.py")
    script.write_text("")
    decided = plan.plan_launch(script, local=2)

    async def scene():
        left, right = socket.socketpair()
        with left, right:
            reader, writer = await asyncio.open_connection(sock=left, limit=1 << 16)
            reader.feed_data(data[: 1 << 20])
            reader.feed_eof()
            link = protocol.Connection(reader, writer)
            await Lead(decided, fingerprint=fingerprint.fingerprint(decided)).serve(link)
            await link.prove(b"secret", role="member")
            link.close()

    asyncio.run(scene())
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(message, dict):
        agent._refusal(message)
        fingerprint.compare({}, {str(key): str(value) for key, value in message.items()}, rank=1)


def told(data, _):
    """Read the report and the cluster that worker 0 sends."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(message, dict):
        agent._report_of(message)


def text(read):
    """Make a parser of bytes of one that takes text, and perhaps nothing back."""
    return lambda data, _: read(data.decode("utf-8", "surrogateescape"))


def unpack(name):
    """Unpack an archive of this name."""

    def parse(data, folder):
        path = Path(folder, name)
        path.write_bytes(data)
        extraction.unpack(path, Path(folder, "out"), replace=True)

    return parse


def set_up(path):
    """Read a set-up, and check it."""
    spec.read(manifest.of_file(path))


WIRE = {"hello": 1, "fingerprint": {"script": "a"}, "refused": {"type": "ClusterError", "what": "x"}, "nonce": "a" * 32}
REPORT = {"code": 0, "workers": 2, "attempts": 1, "failures": [], "seconds": 1.0}
LOCK = {"session": "x", "pid": 1, "host": "h", "command": "train.py", "beats": 1, "silent_after": 60.0}

TARGETS = {
    "page": (read_page, [b"<!doctype html><title>Quota exceeded</title><form id='download-form' action='https://x'>"]),
    "api reply": (read_page, [b'{"error": {"message": "<b>no</b>"}}']),
    "listing": (
        read_listing,
        [b'<title>Index of /d/</title><a href="../">../</a><a href="a%20b.csv">a</a> 2-Dec-2026 18 <a href="x/">x</a>'],
    ),
    "headers": (read_headers, [HEADERS.encode()]),
    "command": (text(registry.open_source), [line.encode() for line in COMMANDS]),
    "requirement": (
        text(requirements_file.read),
        [b'kaggle[all]>=1; python_version >= "3.12"', b"x @ https://a/x.whl"],
    ),
    "requirements file": (
        of_file("requirements.txt", lambda path: (requirements_file.read_file(path), lock_file.differences(path))),
        [b"# colabkit lock 1\n# python: 3.11\nnumpy==2.0 --hash=sha256:" + b"a" * 64 + b"\nkeras\\\n>=3\n"],
    ),
    "parameters": (text(lambda line: parameters.parse(line.split())), [b"epochs=3 sizes=[1,2] x={'a':1}"]),
    "set-up": (of_file("colabkit.toml", set_up), [TOML]),
    "pyproject": (of_file("pyproject.toml", set_up), [b"[tool.colabkit]\n" + TOML.partition(b"[")[0]]),
    "block": (of_file("x.py", set_up), [b"# /// script\n# dependencies = ['numpy']\n# ///\nimport numpy\n"]),
    "block in a notebook": (of_file("x.ipynb", set_up), [json.dumps(NOTEBOOK).encode()]),
    "notebook": (of_file("x.ipynb", notebook_file.read), [json.dumps(NOTEBOOK).encode()]),
    "ported notebook": (of_file("x.ipynb", lambda path: port(path, write=False)), [json.dumps(NOTEBOOK).encode()]),
    "ported script": (
        of_file("x.py", lambda path: port(path, write=False)),
        [b"!pip install -q numpy\nimport keras\nmodel.fit(x, y, epochs=3)\n"],
    ),
    "csv": (
        of_file("x.csv", lambda path: csv.read_csv(path, COLUMNS)),
        [b"label,pixel0,pixel1,pixel2\n7,255,0,1\n1,0,0,3\n", b'label,pixel0,pixel1,pixel2\r\n"7",1.0, 2,3\r\n'],
    ),
    "idx": (of_file("x", idx.read_idx), [struct.pack(">4B2I", 0, 0, 8, 2, 2, 3) + bytes(6)]),
    "packed idx": (of_file("x.gz", idx.read_idx), [gzip.compress(struct.pack(">4B2I", 0, 0, 8, 2, 2, 3) + bytes(6))]),
    "npz": (of_file("x.npz", datasets.read_digits), [npz()]),
    "picture": (of_file("x.png", lambda path: images.read_image(path, (28, 28))), [png()]),
    "checkpoint": (read_checkpoint, [checkpoint()]),
    "forged checkpoint": (restore, [checkpoint()]),
    "lock.json": (take_over, [json.dumps(LOCK).encode()]),
    "logs": (
        read_events,
        [
            event_file.pack(b"\x09\x00\x00\x00\x00\x00\x00\x00\x00\x10\x05\x2a\x02\x0a\x00") * 3,
            b'{"step": 1, "epoch": 2, "values": {"loss": 0.5}, "time": 1.0}\n',
        ],
    ),
    "launch": (hear, [json.dumps(WIRE).encode() + b"\n", json.dumps(WIRE["refused"]).encode() + b"\n"]),
    "launch report": (told, [json.dumps(REPORT).encode()]),
    "zip": (unpack("a.zip"), [zipped({"a/b.txt": b"abc" * 100, "c": b""})]),
    "tar": (unpack("a.tar.gz"), [tarred()]),
    **transfers.TARGETS,
    **handed_over.targets(),
}
FORGERS = {"forged checkpoint": forged_checkpoint, **transfers.FORGERS, **handed_over.FORGERS}
JSON = {
    *transfers.JSON,
    *handed_over.JSON,
    "lock.json",
    "launch",
    "launch report",
    "notebook",
    "ported notebook",
    "block in a notebook",
    "api reply",
}

__all__ = ["FORGERS", "JSON", "TARGETS"]
