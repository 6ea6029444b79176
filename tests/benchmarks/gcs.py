"""fetch and push of gs:// beside Google's transfer_manager, on the emulator of colabkit.testing.

Prints the seconds of the transfer alone (both clients are imported before the clock starts) and of the whole process,
the bytes that are sent after SIGKILL and a second call, and the peak memory.

Run: python tests/benchmarks/gcs.py [ROUNDS]
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
SIZE = 64 * MIB
LARGE = 512 * MIB
TM = "import time, sys; from google.cloud import storage; from google.cloud.storage import transfer_manager as tm; "
TM += "bucket = storage.Client(project='p').bucket('bucket'); start = time.perf_counter(); "
OURS = "import time, sys; from colabkit.transfer import fetch, push; import requests, google_crc32c; "
OURS += "import colabkit.transfer.sources.gcs, colabkit._engine.uploads.gcs, colabkit._engine.downloader; "
OURS += "start = time.perf_counter(); "
END = "; print(time.perf_counter() - start)"
DOWN = "tm.download_chunks_concurrently(bucket.get_blob('a'), sys.argv[1], worker_type='{}')" + END
PARTS = "tm.upload_chunks_concurrently(sys.argv[1] + '/a', bucket.blob('a'), worker_type='{}')" + END
UP = "tm.upload_many_from_filenames(bucket, ['a'], source_directory=sys.argv[1], worker_type='thread', "
UP += "raise_exception=True)"

# Serves, and obeys one command a line from stdin; answers each with a line of JSON.
SERVER = """
import json, os, sys
from colabkit.testing.gcs import FakeGCS
with FakeGCS() as gcs:
    gcs.put("bucket", "a", os.urandom(int(sys.argv[1])))
    gcs.put("bucket", "large", bytes(int(sys.argv[2])))
    print(json.dumps(gcs.endpoint), flush=True)
    for line in sys.stdin:
        what, *rest = json.loads(line)
        if what == "rate": gcs.rate, answer = rest[0], None
        if what == "counts": answer = gcs.sent, gcs.received
        if what == "sha": answer = __import__("hashlib").sha256(gcs.read("bucket", rest[0])).hexdigest()
        if what == "drop": answer = gcs.buckets["bucket"].objects.pop(rest[0], None) and None
        print(json.dumps(answer), flush=True)
"""


class Service:
    """The emulator in its process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(SIZE), str(LARGE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.endpoint = json.loads(self._process.stdout.readline())

    def ask(self, *words: object):
        """Send one command."""
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait()


def digest(path: Path) -> str:
    """Hash a file in pieces: the peak memory of a process counts what its parent had when it began."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def timed(code: str, argument: Path) -> tuple[float, float, float]:
    """Run code in a process; returns the seconds it tells, its wall seconds and its peak memory in MiB."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(argument)], stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {code}")
    return float(out.split()[-1]), wall, usage.ru_maxrss / 1024


def table(title: str, rows: dict[str, list[tuple[float, float, float]]]) -> None:
    """Print one table; ratios are to the best of Google's."""
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in rows.items()}
    best = [min(figures[at] for name, figures in medians.items() if name.startswith("transfer")) for at in (0, 1)]
    print(f"\n{title}   (target: at most 1.0x)")
    print(f"{'':44}{'transfer s':>11}{'ratio':>7}{'process s':>11}{'ratio':>7}{'peak MiB':>10}")
    for name, (inner, wall, peak) in medians.items():
        print(f"{name:44}{inner:11.3f}{inner / best[0]:7.2f}{wall:11.3f}{wall / best[1]:7.2f}{peak:10.0f}")


def killed(service: Service, words: list[str], count: int) -> float:
    """Kill a transfer half way and run it again; returns the bytes that travelled as a share of the file."""
    before = service.ask("counts")[count]
    service.ask("rate", 16 * MIB if count else 2 * MIB)
    process = subprocess.Popen([sys.executable, "-m", "colabkit", *words], stdout=subprocess.DEVNULL)
    while service.ask("counts")[count] - before < SIZE // 2 and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    service.ask("rate", 0)
    subprocess.run([sys.executable, "-m", "colabkit", *words], check=True, stdout=subprocess.DEVNULL)
    return (service.ask("counts")[count] - before) / SIZE


def run(rounds: int, folder: Path) -> None:
    """Measure, the programs in turn within each round."""
    os.environ["COLABKIT_CACHE"] = str(folder / "cache")
    service = Service()
    os.environ["STORAGE_EMULATOR_HOST"] = service.endpoint
    expected = service.ask("sha", "a")
    downs = {
        "transfer_manager, processes (its default)": TM + DOWN.format("process"),
        "transfer_manager, threads": TM + DOWN.format("thread"),
        "colabkit": OURS + "fetch('gs://bucket/a', sys.argv[1], progress=False)" + END,
    }
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in downs}
    for number in range(rounds):
        for name, code in downs.items():
            out = folder / f"{number}-{len(rows[name])}-{list(downs).index(name)}"
            os.sync()
            rows[name].append(timed(code, out))
            if digest(out) != expected:
                sys.exit(f"{name}: wrong file")
            out.unlink()
    table("64 MiB from gs://", rows)

    source = folder / "up"
    source.mkdir()
    with (source / "a").open("wb") as file:
        for _ in range(SIZE // MIB):
            file.write(os.urandom(MIB))
    expected = digest(source / "a")
    ups = {
        "transfer_manager, one stream": TM + UP + END,
        "transfer_manager, parts, processes (default)": TM + PARTS.format("process"),
        "transfer_manager, parts, threads": TM + PARTS.format("thread"),
        "colabkit": OURS + "push(sys.argv[1] + '/a', 'gs://bucket/up', progress=False)" + END,
    }
    rows = {name: [] for name in ups}
    for _ in range(rounds):
        for name, code in ups.items():
            made = "a" if name.startswith("transfer") else "up"
            service.ask("drop", made)
            rows[name].append(timed(code, source))
            if service.ask("sha", made) != expected:
                sys.exit(f"{name}: wrong object")
    table("64 MiB to gs://", rows)

    print("\nbytes that travel, SIGKILL half way and a second call   (target: at most 1.1)")
    print(f"fetch {killed(service, ['fetch', 'gs://bucket/a', '--to', str(folder / 'killed')], 0):6.3f}")
    print(f"push  {killed(service, ['push', str(source / 'a'), 'gs://bucket/killed'], 1):6.3f}")

    large = folder / "large"
    print(f"\npeak memory for {LARGE // MIB} MiB   (target: under 120 MiB)")
    _, _, peak = timed(OURS + "fetch('gs://bucket/large', sys.argv[1], progress=False)" + END, large)
    print(f"fetch {peak:5.0f} MiB")
    _, _, peak = timed(OURS + "push(sys.argv[1], 'gs://bucket/again', progress=False)" + END, large)
    print(f"push  {peak:5.0f} MiB")
    service.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        run(int(sys.argv[1]) if len(sys.argv) > 1 else 5, Path(place))
