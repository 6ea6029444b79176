"""fetch beside curl and aria2c on this machine's nginx: wall seconds with process start, one run, printed as a table.

Then the milliseconds of a fetch that finds its file there, and the peak memory for 4 GiB. Python's modules are
compiled before the first round, as pip does when it installs them.

Run: python tests/benchmarks/transfer_speed.py [ROUNDS [WORD OF A TITLE]]; TMPDIR=/dev/shm measures without a disk.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_spec = importlib.util.spec_from_file_location("nginx", Path(__file__).parents[1] / "support" / "nginx.py")
nginx = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nginx)

MIB = 1 << 20
SIZE = 256 * MIB
COUNT, SMALL = 1000, 100 * 1024
LOCATIONS = "location /fast/ { alias FILES/; }\nlocation /slow/ { alias FILES/; limit_rate 8m; }"
OURS = [sys.executable, "-c"]
ONE = "import sys; from colabkit import fetch; fetch(sys.argv[1], sys.argv[2], progress=False)"
LIST = "import sys; from colabkit import fetch; fetch(open(sys.argv[1]).read().split(), sys.argv[2], progress=False)"
AGAIN = """
import sys, time
from colabkit import fetch
fetch(sys.argv[1], sys.argv[2], progress=False)
times = []
for _ in range(200):
    begun = time.perf_counter()
    fetch(sys.argv[1], sys.argv[2], progress=False)
    times.append(time.perf_counter() - begun)
print(sorted(times)[100] * 1000)
"""
# A process of its own: the peak of a process counts what its parent had when it began.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
LARGE = 4 << 30
NO_RANGE = "import sys; from colabkit import fetch; fetch(sys.argv[1], sys.argv[2], progress=False, connections=1)"


def timed(command: list[str], out: Path, check) -> tuple[float, float]:
    """Run a command into an empty folder; return its seconds and those of the processor; a wrong result ends it all."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()
    before, begun = _computed(), time.perf_counter()
    done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - begun
    if done.returncode != 0 or not check(out):
        sys.exit(f"{command[0]} failed ({done.returncode}): {done.stderr.decode()[-500:]}")
    return seconds, _computed() - before


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(title: str, target: str, rows: dict[str, list[tuple[float, float]]], size: int) -> None:
    """Print one table; the ratio is to the first row."""
    first = statistics.median(seconds for seconds, _ in next(iter(rows.values())))
    print(f"\n{title}   (target: {target})")
    print(f"{'':34}{'median s':>9}{'min s':>8}{'MiB/s':>8}{'ratio':>7}{'CPU s':>7}")
    for name, runs in rows.items():
        median, computed = (statistics.median(column) for column in zip(*runs, strict=True))
        print(
            f"{name:34}{median:9.2f}{min(runs)[0]:8.2f}{size / MIB / median:8.0f}{median / first:7.2f}{computed:7.2f}"
        )


def run(rounds: int, folder: Path, word: str = "") -> None:
    """Measure everything, the programs in turn within each round."""
    files = folder / "files"
    files.mkdir()
    (files / "big").write_bytes(os.urandom(SIZE))
    digest = hashlib.sha256((files / "big").read_bytes()).digest()
    for number in range(COUNT):
        (files / f"{number}").write_bytes(os.urandom(SMALL))
    out = folder / "out"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")

    def right(out: Path) -> bool:
        with (out / "big").open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == digest

    def all_there(out: Path) -> bool:
        return sum(path.stat().st_size for path in out.iterdir()) == COUNT * SMALL

    with nginx.nginx(folder / "nginx", files, LOCATIONS) as address:
        listed = folder / "list"
        listed.write_text("\n".join(f"{address}/fast/{number}" for number in range(COUNT)))
        aria = ["aria2c", "-q", "-x16", "-s16", "-k1M", "--file-allocation=none", "-d", out]
        fast, slow = f"{address}/fast/big", f"{address}/slow/big"
        timed([*OURS, ONE, f"{address}/fast/0", folder / "warm" / "0"], folder / "warm", lambda _: True)
        suites = [
            (
                "256 MiB, unthrottled, to disk",
                "at most 1.1x curl",
                SIZE,
                right,
                {
                    "curl": ["curl", "-s", "-o", out / "big", fast],
                    "curl, then sync the file": ["sh", "-c", f"curl -s -o {out}/big {fast} && sync {out}/big"],
                    "aria2c -x16 -s16 -k1M": [*aria, fast],
                    "colabkit": [*OURS, ONE, fast, out / "big"],
                    "colabkit, one connection": [*OURS, NO_RANGE, fast, out / "big"],
                },
            ),
            (
                "256 MiB, 8 MiB/s a connection",
                "at most 1.0x aria2c",
                SIZE,
                right,
                {
                    "aria2c -x16 -s16 -k1M": [*aria, slow],
                    "colabkit": [*OURS, ONE, slow, out / "big"],
                },
            ),
            (
                "1,000 files of 100 KiB",
                "at most 1.0x aria2c",
                COUNT * SMALL,
                all_there,
                {
                    "aria2c -j16 -i list": ["aria2c", "-q", "-j16", "--file-allocation=none", "-d", out, "-i", listed],
                    "aria2c -j16 -i list, then sync": [
                        "sh",
                        "-c",
                        f"aria2c -q -j16 --file-allocation=none -d {out} -i {listed} && sync {out}/*",
                    ],
                    "colabkit, a list": [*OURS, LIST, listed, out],
                },
            ),
        ]
        for title, target, size, check, commands in (suite for suite in suites if word in suite[0]):
            usable = {
                name: words for name, words in commands.items() if name.startswith("colab") or shutil.which(words[0])
            }
            rows: dict[str, list[tuple[float, float]]] = {name: [] for name in usable}
            for _ in range(rounds):
                for name, words in usable.items():
                    os.environ["COLABKIT_CACHE"] = tempfile.mkdtemp(dir=folder)
                    rows[name].append(timed(words, out, check))
            table(title, target, rows, size)
        if word:
            return
        again = subprocess.run(
            [*OURS, AGAIN, f"{address}/fast/0", out / "again"], capture_output=True, text=True, check=True
        )
        print(f"\nfetch of a file that is there: {float(again.stdout):.2f} ms   (target: under 10 ms)")
        large = files / "large"
        large.touch()
        os.truncate(large, LARGE)  # it takes no room at the source
        words = [*OURS, PEAK, *OURS, ONE, f"{address}/fast/large", out / "large"]
        peak = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
        if (out / "large").stat().st_size != LARGE:
            sys.exit("4 GiB failed")
        print(f"peak memory for 4 GiB: {float(peak.stdout):.0f} MiB   (target: under 120 MiB)")


if __name__ == "__main__":
    if nginx.NGINX is None:
        sys.exit(nginx.WHY_NOT)
    with tempfile.TemporaryDirectory() as place:
        run(int(sys.argv[1]) if len(sys.argv) > 1 else 5, Path(place), *sys.argv[2:3])
