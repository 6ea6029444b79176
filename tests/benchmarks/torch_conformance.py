"""Kill each kind of torch training several times, and compare its end with one that was left alone.

    python tests/benchmarks/torch_conformance.py [KILLS] [CASE...]

The cases are those of tests/support/doubles: loops, people's habits around them, fits of Lightning, trainings of the
Trainer. Each is killed by SIGKILL in as many places, drawn anew each time, and run again by processes with other random
numbers. A row that ends with other weights, losses, logs or random numbers is different; one that ends in an error that
is not colabkit's is raw.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOUBLES = Path(__file__).parents[1] / "support" / "doubles"
_DEFINED = re.compile(r'^@case\ndef (\w+)|^CASES\["(\w+)"\]', re.MULTILINE)
_NAMED = re.compile(r'name (?:==|in) (?:"(\w+)"|\(([^)]+)\))')
_OPTIONS = re.compile(r'^    "(\w+)": \{', re.MULTILINE)
STEPS = {"torch_loops.py": 14, "torch_habits.py": 14, "lightning_training.py": 13, "transformers_training.py": 11}


def cases(double: str) -> list[str]:
    """List the cases of a double."""
    text = (DOUBLES / double).read_text()
    if found := [one or other for one, other in _DEFINED.findall(text)]:
        return found
    named = [*_OPTIONS.findall(text), *(one or other.replace('"', "") for one, other in _NAMED.findall(text))]
    return ["plain", *dict.fromkeys(name.strip() for part in named for name in part.split(","))]


def main(kills: int, chosen: list[str]) -> int:
    """Run all and print a table; 1 where a row is not as it must be."""
    draw, different, raw, killed, count = random.Random(), 0, 0, 0, 0
    print("| training | case | killed | ends the same | resumed from |\n|---|---|---|---|---|")
    for double, steps in STEPS.items():
        names = [name for name in cases(double) if not chosen or name in chosen]
        texts = [f"{name}:{','.join(map(str, sorted(draw.sample(range(1, steps), kills))))}" for name in names]
        if not texts:
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(DOUBLES / double), folder, *texts]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            for line in process.stdout:
                told = json.loads(line)
                other = {"resumed_from": None, "size": 0}
                results = [told["result"], told.get("again", told["result"]), told["whole"]]
                broken = [one for one in [*results, *told["ends"]] if not isinstance(one, dict) and one not in (-9, 3)]
                same = not broken and len({json.dumps(one | other, sort_keys=True) for one in results}) == 1
                count, killed = count + 1, killed + told["ends"].count(-9)
                different += not same and not broken
                raw += any(one == 1 for one in broken)
                where = told["result"]["resumed_from"] if isinstance(told["result"], dict) else told["result"]
                row = double[:-3], told["case"], told["ends"].count(-9), "yes" if same else broken or "NO", where
                print("| " + " | ".join(map(str, row)) + " |", flush=True)
            raw += process.wait() != 0
    print(f"\n{count} cases, {killed} kills, {different} different, {raw} raw errors; {time.process_time():.0f} s")
    return int(bool(different or raw))


if __name__ == "__main__":
    number, *names = sys.argv[1:] or ["5"]
    sys.exit(main(int(number), names))
