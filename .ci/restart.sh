#!/usr/bin/env bash
# What the restart tests need on a clean machine, as root: bash restart.sh KERNELS_FOLDER
# Then export COLABKIT_TEST_KERNELS=KERNELS_FOLDER and run the slow tests; nothing of the restart is skipped.
set -euo pipefail
kernels=$1
here=$(cd "$(dirname "$0")/.." && pwd)

echo "-- a browser: chromium and a font"
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
chromium --version

echo "-- the kernel sets: Colab's, one like Kaggle's, the newest"
COLABKIT_TEST_KERNELS=$kernels python "$here/tests/support/kernels.py"
for set in "$kernels"/*/; do
    "$set/bin/python" - <<'PYTHON'
import importlib.metadata as metadata
import sys

names = ("ipykernel", "ipython", "ipywidgets", "jupyter_client", "traitlets", "pyzmq", "nbclient", "numpy")
print(sys.prefix.rpartition("/")[2], *(f"{name} {metadata.version(name)}" for name in names), sep="  ")
PYTHON
done

echo "-- nothing of it would be skipped"
cd "$here"
COLABKIT_TEST_KERNELS=$kernels python - <<'PYTHON'
from tests.support.kernels import SETS
from tests.support.browser import is_available

assert all(one.is_built for one in SETS.values()), "a kernel set is missing"
assert is_available(), "no chromium, or no playwright"
PYTHON
