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
from tests.support.kernels import find_uv

REPEATS = 5
PACKAGES = ["polars", "lightgbm", "optuna", "plotly", "statsmodels"]
"""What a notebook adds to a fresh environment."""
MIB = 1 << 20

CALL = """
import json, sys, time
if sys.argv[2:] == ["kernel"]:
    import IPython, ipykernel.ipkernel, ipykernel.kernelapp
import subprocess
children = []  # when each process of the installer was at work: it resolves for the plan, and installs
start, wait = subprocess.Popen.__init__, subprocess.Popen.wait
def started(self, *words, **options):
    self.since = time.perf_counter()
    start(self, *words, **options)
def waited(self, *words, **options):
    code = wait(self, *words, **options)
    children.append((self.since, time.perf_counter()))
    return code
subprocess.Popen.__init__, subprocess.Popen.wait = started, waited
begin, cpu = time.perf_counter(), time.process_time()
import colabkit
first = colabkit.setup(sys.argv[1])
middle, spent = time.perf_counter(), time.process_time() - cpu
second = colabkit.setup(sys.argv[1])
end = time.perf_counter()
assert first.complete and second.complete
# The data comes while packages are installed; these do not take longer than it.
work, at = 0.0, begin
for since, until in sorted((since, min(until, middle)) for since, until in children):
    work, at = work + max(0.0, until - max(since, at)), max(at, until)
print(json.dumps({"first": middle - begin, "second": end - middle, "work": work, "cpu": spent}))
"""


def measure(python: Path, file: Path, env: dict[str, str], *words: str) -> dict[str, float]:
    """Set up twice in a new process."""
    done = subprocess.run([python, "-c", CALL, file, *words], env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, FaultServer() as server:
        work = Path(folder)
        server.put("data.bin", b"7" * (64 * MIB)).rate = 2.0 * MIB
        python = work / "env" / "bin" / "python"
        subprocess.run([find_uv(), "venv", "-q", "--python", sys.executable, work / "env"], check=True)
        root = Path(__file__).parents[2]
        subprocess.run([find_uv(), "pip", "install", "-q", "--python", python, root, "ipykernel", "numpy"], check=True)
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env["XDG_CACHE_HOME"] = str(work / "cache")
        # As installed by pip: compiled. Without it, each process would compile every module again.
        env |= {"PYTHONPYCACHEPREFIX": str(work / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
        warm = work / "warm.toml"
        warm.write_text('packages = ["packaging"]\nrun = "runs/warm"\n')
        measure(python, warm, env, "kernel")
        file = work / "colabkit.toml"
        file.write_text(
            f"packages = {json.dumps(PACKAGES)}\n"
            'lock = "requirements.lock"\nrun = "runs/one"\n'
            f'[data]\nbytes = "{server.url("data.bin")}"\n'
        )
        cold = measure(python, file, env)
        rows = {"a kernel": ["kernel"], "a bare Python": []}
        prepared = {row: [measure(python, file, env, *words) for _ in range(REPEATS)] for row, words in rows.items()}
    share = cold["work"] / cold["first"]
    print(
        f"cold: {cold['first']:.2f} s; installing and downloading {cold['work']:.2f} s of it, {share:.0%};"
        f" this process itself had the processor for {cold['cpu']:.2f} s\n"
    )
    print("| prepared | first call, imports included | of it on the processor | again in the same process |")
    print("|---|---|---|---|")
    for row, values in prepared.items():
        first, cpu, second = (statistics.median(one[key] for one in values) * 1e3 for key in ("first", "cpu", "second"))
        print(f"| {row} | {first:.0f} ms | {cpu:.0f} ms | {second:.1f} ms |")


if __name__ == "__main__":
    main()
