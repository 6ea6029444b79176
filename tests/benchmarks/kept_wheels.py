"""Installing from kept wheels beside installing from the index.

python -m tests.benchmarks.kept_wheels [PACKAGE …]      needs the network

Each time is that of `ck.install(lock)` in a new process into a new environment whose installer has an empty cache, as
in a new session. The wheels lie in a folder of this disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.kernels import find_uv
from tests.support.package_index import colabkit_alone

PACKAGES = ("pandas", "scikit-learn", "matplotlib", "polars", "transformers", "xgboost-cpu")
ROUNDS = 3
INSTALL = "import sys, colabkit; colabkit.install(sys.argv[1])"
LOCK = "import sys, colabkit; colabkit.lock(sys.argv[1], wheels=sys.argv[2] if sys.argv[2:] else None)"


def environment(folder, modules, *, uv):
    """Make an environment with pip, and one with uv where it is asked for; return its Python and variables."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", folder], check=True)
    env = {**os.environ, "PYTHONPATH": str(modules), "PIP_CACHE_DIR": f"{folder}-pip", "UV_CACHE_DIR": f"{folder}-uv"}
    env |= {"COLABKIT_CACHE": f"{folder}-colabkit", "PATH": "/usr/bin:/bin"}
    if uv:
        (folder / "bin" / "uv").symlink_to(find_uv())
        env["PATH"] = f"{folder / 'bin'}:{env['PATH']}"
    return folder / "bin" / "python", env


def seconds(python, env, code, *arguments):
    """Run code; return how long it took."""
    begin = time.perf_counter()
    subprocess.run([python, "-c", code, *map(str, arguments)], env=env, check=True, capture_output=True)
    return time.perf_counter() - begin


def main(packages):
    """Print a row for each installer."""
    root = Path(tempfile.mkdtemp(prefix="colabkit-kept-wheels-"))
    try:
        modules = colabkit_alone(root / "modules")
        python, env = environment(root / "first", modules, uv=True)
        subprocess.run([find_uv(), "pip", "install", "-q", "--python", python, *packages], env=env, check=True)
        plain, kept = root / "plain.lock", root / "kept.lock"
        seconds(python, env, LOCK, plain)
        took = seconds(python, env, LOCK, kept, root / "wheels")
        size = sum(path.stat().st_size for path in (root / "wheels").iterdir())
        count = sum(path.suffix == ".whl" for path in (root / "wheels").iterdir())
        print(f"{count} wheels, {size / 1e6:.0f} MB, kept in {took:.1f} s\n")
        print("| installer | from the index, s | from kept wheels, s | share |\n|---|---|---|---|")
        for name in ("uv", "pip"):
            best = {}
            for lock in (plain, kept):
                times = []
                for number in range(ROUNDS):
                    folder = root / f"{name}-{lock.stem}-{number}"
                    python, env = environment(folder, modules, uv=name == "uv")
                    times.append(seconds(python, env, INSTALL, lock))
                    for path in root.glob(f"{folder.name}*"):
                        shutil.rmtree(path)
                best[lock] = min(times)
            print(f"| {name} | {best[plain]:.2f} | {best[kept]:.2f} | {best[kept] / best[plain]:.2f} |", flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main(sys.argv[1:] or PACKAGES)
