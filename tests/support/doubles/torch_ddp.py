"""A training in several processes, for torchrun, `colabkit launch` and accelerate launch; each saves what it ends with.

Usage: torch_ddp.py KIND RUN [--kill RANK,STEP]... [--accumulate N] [--workers N] [--epochs N] [--batch N] [--seed N]

The process RANK ends at STEP by SIGKILL, once; at the step "end" when all is done. Users set no seed: each start draws others, except the first of a
comparison, which --seed gives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import data

import colabkit as ck

parser = argparse.ArgumentParser()
parser.add_argument("kind", choices=["loop", "lightning", "trainer"])
parser.add_argument("run", type=Path)
parser.add_argument("--kill", action="append", default=[])
parser.add_argument("--accumulate", type=int, default=1)
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--every", default="1 steps")
args = parser.parse_args()

RANK = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
X = torch.linspace(0, 1, 288).reshape(48, 6).sin()
Y = (X.sum(1, keepdim=True) * 3).cos()


def seed():
    """Begin as users do: with whatever numbers there are, the first time with those of the comparison."""
    own = args.seed * 100 + RANK if args.seed and not args.run.exists() else int.from_bytes(os.urandom(4), "little")
    random.seed(own), np.random.seed(own), torch.manual_seed(own)


def die(step):
    """End at a step, once: after a restart the mark is there."""
    mark = args.run.with_name(f"{args.run.name}.killed{RANK}-{step}")
    if f"{RANK},{step}" in args.kill and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Draws(data.Dataset):
    """Augments by the global generators."""

    def __len__(self):
        return len(X)

    def __getitem__(self, at):
        return X[at] + random.random() / 9 + np.random.rand() / 9 + torch.rand(()) / 9, Y[at]


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))


def digest(*states):
    """Hash tensors."""
    found = hashlib.sha256()

    def feed(value):
        if isinstance(value, torch.Tensor):
            found.update(value.detach().numpy().tobytes())
        elif isinstance(value, dict):
            for key, item in value.items():
                found.update(repr(key).encode())
                feed(item)
        elif isinstance(value, list | tuple):
            for item in value:
                feed(item)
        else:
            found.update(repr(value).encode())

    for state in states:
        feed(state)
    return found.hexdigest()[:16]


def tell(**told):
    """Write down how this process ended."""
    told["then"] = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    args.run.with_name(f"{args.run.name}-{RANK}.json").write_text(json.dumps(told))


def loop():
    dist.init_process_group("gloo")
    model = DistributedDataParallel(net())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
    sampler = data.distributed.DistributedSampler(range(len(X)))
    batches = data.DataLoader(Draws(), batch_size=args.batch, sampler=sampler, num_workers=args.workers)
    seen, noise = {"losses": []}, torch.randn(6) / 9  # each process draws its own
    run = ck.open_run(args.run, every=args.every)
    steps = run.loop(batches, epochs=args.epochs, model=model, optimizer=optimizer, scheduler=scheduler, seen=seen)
    for x, y in steps:
        whole = steps.step % args.accumulate == args.accumulate - 1
        with model.no_sync() if not whole else torch.enable_grad():
            loss = nn.functional.mse_loss(model(x + noise), y)
            loss.backward()
        if whole:
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        seen["losses"].append(loss.item())
        steps.log(loss=loss)
        die(steps.step + 1)
    tell(
        state=digest(model.state_dict(), optimizer.state_dict()),
        weights=digest([each.detach() for each in model.parameters()]),
        losses=seen["losses"],
        step=steps.step,
        resumed_from=steps.resumed_from,
    )
    dist.destroy_process_group()


def lightning():
    import lightning as L

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.losses = net(), []

        def training_step(self, batch, number):
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss, on_epoch=True, sync_dist=True)
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]

    class Kill(L.Callback):
        stateless = True

        def on_train_batch_end(self, trainer, *_):
            die(trainer.fit_loop.epoch_loop.batch_progress.total.ready)

    run = ck.open_run(args.run, every=args.every)
    resume = run.resume_lightning()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        devices=int(os.environ.get("WORLD_SIZE", "2")),
        strategy="ddp",
        accumulate_grad_batches=args.accumulate,
        callbacks=[resume, Kill()],
        enable_checkpointing=False,
        **quiet,
    )
    module = Net()
    trainer.fit(module, data.DataLoader(Draws(), batch_size=args.batch, shuffle=True, num_workers=args.workers))
    tell(
        state=digest(module.state_dict(), trainer.optimizers[0].state_dict()["state"]),
        loss=float(trainer.callback_metrics["loss_epoch"]),
        step=trainer.global_step,
        resumed_from=resume.resumed_from,
    )


def trainer():
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Rows(data.Dataset):
        def __len__(self):
            return 26

        def __getitem__(self, at):
            ids = [4 + (at * 7 + k * k) % 27 for k in range(7)] + [4 + np.random.randint(20)]
            return {"input_ids": ids, "labels": ids}

    class Kill(TrainerCallback):
        stateless = True

        def on_step_end(self, args, state, control, **_):
            die(state.global_step)

    small = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**small, num_attention_heads=2, attention_dropout=0.2))
    run = ck.open_run(args.run, every=args.every)
    resume = run.resume_transformers()
    arguments = TrainingArguments(
        str(args.run.with_name("hf")),
        per_device_train_batch_size=args.batch,
        gradient_accumulation_steps=args.accumulate,
        num_train_epochs=args.epochs,
        dataloader_num_workers=args.workers,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
    )
    hf = Trainer(model, arguments, train_dataset=Rows(), callbacks=[resume, Kill()])
    hf.train()
    clocks = ("runtime", "per_second")
    logs = [{k: v for k, v in one.items() if not any(c in k for c in clocks)} for one in hf.state.log_history]
    tell(
        state=digest(hf.accelerator.unwrap_model(hf.model).state_dict(), hf.optimizer.state_dict()["state"]),
        logs=logs,
        step=hf.state.global_step,
        resumed_from=resume.resumed_from,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    seed()
    {"loop": loop, "lightning": lightning, "trainer": trainer}[args.kind]()
    sys.stdout.flush()
    die("end")
