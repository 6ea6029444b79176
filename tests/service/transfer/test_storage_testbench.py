"""Google's own emulator, googleapis/storage-testbench, when COLABKIT_TEST_TESTBENCH tells its address.

Run it by `python testbench_run.py 127.0.0.1 9911 16` in a checkout; the faults are those that it injects itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid

import pytest
import requests

from colabkit import fetch, push
from colabkit.errors import ChangedError, ExistsError, NotFoundError
from colabkit.storage import open_storage
from colabkit.transfer import push_details

TESTBENCH = os.environ.get("COLABKIT_TEST_TESTBENCH", "")
MIB = 1 << 20

pytestmark = pytest.mark.skipif(not TESTBENCH, reason="COLABKIT_TEST_TESTBENCH is not set")


class Proxy:
    """Names the faults that are to strike to the emulator, in a header that no client of ours sends."""

    def __init__(self):
        self.test = ""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def fail(self, method, *faults):
        """Let a method go wrong in these ways, one after the other."""
        made = requests.post(f"{TESTBENCH}/retry_test", json={"instructions": {method: faults}}, timeout=10)
        self.test = made.json()["id"]

    def _serve(self):
        while True:
            threading.Thread(target=self._carry, args=self._listening.accept()[:1], daemon=True).start()

    def _carry(self, client):
        with contextlib.suppress(OSError), contextlib.closing(client):
            head = b""
            while b"\r\n\r\n" not in head:
                head += (data := client.recv(65536))
                if not data:
                    return
            head, rest = head.split(b"\r\n\r\n", 1)
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            lines += [b"Connection: close", *([b"x-retry-test-id: " + self.test.encode()] if self.test else [])]
            host, port = TESTBENCH.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as server:
                server.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
                threading.Thread(target=_pour, args=(client, server), daemon=True).start()
                _pour(server, client)


def _pour(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch, quick_retries):
    """Stand before the emulator."""
    proxy = Proxy()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
    return proxy


@pytest.fixture
def bucket():
    """Make a bucket."""
    name = f"b{uuid.uuid4().hex[:10]}"
    requests.post(f"{TESTBENCH}/storage/v1/b?project=p", json={"name": name}, timeout=10).raise_for_status()
    return f"gs://{name}"


def test_objects_go_there_and_come_back(proxy, bucket, blob, tmp_path):
    """Small and large, folders, patterns, empty files, generations; what is there is seen, and not replaced."""
    data = blob(9 * MIB + 77)
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    for name, content in {"big": data, "a.csv": b"7", "sub/b.csv": b"0", "empty": b""}.items():
        (tmp_path / "dir" / name).write_bytes(content)
    assert push_details(tmp_path / "dir", f"{bucket}/dir").sent == 4
    assert push_details(tmp_path / "dir", f"{bucket}/dir").sent == 0
    with pytest.raises(ExistsError):
        push(b"8", f"{bucket}/dir/a.csv")
    back = fetch(f"{bucket}/dir/", tmp_path / "back")
    assert {path.relative_to(back).as_posix() for path in back.rglob("*") if path.is_file()} == {
        *("big", "a.csv", "empty", "sub/b.csv")
    }
    assert (back / "big").read_bytes() == data
    assert [path.name for path in fetch(f"{bucket}/dir/*.csv", tmp_path / "some").iterdir()] == ["a.csv"]
    for missing in (f"{bucket}/none", "gs://no-such-bucket-here/none"):
        with pytest.raises(NotFoundError):
            fetch(missing, tmp_path / "none")


@pytest.mark.parametrize(
    "fault",
    [
        *("return-503", "return-429", "return-reset-connection", "return-408", "return-broken-stream"),
        *("return-broken-stream-final-chunk-after-262144B", "return-broken-stream-after-1024K"),
    ],
)
def test_its_faults_of_reading_are_lived_through(proxy, bucket, blob, tmp_path, fault):
    """The bytes are right in spite of each fault that strikes twice."""
    data = blob(4 * MIB + 5)
    push(data, f"{bucket}/a")
    proxy.fail("storage.objects.get", fault, fault)
    assert fetch(f"{bucket}/a", tmp_path / "a", connections=1).read_bytes() == data


@pytest.mark.parametrize(
    "fault", ["return-503", "return-429", "return-reset-connection", "return-503-after-256K", "return-503-after-8192K"]
)
@pytest.mark.parametrize("size", [5, 9 * MIB])
def test_its_faults_of_writing_are_lived_through(proxy, bucket, blob, tmp_path, fault, size):
    """The object is there once, with the right bytes, small or large."""
    (tmp_path / "a").write_bytes(blob(size))
    proxy.fail("storage.objects.insert", fault, fault)
    push(tmp_path / "a", f"{bucket}/a")
    proxy.test = ""
    assert fetch(f"{bucket}/a", tmp_path / "back").read_bytes() == blob(size)


def test_it_is_a_storage_too(proxy, bucket, blob, tmp_path):
    """Conditions, parts, lists and deletes, some of them after a fault."""
    storage = open_storage(f"{bucket}/runs")
    first = storage.put("a/b", b"one")
    second = storage.put("a/b", b"two", only_if=first)
    for stale in ("absent", first):
        with pytest.raises(ChangedError):
            storage.put("a/b", b"three", only_if=stale)
    assert (storage.read("a/b", size=2), storage.entry("a/b")) == (b"tw", second)
    assert fetch(f"{bucket}/runs/a/b#{first.version}", tmp_path / "old").read_bytes() == b"one"
    proxy.fail("storage.objects.list", "return-503")
    assert [one.name for one in storage.list()] == ["a/b"]
    proxy.fail("storage.objects.delete", "return-reset-connection")
    storage.delete("a/b")
    assert storage.entry("a/b") is None
