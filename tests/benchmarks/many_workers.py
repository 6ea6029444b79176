"""What a run costs as its workers grow: requests to the storage, seconds, memory, and money by the price list.

    python tests/benchmarks/many_workers.py [WORKERS ...]        default: 8 64 512

The supervisors are real and talk by TCP on this machine; their workers are played. The chief's run is real too, with
its mirror on an emulated Cloud Storage that answers every twentieth request with 503 and breaks an upload now and then.
The prices are those of https://cloud.google.com/storage/pricing for Standard storage in one region in 2026: $0.005 for
1,000 operations of class A (uploads and lists), $0.0004 for 1,000 of class B (reads and looks), deletes are free.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import resource
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import colabkit as ck
from colabkit.launch import coordinator, plan, protocol
from colabkit.testing.gcs import FakeGCS, GcsSeen

SAVES = 20
STATE = 4 << 20
CLASS_A, CLASS_B = 0.005 / 1000, 0.0004 / 1000
WRITES = ("list", "insert", "start", "upload")


def supervised(count: int) -> dict[str, float]:
    """Let so many keepers greet a lead, start, lose one, and start again; give the seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text("")
        decided = plan.plan_launch(script, local=count, restarts=1, timeout=300)
        return asyncio.run(_scene(decided, count))


async def _scene(decided: plan.Plan, count: int) -> dict[str, float]:
    secret, facts, began = secrets.token_bytes(32), {"script": "a"}, time.monotonic()
    lead = coordinator.Lead(decided, fingerprint=facts)
    server = await protocol.listen("127.0.0.1", 0, lead.serve, secret=secret)
    port = server.sockets[0].getsockname()[1]
    told: dict[int, list[float]] = collections.defaultdict(list)

    async def keeper(rank: int) -> None:
        while True:  # as Member does: all come in the same instant, and some are told to come again
            with contextlib.suppress(OSError, TimeoutError):
                link = await protocol.connect("127.0.0.1", port, timeout=10)
                if await asyncio.wait_for(link.prove(secret, role="member"), 15):
                    break
            await asyncio.sleep(0.5)
        await link.send(hello=rank, fingerprint=facts)
        attempt = 0
        while (message := await link.receive()) is not None:
            if "start" in message:
                attempt = message["start"]
                told[attempt].append(time.monotonic())
                if attempt == 1 and rank == count - 1:
                    await asyncio.sleep(1)
                    told[0].append(time.monotonic())
                    await link.send(ended=-9, attempt=attempt, error=None)
                elif attempt > 1:
                    await link.send(ended=0, attempt=attempt, error=None)
            elif "stop" in message:
                await link.send(ended=-9, attempt=attempt, error=None)
            elif "done" in message:
                return

    keepers = [asyncio.ensure_future(keeper(rank)) for rank in range(count)]
    report = await lead.run()
    await asyncio.gather(*keepers, return_exceptions=True)
    server.close()
    first, second = (told[attempt] for attempt in (1, 2))
    return {
        "all there": max(first) - began,
        "from a death to the next start": max(second) - told[0][0],
        "attempts": report.attempts,
        "code": report.code,
    }


def mirrored() -> dict[str, Any]:
    """Save with a mirror that fails now and then; give the requests for a save, and what a restore takes."""
    with FakeGCS() as gcs, tempfile.TemporaryDirectory() as folder:
        os.environ["STORAGE_EMULATOR_HOST"] = gcs.endpoint
        gcs.bucket("runs")
        gcs.fail_now_and_then(every=20, until=10_000, upload_breaks_at=1 << 20)
        run = ck.open_run(Path(folder) / "run", mirror="gs://runs/digits")
        slowest, state = 0.0, np.random.default_rng(0).random(STATE // 8)
        for step in range(1, SAVES + 1):
            began = time.perf_counter()
            run.save({"x": state + step}, step=step)
            slowest = max(slowest, time.perf_counter() - began)
            run.flush()
        saved = list(gcs.seen)
        run.close()
        gcs.seen.clear()
        again = ck.open_run(Path(folder) / "other", mirror="gs://runs/digits")
        again.restore()
        restored = list(gcs.seen)
        again.close()
    return {"save": saved, "restore": restored, "slowest": slowest}


def priced(seen: list[GcsSeen]) -> str:
    """Count requests by operation, and price them."""
    counts = collections.Counter(one.on or "metadata" for one in seen)
    money = sum(count * (CLASS_A if on in WRITES else CLASS_B) for on, count in counts.items() if on != "delete")
    return f"{len(seen)} requests, ${money:.6f}: {dict(counts.most_common())}"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with patch("colabkit.launch.coordinator.free_ports", lambda count, *_, **__: list(range(20_000, 20_000 + count))):
        for number in [int(word) for word in sys.argv[1:]] or [8, 64, 512]:
            print(number, {name: round(value, 2) for name, value in supervised(number).items()}, flush=True)
    found = mirrored()
    print(f"{SAVES} saves of {STATE:,} bytes; the longest that the training waits: {1000 * found['slowest']:.1f} ms")
    for name in ("save", "restore"):
        print(f"{name}: {priced(found[name])}")
