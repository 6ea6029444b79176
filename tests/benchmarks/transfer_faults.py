"""Each download tool under each fault, in one run, printed as a table.

OK: the right file. ERR: an exit code other than 0 and nothing wrong at the final name. JUNK: an exit code other than 0
and wrong bytes at the final name. BAD: exit 0 with a wrong file. The number behind is how often the file's bytes were
served; the seconds follow where a tool waited.

Run: python tests/benchmarks/transfer_faults.py [PART OF A FAULT'S NAME]
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from colabkit.testing.http import Fault, FaultServer

MIB = 1 << 20
SIZE = 32 * MIB
AT = 9 * MIB + 12_345
OLD, NEW = os.urandom(SIZE), os.urandom(SIZE)
HASHES = {"x-goog-hash": "md5=" + base64.b64encode(hashlib.md5(OLD, usedforsecurity=False).digest()).decode()}
TOOLS = {
    "colabkit": [sys.executable, "-m", "colabkit", "fetch", "URL", "--to", "OUT"],
    "curl -C - --retry 3": ["curl", "-sSfL", "-C", "-", "--retry", "3", "-o", "OUT", "URL"],
    "wget -c": ["wget", "-q", "-c", "-O", "OUT", "URL"],
    "aria2c -x4 -c": ["aria2c", "-q", "-x4", "-k1M", "-c", "-d", "DIR", "-o", "a.bin", "URL"],
}


def start(tool: str, url: str, out: Path) -> subprocess.Popen:
    """Start a tool on an address."""
    values = {"URL": url, "OUT": str(out), "DIR": str(out.parent)}
    return subprocess.Popen(
        [values.get(word, word) for word in TOOLS[tool]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLABKIT_CACHE": str(out.parent / ".cache")},
    )


class Case:
    """One fault: what the server does, and what is done to the tool."""

    def __init__(self, *faults: Fault, kill=False, twice=False, full=False, redirected=False, **options) -> None:
        self.faults, self.options = faults, options
        self.kill, self.twice, self.full, self.redirected = kill, twice, full, redirected

    def after_kill(self, resource) -> None:
        """Change the world between the kill and the second run."""

    def run(self, tool: str, folder: Path) -> str:
        """Run the tool and judge what it left."""
        with FaultServer() as server, self.disk(folder) as place:
            resource = server.put("signed" if self.redirected else "a.bin", OLD, **{"rate": 4 * MIB, **self.options})
            if self.redirected:
                server.put("a.bin", b"", Fault(kind="redirect", location="/signed?key=1", times=10**6))
            out, url = place / "a.bin", server.url("a.bin")
            begun = time.monotonic()
            if self.kill:
                first = start(tool, url, out)
                while server.sent < AT and first.poll() is None:
                    time.sleep(0.01)
                first.kill()
                first.wait()
                while resource.serving:
                    time.sleep(0.01)
                self.after_kill(resource)
            resource.faults += [Fault(**vars(fault)) for fault in self.faults]
            processes = [start(tool, url, out) for _ in range(2 if self.twice else 1)]
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=90)
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    return f"HANG {server.sent / SIZE:.2f}x 90s"
            code = max(process.returncode for process in processes)
            verdict = judge(code, out, resource.data)
            return f"{verdict} {server.sent / SIZE:.2f}x" + waited(time.monotonic() - begun)

    @contextlib.contextmanager
    def disk(self, folder: Path):
        """Yield the folder to write to: for a full disk a small one of its own."""
        if not self.full:
            yield folder
            return
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


class Replaced(Case):
    """The owner replaces the file between the kill and the second run."""

    def after_kill(self, resource) -> None:
        """Put the new version in place."""
        resource.replace(NEW)


def judge(code: int, out: Path, right: bytes) -> str:
    """Compare what lies at the final name with what should."""
    control = out.with_name(out.name + ".aria2").exists()  # aria2 marks a file that is not ready by this
    if not out.exists() or control:
        return "ERR" if code else "BAD"
    if out.read_bytes() == right:
        return "OK" if code == 0 else "ERR"
    return "JUNK" if code else "BAD"


def waited(seconds: float) -> str:
    """Tell the seconds where they matter."""
    return f" {seconds:.0f}s" if seconds > 15 else ""


LATE = {"Retry-After": "Thu, 01 Jan 1970 00:00:02 GMT", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
PAGE = b"<!DOCTYPE html><html><title>Quota exceeded</title><p>Try again later.</html>"
CASES = {
    "connection reset at 9 MB, once": Case(Fault(kind="reset", at=AT)),
    "truncated, clean close": Case(Fault(kind="truncate", at=AT)),
    "503 once": Case(Fault(kind="status", status=503)),
    "429 + Retry-After: 2, once": Case(Fault(kind="status", status=429, headers={"Retry-After": "2"})),
    "one byte flipped (hash sent)": Case(Fault(kind="flip", at=AT, times=99), headers=HASHES),
    "a web page instead": Case(Fault(kind="page", body=PAGE, times=99)),
    "SIGKILL, run again": Case(kill=True),
    "SIGKILL, replaced, run again": Replaced(kill=True),
    "SIGKILL, then Range ignored": Case(Fault(kind="whole", times=10**6), kill=True),
    "SIGKILL, then 503 once": Case(Fault(kind="status", status=503, body=b"<html>busy</html>"), kill=True),
    "stall of 40 s": Case(Fault(kind="stall", at=AT, seconds=40)),
    "signed address expires midway": Case(
        Fault(kind="reset", at=AT), Fault(kind="status", status=403, after=1), redirected=True
    ),
    "disk full": Case(full=True),
    "two processes, one destination": Case(twice=True),
    "clock skew (Retry-After a date)": Case(Fault(kind="status", status=503, headers=LATE)),
    "Content-Length too long": Case(Fault(kind="whole", times=999), Fault(kind="length", at=99, times=999), rate=0),
    "Content-Length too short": Case(Fault(kind="whole", times=999), Fault(kind="length", at=-99, times=999), rate=0),
    "gzip on the fly": Case(Fault(kind="gzip", times=999), rate=0),
}


def main(part: str) -> None:
    """Print the table."""
    tools = [tool for tool in TOOLS if shutil.which(TOOLS[tool][0])]
    print(f"{'fault':34}" + "".join(f"{tool:22}" for tool in tools))
    for name, case in CASES.items():
        if part not in name or (case.full and os.getuid() != 0):
            continue
        cells = []
        for tool in tools:
            with tempfile.TemporaryDirectory() as folder:
                cells.append(case.run(tool, Path(folder)))
        print(f"{name:34}" + "".join(f"{cell:22}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
