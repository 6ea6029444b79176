"""A training with fastai that is killed; prints a line of JSON for each case. It forks: fastai takes long to import.

Usage: fastai_training.py FOLDER CASE...; a case is `NAME` or `NAME:WHERE,WHERE`, killed there and run again. WHERE is
`EVENT/COUNT`, `EVENT/COUNT/SIGNAL` or `tSECONDS`. The case `refused` goes on with other learners than a run is of.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import warnings

warnings.simplefilter("ignore")

import numpy as np
import torch
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    EarlyStoppingCallback,
    Flip,
    GradientAccumulation,
    ImageBlock,
    IndexSplitter,
    ItemGetter,
    Learner,
    MixedPrecision,
    OptimWrapper,
    PILImageBW,
    RandTransform,
    accuracy,
    params,
)
from fastai.callback.all import *  # patches fit_one_cycle into Learner

import colabkit as ck
from colabkit.errors import ColabKitError
from colabkit.models import datasets

NOTED = ("lrs", "losses", "values", "iters")


class Shift(RandTransform):
    """Draws from NumPy and Python for each picture."""

    split_idx = 0

    def encodes(self, image: PILImageBW):
        shift = random.randint(-2, 2) + int(np.random.randint(-2, 3))
        return PILImageBW.create(np.roll(np.asarray(image), shift, axis=1))


class MixedOnCPU(MixedPrecision):
    """Mixed precision as to_fp16 sets it up, with a scaler that works on a CPU and soon grows."""

    def before_fit(self):
        super().before_fit()
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        self.learn.scaler = torch.amp.GradScaler("cpu", growth_interval=4)

    def after_fit(self):
        self.learn.last_scale = self.learn.scaler.get_scale()
        super().after_fit()


class KilledAt(Callback):
    """Ends the process by SIGKILL (or another signal), as "EVENT/COUNT" or "EVENT/COUNT/SIGNAL" says."""

    order = 2000  # when it is saved
    stateless = True

    def __init__(self, where):
        event, step, *which = where.split("/")
        self.at, self.number, self.count = int(step), int(which[0]) if which else signal.SIGKILL, 0
        setattr(self, event, self.count_down)

    def count_down(self):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), self.number)


def learner(case, digits):
    """Build a learner that draws from every generator: pictures are moved and flipped, features dropped."""
    rows = list(zip(digits.x_train[:120], map(str, digits.y_train[:120]), strict=True))
    rows = rows[:110] if case == "other data" else rows
    block = DataBlock(
        (ImageBlock(PILImageBW), CategoryBlock(vocab=list("0123456789"))),
        get_x=ItemGetter(0),
        get_y=ItemGetter(1),
        splitter=IndexSplitter(range(len(rows) - 20, len(rows))),
        item_tfms=Shift(),
        batch_tfms=Flip(),
    )
    workers = 2 if case == "workers" else 0
    dls = block.dataloaders(rows, bs=10, num_workers=workers)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2, bias=case != "other model"),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(4 * 13 * 13, 10),
    )
    options = (
        {"opt_func": lambda given, **more: OptimWrapper(given, torch.optim.AdamW, **more)} if case == "torch" else {}
    )
    learn = Learner(dls, model, metrics=accuracy, splitter=lambda m: [params(m[:2]), params(m[2:])], **options)
    learn.remove_cb(learn.progress)
    learn.logger = lambda _: None
    return learn


def train(folder, case, where):
    """Train to the end or to the kill."""
    torch.set_num_threads(1)
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    digits = datasets.sample()
    learn = learner(case, digits)
    every = "1 steps" if case != "rare" else "7 steps"
    with ck.open_run(folder, every=every) as run:
        resume = run.resume_fastai()
        kill = [KilledAt(where)] if where else []
        if case == "fine_tune":
            learn.fine_tune(2, 1e-3, freeze_epochs=1, cbs=[resume, *kill])
        elif case == "accumulation":
            learn.fit_flat_cos(3, 1e-3, cbs=[GradientAccumulation(25), resume, *kill])
        elif case == "stopped":
            learn.fit_one_cycle(
                3, 1e-3, cbs=[EarlyStoppingCallback("accuracy", min_delta=2, patience=1), resume, *kill]
            )
        else:
            kill += [MixedOnCPU()] if case == "mixed" else []
            learn.fit_one_cycle(3, slice(1e-4, 1e-3), cbs=[resume, *kill])
    digest = hashlib.sha256()
    for name, tensor in learn.model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    noted = {name: np.asarray([np.asarray(one, float) for one in getattr(learn.recorder, name)]) for name in NOTED}
    noted["schedule"] = np.asarray(learn.recorder.hps["lr"])
    if case != "torch":
        for _, _, state, _ in learn.opt.all_params():
            digest.update(state["sqr_avg"].numpy().tobytes())
    then = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return {
        "weights": digest.hexdigest(),
        "noted": {
            name: hashlib.sha256(array.tobytes()).hexdigest()[:8] + str(array.shape) for name, array in noted.items()
        },
        "then": then,
        "scale": getattr(learn, "last_scale", None),
        "resumed_from": resume.resumed_from,
    }


def in_a_child(folder, case, where=None):
    """Train in a process of its own; return what it gives, or its signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            try:
                told = train(folder, case, None if (where or "t").startswith("t") else where)
            except ColabKitError as error:
                told = f"{type(error).__name__}: {error}"
            with open(writing, "w") as pipe:
                json.dump(told, pipe)
        except KeyboardInterrupt:
            os._exit(3)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    if where and where.startswith("t"):
        time.sleep(float(where[1:]))
        os.kill(child, signal.SIGKILL)
    with open(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return json.loads(text) if code == 0 else code


def main():
    """Run the cases."""
    root, *cases = sys.argv[1:]
    for number, text in enumerate(cases):
        case, _, kills = text.partition(":")
        folder = os.path.join(root, str(number))
        if case == "refused":
            in_a_child(folder, "plain")
            print(
                json.dumps([in_a_child(folder, other) for other in ("other model", "other data", "plain")]), flush=True
            )
            continue
        ends = [in_a_child(folder, case, where) for where in kills.split(",") if where]
        print(json.dumps({"case": text, "ends": ends, "result": in_a_child(folder, case)}), flush=True)


if __name__ == "__main__":
    main()
