"""Very many objects: a listing in bounded memory, and a prefix both ways, killed half way and run again.

The listing comes from a server that makes its pages as they are asked for; the prefix lies on the emulator of
colabkit.testing, in a process of its own. Requests are counted by the servers.

Run: python tests/benchmarks/data_at_size.py [LISTED [OBJECTS]]      (1,000,000 and 100,000)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
SIZE = 200

LISTS = """
import http.server, json, socketserver, sys, urllib.parse
COUNT, PAGE = int(sys.argv[1]), 1000
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        start = int(asked.get("pageToken", ["0"])[0])
        items = [{"name": f"data/train/part-{n:09}/image-{n:09}.jpg", "bucket": "bucket",
                  "generation": str(17 * 10**14 + n), "size": str(n), "crc32c": "AAAAAA==",
                  "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==",
                  "updated": "2026-01-01T00:00:00Z", "mediaLink": f"http://127.0.0.1/download/{n}"}
                 for n in range(start, min(COUNT, start + PAGE))]
        more = {"nextPageToken": str(start + PAGE)} if start + PAGE < COUNT else {}
        body = json.dumps({"items": items, **more}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
"""
LIST = """
import resource, sys, time
from colabkit.storage import open_storage
begun = time.perf_counter()
listed = open_storage("gs://bucket/data").list()
print(len(listed), time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
SERVER = """
import collections, json, sys
from colabkit.testing.gcs import FakeGCS
with FakeGCS() as gcs:
    for number in range(int(sys.argv[1])):
        data = number.to_bytes(8, "big") * (int(sys.argv[2]) // 8)
        gcs.put("bucket", f"data/{number // 1000:03}/{number:06}.bin", data)
    print(json.dumps(gcs.endpoint), flush=True)
    for line in sys.stdin:
        with gcs.lock:
            seen = collections.Counter(one.on for one in gcs.seen)
            answer = {"requests": dict(seen), "sent": gcs.sent, "objects": len(gcs.buckets["bucket"].objects)}
        print(json.dumps(answer), flush=True)
"""
FETCH = "import sys; from colabkit import fetch; fetch('gs://bucket/data/', sys.argv[1] + '/', progress=False)"
PUSH = "import sys; from colabkit import push; push(sys.argv[1], 'gs://bucket/again/', progress=False)"
PEAK = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
PEAK += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); sys.exit(code)"


def listing(count: int) -> None:
    """List objects, and tell the seconds and the peak memory."""
    server = subprocess.Popen([sys.executable, "-c", LISTS, str(count)], stdout=subprocess.PIPE, text=True)
    try:
        env = {**os.environ, "STORAGE_EMULATOR_HOST": server.stdout.readline().strip()}
        done = subprocess.run([sys.executable, "-c", LIST], env=env, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        server.kill()
        server.wait()
    number, seconds, peak = done.stdout.split()
    print(
        f"{int(number):,} objects listed: {float(seconds):.0f} s, {float(peak):.0f} MiB at its peak  (target: 300 MB)"
    )


class Emulator:
    """The emulator in its process."""

    def __init__(self, count: int) -> None:
        words = [sys.executable, "-c", SERVER, str(count), str(SIZE)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.environ["STORAGE_EMULATOR_HOST"] = json.loads(self._process.stdout.readline())

    def counts(self) -> dict:
        """Return the requests so far, by what they did, and the objects that are there."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait()


def two_runs(emulator: Emulator, code: str, argument: Path, half) -> None:
    """Run code, kill it when half is done, run it again, and tell requests, seconds and memory."""
    before = emulator.counts()["requests"]
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(argument)])
    while not half() and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first, middle = time.perf_counter() - begun, emulator.counts()["requests"]
    begun = time.perf_counter()
    words = [sys.executable, "-c", PEAK, sys.executable, "-c", code, str(argument)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    second, after = time.perf_counter() - begun, emulator.counts()["requests"]
    for name, start, stop, seconds in (("until the kill", before, middle, first), ("again", middle, after, second)):
        spent = {what: stop.get(what, 0) - start.get(what, 0) for what in stop}
        print(f"  {name}: {seconds:.0f} s, requests { ({what: n for what, n in spent.items() if n}) }")
    print(f"  peak memory {float(done.stdout.split()[-1]):.0f} MiB")


def prefix(count: int, folder: Path) -> None:
    """Fetch a prefix and push it again, each killed half way."""
    emulator = Emulator(count)
    os.environ["COLABKIT_CACHE"] = str(folder / "cache")
    try:
        place = folder / "here"
        place.mkdir()
        print(f"{count:,} objects of {SIZE} bytes, fetch")
        two_runs(emulator, FETCH, place, lambda: emulator.counts()["sent"] > count * SIZE // 2)
        files = [path for path in (place / "data").rglob("*") if path.is_file()]
        right = all(path.read_bytes() == int(path.stem).to_bytes(8, "big") * (SIZE // 8) for path in files)
        print(f"  {len(files):,} files, {'all right' if right and len(files) == count else 'WRONG'}")
        print(f"{count:,} objects of {SIZE} bytes, push")
        two_runs(emulator, PUSH, place / "data", lambda: emulator.counts()["objects"] > count * 3 // 2)
        print(f"  {emulator.counts()['objects'] - count:,} objects made")
    finally:
        emulator.close()


if __name__ == "__main__":
    listing(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        prefix(int(sys.argv[2]) if len(sys.argv) > 2 else 100_000, Path(name))
