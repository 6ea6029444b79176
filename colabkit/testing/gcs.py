"""Google Cloud Storage on this machine: buckets in memory, the JSON API over HTTP, and faults on request."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from colabkit._internal.optional import require
from colabkit.testing._gcs.handler import handler_for
from colabkit.testing.http import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Operation = Literal["bucket", "metadata", "list", "download", "insert", "start", "upload", "query", "delete", "token"]
Kind = Literal["status", "reset", "truncate", "stall", "flip", "hash", "expire", "replace", "vanish", "lose"]


@dataclass(kw_only=True)
class GcsFault:
    """One way to misbehave, for so many requests.

    Attributes:
        on: The operation it strikes: `insert` is an upload in one request; `start`, `upload` and `query` are the
            steps of a resumable one.
        kind: `status` answers with `status`; `reset` and `truncate` end the connection at byte `at` of the object,
            with an error or in peace; `stall` pauses there for `seconds`; `flip` changes byte `at` on its way;
            `hash` tells a wrong checksum; `expire` forgets the upload session and answers with `status`; `replace`
            puts `data` in place of the object first, as another writer would; `vanish` deletes it first; `lose` does
            the work and resets the connection before the answer.
        at: A byte position in the object.
        times: How many requests it strikes; requests that do not cover `at` pass.
        after: How many requests are left alone first.
        name: The object that it is for; "" is any.
        seconds: For `stall`.
        status: For `status` and `expire`.
        headers: More headers, for `status`.
        data: For `replace`.
    """

    on: Operation
    kind: Kind
    at: int = 0
    times: int = 1
    after: int = 0
    name: str = ""
    seconds: float = 0.0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes = b""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One generation of an object.

    Attributes:
        name: Its name in the bucket.
        data: The bytes as they are stored.
        generation: The number of this version.
        content_type: The label.
        content_encoding: "gzip" for bytes that are stored compressed and served either way.
        metadata: The user's own keys.
        composite: It was composed of parts, so there is no md5.
        updated: Seconds since 1970.
    """

    name: str
    data: bytes = field(repr=False)
    generation: int
    content_type: str = "application/octet-stream"
    content_encoding: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    composite: bool = False
    updated: float = 1_700_000_000.0

    @functools.cached_property
    def crc32c(self) -> str:
        """The checksum as the API writes it."""
        return crc32c(self.data)

    @functools.cached_property
    def md5(self) -> str:
        """The MD5 as the API writes it; "" for a composite object."""
        digest = hashlib.md5(self.data, usedforsecurity=False).digest()
        return "" if self.composite else base64.b64encode(digest).decode()


@dataclass(kw_only=True)
class Bucket:
    """A bucket; change its fields at any time.

    Attributes:
        objects: The live objects by their names.
        public: Anyone may read and write; else it takes one of the server's tokens.
        forbidden: Nobody may, whoever it is.
        requester_pays: Requests must name the project that pays.
    """

    objects: dict[str, StoredObject] = field(default_factory=dict)
    public: bool = True
    forbidden: bool = False
    requester_pays: bool = False


@dataclass(kw_only=True)
class Session:
    """A resumable upload that is under way; `turn` counts its requests, of which the newest wins."""

    bucket: str
    resource: Mapping[str, Any]
    preconditions: Mapping[str, str]
    content_type: str
    data: bytearray = field(default_factory=bytearray)
    finished: StoredObject | None = None
    turn: int = 0


@dataclass(kw_only=True)
class GcsSeen:
    """One request and how it goes.

    Attributes:
        headers: The headers of the request, with lower-case names.
        query: The query of the request.
        on: The operation.
        name: The object, or the prefix of a listing.
        status: The answer; 0 before there is one, and when the connection is reset instead.
        received: Bytes of object data that came in.
        sent: Bytes of object data that went out.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    on: str = ""
    name: str = ""
    status: int = 0
    received: int = 0
    sent: int = 0


def crc32c(data: bytes) -> str:
    """Return the checksum of some bytes as the API writes it.

    Example:
        >>> crc32c(b"")
        'AAAAAA=='
    """
    module = require("google_crc32c", extra="gcs", why="the emulator answers with checksums")
    return base64.b64encode(int(module.value(data)).to_bytes(4, "big")).decode()


class FakeGCS:
    """Serves buckets from memory on 127.0.0.1, to be used in a `with` statement.

    Google's own client and ours work against it unchanged: set STORAGE_EMULATOR_HOST to `endpoint`.

    Attributes:
        buckets: The buckets by their names.
        sessions: The resumable uploads by their ids.
        parts: The uploads in parts by their ids: what has come, by the parts' numbers.
        faults: What goes wrong.
        seen: The requests that are over.
        tokens: The access tokens that are accepted where a bucket is not public, and who they stand for.
        page_size: Names in one page of a listing.
        links: Whether an object tells where its bytes are; googleapis/storage-testbench does not.
        rate: Bytes a second for each connection; 0 is as fast as it goes.

    Args:
        port: The port; 0 takes a free one.

    Example:
        >>> with FakeGCS() as gcs:
        ...     made = gcs.put("my-bucket", "data/digits.csv", b"7,0,0")
        ...     made.generation, gcs.read("my-bucket", "data/digits.csv")
        (1, b'7,0,0')
    """

    def __init__(self, port: int = 0) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.sessions: dict[str, Session] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.faults: list[GcsFault] = []
        self.seen: list[GcsSeen] = []
        self.tokens = {"ya29.test": "ada@example.org"}
        self.page_size = 1000
        self.links = True
        self.rate = 0.0
        self.lock = threading.RLock()
        self._generation = 0
        self._server = Server(("127.0.0.1", port), handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; connections that are open break. Twice is harmless."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """What STORAGE_EMULATOR_HOST is to be set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def sent(self) -> int:
        """Bytes of object data that went out so far."""
        with self.lock:
            return sum(seen.sent for seen in self.seen)

    @property
    def received(self) -> int:
        """Bytes of object data that came in so far."""
        with self.lock:
            return sum(seen.received for seen in self.seen)

    def bucket(self, name: str, **options: Any) -> Bucket:
        """Make a bucket, or change its fields.

        Args:
            name: Its name.
            options: Fields of `Bucket`.
        """
        bucket = self.buckets.setdefault(name, Bucket())
        for key, value in options.items():
            setattr(bucket, key, value)
        return bucket

    def put(self, bucket: str, name: str, data: bytes, **options: Any) -> StoredObject:
        """Store an object as a new generation, in a bucket that is made if need be.

        Args:
            bucket: The bucket's name.
            name: The object's name.
            data: The bytes.
            options: Fields of `StoredObject`.
        """
        with self.lock:
            self._generation += 1
            made = StoredObject(name=name, data=bytes(data), generation=self._generation, **options)
            self.bucket(bucket).objects[name] = made
        return made

    def read(self, bucket: str, name: str) -> bytes:
        """Return the bytes of an object as they are stored."""
        return self.buckets[bucket].objects[name].data

    def fail(self, on: Operation, kind: Kind, **options: Any) -> GcsFault:
        """Make something go wrong; the options are fields of `GcsFault`."""
        fault = GcsFault(on=on, kind=kind, **options)
        self.faults.append(fault)
        return fault

    def fail_now_and_then(self, *, every: int, until: int, upload_breaks_at: int) -> None:
        """Let one request in so many of each operation go wrong, in the way that is worst for it.

        Args:
            every: How many of an operation come to one that fails.
            until: How many of an operation there are at most.
            upload_breaks_at: After how many bytes the connection of an upload breaks.
        """
        for after in range(0, until, every):
            self.fail("metadata", "reset", after=after)
            self.fail("list", "status", after=after)
            self.fail("insert", "lose", after=after)
            self.fail("upload", "reset", at=upload_breaks_at, after=after)
            self.fail("download", "truncate", at=1, after=after)
            self.fail("delete", "status", status=429, after=after)

    def write_credentials(self, path: Path) -> Path:
        """Write a service account's key file whose tokens this server gives out; for GOOGLE_APPLICATION_CREDENTIALS.

        Args:
            path: The file to write.
        """
        made = require("cryptography.hazmat.primitives.asymmetric.rsa", extra="gcs", why="a key has to be made")
        forms = require("cryptography.hazmat.primitives.serialization", extra="gcs", why="a key has to be made")
        private = made.generate_private_key(public_exponent=65537, key_size=2048)
        text = private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()).decode()
        value = {
            "type": "service_account",
            "project_id": "test-project",
            "private_key_id": "1",
            "private_key": text,
            "client_email": "robot@test-project.example",
            "client_id": "1",
            "token_uri": f"{self.endpoint}/token",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(value))
        return path
