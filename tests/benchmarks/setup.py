"""What a set-up costs where all is there, and what of a cold one is not installers and downloads.

python -m tests.benchmarks.setup
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from colabkit.testing.http import FaultServer
from tests.kernels import find_uv

REPEATS = 5
MIB = 1 << 20

CALL = """
import json, sys, time
begin = time.perf_counter()
import colabkit
first = colabkit.setup(sys.argv[1])
middle = time.perf_counter()
second = colabkit.setup(sys.argv[1])
end = time.perf_counter()
assert first.complete and second.complete
steps = sum(seconds for name, seconds in first.seconds.items() if name != "all")
print(json.dumps({"first": middle - begin, "second": end - middle, "steps": steps}))
"""


def measure(python: Path, file: Path, env: dict[str, str]) -> dict[str, float]:
    """Set up twice in a new process."""
    done = subprocess.run([python, "-c", CALL, file], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, FaultServer() as server:
        work = Path(folder)
        server.put("data.bin", b"7" * (8 * MIB)).rate = 2.0 * MIB
        python = work / "env" / "bin" / "python"
        subprocess.run([find_uv(), "venv", "-q", "--python", sys.executable, work / "env"], check=True)
        here = f"{Path(__file__).parents[2]}{os.pathsep}{os.pathsep.join(path for path in sys.path if 'site-' in path)}"
        env = {**os.environ, "PYTHONPATH": here, "XDG_CACHE_HOME": str(work / "cache")}
        file = work / "colabkit.toml"
        file.write_text(
            'packages = ["cowsay"]\nlock = "requirements.lock"\nrun = "runs/one"\n'
            f'[data]\nbytes = "{server.url("data.bin")}"\n'
        )
        cold = measure(python, file, env)
        prepared = [measure(python, file, env) for _ in range(REPEATS)]
    first = statistics.median(one["first"] for one in prepared)
    second = statistics.median([cold["second"], *(one["second"] for one in prepared)])
    print("| | s | of it its steps |")
    print("|---|---|---|")
    print(f"| cold: a package, 8 MiB at 2 MiB/s a connection, a lock | {cold['first']:.2f} | {cold['steps']:.2f} |")
    print(f"| prepared, new process, `import colabkit` included | {first:.3f} | |")
    print(f"| again in the same process | {second:.4f} | |")


if __name__ == "__main__":
    main()
