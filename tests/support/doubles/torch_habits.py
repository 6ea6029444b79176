"""Loops as people write them: around the loop's own `for`, on other data, with other parts; see torch_killed.py.

Usage: torch_habits.py FOLDER CASE...
"""

from __future__ import annotations

import collections
import copy
import itertools
import os
import random
import warnings

warnings.simplefilter("ignore")

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils import data
from torch_killed import main
from torch_loops import BATCH, CASES, EPOCHS, SAMPLES, X, Y, evaluate, loader, net, simple, train

CASES.clear()


def case(build):
    """Name a case by its function."""
    CASES[build.__name__] = build
    return build


def parts():
    """Build what most loops have."""
    model = net()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), 1e-2)}


def step(model, optimizer, x, y):
    """Train on a batch."""
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@case
def enumerated(run, kill):
    given, seen = parts(), {"at": []}
    loop = run.loop(loader(), epochs=EPOCHS, **given, seen=seen)
    for _at, (x, y) in enumerate(loop):
        step(**given, x=x, y=y)
        seen["at"].append(random.random())
        kill.at(loop.step + 1)
    return loop, *given.values(), seen


@case
def with_a_bar(run, kill):
    from tqdm import tqdm

    given = parts()
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for x, y in tqdm(loop, disable=False, file=open("/dev/null", "w")):  # noqa: SIM115
        step(**given, x=x, y=y)
        kill.at(loop.step + 1)
    return loop, *given.values()


@case
def with_a_bar_left_early(run, kill):
    from tqdm.auto import tqdm

    given, count = parts(), {"n": 0, "after": []}
    loop = run.loop(loader(), epochs=EPOCHS, **given, count=count)
    for epoch in loop.each_epoch():
        for x, y in tqdm(loop, total=5, file=open("/dev/null", "w")):  # noqa: SIM115
            step(**given, x=x, y=y)
            count["n"] += 1
            kill.at(loop.step + 1)
            if count["n"] % 3 == 0:
                break
        count["after"].append([epoch, evaluate(given["model"])])
        kill.at(loop.step, "evaluate")
    return loop, *given.values(), count


def watched(batches):
    """Show batches as tqdm's bar for notebooks does."""
    bar = iter(batches)
    try:
        for batch in bar:  # noqa: UP028 - as it does
            yield batch
    except BaseException:
        str(batches)
        raise


@case
def with_a_bar_of_a_notebook(run, kill):
    given, count = parts(), {"n": 0}
    loop = run.loop(loader(), epochs=EPOCHS, **given, count=count)
    for _ in loop.each_epoch():
        for x, y in watched(watched(loop)):
            step(**given, x=x, y=y)
            count["n"] += 1
            kill.at(loop.step + 1)
            if count["n"] % 3 == 0:
                break
        kill.at(loop.step, "evaluate")
    return loop, *given.values(), count


@case
def enumerated_left_early(run, kill):
    given, count = parts(), {"after": []}
    loop = run.loop(loader(), epochs=EPOCHS, **given, count=count)
    for epoch in loop.each_epoch():
        for at, (x, y) in enumerate(loop, loop.batch):
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
            if at + 1 == 3:
                break
        count["after"].append([epoch, evaluate(given["model"])])
        kill.at(loop.step, "evaluate")
    return loop, *given.values(), count


@case
def continued(run, kill):
    given = parts()
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for x, y in loop:
        if y.mean() > 0.9:
            continue
        step(**given, x=x, y=y)
        kill.at(loop.step + 1)
    return loop, *given.values()


@case
def zipped(run, kill):
    given = parts()
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for (x, y), scale in zip(loop, itertools.repeat(0.5), strict=False):
        step(**given, x=x * scale, y=y)
        kill.at(loop.step + 1)
    return loop, *given.values()


@case
def two_loaders(run, kill):
    given, other = parts(), loader(batch_size=4)
    loop = run.loop(lambda: zip(loader(), other, strict=False), epochs=EPOCHS, **given)
    for (x, y), (x2, _) in loop:
        step(**given, x=x + x2.mean(), y=y)
        kill.at(loop.step + 1)
    return loop, *given.values()


@case
def epochs_of_my_own(run, kill):
    """An outer `for epoch in range` around a loop whose epochs grow."""
    given, history = parts(), {"val": []}
    for epoch in range(EPOCHS):
        loop = run.loop(loader(), epochs=epoch + 1, **given, history=history)
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
    return loop, *given.values(), history


@case
def evaluated_each_epoch(run, kill):
    given, history, test = parts(), {"val": []}, loader(shuffle=True)
    loop = run.loop(loader(), epochs=EPOCHS, **given, history=history)
    for _ in loop.each_epoch():
        given["model"].train()
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
        given["model"].eval()
        with torch.no_grad():
            for x, y in test:
                history["val"].append(nn.functional.mse_loss(given["model"](x), y).item())
                kill.at(loop.step, "evaluate")
    return loop, *given.values(), history


@case
def evaluated_every_third_step(run, kill):
    given, history, test = parts(), {"val": []}, loader(shuffle=True)
    loop = run.loop(loader(), epochs=EPOCHS, **given, history=history)
    for x, y in loop:
        step(**given, x=x, y=y)
        if loop.step % 3 == 2:
            given["model"].eval()
            with torch.no_grad():
                history["val"].append(sum(nn.functional.mse_loss(given["model"](a), b).item() for a, b in test))
            given["model"].train()
        kill.at(loop.step + 1)
    return loop, *given.values(), history


@case
def stochastic_averaging(run, kill):
    given = parts()
    swa = AveragedModel(given["model"])
    swa_rate = SWALR(given["optimizer"], 0.02, anneal_epochs=2)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(given["optimizer"], EPOCHS)
    loop = run.loop(loader(), epochs=EPOCHS, **given, swa=swa, swa_rate=swa_rate, cosine=cosine)
    for epoch in loop.each_epoch():
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
        if epoch:
            swa.update_parameters(given["model"])
            swa_rate.step()
        else:
            cosine.step()
    update_bn(loader(shuffle=False), swa)
    return loop, *given.values(), swa, swa_rate


@case
def scaled_and_clipped(run, kill):
    given = parts()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=3)
    loop = run.loop(loader(batch_size=4), epochs=2, **given, scaler=scaler)
    for x, y in loop:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.mse_loss(given["model"](x), y) / 2
        scaler.scale(loss).backward()
        if loop.step % 2:
            scaler.unscale_(given["optimizer"])
            nn.utils.clip_grad_norm_(given["model"].parameters(), 1.0)
            scaler.step(given["optimizer"])
            scaler.update()
            given["optimizer"].zero_grad()
        kill.at(loop.step + 1)
    return loop, *given.values(), scaler.state_dict()


@case
def several_optimizers_and_schedulers(run, kill):
    model = net()
    first, second = list(model[0].parameters()), list(model[4].parameters())
    optimizers = [torch.optim.SGD(first, 0.05, momentum=0.9), torch.optim.Adam(second, 1e-2)]
    schedulers = [
        torch.optim.lr_scheduler.OneCycleLR(optimizers[0], 0.05, total_steps=20),
        torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers[1], patience=1, threshold=0.5),
    ]
    loop = run.loop(loader(), epochs=EPOCHS, model=model, optimizers=optimizers, schedulers=schedulers)
    for x, y in loop:
        loss = nn.functional.mse_loss(model(x), y)
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        for each in optimizers:
            each.step()
        schedulers[0].step()
        schedulers[1].step(loss.item())
        kill.at(loop.step + 1)
    return loop, model, *optimizers, *schedulers


@case
def frozen_then_not(run, kill):
    given = parts()
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for epoch in loop.each_epoch():
        given["model"][0].requires_grad_(epoch > 0)
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
    return loop, *given.values()


@case
def phases(run, kill):
    """A head first, then all of it with a new optimizer, each a phase of the run."""
    model, loops = net(), []
    model[0].requires_grad_(False)
    head = torch.optim.AdamW(model[4].parameters(), 1e-2)
    loop = run.phase("head").loop(loader(), epochs=1, model=model, optimizer=head)
    for x, y in loop:
        step(model, head, x, y)
        kill.at(loop.step + 1)
    model[0].requires_grad_(True)
    whole = torch.optim.AdamW(model.parameters(), 1e-3)
    loop = run.phase("whole").loop(loader(), epochs=2, model=model, optimizer=whole)
    for x, y in loop:
        step(model, whole, x, y)
        kill.at(loop.step + 6)
    loops.append(loop.step)
    return loop, model, whole


@case
def recomputed(run, kill):
    from torch.utils.checkpoint import checkpoint

    class Recomputed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(norm=False)

        def forward(self, x):
            return checkpoint(self.net, x, use_reentrant=False)

    return simple(run, kill, loader(), model=Recomputed())


@case
def subset_with_generator(run, kill):
    sampler = data.SubsetRandomSampler(range(3, 37), generator=torch.Generator().manual_seed(5))
    return simple(run, kill, loader(shuffle=False, sampler=sampler))


@case
def subset_without(run, kill):
    return simple(run, kill, loader(shuffle=False, sampler=data.SubsetRandomSampler(range(3, 37))))


@case
def random_split(run, kill):
    whole = data.TensorDataset(X, Y)
    held, _ = data.random_split(whole, [30, 10], generator=torch.Generator().manual_seed(2))
    return simple(run, kill, loader(held))


def noisy(rows):
    """Collate with augmentation by all three generators."""
    x, y = data.default_collate(rows)
    return x * (1 + random.random() / 9) + np.random.randn(*x.shape).astype("float32") / 9 + torch.randn(x.shape) / 9, y


@case
def noisy_collate(run, kill):
    return simple(run, kill, loader(collate_fn=noisy))


@case
def noisy_collate_in_workers(run, kill):
    return simple(run, kill, loader(collate_fn=noisy, num_workers=2), epochs=2)


@case
def noisy_collate_in_lasting_workers(run, kill):
    return simple(run, kill, loader(collate_fn=noisy, num_workers=2, persistent_workers=True), epochs=2)


class Drawing(data.Dataset):
    """Samples with noise of a generator of its own."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return SAMPLES

    def __getitem__(self, at):
        return X[at] + torch.tensor(self.rng.normal(0, 0.1, X[at].shape), dtype=torch.float32), Y[at]


@case
def drawing_dataset_in_workers(run, kill):
    sampler = data.WeightedRandomSampler(torch.ones(SAMPLES), SAMPLES)
    again = any(run.dir.glob("checkpoints/step-*"))  # without a seed it would be another generator in each process
    return simple(run, kill, loader(Drawing(int(again)), shuffle=False, sampler=sampler, num_workers=1), epochs=2)


def seed_worker(number):
    """As torch's page on reproducibility says."""
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


@case
def seeded_workers(run, kill):
    options = {"worker_init_fn": seed_worker, "generator": torch.Generator(), "num_workers": 2}
    return simple(run, kill, loader(collate_fn=noisy, **options), epochs=2)


class Pictures(data.Dataset):
    """Pictures with the usual transforms."""

    def __init__(self):
        from torchvision.transforms import v2

        self.pictures = torch.linspace(0, 1, SAMPLES * 3 * 12 * 12).reshape(SAMPLES, 3, 12, 12).sin()
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(6, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.2),
                v2.RandomErasing(),
            ]
        )

    def __len__(self):
        return SAMPLES

    def __getitem__(self, at):
        return self.transform(self.pictures[at]).mean((0, 1)), Y[at]


@case
def pictures(run, kill):
    return simple(run, kill, loader(Pictures()))


@case
def pictures_in_workers(run, kill):
    return simple(run, kill, loader(Pictures(), num_workers=2), epochs=2)


class Shards(data.IterableDataset):
    """A stream of shards, shuffled by a buffer, split among workers, as WebDataset does."""

    def __init__(self):
        self.epoch = -1

    def __iter__(self):
        self.epoch += 1
        info = data.get_worker_info()
        shards = list(range(8))
        rng = random.Random(self.epoch)
        rng.shuffle(shards)
        shards = shards[info.id :: info.num_workers] if info else shards
        buffer = []
        for at in itertools.chain.from_iterable(range(one * 5, one * 5 + 5) for one in shards):
            buffer.append(at)
            if len(buffer) > 6:
                yield self.sample(buffer.pop(rng.randrange(len(buffer))))
        while buffer:
            yield self.sample(buffer.pop(rng.randrange(len(buffer))))

    def sample(self, at):
        return X[at] + torch.rand(()) / 9, Y[at]


@case
def shards(run, kill):
    return simple(run, kill, data.DataLoader(Shards(), batch_size=BATCH))


@case
def shards_in_workers(run, kill):
    return simple(run, kill, data.DataLoader(Shards(), batch_size=BATCH, num_workers=2), epochs=2)


@case
def of_the_hub(run, kill):
    from datasets import Dataset

    rows = Dataset.from_dict({"x": X.tolist(), "y": Y.tolist()}).map(lambda row: {"x": [v * 2 for v in row["x"]]})
    rows = rows.shuffle(seed=3).with_format("torch")

    def collate(batch):
        return torch.stack([row["x"] for row in batch]), torch.stack([row["y"] for row in batch])

    return simple(run, kill, loader(rows, collate_fn=collate))


@case
def stream_of_the_hub(run, kill):
    from datasets import Dataset

    rows = Dataset.from_dict({"x": X.tolist(), "y": Y.tolist()}).to_iterable_dataset(num_shards=4)
    rows = rows.shuffle(seed=3, buffer_size=8).with_format("torch")

    def collate(batch):
        return torch.stack([row["x"] for row in batch]), torch.stack([row["y"] for row in batch])

    return simple(run, kill, data.DataLoader(rows, batch_size=BATCH, collate_fn=collate))


@case
def plain_stream_of_the_hub(run, kill):
    from datasets import Dataset

    rows = Dataset.from_dict({"x": X.tolist(), "y": Y.tolist()}).to_iterable_dataset().with_format("torch")

    def collate(batch):
        return torch.stack([row["x"] for row in batch]), torch.stack([row["y"] for row in batch])

    return simple(run, kill, data.DataLoader(rows, batch_size=BATCH, collate_fn=collate))


@case
def stateful_loader_in_workers(run, kill):
    from torchdata.stateful_dataloader import StatefulDataLoader

    return simple(
        run, kill, StatefulDataLoader(data.TensorDataset(X, Y), batch_size=BATCH, shuffle=True, num_workers=2)
    )


@case
def adapters(run, kill):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    model = get_peft_model(net(norm=False), LoraConfig(r=2, target_modules=["0", "4"], lora_dropout=0.1))
    return simple(run, kill, loader(), model=model)


@case
def compiled_by_inductors_frontend(run, kill):
    model = net()
    model.compile(backend="eager")
    return simple(run, kill, loader(), model=model)


@case
def lazy_layers(run, kill):
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(1))
    model(X[:2])
    return simple(run, kill, loader(), model=model)


@case
def normalised_weights(run, kill):
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 1))
    return simple(run, kill, loader(), model=model)


@case
def recurrent(run, kill):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out, self.hidden = nn.GRUCell(6, 8), nn.Linear(8, 1), None

        def forward(self, x):
            hidden = None if self.hidden is None else self.hidden.detach()
            self.hidden = self.cell(x, hidden)
            return self.out(self.hidden)

    return simple(run, kill, loader(), model=Recurrent())


Transition = collections.namedtuple("Transition", "state action next_state")  # noqa: PYI024 - as they are written


@case
def containers_of_all_kinds(run, kill):
    """Metrics by name, a replay memory of named tuples, and what else people fill while they train."""
    given, memory, history = parts(), collections.deque(maxlen=9), collections.defaultdict(list)
    counts = collections.Counter()
    counted = collections.defaultdict(collections.Counter)
    inside = {"memory": memory, "counted": counted, "seen": set()}
    loop = run.loop(loader(), epochs=EPOCHS, **given, history=history, counts=counts, memory=memory, inside=inside)
    for x, y in loop:
        loss = step(**given, x=x, y=y)
        memory.append(Transition(x[0], loop.step, None if loop.step % 2 else y[0]))
        history[f"epoch {loop.epoch}"].append(loss.item() + float(random.choice(memory).state.mean()))
        counts["steps"] += 1
        counted[loop.epoch]["steps"] += 1
        inside["seen"].add(loop.step)
        kill.at(loop.step + 1)
    alike = inside["memory"] is memory and inside["counted"] is counted
    shown = [dict(counts), {key: dict(each) for key, each in counted.items()}, sorted(inside["seen"]), alike]
    return loop, *given.values(), dict(history), [list(each) for each in memory], shown


@case
def best_weights(run, kill):
    """The first ones are those of the model itself, and the first batch is a part of the data."""
    given = parts()
    best = {"weights": given["model"].state_dict(), "loss": torch.tensor(99), "batch": X[:BATCH]}
    loop = run.loop(loader(), epochs=EPOCHS, **given, kept=best)
    for x, y in loop:
        loss = step(**given, x=x, y=y)
        best["batch"] = x
        if loss.item() < best["loss"]:
            best["loss"], best["weights"] = loss.detach(), copy.deepcopy(given["model"].state_dict())
        kill.at(loop.step + 1)
    return loop, *given.values(), best, X


class TrainsItself(nn.Linear):
    """A layer with an optimizer of its own, as in the forward-forward algorithm."""

    def __init__(self):
        super().__init__(6, 6)
        self.optimizer = torch.optim.Adam(self.parameters(), 3e-2)

    def learn(self, x):
        loss = self(x).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self(x).detach()


class LayersInAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [TrainsItself(), TrainsItself()]


@case
def layers_that_train_themselves(run, kill):
    model = LayersInAList()
    loop = run.loop(loader(), epochs=EPOCHS, model=model)
    for batch in loop:
        x = batch[0]
        for layer in model.layers:
            x = layer.learn(x)
        kill.at(loop.step + 1)
    return loop, *model.layers, *(layer.optimizer for layer in model.layers)


class Memory:
    """An object of the user's in a module."""

    def __init__(self):
        self.rows, self.count = collections.deque(maxlen=5), 0


class RandomFeatures(nn.Module):
    """What is drawn when it is built is no parameter; it draws from generators of its own, and remembers."""

    def __init__(self):
        super().__init__()
        self.directions = torch.randn(6, 8)
        self.register_buffer("phase", torch.rand(8), persistent=False)
        self.mask = np.random.rand(8) > 0.2
        self.rng, self.memory = np.random.default_rng(), Memory()

    def forward(self, x):
        self.memory.rows.append(Transition(x[0], self.memory.count, None))
        self.memory.count += 1
        features = (x @ self.directions + self.phase).cos() * torch.from_numpy(self.mask)
        return features + self.rng.normal() / 9 + self.memory.rows[0].state.mean() / (1 + self.memory.count)


@case
def random_features(run, kill):
    torch.manual_seed(int.from_bytes(os.urandom(4), "little") if os.environ.get("AGAIN") else 2)
    middle = RandomFeatures()
    if not os.environ.get("AGAIN"):
        middle.rng = np.random.default_rng(4)
    return simple(run, kill, loader(), model=nn.Sequential(middle, nn.Linear(8, 1)))


@case
def unfrozen_in_the_second_epoch(run, kill):
    given = parts()
    given["model"][0].requires_grad_(False)
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for epoch in loop.each_epoch():
        if epoch == 1:
            given["model"][0].requires_grad_(True)
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
    return loop, *given.values()


@case
def step_within_backward(run, kill):
    """An optimizer for each parameter, as torch's page on it says."""
    model = net(norm=False)
    optimizers = {each: torch.optim.Adam([each], 1e-2, foreach=False) for each in model.parameters()}

    def act(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for each in model.parameters():
        each.register_post_accumulate_grad_hook(act)
    loop = run.loop(loader(), epochs=EPOCHS, model=model, optimizers=optimizers)
    for x, y in loop:
        nn.functional.mse_loss(model(x), y).backward()
        kill.at(loop.step + 1)
    return loop, model, *optimizers.values()


class Sharpness(torch.optim.Optimizer):
    """An optimizer around another one, as SAM is."""

    def __init__(self, parameters, **options):
        super().__init__(parameters, options)
        self.base = torch.optim.SGD(self.param_groups, **options)
        self.param_groups = self.base.param_groups

    def step(self, closure=None):
        self.base.step()


@case
def optimizer_around_another(run, kill):
    model = net(norm=False)
    optimizer = Sharpness(model.parameters(), lr=0.05, momentum=0.9)
    return *simple(run, kill, loader(), model=model, optimizer=optimizer), optimizer.base


if __name__ == "__main__":
    main(train)
