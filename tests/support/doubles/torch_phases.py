"""Scripts of several phases that draw at their start, and loops around trainings; killed, see torch_killed.py.

A script is text that runs in variables of its own; `fit` trains it by one of four ways.

Usage: torch_phases.py FOLDER CASE...; a case is `WAY name`, as `lightning later_model`; a place of a kill is the phase.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
import types
import warnings

warnings.simplefilter("ignore")

import numpy as np
import torch
from torch import nn
from torch.utils import data
from torch_killed import Killed, Lines, main

import colabkit as ck

X = torch.linspace(0, 1, 240).reshape(40, 6).sin()
Y = (X.sum(1, keepdim=True) * 3).cos()
WAYS = {case.partition(" ")[0] for case in sys.argv[2:]}
EPOCHS = 2
BATCH = 8


def make():
    """Build a network, whose weights are drawn."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def plainly(model, x, y):
    """Measure as most do."""
    return nn.functional.mse_loss(model(x), y)


def rows(chosen=None):
    """Make the data."""
    return data.TensorDataset(X, Y) if chosen is None else data.Subset(data.TensorDataset(X, Y), chosen)


def by_loop(run, model, loss, kill, rate, epochs, chosen, times):
    """Train by a loop of one's own."""
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    loader = data.DataLoader(rows(chosen), BATCH, shuffle=True)
    for _ in range(times):
        loop = run.loop(loader, epochs=epochs, model=model, optimizer=optimizer)
        for x, y in loop:
            optimizer.zero_grad()
            loss(model, x, y).backward()
            optimizer.step()
            kill(loop.step + 1)


if "lightning" in WAYS:
    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self, model, loss, rate):
            super().__init__()
            self.model, self.loss, self.rate = model, loss, rate

        def training_step(self, batch, number):
            return self.loss(self.model, *batch)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), self.rate)

    class LightningKill(L.Callback):
        stateless = True

        def __init__(self, kill):
            self.kill = kill

        def on_train_batch_end(self, trainer, *_):
            self.kill(trainer.fit_loop.epoch_loop.batch_progress.total.ready)

    def by_lightning(run, model, loss, kill, rate, epochs, chosen, times):
        """Train by Lightning."""
        loader = data.DataLoader(rows(chosen), BATCH, shuffle=True)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
        callbacks = [run.resume_lightning(), LightningKill(kill)]
        trainer = L.Trainer(max_epochs=epochs, callbacks=callbacks, enable_progress_bar=False, **quiet)
        for _ in range(times):
            trainer.fit(Module(model, loss, rate), loader)


if "trainer" in WAYS:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Distiller(Trainer):
        """A Trainer with a loss of its own."""

        def __init__(self, *given, measure, **more):
            super().__init__(*given, **more)
            self.measure = measure

        def compute_loss(self, model, inputs, return_outputs=False, **_):
            return self.measure(model, inputs["x"], inputs["y"])

    class TrainerKill(TrainerCallback):
        stateless = True

        def __init__(self, kill):
            self.kill = kill

        def on_step_end(self, args, state, control, **_):
            self.kill(state.global_step)

    class Table(data.Dataset):
        def __init__(self, chosen):
            self.rows = list(range(len(X))) if chosen is None else list(chosen)

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, at):
            return {"x": X[self.rows[at]], "y": Y[self.rows[at]]}

    def by_trainer(run, model, loss, kill, rate, epochs, chosen, times):
        """Train by the Trainer of Hugging Face."""
        arguments = TrainingArguments(
            str(run.dir / "hf"),
            per_device_train_batch_size=BATCH,
            num_train_epochs=epochs,
            learning_rate=rate,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        callbacks = [run.resume_transformers(), TrainerKill(kill)]
        trainer = Distiller(model, arguments, train_dataset=Table(chosen), callbacks=callbacks, measure=loss)
        for _ in range(times):
            trainer.train()


if "fastai" in WAYS:
    from fastai.callback.all import *  # noqa: F403 - patches fit_one_cycle into Learner
    from fastai.basics import Callback, DataLoaders, Learner
    from fastai.data.load import DataLoader

    class FastaiKill(Callback):
        order, stateless = 2000, True

        def __init__(self, kill):
            self.kill, self.count = kill, 0

        def after_batch(self):
            if self.training:
                self.kill(self.epoch * self.n_iter + self.iter + 1)

    def by_fastai(run, model, loss, kill, rate, epochs, chosen, times):
        """Train by fastai."""
        loader = DataLoader(rows(chosen), bs=BATCH, shuffle=True)
        batch = {}

        class Seen(Callback):
            stateless = True

            def before_batch(self):
                batch["x"] = self.xb[0]

        dls = DataLoaders(loader, DataLoader(rows(chosen), bs=BATCH))
        learn = Learner(dls, model, loss_func=lambda _, y: loss(model, batch["x"], y))
        resume = run.resume_fastai() if times == 2 else None  # one for both
        with learn.no_bar(), learn.no_logging():
            for at in range(times):
                kills = FastaiKill(kill if resume is None or at else lambda _: None)
                learn.fit(epochs, rate, cbs=[Seen(), resume or run.resume_fastai(), kills])


TOLD = "kept as the run", "another one than", "in effect from now on"
SCRIPTS = {
    "later_model": """
first, second = make(), make()
fit("a", first)
fit("b", second)
result = first, second
""",
    "teacher_and_noise": """
teacher, student, noise, basis = make().eval(), make(), torch.randn(4, 6), np.random.randn(6, 6)

def distil(model, x, y):
    with torch.no_grad():
        aim = teacher(x @ torch.from_numpy(basis).float())
    return ((model(x) - aim) ** 2).mean() + model(noise).mean() / 9

fit("a", student, distil)
other = make()
fit("b", other, distil)
result = student, other, teacher, noise, basis
""",
    "objects_and_closures": """
class Experiment:
    def __init__(self):
        self.nets = [make(), make()]
        self.rng = np.random.default_rng(np.random.randint(1 << 30))

    def go(self, critic):
        fit("a", self.nets[0])
        scale = self.rng.random()
        fit("b", self.nets[1], critic)
        return self.nets, scale

def a_critic():
    judge = make()
    return lambda model, x, y: (judge(x) * (model(x) - y) ** 2).abs().mean()

result = Experiment().go(a_critic())
""",
    "kept_anywhere": """
class Slots:
    __slots__ = ("net",)

class Project(nn.Module):
    basis = torch.randn(6, 6)

    def __init__(self):
        super().__init__()
        self.net, self.teacher = make(), [make().requires_grad_(False)]

    def forward(self, x):
        return self.net(x @ self.basis)

def scaled(net):
    scale = torch.rand(1)
    net[0].register_forward_hook(lambda module, given, out: out * scale)
    return net

def stream():
    shift = torch.rand(6)
    while True:
        yield shift

def judged():
    net = make()
    def a(x): return net(x)
    def b(x): return a(x)
    def c(x): return b(x)
    return lambda x: c(x)

args, slots, judge, shifts = types.SimpleNamespace(noise=torch.randn(6)), Slots(), judged(), stream()
nets = {"x": {"y": [{"z": make()}]}}
_private, slots.net, first, second = torch.rand(6), make(), Project(), scaled(make())
next(shifts)

def loss(model, x, y):
    aim = first.teacher[0](x) + judge(x) + args.noise.mean() * _private.mean() + next(shifts).mean()
    return ((model(x) - aim.detach()) ** 2).mean()

fit("a", first, loss)
fit("b", second, loss)
fit("c", slots.net, loss)
result = first, second, slots.net, nets["x"]["y"][0]["z"]
""",
    "values_that_code_uses": """
class Settings:
    margin = random.random()

table, scale, settings = [[random.random()] for _ in range(20)], np.float32(np.random.rand()), {"weight": random.random()}
first = nn.Sequential(nn.Linear(6, 8), nn.Dropout(random.uniform(0.1, 0.6)), nn.Linear(8, 1))
first.power = random.random()

def loss(model, x, y):
    weight = settings["weight"] * float(scale) * table[3][0] * Settings.margin * model.power
    return ((model(x) - y) ** 2).mean() * weight

fit("a", first, loss)
result = first
""",
    "frames_and_estimators": """
import pandas
from sklearn.random_projection import GaussianRandomProjection

table, first = pandas.DataFrame({"weight": np.random.rand(6)}), make()
projection = GaussianRandomProjection(6).fit(np.zeros((3, 6)))
spread = torch.distributions.Normal(torch.zeros(6), torch.rand(6) + 1)

def loss(model, x, y):
    weights = torch.tensor(projection.components_ * table.weight.to_numpy()).float()
    return ((model(x @ weights) - y) ** 2).mean() - spread.log_prob(x).mean()

fit("a", first, loss)
result = first
""",
    "target_network": """
first, second, target = make(), make(), make()

def follows(model, x, y):
    with torch.no_grad():
        for one, other in zip(target.parameters(), model.parameters()):
            one.mul_(0.9).add_(other, alpha=0.1)
        aim = target(x)
    return ((model(x) - aim - y) ** 2).mean()

fit("a", first)
fit("b", second, follows)
result = second, target
""",
    "numbers": """
alpha, unused, sums = random.random(), random.random(), [random.random() for _ in range(3)]
first = make()
fit("a", first, lambda model, x, y: alpha * ((model(x) - y) ** 2).mean())
result = first
""",
    "rows_of_a_later_phase": """
order = torch.randperm(40).tolist()
train_rows, rest = data.random_split(range(40), [24, 16])
first, second = make(), make()
fit("a", first)
fit("b", second, rows=order[:32])
result = [first, list(rest.indices), list(train_rows.indices)]
""",
    "rows": """
chosen, rest = data.random_split(range(40), [24, 16])
first = make()
fit("a", first, rows=chosen.indices)
result = first
""",
    "large": """
large, first = nn.Linear(5000, 5000), make()
fit("a", first)
result = first
""",
    "seeded": """
torch.manual_seed(3), np.random.seed(3), random.seed(3)
first, second, weights = make(), make(), torch.linspace(1, 2, 3 + 4 * is_again)[:3].sqrt()
if is_again:
    second[0].weight.data.fill_(0.5)  # as another file of weights would
fit("a", first)
result = float(second[0].weight.mean()), weights
""",
    "rates_in_one_run": """
for rate in (0.1, 0.01, 0.001):
    first = make()
    fit("", first, rate=rate)
result = first
""",
    "fit_again_and_again": """
first = make()
fit("", first, times=3)
result = first
""",
    "one_callback": """
first = make()
fit("", first, times=2)
result = first
""",
    "epochs_one_by_one": """
first = make()
for i in range(3):
    fit("", first, epochs=i + 1)
result = first
""",
    "a_cell_run_again_after_an_error": """
seen, begun = [], []

def fails(model, x, y):
    seen.append(0)
    assert len(seen) != 4
    return ((model(x) - y) ** 2).mean()

for _ in range(2):
    first, second = make(), make()
    begun.append(second[0].weight.detach().clone())
    try:
        fit("a", first, fails)
    except AssertionError:
        pass
result = bool((begun[0] == second[0].weight).all() and (begun[1] != second[0].weight).any())
""",
    "made_anew_in_the_process": """
first, second = make(), make()
fit("", first, epochs=1)
second = make()
before = second[0].weight.detach().clone()
fit("", first)
result = bool((before == second[0].weight).all())
""",
}


def shown(value):
    """Bring what a script gives into what JSON holds: of arrays a hash."""
    if hasattr(value, "state_dict"):
        return shown(list(value.state_dict().values()))
    if isinstance(value, list | tuple):
        return list(map(shown, value))
    return hashlib.sha256(np.asarray(value).tobytes()).hexdigest()[:8] if hasattr(value, "shape") else value


def train(folder, name, where):
    """Run a script to its end or to the kill."""
    lines = Lines()
    way, _, script = name.partition(" ")
    by, killed = globals()[f"by_{way}"], Killed(where, folder)
    with ck.open_run(folder, every="1 steps") as run:

        def fit(phase, model, loss=plainly, *, rate=1e-2, epochs=EPOCHS, rows=None, times=1):
            where = run.phase(phase) if phase else run
            by(where, model, loss, lambda step: killed.at(step, phase or "end"), rate, epochs, rows, times)

        names = {"__name__": "__main__", "fit": fit, "make": make, "is_again": "AGAIN" in os.environ}
        names |= {"types": types, "torch": torch, "nn": nn, "np": np, "data": data, "random": random}
        exec(compile(SCRIPTS[script], "script", "exec"), names)  # noqa: S102 - as a notebook does
    said = [line for line in lines.lines if any(map(line.__contains__, TOLD))]
    return {"result": shown(names["result"]), "said": said}


if __name__ == "__main__":
    main(train)
