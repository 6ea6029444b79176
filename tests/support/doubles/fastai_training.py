"""A training with fastai that is killed; prints a line of JSON for each case. It forks: fastai takes long to import.

Usage: fastai_training.py FOLDER CASE...; a case is `NAME` or `NAME:WHERE,WHERE`, killed there and run again. WHERE is
`EVENT/COUNT`, `EVENT/COUNT/SIGNAL` or `tSECONDS`. The case `refused` goes on with other learners than a run is of.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections import deque
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np
import torch
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    CrossEntropyLossFlat,
    DataBlock,
    DataLoaders,
    EarlyStoppingCallback,
    Flip,
    GradientAccumulation,
    ImageBlock,
    IndexSplitter,
    ItemGetter,
    Learner,
    MixedPrecision,
    Normalize,
    OptimWrapper,
    PILImageBW,
    RandTransform,
    RandomSplitter,
    ReduceLROnPlateau,
    SaveModelCallback,
    accuracy,
    aug_transforms,
    params,
)
from fastai.callback.mixup import MixUp
from fastai.callback.progress import CSVLogger, ShowGraphCallback
from fastai.text.data import LMDataLoader
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


BATCH_TRANSFORMS = {"fine_tune augmented": aug_transforms, "defaults": Normalize}  # which measures a batch


def language_model(folder):
    """Build a learner of texts, whose order each epoch shuffles on from that of the one before."""
    lengths = [9 + number % 13 for number in range(50)]
    texts = [torch.arange(number, number + length) % 20 for number, length in enumerate(lengths)]
    loaders = [LMDataLoader(part, bs=4, seq_len=8, shuffle=True) for part in (texts[:40], texts[40:])]
    model = torch.nn.Sequential(torch.nn.Embedding(20, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 20))
    parts = {"loss_func": CrossEntropyLossFlat(), "metrics": accuracy}
    return Learner(
        DataLoaders(*loaders), model, splitter=lambda m: [params(m[:1]), params(m[1:])], path=folder, **parts
    )


def learner(case, digits, folder):
    """Build a learner that draws from every generator: pictures are moved and flipped, features dropped."""
    if case == "texts":
        return language_model(Path(folder))
    rows = list(zip(digits.x_train[:120], map(str, digits.y_train[:120]), strict=True))
    rows = rows[:110] if case == "other data" else rows
    block = DataBlock(
        (ImageBlock(PILImageBW), CategoryBlock(vocab=list("0123456789"))),
        get_x=ItemGetter(0),
        get_y=ItemGetter(1),
        splitter=RandomSplitter() if case == "defaults" else IndexSplitter(range(len(rows) - 20, len(rows))),
        item_tfms=Shift(),
        batch_tfms=BATCH_TRANSFORMS.get(case, Flip)(),
    )
    workers = 2 if case == "workers" else 0
    dls = block.dataloaders(rows, bs=10, num_workers=workers)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2, bias=case != "other model"),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        Remembers(),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(4 * 13 * 13, 10),
    )
    options = (
        {"opt_func": lambda given, **more: OptimWrapper(given, torch.optim.AdamW, **more)} if case == "torch" else {}
    )
    learn = Learner(dls, model, metrics=accuracy, splitter=lambda m: [params(m[:2]), params(m[2:])], **options)
    learn.path = Path(folder)
    return learn


def show_as_in_a_notebook():
    """Take the bars of a notebook, in a shell of IPython's that shows nothing."""
    import fastai.callback.progress as progress
    from fastprogress.fastprogress import NBMasterBar, NBProgressBar
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.instance()
    progress.master_bar, progress.progress_bar = NBMasterBar, NBProgressBar


class Remembers(torch.nn.Module):
    """A layer with a state outside its state_dict, as recurrent networks have."""

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.register_buffer("mean", torch.zeros(()), persistent=False)
        self.last, self.recent = None, deque(maxlen=3)

    def forward(self, x):
        if self.training:
            self.seen += 1
            self.recent.append(float(x.detach().mean()))
            self.last = (x.detach().mean(), self.mean.clone())
            self.mean.mul_(0.9).add_(self.last[0])
        return x + self.mean + 0.01 * (self.seen % 7) + sum(self.recent) / 99


def fit(case, learn, run, resume, kill):
    """Train as the case says; return the callback that resumes the last of its fits."""
    if case.startswith("fine_tune"):
        learn.fine_tune(2, 1e-3, freeze_epochs=1, cbs=[resume, *kill])
    elif case == "two fits":
        learn.freeze()
        learn.fit_one_cycle(1, 1e-3, cbs=[resume, *kill])
        learn.unfreeze()
        resume = run.resume_fastai()
        learn.fit_one_cycle(2, slice(1e-4, 1e-3), cbs=[CSVLogger(), resume, *kill])
    elif case == "cycles":
        learn.fit_one_cycle(1, 1e-3, cbs=[run.phase("one").resume_fastai(), *kill])
        resume = run.phase("two").resume_fastai()
        learn.fit_one_cycle(2, 1e-3, cbs=[resume, *kill])
        learn.export("learner.pkl")
    elif case == "saves":
        shutil.rmtree(learn.path / learn.model_dir, ignore_errors=True)  # another machine has no such files
        keep = [SaveModelCallback(monitor="valid_loss"), ReduceLROnPlateau(monitor="valid_loss", patience=1)]
        learn.fit(3, 1e-3, cbs=[*keep, resume, *kill])
    elif case == "finder":
        learn.add_cb(resume)
        learn.lr_find(show_plot=False)
        learn.fit_one_cycle(2, 1e-3, cbs=kill)
    elif case == "mixup":
        learn.fit_one_cycle(2, 1e-3, cbs=[MixUp(0.4), resume, *kill])
    elif case == "accumulation":
        learn.fit_flat_cos(3, 1e-3, cbs=[GradientAccumulation(25), resume, *kill])
    elif case == "stopped":
        learn.fit_one_cycle(3, 1e-3, cbs=[EarlyStoppingCallback("accuracy", min_delta=2, patience=1), resume, *kill])
    else:
        more = [MixedOnCPU()] if case == "mixed" else []
        logs = [CSVLogger(), ShowGraphCallback()]
        learn.fit_one_cycle(3, slice(1e-4, 1e-3), cbs=[*logs, resume, *kill, *more])
    return resume


def train(folder, case, where):
    """Train to the end or to the kill."""
    torch.set_num_threads(1)
    # Users set no seed; a training that was killed before it saved anything begins anew, with the numbers of the first.
    own = int.from_bytes(os.urandom(4), "little") if any(Path(folder).rglob("*.safetensors")) else 0
    torch.manual_seed(own), np.random.seed(own), random.seed(own)
    digits = datasets.sample()
    learn = learner(case, digits, folder)
    every = "1 steps" if case != "rare" else "7 steps"
    if case == "frozen":
        learn.freeze()
    if case == "notebook":
        show_as_in_a_notebook()
    with ck.open_run(folder, every=every, time=0.001 if where == "over" else None) as run:
        resume = run.resume_fastai()
        kill = [KilledAt(where)] if where and where != "over" else []
        resume = fit(case, learn, run, resume, kill)
    if where == "over":
        assert resume.stopped
        raise KeyboardInterrupt
    digest = hashlib.sha256()
    for name, tensor in learn.model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    noted = {name: np.asarray([np.asarray(one, float) for one in getattr(learn.recorder, name)]) for name in NOTED}
    noted["schedule"] = np.asarray(vars(learn.recorder).get("hps", {"lr": []})["lr"])
    rows = (learn.path / "history.csv").read_text().split() if (learn.path / "history.csv").exists() else []
    noted["table"] = np.asarray([len(rows), len(learn.recorder.values)])
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
        os.dup2(2, 1)  # fastai's bar writes there, and the results go there
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
                json.dumps([in_a_child(folder, other) for other in ("other model", "other data", "frozen", "plain")]),
                flush=True,
            )
            continue
        ends = [in_a_child(folder, case, where) for where in kills.split(",") if where]
        print(json.dumps({"case": text, "ends": ends, "result": in_a_child(folder, case)}), flush=True)


if __name__ == "__main__":
    main()
