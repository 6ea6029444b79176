"""Runs trainings as users write them, stopped at many points and continued by new processes; says what came of each.

    KERAS_BACKEND=jax python tests/framework/resume/runner.py --cases arrays,dropout --points 4 --out verdicts.json

One process imports the backend; every training runs in a fork of it. A case is trained once without interruption, and
every state that it saved is kept. For each chosen moment the states up to it, which is what a kill there leaves, are
given to a new process that runs the same script. With `--kills 3` the processes kill themselves by SIGKILL instead,
three times, before one may end. All must end with the weights, optimizer, history and random states of the first.
"""

# ruff: noqa: D103, ICN001, T201
from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE)]
MODULES = (
    "arrays",
    "tfdata",
    "pipelines",
    "generators",
    "feeds",
    "models",
    "parts",
    "callbacks",
    "habits",
    "loops",
    "notebooks",
    "drawn",
)
EXPECTED = (
    "not bit for bit",
    "not the same bit",
    "start of its epoch",
    "starts over",
    "begins anew",
    "different batches",
    "cannot be",
    "changed since the state was saved",
    "in effect from now on",
    "differs from here on",
    "another one than when the run was begun",
    "the model has the weights of",
)
ORDER = ("SILENT", "error", "refused", "said", "identical")


def all_cases():
    """Give every case: its name, and the script with the backends that it is for."""
    found = {}
    for module in MODULES:
        found |= importlib.import_module(f"cases.{module}").CASES
    return found


def states_of(base):
    """List the states that a training has saved, of all its runs and phases, in the order in which it did."""
    return sorted(base.glob("run*/**/checkpoints/step-*"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def chosen_of(states, points):
    """Choose the states after which the training is killed."""
    last = len(states) - 1
    if points > 3:
        return sorted({round(index * last / (points - 1)) for index in range(points)})
    steps = [(path.parent, path.name.split("-")[1]) for path in states]
    middle = len(states) * 5 // 9  # within the second epoch of most cases
    # The older of two states of one step: the end of its epoch is still owed.
    owed = [at for at in range(1, last) if steps[at] == steps[at + 1] and steps[at] != steps[at - 1]]
    ends = owed[len(owed) // 2 :][:1] or [last // 3]
    return sorted({middle, *ends[: points - 1], *([0] if points == 3 else [])})


def cut(base, copy, states, at, *, files=True):
    """Leave in a copy what a kill leaves just after the state with that number was written; `files` beside it, too."""
    for found in base.glob("run*"):
        if found.is_file() and files:
            shutil.copy2(found, copy)
        elif found.is_dir():
            shutil.copytree(found, copy / found.name, ignore=shutil.ignore_patterns("lock*"))
    for state in states[at + 1 :]:
        (copy / state.relative_to(base)).unlink()


def verdict_of(whole, again, *, at):
    """Compare what a continued training gave with what the whole one did; the verdict, the moment and the reason."""
    if "result" not in again:
        return (
            "refused" if "refused" in again else "error",
            at,
            again.get("refused") or again["error"] + trace_of(again),
        )
    differs = [key for key, value in whole["result"].items() if again["result"].get(key) != value]
    if not differs:
        return "identical", at, ""
    told = [word for word in whole["said"] + again["said"] if any(part in word for part in EXPECTED)]
    return "said" if told else "SILENT", at, f"{', '.join(differs)} differ; {(told + again['said'])[:3]}"


def trace_of(found):
    return f"\n{found['trace']}" if found.get("trace") else ""


def whole_of(script, base):
    """Train a case without interruption; gives what came of it, and the verdict where nothing did."""
    from training import in_a_fork

    (base / "whole").mkdir()
    whole = in_a_fork(script, base / "whole" / "run", base / "whole.json")
    if "result" in whole:
        return whole, None
    verdict = "refused" if "refused" in whole else "error"
    return whole, {"verdict": verdict, "why": whole.get("refused") or whole["error"] + trace_of(whole)}


def judge(script, base, points):
    """Train a case whole, then from each of some moments; gives the verdict and what was said."""
    from training import in_a_fork

    whole, failed = whole_of(script, base)
    if failed is not None:
        return failed
    states = states_of(base / "whole")
    verdicts, words = [], []
    for at in chosen_of(states, points):
        copy = base / f"at{at}"
        copy.mkdir()
        cut(base / "whole", copy, states, at)
        again = in_a_fork(script, copy / "run", base / f"{copy.name}.json")
        shutil.rmtree(copy)
        verdicts.append(verdict_of(whole, again, at=states[at].name.split("-")[1]))
        words += again.get("said", [])
    whole["said"] += words
    return summary(whole, verdicts)


def kill(script, base, kills):
    """Train a case whole, then in processes that die so many times by SIGKILL, at moments drawn anew."""
    from training import in_a_fork

    whole, failed = whole_of(script, base)
    if failed is not None:
        return failed
    draw = random.SystemRandom()
    folder, at = base / "killed", []
    folder.mkdir()
    cut(base / "whole", folder, states_of(base / "whole"), 0, files=False)  # the same weights, drawn without a seed
    left = max(1, whole["moments"])
    for _ in range(kills):
        moment = draw.randint(1, left)
        again = in_a_fork(script, folder / "run", base / "again.json", wait=False, kill_at=moment)
        at.append(moment)
        if "killed" not in again:
            break  # it came to its end before: the next process would find it trained
    else:
        again = in_a_fork(script, folder / "run", base / "again.json", wait=False)
    return {**summary(whole, [verdict_of(whole, again, at=at)]), "kills": len(at)}


def summary(whole, verdicts):
    if any(verdict == "said" for verdict, _, _ in verdicts):
        # Before the first step nothing is trained that a new process could differ from: it says so later.
        verdicts = [
            ("said", *rest) if (verdict, rest[0]) == ("SILENT", "0" * 9) else (verdict, *rest)
            for verdict, *rest in verdicts
        ]
    worst = min(verdicts, key=lambda each: ORDER.index(each[0]))
    told = {word for word in whole["said"] if any(part in word for part in EXPECTED)}
    said = sorted({word.removeprefix("run: ").removeprefix("after a kill ") for word in told})
    return {"verdict": worst[0], "why": worst[2], "points": [each[:2] for each in verdicts], "said": said}


def chosen_cases(options, backend):
    part, parts = map(int, options.share.split("/"))
    wanted = options.cases.split(",") if options.cases else None
    names = [name for name, (backends, _) in all_cases().items() if backend in backends]
    if wanted:
        names = [name for name in names if any(each == name or each in name for each in wanted)]
    if options.exactly:
        names = [name for name in names if name in options.exactly]
    return names[part - 1 :: parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", help="names, or parts of names, with commas; all without it")
    parser.add_argument("--exactly", nargs="+", default=(), help="names, one an argument")
    parser.add_argument("--share", default="1/1", help="the n-th of so many parts of the cases, as 1/5")
    parser.add_argument("--points", type=int, default=3, help="how many moments of the training")
    parser.add_argument("--kills", type=int, default=0, help="kill processes by SIGKILL, so many times for each case")
    parser.add_argument("--times", type=int, default=1, help="so many trainings of each case")
    parser.add_argument("--seconds", type=float, help="begin no case after so many seconds")
    parser.add_argument("--out")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    names = chosen_cases(options, backend)
    import keras  # noqa: F401 - once, for all forks

    if any("tf.data" in all_cases()[name][1] or "import tensorflow" in all_cases()[name][1] for name in names):
        import tensorflow  # noqa: F401
    import colabkit.checkpoint.keras.callback  # noqa: F401

    found, started = {}, time.monotonic()
    for name in names * options.times:
        began = time.monotonic()
        if options.seconds and began - started > options.seconds:
            break
        with tempfile.TemporaryDirectory() as base:
            script = all_cases()[name][1]
            made = (
                kill(script, Path(base), options.kills) if options.kills else judge(script, Path(base), options.points)
            )
        made = {"backend": backend, **made, "seconds": round(time.monotonic() - began, 1)}
        if name not in found or ORDER.index(made["verdict"]) < ORDER.index(found[name]["verdict"]):
            found[name] = made
        print(json.dumps({"case": name, **made}), flush=True)
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
