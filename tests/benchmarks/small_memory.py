"""Fetch, unpack, save and mirror in a control group with little memory: all goes on, and the bytes are right.

    python tests/benchmarks/small_memory.py [MEGABYTES]           root, and control groups of version 1 or 2

The files are larger than the group's memory; the pages of the disk's cache count against it and are given back.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

BLOCK = 1 << 20
SIZE = 400


def group(megabytes: int) -> Path:
    """Make a control group."""
    old = Path("/sys/fs/cgroup/memory")
    place = (old if old.is_dir() else Path("/sys/fs/cgroup")) / f"colabkit-{os.getpid()}"
    place.mkdir()
    limit = "memory.limit_in_bytes" if old.is_dir() else "memory.max"
    (place / limit).write_text(str(megabytes << 20))
    return place


def act(kind: str, folder: Path, url: str) -> None:
    """Do one act in this process."""
    import numpy as np

    import colabkit as ck

    match kind:
        case "fetch":
            ck.fetch(f"{url}/big.bin", folder / "big.bin", progress=False)
        case "unpack":
            ck.fetch(f"{url}/big.tar", folder / "out", unpack=True, progress=False)
        case "push":
            ck.push(folder / "big.bin", folder / "there" / "big.bin")
        case "save":
            run = ck.open_run(folder / "run", mirror=folder / "mirror", keep=2)
            state = np.zeros(8 << 20, np.uint8)
            for step in range(1, 41):
                state[:] = step
                run.save({"x": state}, step=step)
            run.flush()
            run.close()


def main(megabytes: int) -> None:
    """Do all acts, each in a group of its own."""
    with tempfile.TemporaryDirectory(prefix="small-") as base:
        place = Path(base)
        (place / "web").mkdir()
        block = os.urandom(BLOCK)
        digest = hashlib.sha256()
        with open(place / "web" / "big.bin", "wb") as file, tarfile.open(place / "web" / "big.tar", "w") as packed:
            for number in range(SIZE):
                file.write(block)
                digest.update(block)
                info = tarfile.TarInfo(f"part{number}")
                info.size = BLOCK
                packed.addfile(info, io.BytesIO(block))
        handler = lambda *words: Quiet(*words, directory=str(place / "web"))  # noqa: E731 - the class wants a folder
        with Silent(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}"
            for kind in ("fetch", "unpack", "push", "save"):
                cgroup, began = group(megabytes), time.monotonic()
                code = f"import os, sys; open({str(cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
                code += f"os.execv(sys.executable, [sys.executable, {__file__!r}, 'act', {kind!r}, {base!r}, {url!r}])"
                done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
                peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
                seconds = time.monotonic() - began
                print(f"{kind} of {SIZE} MB in {megabytes} MB: {done.returncode}, {seconds:.1f} s, {peak} MB")
                if done.returncode:
                    print(done.stderr[-800:])
                with contextlib.suppress(OSError):
                    cgroup.rmdir()
            server.shutdown()
        whole = hashlib.sha256((place / "big.bin").read_bytes()).digest() == digest.digest()
        import colabkit as ck

        run = ck.open_run(place / "other", mirror=place / "mirror")
        found = run.restore()
        run.close()
        print(
            "the file is right:", whole, "| parts:", len(list((place / "out").iterdir())), "| restored step", found.step
        )


class Silent(http.server.ThreadingHTTPServer):
    """Says nothing of connections that a client has enough of."""

    def handle_error(self, *_: object) -> None:
        """Be quiet."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        """Be quiet."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["act"]:
        act(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 150)
