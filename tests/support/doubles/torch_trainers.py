"""What code beside a Trainer fills while it trains; prints a line of JSON for each case, see torch_killed.py.

Usage: torch_trainers.py FOLDER CASE...
"""

from __future__ import annotations

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}

import logging
import sys
import threading
import warnings
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

import numpy as np
import torch
from environments import environments
from torch import nn
from torch.utils import data
from torch_killed import Killed, Lines, main

import colabkit as ck

X = torch.from_numpy(np.random.default_rng(0).random((40, 6), np.float32))
Y = X.sum(1, keepdim=True)
CASES = {}
losses, by_epoch, best = [], {}, 9.9  # as at the top of a notebook
calls = 0


def case(build):
    CASES[build.__name__] = build
    return build


@dataclass
class Noted:
    step: int
    loss: float


class Meter:
    total, count = 0.0, 0

    def update(self, value):
        self.total, self.count = self.total + value, self.count + 1


class Step(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


# ---- Lightning ----


def fit(module, run, kill, *, callbacks=(), rows=None, epochs=3, **options):
    """Fit as in a notebook, with a validation behind each epoch."""
    import lightning as L

    class Kills(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            kill.at(trainer.global_step)

        def on_validation_end(self, trainer, *_):
            kill.at(trainer.global_step, "evaluate")

    Kills.stateless = True
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "accelerator": "cpu", "num_sanity_val_steps": 0}
    trainer = L.Trainer(max_epochs=epochs, callbacks=[*callbacks, run.resume_lightning(), Kills()], **(quiet | options))
    dataset = data.TensorDataset(X, Y) if rows is None else rows
    validation = data.DataLoader(data.TensorDataset(X[:16], Y[:16]), batch_size=8)
    trainer.fit(module, data.DataLoader(dataset, batch_size=8, shuffle=True), validation)
    return module


def lightning_module(**more):
    """Make a module; `more` are its hooks and attributes."""
    import lightning as L

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(6, 1)

        def training_step(self, batch, number):
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch, number):
            self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    return type("Mine", (Net,), {"__module__": __name__, **more})


@case
def names_of_lightning(run, kill):
    """A global list, a dict and a number that hooks fill, a class attribute, what the module is given from outside."""
    history = []

    def training_step(self, batch, number):
        global best, calls
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        losses.append(loss.item())
        self.outputs.append(loss.detach())
        best, calls = min(best, loss.item()), calls + 1
        return loss

    def on_train_epoch_end(self):
        by_epoch[self.current_epoch] = float(torch.stack(self.outputs).mean())
        history.append(len(self.outputs))
        self.means.append(by_epoch[self.current_epoch])
        self.outputs.clear()
        self.meter.update(1.0)

    kind = lightning_module(training_step=training_step, on_train_epoch_end=on_train_epoch_end, means=[], best=None)
    module = kind()
    module.outputs, module.meter = [], Meter()
    fit(module, run, kill)
    return [losses, by_epoch, best, calls, history, kind.means, module.outputs, vars(module.meter)]


@case
def callbacks_of_lightning(run, kill):
    """A callback of the user's: objects, a list that is his, a class attribute; one that is made of EarlyStopping."""
    import lightning as L
    from lightning.pytorch.callbacks import EarlyStopping

    mine = []

    class Notes(L.Callback):
        every = []  # noqa: RUF012 - as users write it

        def __init__(self, rows):
            self.rows, self.records, self.meters = rows, deque(maxlen=7), {"train": Meter()}
            self.seen = set()

        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            self.rows.append(float(outputs["loss"]))
            self.records.append(Noted(trainer.global_step, float(outputs["loss"])))
            self.every.append(number)
            self.meters["train"].update(float(outputs["loss"]))
            self.seen.add(number)

    class Stops(EarlyStopping):
        def __init__(self):
            super().__init__("val_loss", patience=9)
            self.scores = []

        def on_validation_end(self, trainer, module):
            super().on_validation_end(trainer, module)
            self.scores.append(float(trainer.callback_metrics["val_loss"]))

    notes, stops = Notes(mine), Stops()
    fit(lightning_module()(), run, kill, callbacks=[notes, stops])
    records = [[each.step, each.loss] for each in notes.records]
    return [mine, records, Notes.every, vars(notes.meters["train"]), sorted(notes.seen), stops.scores]


@case
def probe_in_a_callback(run, kill):
    """A callback trains a layer of its own by an optimizer of its own, as BarlowTwins' OnlineFineTuner does."""
    import lightning as L

    class Probe(L.Callback):
        def on_fit_start(self, trainer, module):
            module.probe = nn.Linear(6, 1)
            self.optimizer = torch.optim.Adam(module.probe.parameters(), 1e-2)

        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            nn.functional.mse_loss(module.probe(batch[0]), batch[1]).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), 1e-2)

    module = fit(lightning_module(configure_optimizers=configure_optimizers)(), run, kill, callbacks=[Probe()])
    return [module.probe.weight.tolist(), module.net.weight.tolist()]


@case
def environment_in_a_module(run, kill):
    """An environment of a library in the module, and a replay memory of named tuples, tensors and dataclasses."""

    def training_step(self, batch, number):
        if self.at is None:
            self.at = self.env.reset(seed=543)
        self.at, reward, ended = self.env.step(self.env.action_space.sample())
        self.replay.append(Step(self.at, torch.tensor(reward)))
        self.kept.append(Noted(number, reward))
        self.at = self.env.reset() if ended else self.at
        weight = sum(float(each.x.sum()) for each in self.replay) + sum(each.loss for each in self.kept)
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1]) * (1 + abs(weight) % 1)
        self.sums.append(loss.item())
        return loss

    module = lightning_module(training_step=training_step)()
    module.env, module.at = environments.make(), None
    module.replay, module.kept, module.sums = deque(maxlen=12), deque(maxlen=9), []
    fit(module, run, kill)
    return [module.sums, module.at.tolist(), len(module.replay), module.env.steps, module.env.env.env.turns]


@case
def environment_in_a_loop(run, kill):
    """The same in a loop of the user's own: a module that it is given has the environment."""

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.env, self.at = nn.Linear(6, 2), environments.make(), None
            self.memory = deque(maxlen=10)

        def play(self):
            self.at = self.env.reset(seed=543) if self.at is None else self.at
            with torch.no_grad():
                action = int(torch.multinomial(self.net(self.at).softmax(0), 1))
            self.at, reward, ended = self.env.step(action)
            self.memory.append(Noted(action, reward))
            self.at = self.env.reset() if ended else self.at
            return self.at * sum(each.loss for each in self.memory)

    agent, noted = Agent(), []
    optimizer = torch.optim.SGD(agent.parameters(), 1e-3)
    for step in run.loop(range(40), agent=agent, optimizer=optimizer):
        loss = agent.net(agent.play()).pow(2).mean()
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        noted.append([loss.item(), len(agent.memory), agent.env.steps])
        kill.at(step + 1)
    return noted


@case
def told_of_lightning(run, kill):
    """What no checkpoint can hold is told by its name."""
    told = Lines()

    def training_step(self, batch, number):
        self.locks.append(threading.Lock())
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    module = lightning_module(training_step=training_step)()
    module.locks = []
    fit(module, run, kill)
    return [line for line in told.lines if "locks" in line]


class Draws(data.Dataset):
    """Has other negative samples from the second epoch on, and counts what was used of a large array."""

    def __init__(self):
        self.noise, self.epoch = None, -1

    def set_epoch(self, epoch):
        if epoch < 2:
            self.noise, self.epoch = torch.rand(40), epoch

    def __len__(self):
        return 40

    def __getitem__(self, at):
        if at == 0 or self.noise is None:
            self.set_epoch(self.epoch + 1)
        return X[at] + self.noise[at], Y[at]


@case
def dataset_changed_in_an_earlier_epoch(run, kill):
    """A dataset draws its noise anew in the first two epochs alone; the run is killed in a later one."""
    module = fit(lightning_module()(), run, kill, rows=Draws(), epochs=4)
    return [module.net.weight.tolist()]


class Noisy(data.Dataset):
    """Draws noise from a generator of its own for each sample."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return 40

    def __getitem__(self, at):
        return X[at] + torch.from_numpy(self.rng.random(6, np.float32)), Y[at]


class NoisyRows(Noisy):
    def __getitem__(self, at):
        x, y = super().__getitem__(at)
        return {"x": x, "labels": y}


@case
def lightning_between_epochs(run, kill):
    """A state of an epoch's end: the generators of the data go on from there."""
    module = fit(lightning_module()(), run, kill, rows=Noisy())
    return [module.net.weight.tolist()]


@case
def the_trainer_between_epochs(run, kill):
    """The same."""
    trainer = trainer_of(run, kill, train_dataset=NoisyRows())
    trainer.train()
    return [trainer.model.net.weight.tolist()]


class Large(data.Dataset):
    """Writes to rows of an array that is too large to be kept."""

    def __init__(self):
        self.used = np.zeros((40, 500_000), np.float32)

    def __len__(self):
        return 40

    def __getitem__(self, at):
        self.used[at] += 1
        return X[at] * self.used[at, 0], Y[at]


@case
def large_array_in_a_dataset(run, kill):
    """What is written to in place beyond 64 MiB is told."""
    told = Lines()
    fit(lightning_module()(), run, kill, rows=Large(), epochs=2)
    return [line for line in told.lines if "used" in line]


# ---- the Trainer ----


def trainer_of(run, kill, *, callbacks=(), kind=None, **given):
    """Build a Trainer, as in a notebook."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Kills(TrainerCallback):
        stateless = True

        def on_step_end(self, args, state, control, **_):
            kill.at(state.global_step)

        def on_evaluate(self, args, state, control, **_):
            kill.at(state.global_step, "evaluate")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.seen = nn.Linear(6, 1), []

        def forward(self, x, labels=None):
            out = self.net(x)
            return {"loss": nn.functional.mse_loss(out, labels), "logits": out}

    options = {"per_device_train_batch_size": 8, "num_train_epochs": 3, "report_to": "none", "use_cpu": True}
    options |= {"logging_steps": 2, "save_strategy": "no", "learning_rate": 1e-2, "eval_strategy": "epoch"}
    arguments = TrainingArguments(str(run.dir / "hf"), dataloader_pin_memory=False, disable_tqdm=True, **options)
    rows = [{"x": X[at], "labels": Y[at]} for at in range(40)]
    given = {"model": Model(), "train_dataset": rows, "eval_dataset": rows[:16]} | given
    return (kind or Trainer)(args=arguments, callbacks=[*callbacks, run.resume_transformers(), Kills()], **given)


@case
def names_of_the_trainer(run, kill):
    """Lists, dicts and numbers that compute_metrics, a collator, a callback and a subclass of Trainer fill."""
    from transformers import Trainer, TrainerCallback, default_data_collator

    history, mine = {"mse": []}, []

    def compute_metrics(given):
        global best  # noqa: PLW0603 - as in notebooks
        mse = float(((given.predictions - given.label_ids) ** 2).mean())
        history["mse"].append(mse)
        best = min(best, mse)
        return {"mse": mse}

    def collate(rows):
        global calls  # noqa: PLW0603 - as in notebooks
        calls += 1
        return default_data_collator(rows)

    class Notes(TrainerCallback):
        def __init__(self, rows):
            self.rows, self.records, self.meter = rows, [], Meter()

        def on_log(self, args, state, control, logs=None, **_):
            self.rows.append(state.global_step)
            by_epoch.setdefault(int(state.epoch), []).append(state.global_step)
            self.records.append(Noted(state.global_step, logs.get("loss", 0.0)))
            self.meter.update(1.0)

    class Mine(Trainer):
        def compute_loss(self, model, inputs, **more):
            loss = super().compute_loss(model, inputs, **more)
            if model.training:
                losses.append(float(loss if torch.is_tensor(loss) else loss[0]))
                self.recent.append(losses[-1])
            return loss

    notes = Notes(mine)
    trainer = trainer_of(
        run, kill, callbacks=[notes], kind=Mine, compute_metrics=compute_metrics, data_collator=collate
    )
    trainer.recent = deque(maxlen=4)
    trainer.train()
    records = [[each.step, each.loss] for each in notes.records]
    return [history, best, calls, mine, by_epoch, records, vars(notes.meter), losses, list(trainer.recent)]


# ---- fastai ----


@case
def names_of_fastai(run, kill):
    """Lists, dicts and numbers that a metric, a loss and a callback fill."""
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401 - what these add to a learner
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    mine, scale = [], {"now": 1.0}

    def error(given, wanted):
        global best  # noqa: PLW0603 - as in notebooks
        value = (given - wanted).abs().mean()
        losses.append(float(value))
        best = min(best, losses[-1])
        return value

    def loss_func(given, wanted):
        scale["now"] *= 0.99
        return nn.functional.mse_loss(given, wanted) * scale["now"]

    class Notes(Callback):
        def __init__(self, rows):
            self.rows, self.records, self.meters = rows, deque(maxlen=5), [Meter()]

        def after_batch(self):
            if self.training:
                self.rows.append(float(self.loss))
                self.records.append(Noted(self.iter, float(self.loss)))
                self.meters[0].update(1.0)

        def after_epoch(self):
            by_epoch[self.epoch] = len(self.rows)

    class Kills(Callback):
        order, stateless, done = 2000, True, 0

        def before_fit(self):
            self.done = 0

        def after_batch(self):
            place = "end" if self.training else "evaluate"
            kill.at(self.epoch * 5 + (self.iter + 1 if self.training else 5), place)

    train = data.DataLoader(data.TensorDataset(X, Y), batch_size=8, shuffle=True)
    valid = data.DataLoader(data.TensorDataset(X[:16], Y[:16]), batch_size=8)
    notes = Notes(mine)
    learn = Learner(DataLoaders(train, valid), nn.Linear(6, 1), loss_func=loss_func, metrics=error, cbs=notes)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(3, 1e-2, cbs=[run.resume_fastai(), Kills()])
    records = [[each.step, each.loss] for each in notes.records]
    return [mine, scale, losses, best, by_epoch, records, vars(notes.meters[0])]


def train(folder, name, where):
    """Train to the end or to the kill."""
    with ck.open_run(folder, every="1 epochs" if "between_epochs" in name else "1 steps") as run:
        return CASES[name](run, Killed(where))


if __name__ == "__main__":
    wanted = " ".join(sys.argv[2:])  # imported once, not in each fork
    if "lightning" in wanted:
        import lightning  # noqa: F401
    if "the_trainer" in wanted:
        import transformers  # noqa: F401
    if "fastai" in wanted:
        import fastai.learner  # noqa: F401
    main(train)
