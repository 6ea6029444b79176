"""Fits of Lightning that are killed; prints a line of JSON for each case, see torch_killed.py.

Usage: lightning_training.py FOLDER CASE...; the places are `end` and `validate`.
"""

from __future__ import annotations

import hashlib
import logging
import random
import sys
import warnings

warnings.simplefilter("ignore")

import lightning as L
import numpy as np
import torch
import torchmetrics
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch_killed import Killed, main
from torch.utils import data

import colabkit as ck
from colabkit.tracking import read_log

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
X = torch.linspace(0, 1, 240).reshape(40, 6).sin()
Y = (X.sum(1, keepdim=True) * 3).cos()


class KilledAt(L.Callback):
    """Ends the process at a batch."""

    stateless = True

    def __init__(self, where):
        self.killed = Killed(where)

    def on_train_batch_end(self, trainer, *_):
        self.killed.at(trainer.fit_loop.epoch_loop.batch_progress.total.ready)

    def on_validation_epoch_end(self, trainer, module):
        self.killed.at(trainer.fit_loop.epoch_loop.batch_progress.total.ready, "validate")


class Counts(L.Callback):
    """Keeps something, as callbacks of users do."""

    def __init__(self):
        self.batches, self.losses = 0, []

    def on_train_batch_end(self, trainer, module, outputs, *_):
        self.batches += 1
        self.losses.append(float(outputs["loss"]) + random.random() if outputs else 0.0)


class Draws(data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, at):
        return X[at] + np.random.rand() / 9 + torch.rand(()) / 9, Y[at]


class Stream(data.IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class Net(L.LightningModule):
    def __init__(self, scheduler="one_cycle"):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.scheduler = scheduler

    def training_step(self, batch, number):
        if isinstance(batch, dict):
            return sum(self.training_step(each, number) for each in batch.values())
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("peak", loss.detach(), on_epoch=True, on_step=False, reduce_fx="max")
        return loss

    def validation_step(self, batch, number):
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]) + torch.rand(()) / 99)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        if self.scheduler == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)
            return [optimizer], [{"scheduler": plateau, "monitor": "val_loss", "interval": "epoch"}]
        if self.scheduler == "epoch":
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)]
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=40)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]


class Gan(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.g, self.d = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.1), nn.Linear(4, 1)), nn.Linear(1, 1)

    def training_step(self, batch, number):
        g, d = self.optimizers()
        fake = self.g(batch[0])
        d.zero_grad()
        self.manual_backward((self.d(batch[1]) - self.d(fake.detach())).mean())
        d.step()
        g.zero_grad()
        loss = self.d(fake).mean()
        self.manual_backward(loss)
        g.step()
        self.log("g_loss", loss, on_epoch=True)
        if self.trainer.is_last_batch:
            self.lr_schedulers().step()

    def configure_optimizers(self):
        g, d = torch.optim.Adam(self.g.parameters(), 1e-2), torch.optim.Adam(self.d.parameters(), 1e-2)
        return [g, d], [torch.optim.lr_scheduler.StepLR(g, 1, 0.5)]


class Measured(Net):
    """Measures by torchmetrics, and keeps what its steps return until the end of the epoch."""

    def __init__(self):
        super().__init__()
        self.error, self.several = (
            torchmetrics.MeanAbsoluteError(),
            torchmetrics.MetricCollection([torchmetrics.MeanSquaredError(), torchmetrics.R2Score()]),
        )
        self.ranks, self.losses = torchmetrics.AUROC(task="binary"), []

    def training_step(self, batch, number):
        predicted = self.net(batch[0])
        self.error(predicted, batch[1])
        self.several.update(predicted, batch[1])
        self.ranks.update(predicted.flatten().sigmoid(), (batch[1] > 0).int().flatten())
        self.losses.append(nn.functional.mse_loss(predicted, batch[1]))
        self.log("error", self.error, on_step=True, on_epoch=True)
        return self.losses[-1]

    def on_train_epoch_end(self):
        self.log_dict(self.several.compute() | {"ranks": self.ranks.compute(), "mean": torch.stack(self.losses).mean()})
        self.several.reset(), self.ranks.reset(), self.losses.clear()


class Tuned(Net):
    """Takes the learning rate that Lightning finds."""

    def __init__(self):
        super().__init__()
        self.lr = 1e-2

    def training_step(self, batch, number):
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.lr)


class TunedAndLogged(Tuned):
    """Logs the loss of each step, and its mean over the epoch."""

    def training_step(self, batch, number):
        return Net.training_step(self, batch, number)


class Unfrozen(Net):
    """Has a backbone that trains from the second epoch on, in a group of its own."""

    def __init__(self):
        super().__init__()
        self.backbone = self.net[0]

    def configure_optimizers(self):
        return torch.optim.Adam([each for each in self.parameters() if each.requires_grad], 1e-2)


class Harder(L.LightningDataModule):
    """Gives other samples in every second epoch."""

    def train_dataloader(self):
        return loader(data.TensorDataset(X * (1 + self.trainer.current_epoch), Y))


FEWER = "two epochs"  # instead of three: what is trained later goes on after an end


def loader(dataset=None, **options):
    return data.DataLoader(dataset or data.TensorDataset(X, Y), **{"batch_size": 8, "shuffle": True, **options})


# As public examples have it: the module, its callbacks, the data and the options of the Trainer.
PUBLIC = {
    "measured": lambda: (Measured(), [], loader(), {"max_epochs": 3}),
    "tuned": lambda: (Tuned(), [LearningRateFinder(num_training_steps=4)], loader(), {"max_epochs": 3}),
    "tuned_logged": lambda: (TunedAndLogged(), [LearningRateFinder(num_training_steps=4)], loader(), {"max_epochs": 3}),
    "unfrozen": lambda: (Unfrozen(), [BackboneFinetuning(1)], loader(), {"max_epochs": 3}),
    "loaded_again": lambda: (Net(), [], Harder(), {"max_epochs": 4, "reload_dataloaders_every_n_epochs": 2}),
}


def build(name, folder, callbacks):
    """Build module, trainer and data of a case."""
    module, more, batches, options = PUBLIC.get(name, lambda: (Net(), [], loader(), {"max_epochs": 3}))()
    validate, callbacks = None, [*more, *callbacks]
    if name == "manual":
        module = Gan()
    elif name == "accumulation":
        options["accumulate_grad_batches"] = 2
    elif name == "draws":
        batches = loader(Draws())
    elif name == "workers":
        batches, options["max_epochs"] = loader(Draws(), num_workers=2), 2
    elif name == "validation":
        module, validate = Net("epoch"), loader(shuffle=False)
        options |= {"val_check_interval": 2, "enable_checkpointing": True, "num_sanity_val_steps": 2}
        stop = EarlyStopping("val_loss", patience=2)
        callbacks = [stop, ModelCheckpoint(folder / "best", monitor="val_loss", save_top_k=2), *callbacks]
    elif name == "stopped_early":
        module, validate, options = Net("epoch"), loader(shuffle=False), {"max_epochs": 6}
        callbacks = [EarlyStopping("val_loss", patience=1, min_delta=99), *callbacks]
    elif name == "plateau":
        module, validate = Net("plateau"), loader(shuffle=False)
    elif name == "several":
        # The shorter one begins again within the epoch, in an order of its own.
        batches = {"a": loader(), "b": loader(Draws(), batch_size=4)}
    elif name == "averaged":
        callbacks = [WeightAveraging(), *callbacks]
    elif name == "stream":
        batches = loader(Stream(), shuffle=False)
    elif name == "max_steps":
        options = {"max_steps": 8}
    usual = {"accelerator": "cpu", "logger": CSVLogger(folder / "logs"), "enable_checkpointing": False}
    usual |= {"log_every_n_steps": 1, "enable_model_summary": False, "default_root_dir": folder}
    trainer = L.Trainer(**(usual | options), callbacks=callbacks)
    return module, trainer, batches, validate


def train(folder, name, where):
    """Train to the end or to the kill."""
    with ck.open_run(folder, every="1 steps", time=0.001 if where == "time" else None) as run:
        counts, resume = Counts(), run.resume_lightning()
        killed = KilledAt(None if where in (FEWER, "time") else where)
        module, trainer, batches, validate = build(name, run.dir, [counts, resume, killed])
        if where == FEWER:
            trainer.fit_loop.max_epochs = 2
        given = {"datamodule": batches} if isinstance(batches, Harder) else {"train_dataloaders": batches}
        trainer.fit(module, val_dataloaders=validate, **given)
    if where == FEWER or resume.stopped:
        sys.exit()
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    for optimizer in trainer.optimizers:
        for state in optimizer.state_dict()["state"].values():
            digest.update(b"".join(each.numpy().tobytes() for each in state.values()))
    return {
        "state": digest.hexdigest(),
        "metrics": {key: float(value) for key, value in sorted(trainer.callback_metrics.items())},
        "step": [trainer.global_step, trainer.current_epoch],
        "counts": [counts.batches, counts.losses],
        "then": [random.random(), float(np.random.rand()), float(torch.rand(()))],
        "rates": [config.scheduler.get_last_lr() for config in trainer.lr_scheduler_configs],
        "best": [float(one.best_model_score or 0) for one in trainer.checkpoint_callbacks],
        "tracked": [(record.step, record.epoch, record.values) for record in read_log(folder)],
        "resumed_from": resume.resumed_from,
    }


if __name__ == "__main__":
    main(train, twice=True)
