"""Trainings on a part of their data that was drawn without a seed, as people write them; see torch_killed.py.

Usage: torch_splits.py FOLDER CASE...
"""

from __future__ import annotations

import logging
import warnings

warnings.simplefilter("ignore")

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset, random_split
from torch_habits import step
from torch_killed import Killed, Lines, main

import colabkit as ck

CASES = {}
X = torch.randn(64, 6, generator=torch.Generator().manual_seed(5))
Y = (X[:, :1] > 0).float()


def case(function):
    """Name a case after its function."""
    CASES[function.__name__] = function
    return function


def parts():
    """Build what is given to each loop."""
    model = nn.Linear(6, 1)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1)}


def right(model, loader):
    """Count what a model gets right."""
    with torch.no_grad():
        return sum(((model(x) > 0.5) == (y > 0.5)).sum().item() for x, y in loader)


@case
def train_and_held_out(run, kill):
    train, val = random_split(TensorDataset(X, Y), [0.75, 0.25])
    given, seen = parts(), []
    loop = run.loop(DataLoader(train, 8, shuffle=True), epochs=2, **given)
    for _ in loop.each_epoch():
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
        seen.append(right(given["model"], DataLoader(val, 8)))
    return given["model"], seen, list(train.indices), list(val.indices)


@case
def samplers_of_two_data_sets(run, kill):
    plain, augmented = TensorDataset(X, Y), TensorDataset(X, Y)
    order = list(range(64))
    np.random.shuffle(order)
    held_out, chosen = order[:16], order[16:]
    train = DataLoader(augmented, 8, sampler=SubsetRandomSampler(chosen))
    valid = DataLoader(plain, 8, sampler=SubsetRandomSampler(held_out))
    given = parts()
    for number, (x, y) in enumerate(run.loop(train, epochs=2, **given)):
        step(**given, x=x, y=y)
        kill.at(number + 1)
    return given["model"], right(given["model"], valid), chosen, held_out


def loaders():
    """Make loaders of a split that nothing else names."""
    train, val = random_split(TensorDataset(X, Y), [48, 16])
    return {"train": DataLoader(train, 8, shuffle=True), "val": DataLoader(val, 8)}


@case
def a_loop_over_epochs_alone(run, kill):
    data, given, seen = loaders(), parts(), []
    for epoch in run.loop(range(4), **given):
        for x, y in data["train"]:
            step(**given, x=x, y=y)
        seen.append(right(given["model"], data["val"]))
        kill.at(epoch + 1)
    return given["model"], seen


@case
def a_part_to_be_quick(run, kill):
    given = parts()
    some = Subset(TensorDataset(X, Y), torch.randperm(64)[:40])
    for number, (x, y) in enumerate(run.loop(DataLoader(some, 8, shuffle=True), epochs=2, **given)):
        step(**given, x=x, y=y)
        kill.at(number + 1)
    return given["model"], some.indices


@case
def two_phases(run, kill):
    train, val = random_split(TensorDataset(X, Y), [48, 16])
    given, number = parts(), 0
    for name in ("head", "all"):
        for x, y in run.phase(name).loop(DataLoader(train, 8, shuffle=True), epochs=1, **given):
            step(**given, x=x, y=y)
            number += 1
            kill.at(number)
    return given["model"], right(given["model"], DataLoader(val, 8))


@case
def a_module_of_lightning(run, kill):
    import lightning

    class Pictures(lightning.LightningDataModule):
        def setup(self, stage):
            self.train, self.val = random_split(TensorDataset(X, Y), [48, 16])

        def train_dataloader(self):
            return DataLoader(self.train, 8, shuffle=True)

        def val_dataloader(self):
            return DataLoader(self.val, 8)

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def training_step(self, batch, number):
            kill.at(self.global_step + 1)
            return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def validation_step(self, batch, number):
            self.log("loss", nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger"), False)
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=[run.resume_lightning()], **quiet)
    model, pictures = Classifier(), Pictures()
    trainer.fit(model, pictures)
    return model, trainer.callback_metrics["loss"].item(), list(pictures.val.indices)


# ---- refused, or said ----


@case
def held_out_as_an_array(run, kill):
    order = np.random.permutation(64)
    train, held_out = Subset(TensorDataset(X, Y), order[16:].tolist()), X[order[:16]]
    given = parts()
    for number, (x, y) in enumerate(run.loop(DataLoader(train, 8, shuffle=True), epochs=2, **given)):
        step(**given, x=x, y=y)
        kill.at(number + 1)
    return given["model"], held_out


@case
def folds(run, kill):
    whole, number, seen = TensorDataset(X, Y), 0, []
    order = np.random.permutation(64)
    for fold in range(2):
        order = np.random.permutation(order)
        train, val = Subset(whole, order[16:]), Subset(whole, order[:16])
        given = parts()
        for x, y in run.phase(f"fold-{fold}").loop(DataLoader(train, 8, shuffle=True), epochs=1, **given):
            step(**given, x=x, y=y)
            number += 1
            kill.at(number)
        seen.append([given["model"], val.indices])
    return seen


# ---- what is told ----


def shown(value):
    """Bring what a case gives into what JSON holds."""
    if isinstance(value, nn.Module):
        return {name: each.tolist() for name, each in value.state_dict().items()}
    if isinstance(value, list | tuple):
        return list(map(shown, value))
    return value.tolist() if hasattr(value, "tolist") else value


def train(folder, name, where):
    """Train to the end or to the kill; what the case gives, and what was said."""
    lines = Lines()
    with ck.open_run(folder, every="1 steps") as run:
        result = CASES[name](run, Killed(where, folder))
    return {"result": shown(result), "said": lines.lines}


if __name__ == "__main__":
    main(train)
