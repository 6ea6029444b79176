"""Random rounds of what goes wrong over fetch, push, a mirror and a resumed run: nothing lost, nothing half, no hang.

    python tests/benchmarks/chaos.py [ROUNDS] [SEED]

Each round draws an act and its faults: SIGKILL at a random instant, SIGSTOP and SIGCONT, a flipped bit, a delay, a
connection that breaks, a disk that is full (a tmpfs of 2 MB where this user may mount one). The act is then done once
more without faults, and must end with the right bytes. What was called saved or confirmed must be there.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import colabkit as ck
from colabkit.checkpoint import open_run
from colabkit.errors import ColabKitError
from colabkit.testing.gcs import FakeGCS

DATA = random.Random(1).randbytes(600_000)
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
LONGEST = 60.0  # seconds until an act counts as hung, on a machine that other work loads


class Unreliable(http.server.BaseHTTPRequestHandler):
    """Serves the data; the address says what goes wrong: flip, cut, slow or busy, by chance; whole, never."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        """Answer a range, or go wrong."""
        fault, dice = self.path.split("/")[1], random.Random(time.perf_counter_ns())
        first, last = 0, len(DATA) - 1
        wanted = self.headers.get("Range")
        if wanted:
            start, _, end = wanted[6:].partition("-")
            first, last = int(start), min(int(end or last), last)
        body = bytearray(DATA[first : last + 1])
        if fault == "busy" and dice.random() < 0.4:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "flip" and dice.random() < 0.4:
            body[dice.randrange(len(body))] ^= 1
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-MD5" if not wanted else "X-Part", "")
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(DATA)}")
        self.end_headers()
        if fault == "cut" and dice.random() < 0.5:
            self.wfile.write(body[: dice.randrange(len(body))])
            self.close_connection = True
            return
        if fault == "slow":
            for at in range(0, len(body), 100_000):
                self.wfile.write(body[at : at + 100_000])
                time.sleep(dice.random() * 0.1)
            return
        self.wfile.write(body)


class Quiet(http.server.ThreadingHTTPServer):
    """Says nothing of the clients that are killed."""

    def handle_error(self, *_: object) -> None:
        """Be quiet."""


def serve() -> None:
    """Serve files, and a Cloud Storage that fails now and then, until stdin ends."""
    import threading

    web = Quiet(("127.0.0.1", 0), Unreliable)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    with FakeGCS() as gcs:
        gcs.bucket("runs")
        gcs.fail_now_and_then(every=7, until=4_000, upload_breaks_at=100_000)
        print(web.server_port, gcs.endpoint, flush=True)
        sys.stdin.read()


def act_of(kind: str, place: Path, web: str, fault: str, told: int) -> None:
    """Do one act in a process of its own; what it may rely on goes to the descriptor `told`."""
    match kind:
        case "fetch":
            ck.fetch(f"{web}/{fault}/a.bin", place / "a.bin", checksum=f"md5:{MD5}", progress=False)
        case "push":
            ck.push(place / "source.bin", place / "there" / "a.bin", overwrite=True)
        case "push to gs":
            ck.push(place / "source.bin", f"gs://runs/{place.name}.bin", overwrite=True)
        case "resume" | "mirror" | "mirror on gs":
            mirror = {"mirror": str(place / "mirror"), "mirror on gs": f"gs://runs/{place.name}"}.get(kind)
            run = open_run(place / "run", keep=2, mirror=mirror)
            found = run.restore()
            first = found.step + 1 if found else 1
            for step in range(first, first + 40):
                run.save({"x": np.full(20_000, step)}, step=step)
                if kind == "resume":
                    with contextlib.suppress(ColabKitError):
                        run.flush()
                status = run.status()
                sure = status.saved_step if kind == "resume" else status.confirmed_step
                os.write(told, b"%d\n" % (sure or 0))
            with contextlib.suppress(ColabKitError):  # a full mirror is told, and loses nothing
                run.close()


def processed(kind: str, place: Path, web: str, fault: str, kill_after: float | None, stop: bool) -> tuple[str, int]:
    """Fork for one act; give how it ended, and the newest step that it was sure of."""
    listen, told = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.close(listen)
            with open(place / "log.txt", "ab") as log:
                os.dup2(log.fileno(), 2)
            act_of(kind, place, web, fault, told)
        except ColabKitError:
            code = 3
        except BaseException:  # noqa: BLE001 - told to the parent
            import traceback

            traceback.print_exc()
            code = 1
        os._exit(code)
    os.close(told)
    began, ended = time.monotonic(), "hung"
    while time.monotonic() - began < LONGEST:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            ended = {0: "done", 3: "told", 256 * 3: "told"}.get(status, "raw" if status == 256 else "killed")
            break
        if kill_after is not None and time.monotonic() - began > kill_after:
            if stop:
                os.kill(child, signal.SIGSTOP)
                time.sleep(0.2)
                os.kill(child, signal.SIGCONT)
                kill_after, stop = kill_after + 0.3, False
                continue
            os.kill(child, signal.SIGKILL)
            kill_after = None
        time.sleep(0.005)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with open(listen, "rb") as pipe:
        sure = [int(line) for line in pipe.read().split(b"\n")[:-1] if line]
    return ended, max(sure, default=0)


def right(kind: str, place: Path, gcs: str, sure: int) -> str:
    """Say what is wrong after the last act without faults; nothing when all is right."""
    if kind == "fetch":
        left = [path.name for path in place.iterdir() if ".part" in path.name]
        return "" if (place / "a.bin").read_bytes() == DATA and not left else f"wrong bytes, or left: {left}"
    if kind == "push":
        return "" if (place / "there" / "a.bin").read_bytes() == DATA else "wrong bytes"
    if kind == "push to gs":
        ck.fetch(f"gs://runs/{place.name}.bin", place / "back.bin", progress=False, overwrite=True)
        return "" if (place / "back.bin").read_bytes() == DATA else "wrong bytes"
    mirror = {"mirror": str(place / "mirror"), "mirror on gs": f"gs://runs/{place.name}"}.get(kind)
    other = open_run(place / "run") if mirror is None else open_run(place / "other", mirror=mirror)
    found = other.restore()
    other.close()
    if found is None:
        return f"nothing restored, step {sure} was sure" if sure else ""
    return "" if found.step >= sure and (found.state["x"] == found.step).all() else f"{found.step} of {sure}, or torn"


@contextlib.contextmanager
def small_disk(place: Path, wanted: bool):
    """Put a tmpfs of 2 MB under what is written, where that is wanted and this user may."""
    folder = place / "small"
    folder.mkdir()
    done = wanted and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    mounted = bool(done) and done.returncode == 0
    try:
        yield folder, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def main(rounds: int, seed: int) -> None:
    """Do the rounds and print the counts."""
    dice, counts, wrong = random.Random(seed), collections.Counter(), []
    server = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    port, endpoint = server.stdout.readline().split()
    os.environ["STORAGE_EMULATOR_HOST"] = endpoint
    web, slowest = f"http://127.0.0.1:{port}", 0.0
    try:
        for number in range(rounds):
            kind = dice.choice(["fetch", "fetch", "push", "push to gs", "resume", "mirror", "mirror on gs"])
            fault = dice.choice(["flip", "cut", "slow", "busy"])
            with (
                tempfile.TemporaryDirectory(prefix="chaos-") as base,
                small_disk(Path(base), dice.random() < 0.3) as (
                    small,
                    full,
                ),
            ):
                place = Path(base) / f"round-{number}"
                place.mkdir()
                (place / "source.bin").write_bytes(DATA)
                if full:
                    for name in ("there", "mirror"):
                        (place / name).symlink_to(small, target_is_directory=True)
                    (small / "filler").write_bytes(bytes(1_600_000 + dice.randrange(450_000)))
                sure = 0
                for _ in range(dice.randint(1, 3)):
                    kill_after = dice.random() * 0.6 if dice.random() < 0.7 else None
                    began = time.monotonic()
                    ended, told = processed(kind, place, web, fault, kill_after, dice.random() < 0.3)
                    slowest, sure = max(slowest, time.monotonic() - began), max(sure, told)
                    counts[ended] += 1
                    if ended in ("raw", "hung"):
                        wrong.append((number, kind, fault, ended, (place / "log.txt").read_text()[-800:]))
                if full:
                    (small / "filler").unlink()
                ended, told = processed(kind, place, web, "whole", None, stop=False)
                try:
                    fault_left = right(kind, place, endpoint, max(sure, told))
                except (ColabKitError, OSError) as error:
                    fault_left = repr(error)
                if ended != "done" or fault_left:
                    wrong.append((number, kind, fault, ended, fault_left, (place / "log.txt").read_text()[-800:]))
                counts[f"round of {kind}" + (" on a full disk" if full else "")] += 1
            if (number + 1) % 5 == 0:
                print(f"{number + 1} rounds, {len(wrong)} wrong", flush=True)
    finally:
        server.stdin.close()
        server.wait(20)
    print(f"{rounds} rounds, {len(wrong)} wrong, the slowest act {slowest:.1f} s, {dict(counts.most_common())}")
    for one in wrong[:20]:
        print(*one, sep="\n   ")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        shutil.rmtree(Path(tempfile.gettempdir(), "chaos-home"), ignore_errors=True)
        os.environ["HOME"] = tempfile.mkdtemp(prefix="chaos-home-")
        main(int(sys.argv[1]) if sys.argv[1:] else 500, int(sys.argv[2]) if sys.argv[2:] else 0)
