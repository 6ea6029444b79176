"""Two or more workers that train a line together without a framework: what a supervisor costs, and nothing else.

Worker 0 adds up what the others send by a socket at the coordinator's address, saves, and sends the sum back. A worker
that loses another ends with an error, as those of a framework do.

Usage: shared_plainly.py RUN STEPS [PAUSE]
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import numpy as np

import colabkit as ck
from colabkit.accelerator import cluster

run_folder, steps = Path(sys.argv[1]), int(sys.argv[2])
pause = float(sys.argv[3]) if sys.argv[3:] else 0.02
joined = cluster.current()
if joined is None:
    sys.exit("it needs two workers or more")
host, _, port = joined.coordinator.rpartition(":")
SIZE = 64 * 8


def told(link):
    """Read one array."""
    data = b""
    while len(data) < SIZE:
        piece = link.recv(SIZE - len(data))
        if not piece:
            sys.exit("another worker was lost")
        data += piece
    return np.frombuffer(data)


links, run, weights, first = [], None, np.zeros(64), 0
if joined.index == 0:
    run = ck.open_run(run_folder)
    if (found := run.restore()) is not None:
        weights, first = found.state["weights"], found.step
    with socket.create_server((host, int(port))) as server:
        server.settimeout(60)
        links = [server.accept()[0] for _ in range(joined.count - 1)]
    for link in links:
        link.sendall(np.concatenate([weights[:63], [first]]).tobytes())
else:
    until = time.monotonic() + 60
    while not links:
        try:
            links = [socket.create_connection((host, int(port)), timeout=60)]
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    start = told(links[0])
    weights, first = np.concatenate([start[:63], [0]]), int(start[63])
weights = weights.copy()
weights[63] = 0
for step in range(first, steps):
    gradient = np.random.default_rng([step, joined.index]).random(64)
    gradient[63] = 0
    if joined.index == 0:
        total = gradient + sum(told(link) for link in links)
        for link in links:
            link.sendall(total.tobytes())
    else:
        links[0].sendall(gradient.tobytes())
        total = told(links[0])
    weights = 0.9 * weights + 0.1 * total
    if run is not None and (step + 1) % 3 == 0:
        run.save({"weights": weights}, step=step + 1)
    (run_folder.parent / f"step{joined.index}").write_text(str(step + 1))
    time.sleep(pause)
if run is not None:
    run.save({"weights": weights}, step=steps)
    run.close()
np.savez(run_folder.parent / f"{run_folder.name}-{joined.index}.npz", weights=weights)
