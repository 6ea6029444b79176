"""Trainings of other libraries' Trainers in a session that has no time for them.

python short_sessions.py FOLDER lightning|transformers|steps|fastai|early
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import colabkit as ck
from colabkit.checkpoint.policy import save_triggers

X = torch.randn(32, 4)
Y = (X.sum(1) > 0).long()


def lightning(run, **settings):
    """Fit three epochs of four batches."""
    import lightning as L  # noqa: N812 - as its users write it

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(4, 2)

        def training_step(self, batch, index):
            x, y = batch
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    callbacks = [run.resume_lightning(), *settings.pop("callbacks", [])]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=8, shuffle=True)
    L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", callbacks=callbacks, **settings).fit(
        Net(), loader
    )


def transformers(run, **settings):
    """Train a Trainer on four batches an epoch."""
    from transformers import Trainer, TrainingArguments

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(4, 2)

        def forward(self, x, labels):
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    arguments = TrainingArguments(
        str(run.dir / "trainer"),
        per_device_train_batch_size=8,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        **settings,
    )
    Trainer(Net(), arguments, train_dataset=rows, callbacks=[run.resume_transformers()]).train()


def fastai(run):
    """Fit three epochs."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    data = torch.utils.data.TensorDataset(X, Y)
    loaders = [torch.utils.data.DataLoader(data, batch_size=8, shuffle=shuffled) for shuffled in (True, False)]
    Learner(DataLoaders(*loaders), torch.nn.Linear(4, 2), loss_func=torch.nn.CrossEntropyLoss()).fit(
        3, cbs=[run.resume_fastai()]
    )


def main(folder, kind):
    """Train one of them."""
    save_triggers.session_left = lambda: 1e-6
    run = ck.open_run(Path(folder) / kind)
    if kind == "lightning":
        lightning(run, max_epochs=3)
    elif kind == "early":
        import lightning as L  # noqa: N812 - as its users write it

        class Enough(L.Callback):
            def on_train_epoch_end(self, trainer, module):
                trainer.should_stop = True

        lightning(run, max_epochs=3, callbacks=[Enough()])
    elif kind == "transformers":
        transformers(run, num_train_epochs=3)
    elif kind == "steps":
        transformers(run, max_steps=6)
    else:
        fastai(run)
    run.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
