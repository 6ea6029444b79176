"""What install() costs: nothing to do, a plan, and uv beside pip.

python -m tests.benchmarks.packages

The site has 700 distributions, as many as a Colab image. Needs the network for the last table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.kernels import find_uv

DISTRIBUTIONS = 700
REPEATS = 11
PACKAGES = ("kaggle", "gdown", "google-cloud-storage")

NOTHING_TO_DO = """
import json, sys, time
if sys.argv[2] == "kernel":
    from ipykernel import kernelapp  # what a kernel has loaded before the first cell
import colabkit
sys.path.append(sys.argv[1])
started = []
sys.addaudithook(lambda event, args: started.append(args) if event == "subprocess.Popen" else None)
took = []
for _ in range(int(sys.argv[3])):
    begin = time.perf_counter()
    report = colabkit.install("package-7>=1", "package-70", "packaging", restart="never")
    took.append(time.perf_counter() - begin)
    assert report.changed == () and not started, report
print(json.dumps(took))
"""

PLAN = """
import json, os, sys, time
from colabkit._internal.process import proc
import colabkit
sys.path.append(sys.argv[1])
inside = []
really = proc.run
def run(*args, **more):
    begin = time.perf_counter()
    try:
        return really(*args, **more)
    finally:
        inside.append(time.perf_counter() - begin)
proc.run = run
begin = time.perf_counter()
report = colabkit.install("six==1.16.0", dry_run=True)
whole = time.perf_counter() - begin
assert report.installer == "uv" and report.changed, report
print(json.dumps([whole, sum(inside)]))
"""


def site(folder):
    """Write the metadata of many distributions; each tenth needs three others, all have extras."""
    for number in range(DISTRIBUTIONS):
        info = folder / f"package_{number}-1.{number}.dist-info"
        info.mkdir()
        needs = [f"package-{(number + step) % DISTRIBUTIONS}>=1.0" for step in (1, 2, 3)] if number % 10 == 0 else []
        fields = [*(f"Requires-Dist: {need}" for need in needs), *["Requires-Dist: pytest; extra == 'test'"] * 12]
        head = f"Metadata-Version: 2.1\nName: package-{number}\nVersion: 1.{number}\n"
        (info / "METADATA").write_text(head + "\n".join(fields) + "\n\n" + "A long description.\n" * 300)
        (info / "RECORD").write_text("")
    time.sleep(0.1)  # the processes that are measured start after the "installation"


def measured(*arguments):
    """Run a script in a new process; return what it measured."""
    done = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def nothing_to_do(folder):
    """The first and the later calls, in a bare interpreter and in one that has loaded what a kernel loads."""
    print(f"\ninstall() with nothing to do, {DISTRIBUTIONS} distributions, no subprocess; target: under 30 ms\n")
    print("| process | first call with all imports, ms | later calls, ms |\n|---|---|---|")
    for kind in ("bare", "kernel"):
        runs = [measured(NOTHING_TO_DO, str(folder), kind, "6") for _ in range(REPEATS)]
        first = statistics.median(run[0] for run in runs) * 1e3
        later = statistics.median(took for run in runs for took in run[1:]) * 1e3
        print(f"| {kind} | {first:.1f} | {later:.1f} |")


def plan(folder):
    """What we add to uv's own time when only a plan is made."""
    runs = [measured(PLAN, str(folder)) for _ in range(REPEATS)]
    beyond = statistics.median(whole - inside for whole, inside in runs) * 1e3
    inside = statistics.median(inside for _whole, inside in runs) * 1e3
    print("\na plan, first call in a process; target: under 150 ms beyond uv's own time\n")
    print(f"| uv itself, ms | beyond it, ms |\n|---|---|\n| {inside:.1f} | {beyond:.1f} |")


def beside_pip(repeats):
    """The same packages into a fresh environment, warm caches, uv and pip in turn."""
    print(f"\ninstall({', '.join(map(repr, PACKAGES))}) into a fresh environment; target: 5x faster than pip\n")
    took = {"colabkit": [], "pip": []}
    for number in range(repeats + 1):  # the first round warms the caches and is not counted
        for way, seconds in took.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(into_fresh_environment(way, Path(folder)))
            if number == 0:
                seconds.clear()
    ours, theirs = (statistics.median(seconds) for seconds in took.values())
    print(f"| colabkit, s | pip, s | ratio |\n|---|---|---|\n| {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} |")


def into_fresh_environment(way, folder):
    """Install the packages into a new environment by colabkit or by pip; return the seconds of the whole process."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    own = ["packaging", "requests", "tqdm"]  # what colabkit itself needs
    subprocess.run([find_uv(), "pip", "install", "-q", "--python", python, *own], check=True)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    env["PATH"] = f"{Path(find_uv()).parent}{os.pathsep}{env['PATH']}"
    command = {
        "colabkit": [python, "-c", f"import colabkit; colabkit.install(*{PACKAGES!r})"],
        "pip": [python, "-m", "pip", "install", "-q", *PACKAGES],
    }[way]
    begin = time.perf_counter()
    subprocess.run(command, check=True, env=env, capture_output=True)
    return time.perf_counter() - begin


def main():
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="rounds of uv beside pip")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        site(Path(folder))
        nothing_to_do(Path(folder))
        plan(Path(folder))
    beside_pip(repeats)


if __name__ == "__main__":
    main()
