"""From nothing to a trained model by the README: its one line, typed in a checkout with a fresh environment.

python tests/benchmarks/newcomer.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\$ (pip install .* && colabkit quickstart)$", re.MULTILINE)


def main() -> None:
    """Run the line, and print how long its parts took."""
    found = LINE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None, "the README's line has changed"
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", "build", "dist", "__pycache__", ".*_cache", "colabkit-runs")
        shutil.copytree(ROOT, checkout, ignore=ignored)
        subprocess.run([sys.executable, "-m", "venv", Path(folder) / "env"], check=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env = {**inherited, "PATH": f"{folder}/env/bin{os.pathsep}{os.environ['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        begin = time.perf_counter()
        for part in found[1].split(" && "):
            start = time.perf_counter()
            subprocess.run(["bash", "-c", part], cwd=checkout, env=env, check=True)
            print(f"{time.perf_counter() - start:7.1f} s  {part}", flush=True)
        assert list(checkout.glob("colabkit-runs/quickstart/model.keras")), "no model was trained"
        print(f"{time.perf_counter() - begin:7.1f} s  in all, with one line")


if __name__ == "__main__":
    main()
