"""Trains digits-fastai by its name, whole and killed, and uses what it gives; prints one line of JSON.

It forks, as fastai takes long to import.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import fastai.vision.all  # noqa: F401 - once, before the forks
import numpy as np
import torch

import colabkit as ck
from colabkit import cli
from colabkit.checkpoint import run as runs
from colabkit.models import datasets
from colabkit.tracking import read_log

HEAD = ",".join(datasets.PIXELS)


def in_a_child(act, *arguments):
    """Run a function in a process of its own; return what it gives, or the signal that ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        told = None
        try:
            told = act(*arguments)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        with open(writing, "w") as pipe:
            json.dump(told, pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return json.loads(text) if code == 0 else code


def train(folder, data, killed_at=None):
    """Train two epochs, to the end or to the kill, and use the result."""
    torch.set_num_threads(1)
    run = ck.open_run(folder / "run", every="1 steps")
    if killed_at:
        submit = runs.Run.submit

        def submit_and_die(self, taken):
            submit(self, taken)
            if taken.step == killed_at:
                self.flush()
                os.kill(os.getpid(), signal.SIGKILL)

        runs.Run.submit = submit_and_die
    result = ck.train("digits-fastai", data=data, run=run, epochs=2, batch_size=50)
    digest = hashlib.sha256()
    for tensor in result.model.model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    images = datasets.sample().x_test[:5]
    said = result.classifier.predict(images, plot=folder / "said.png")
    ck.save_model(result, folder / "digits.zip")
    ck.save_model(result, folder / "digits.pkl")
    log = [[record.step, record.epoch, sorted(record.values)] for record in read_log(run)]
    return {
        "weights": digest.hexdigest(),
        "history": result.history,
        "metrics": result.metrics,
        "resumed_from": result.resumed_from,
        "said": [[one.label, one.probability] for one in said],
        "log": log,
    }


def load(path, trusted):
    """Predict with what was saved; the process knows nothing else."""
    found = ck.load_model(path, trusted=trusted)
    if hasattr(found, "export"):
        return sorted(found.dls.vocab)
    return [[one.label, one.probability] for one in found.predict(datasets.sample().x_test[:5])]


def damaged(path):
    """Load a bundle with one byte of its weights changed."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    other = path.with_name("damaged.zip")
    other.write_bytes(content)
    return load(other, False)


def command(folder, data):
    """Train and classify a test.csv as a shell does."""
    test = folder / "test.csv"
    np.savetxt(test, datasets.sample().x_test[:4].reshape(4, -1), "%d", ",", header=HEAD, comments="")
    argv = ["train", "digits-fastai", "--data", str(data), "--run", str(folder / "shell"), "--epochs", "1", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = cli.main([*argv, "--test", str(test)])
    value = json.loads(out.getvalue())
    return [code, value["submission"], Path(value["submission"]).read_text().splitlines()[0]]


def main():
    """Do all of it, in turn."""
    root = Path(sys.argv[1])
    digits = datasets.sample()
    data = root / "train.csv"
    rows = np.concatenate([digits.y_train[:420, None], digits.x_train[:420].reshape(420, -1)], axis=1)
    np.savetxt(data, rows, "%d", ",", header=f"label,{HEAD}", comments="")
    for name in ("whole", "killed"):
        (root / name).mkdir()
    whole, killed = root / "whole", root / "killed"
    found = {
        "whole": in_a_child(train, whole, data),
        "kill": in_a_child(train, killed, data, 11),
        "killed": in_a_child(train, killed, data),
        "bundle": in_a_child(load, whole / "digits.zip", False),
        "pickle": in_a_child(load, whole / "digits.pkl", False),
        "trusted": in_a_child(load, whole / "digits.pkl", True),
        "damaged": in_a_child(damaged, whole / "digits.zip"),
        "shell": in_a_child(command, root, data),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
