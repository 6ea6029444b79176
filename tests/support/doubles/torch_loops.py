"""Training loops with torch that are killed; prints a line of JSON for each case, see torch_killed.py.

Usage: torch_loops.py FOLDER CASE...
"""

from __future__ import annotations

import collections
import hashlib
import os
import random
import warnings

warnings.simplefilter("ignore")

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_killed import Killed, main
from torch.utils import data

import colabkit as ck
from colabkit.tracking import read_log

EPOCHS, SAMPLES, BATCH = 3, 40, 8
X = torch.linspace(0, 1, SAMPLES * 6).reshape(SAMPLES, 6).sin()
Y = (X.sum(1, keepdim=True) * 3).cos()
CASES = {}


def case(build):
    """Name a case by its function."""
    CASES[build.__name__] = build
    return build


class Draws(data.Dataset):
    """A dataset that draws from every generator for each sample, and from one of its own."""

    def __init__(self):
        self.rng = np.random.default_rng(5)

    def __len__(self):
        return SAMPLES

    def __getitem__(self, at):
        noise = random.random() + np.random.rand() + torch.rand(()).item() + self.rng.random()
        return X[at] + noise / 50, Y[at]


class Stream(data.IterableDataset):
    """A stream, shared out among workers."""

    def __iter__(self):
        info = data.get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        for at in range(start, SAMPLES, step):
            yield X[at], Y[at]


class StatefulStream(data.IterableDataset):
    """A stream that knows its place."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        while self.at < SAMPLES:
            self.at += 1
            yield X[self.at - 1], Y[self.at - 1]
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Remembers(nn.Module):
    """A layer with a state outside its state_dict, as recurrent networks have."""

    def __init__(self):
        super().__init__()
        self.seen, self.hidden = 0, None
        self.register_buffer("mean", torch.zeros(()), persistent=False)

    def forward(self, x):
        if self.training:
            self.seen += 1
            self.hidden = (x.detach().mean(), [self.mean.clone()])
            self.mean.mul_(0.9).add_(self.hidden[0])
        return x + self.mean + 0.01 * (self.seen % 7)


class Shuffled(data.Sampler):
    """A sampler of the user's."""

    def __init__(self, draw):
        self.draw = draw

    def __iter__(self):
        order = list(range(SAMPLES))
        self.draw(order)
        return iter(order)

    def __len__(self):
        return SAMPLES


def net(*, norm=True, dropout=0.2, middle=None):
    """Build a small network."""
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8) if norm else nn.ReLU(), middle or nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(8, 1))


def loader(dataset=None, **options):
    """Build the usual DataLoader."""
    return data.DataLoader(dataset or data.TensorDataset(X, Y), **{"batch_size": BATCH, "shuffle": True, **options})


def simple(run, kill, batches, *, model=None, optimizer=None, epochs=EPOCHS, each=None, every_step=None, **state):
    """Train as most do; returns what is to be compared."""
    model = model or net()
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), 1e-2)
    losses = {"losses": [], "best": 9.9}
    loop = run.loop(batches, epochs=epochs, model=model, optimizer=optimizer, losses=losses, **state)
    for x, y in loop:
        kill.at(loop.step + 1, "begin")
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses["losses"].append(loss.item())
        losses["best"] = min(losses["best"], loss.item())
        if every_step:
            every_step(loop, loss)
        if loop.step % 5 == 4:
            loop.log(loss=loss)
        kill.at(loop.step + 1)
        if each and loop.ends_epoch:
            each(loop)
    return loop, model, optimizer, losses, state


@case
def plain(run, kill):
    return simple(run, kill, loader())


@case
def sequential(run, kill):
    return simple(run, kill, loader(shuffle=False))


@case
def generator(run, kill):
    return simple(run, kill, loader(generator=torch.Generator()))


@case
def seeded_generator(run, kill):
    return simple(run, kill, loader(Draws(), generator=torch.Generator().manual_seed(3)))


@case
def draws(run, kill):
    return simple(run, kill, loader(Draws()))


@case
def workers(run, kill):
    return simple(run, kill, loader(Draws(), num_workers=2), epochs=2)


@case
def persistent(run, kill):
    return simple(run, kill, loader(num_workers=2, persistent_workers=True, prefetch_factor=3), epochs=2)


@case
def weighted(run, kill):
    return simple(run, kill, loader(shuffle=False, sampler=data.WeightedRandomSampler(Y.abs().flatten() + 0.1, 40)))


@case
def replacement(run, kill):
    sampler = data.RandomSampler(range(SAMPLES), replacement=True, num_samples=70)
    return simple(run, kill, loader(shuffle=False, sampler=sampler))


@case
def distributed(run, kill):
    sampler = data.distributed.DistributedSampler(range(SAMPLES), num_replicas=2, rank=1, seed=4)
    return simple(run, kill, loader(shuffle=False, sampler=sampler))


@case
def python_sampler(run, kill):
    return simple(run, kill, loader(Draws(), shuffle=False, sampler=Shuffled(random.shuffle)))


@case
def own_sampler(run, kill):
    return simple(run, kill, loader(shuffle=False, sampler=Shuffled(np.random.default_rng(7).shuffle)))


@case
def batch_sampler(run, kill):
    sampler = data.BatchSampler(data.RandomSampler(range(SAMPLES)), 7, drop_last=True)
    return simple(run, kill, data.DataLoader(data.TensorDataset(X, Y), batch_sampler=sampler))


@case
def drop_last(run, kill):
    return simple(run, kill, loader(batch_size=7, drop_last=True))


@case
def unbatched(run, kill):
    return simple(run, kill, loader(batch_size=None), model=net(norm=False), epochs=1)


@case
def stream(run, kill):
    return simple(run, kill, loader(Stream(), shuffle=False))


@case
def stream_workers(run, kill):
    return simple(run, kill, loader(Stream(), shuffle=False, num_workers=2), epochs=2)


@case
def stateful_stream(run, kill):
    return simple(run, kill, loader(StatefulStream(), shuffle=False))


@case
def stateful_loader(run, kill):
    from torchdata.stateful_dataloader import StatefulDataLoader

    return simple(run, kill, StatefulDataLoader(StatefulStream(), batch_size=BATCH))


@case
def stateful_map_loader(run, kill):
    from torchdata.stateful_dataloader import StatefulDataLoader

    return simple(run, kill, StatefulDataLoader(data.TensorDataset(X, Y), batch_size=BATCH, shuffle=True))


@case
def a_list(run, kill):
    return simple(run, kill, list(zip(X.split(BATCH), Y.split(BATCH), strict=True)))


@case
def a_function(run, kill):
    def batches(epoch):
        for at in np.random.permutation(5):
            yield X[at * 8 : at * 8 + 8] + epoch, Y[at * 8 : at * 8 + 8]

    return simple(run, kill, batches)


@case
def one_generator(run, kill):
    return simple(run, kill, ((X[at : at + 8], Y[at : at + 8]) for at in range(0, 32, 8)), epochs=1)


@case
def hidden_state(run, kill):
    return simple(run, kill, loader(), model=net(middle=Remembers()))


@case
def compiled(run, kill):
    model = torch.compile(net(), backend="eager")
    if os.environ.get("AGAIN"):  # the next process does not compile
        model = model._orig_mod
    loop, _, *rest = simple(run, kill, loader(), model=model)
    return loop, getattr(model, "_orig_mod", model), *rest


@case
def momentum(run, kill):
    model = net(norm=False)
    return simple(run, kill, loader(), model=model, optimizer=torch.optim.SGD(model.parameters(), 0.05, momentum=0.9))


@case
def lbfgs(run, kill):
    model = net(norm=False, dropout=0)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    loop = run.loop(loader(), epochs=2, model=model, optimizer=optimizer)
    for x, y in loop:

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        kill.at(loop.step + 1)
    return loop, model, optimizer


@case
def bfloat16(run, kill):
    model = net(norm=False).bfloat16()
    batches = [(x.bfloat16(), y.bfloat16()) for x, y in zip(X.split(8), Y.split(8), strict=True)]
    return simple(run, kill, batches, model=model)


@case
def sparse(run, kill):
    table = nn.EmbeddingBag(SAMPLES, 4, sparse=True)
    model = nn.Sequential(table, nn.Linear(4, 1))
    one, two = torch.optim.SparseAdam([table.weight], 0.1), torch.optim.Adagrad(model[1].parameters(), 0.1)
    indices = data.TensorDataset(torch.arange(SAMPLES).reshape(-1, 1), Y)
    loop = run.loop(loader(indices), epochs=EPOCHS, model=model, optimizers=[one, two])
    for x, y in loop:
        loss = nn.functional.mse_loss(model(x), y)
        one.zero_grad(), two.zero_grad()
        loss.backward()
        one.step(), two.step()
        kill.at(loop.step + 1)
    return loop, model, one, two


def scheduled(make, *, per_epoch=False):
    """Build a case with a scheduler."""

    def run_it(run, kill):
        model = net()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        scheduler = make(optimizer)
        plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        step = lambda loop, *loss: scheduler.step(*(float(loss[0]),) if plateau and loss else ())  # noqa: E731
        last = {}
        if per_epoch:
            options = {"each": lambda loop: scheduler.step(*([last["loss"]] if plateau else []))}
            options["every_step"] = lambda loop, loss: last.update(loss=float(loss))
        else:
            options = {"every_step": step}
        return *simple(run, kill, loader(), model=model, optimizer=optimizer, scheduler=scheduler, **options), scheduler

    return run_it


CASES["one_cycle"] = scheduled(lambda o: lr_scheduler.OneCycleLR(o, 0.05, total_steps=16))
CASES["multi_step"] = scheduled(lambda o: lr_scheduler.MultiStepLR(o, [3, 7, 7, 12]))
CASES["restarts"] = scheduled(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4))
CASES["lambda"] = scheduled(lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step))
CASES["chain"] = scheduled(
    lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, total_iters=4), lr_scheduler.ExponentialLR(o, 0.9)], [4]
    )
)
CASES["plateau"] = scheduled(lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5), per_epoch=True)
CASES["step_lr"] = scheduled(lambda o: lr_scheduler.StepLR(o, 1), per_epoch=True)


def accumulated(*, before):
    """Build a case of gradient accumulation, whose gradients are dropped before or after."""

    def run_it(run, kill):
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        loop = run.loop(loader(batch_size=3, drop_last=True), epochs=2, model=model, optimizer=optimizer)
        for x, y in loop:
            if before and loop.step % 4 == 0:
                optimizer.zero_grad()
            (nn.functional.mse_loss(model(x), y) / 4).backward()
            if loop.step % 4 == 3:
                optimizer.step()
                if not before:
                    optimizer.zero_grad()
            kill.at(loop.step + 1)
        return loop, model, optimizer

    return run_it


CASES["accumulation"] = accumulated(before=False)
CASES["accumulation_dropped_before"] = accumulated(before=True)


@case
def prepared(run, kill):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    model, optimizer, batches, scheduler = accelerator.prepare(model, optimizer, loader(), scheduler)
    parts = {"accelerator": accelerator, "model": model, "optimizer": optimizer, "scheduler": scheduler}
    loop = run.loop(batches, epochs=EPOCHS, **parts)
    for x, y in loop:
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.mse_loss(model(x), y))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        kill.at(loop.step + 1)
    return loop, model, optimizer, scheduler


@case
def never_dropped(run, kill):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    loop = run.loop(loader(), epochs=2, model=model, optimizer=optimizer)
    for x, y in loop:
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        kill.at(loop.step + 1)
    return loop, model, optimizer


@case
def zeroed_in_place(run, kill):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    loop = run.loop(loader(), epochs=2, model=model, optimizer=optimizer)
    for x, y in loop:
        optimizer.zero_grad(set_to_none=False)
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        kill.at(loop.step + 1)
    return loop, model, optimizer


@case
def averaged_and_scaled(run, kill):
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    scaler = torch.amp.GradScaler("cpu", growth_interval=4)
    loop = run.loop(loader(), epochs=EPOCHS, model=model, optimizer=optimizer, ema=ema, scaler=scaler)
    for x, y in loop:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        ema.update_parameters(model)
        kill.at(loop.step + 1)
    return loop, model, optimizer, ema, scaler.state_dict()


@case
def gan(run, kill):
    models = {"g": net(norm=False), "d": nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.1), nn.Linear(4, 1))}
    optimizers = {name: torch.optim.Adam(model.parameters(), 1e-2) for name, model in models.items()}
    loop = run.loop(loader(), epochs=EPOCHS, models=models, optimizers=optimizers)
    for x, y in loop:
        fake = models["g"](x)
        optimizers["d"].zero_grad()
        (models["d"](y) - models["d"](fake.detach())).mean().backward()
        optimizers["d"].step()
        optimizers["g"].zero_grad()
        models["d"](fake).mean().backward()
        optimizers["g"].step()
        kill.at(loop.step + 1)
    return loop, *models.values(), *optimizers.values()


@case
def frozen(run, kill):
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam((each for each in model.parameters() if each.requires_grad), 1e-2)
    return simple(run, kill, loader(), model=model, optimizer=optimizer)


@case
def tied(run, kill):
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 1))
    model[2].weight = model[0].weight
    return simple(run, kill, loader(), model=model)


@case
def state_of_all_kinds(run, kill):
    own = {
        "tensor": torch.zeros(3),
        "array": np.zeros(2),
        "counter": collections.Counter(),
        "queue": collections.deque(maxlen=3),
        "nested": {"list": [], "none": None},
        "rng": np.random.default_rng(1),
        "torch": torch.Generator(),
    }
    table, seen = np.zeros(4), []

    def note(loop, loss):
        own["tensor"] = own["tensor"] + loss.item()
        own["array"][0] += own["rng"].random() + float(torch.rand((), generator=own["torch"]))
        own["counter"][loop.step % 3] += 1
        own["queue"].append(loop.step)
        own["nested"]["list"].append((loop.epoch, loss.item()))
        own["nested"][loop.step] = b"bytes"
        table[loop.step % 4] += 1
        seen.append(float("nan") if loop.step == 3 else loop.step)

    result = simple(run, kill, loader(), own=own, table=table, seen=seen, every_step=note)
    shown = {k: v for k, v in own.items() if k not in ("rng", "torch")}
    return *result, repr(shown), repr(seen), repr(table), own["rng"].random()


def evaluate(model):
    """Evaluate with random numbers, as Monte Carlo dropout does."""
    return float(model(X).mean() + torch.rand(()))


@case
def each_epoch(run, kill):
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.8)
    history = {"val": [], "begins": 0}
    loop = run.loop(loader(Draws()), epochs=EPOCHS, model=model, optimizer=optimizer, scheduler=scheduler, h=history)
    for epoch in loop.each_epoch():
        history["begins"] += 1
        for x, y in loop:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loop.log(loss=loss)
            kill.at(loop.step + 1)
        kill.at(loop.step, "evaluate")
        history["val"].append([epoch, evaluate(model)])
        scheduler.step()
        loop.log(val_loss=history["val"][-1][1])
        kill.at(loop.step, "evaluated")
    return loop, model, optimizer, history, scheduler


@case
def evaluated_within(run, kill):
    seen = []
    return simple(run, kill, loader(), seen=seen, each=lambda loop: seen.append([loop.epoch, random.random()]))


@case
def left_early(run, kill):
    model, count = net(), {"n": 0}
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    loop = run.loop(loader(), epochs=EPOCHS, model=model, optimizer=optimizer, count=count)
    for epoch in loop.each_epoch():
        for x, y in loop:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count["n"] += 1
            kill.at(loop.step + 1)
            if count["n"] % 3 == 0:
                break
        kill.at(loop.step, "evaluate")
    return loop, model, optimizer, count


@case
def rare(run, kill):
    run.close()
    with ck.open_run(run.dir, every="4 steps") as other:
        return simple(other, kill, loader(Draws()))


def train(folder, name, where):
    """Train to the end or to the kill."""
    with ck.open_run(folder, every="1 steps") as run:
        loop, *rest = CASES[name](run, Killed(where, folder))
    digest = hashlib.sha256()
    for one in rest:
        feed(digest, one.state_dict() if hasattr(one, "state_dict") else one)
    records = [(each.step, each.epoch, sorted(each.values.items())) for each in read_log(run)]
    return {
        "state": digest.hexdigest(),
        "then": [random.random(), float(np.random.rand()), float(torch.rand(()))],
        "step": [loop.epoch, loop.step],
        "log": hashlib.sha256(repr(records).encode()).hexdigest()[:8] + f" {len(records)}",
        "resumed_from": loop.resumed_from,
    }


def feed(digest, value):
    """Hash whatever a state holds."""
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
    if isinstance(value, np.random.Generator):
        value = value.bit_generator.state
    if isinstance(value, torch.Generator):
        value = value.get_state().numpy()
    if isinstance(value, np.ndarray):
        digest.update(str(value.dtype).encode() + value.tobytes())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(repr(key).encode())
            feed(digest, item.state_dict() if hasattr(item, "state_dict") else item)
    elif isinstance(value, list | tuple):
        for item in value:
            feed(digest, item)
    else:
        digest.update(repr(value).encode())


if __name__ == "__main__":
    main(train)
