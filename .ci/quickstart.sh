#!/usr/bin/env bash
# One whole quickstart with a kill -9 in it must end like one without: bash quickstart.sh BIN_FOLDER WORK_FOLDER
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$1 work=$2
mkdir -p "$work" && cd "$work"
export COLABKIT_OFFLINE=1 # the sample that ships in the wheel: the same on every machine
"$bin/colabkit" quickstart --where whole --json >whole.json
"$bin/colabkit" quickstart --where killed --every "20 steps" --json >killed.json &
pid=$!
until ls killed/checkpoints/step-0000002*.safetensors >/dev/null 2>&1 || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
kill -9 "$pid" && echo "killed" || echo "it had ended before the kill"
wait "$pid" || true
"$bin/colabkit" quickstart --where killed --every "20 steps" --json >killed.json
"$bin/python" - <<'PYTHON'
import json
import h5py
import numpy as np

whole, killed = (json.load(open(f"{name}.json")) for name in ("whole", "killed"))
assert killed["resumed_from"] is not None, killed
assert killed["history"] == whole["history"] and killed["test_accuracy"] == whole["test_accuracy"]
files = [h5py.File(f"{name}/model.weights.h5") for name in ("whole", "killed")]
names = []
files[0].visit(names.append)
arrays = [name for name in names if isinstance(files[0][name], h5py.Dataset)]
assert arrays and all(np.array_equal(files[0][name], files[1][name]) for name in arrays)
print(f"resumed from {killed['resumed_from']}: the weights are equal, bit for bit ({len(arrays)} arrays)")
PYTHON
"$bin/python" "$root/tests/support/doubles/carried_names.py" carried
