"""What run.loop refuses or says, one after the other in one process; prints a line of JSON: name to what was said.

Usage: torch_refusals.py FOLDER
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
import signal
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np
import torch
from torch import nn
from torch.utils import data

import colabkit as ck
from colabkit.accelerator import torch as processes
from colabkit.checkpoint.format import file as container
from colabkit.errors import ColabKitError

ROOT = Path(sys.argv[1])
X, Y = torch.rand(40, 6), torch.rand(40, 1)
SAID = []
TOLD = {}


class Kept(logging.Handler):
    def emit(self, record):
        SAID.append(record.getMessage())


logging.getLogger("colabkit").addHandler(Kept())
logging.getLogger("colabkit").setLevel(logging.INFO)


def net(width=8):
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 1))


def loader(x=X, y=Y, **options):
    return data.DataLoader(data.TensorDataset(x, y), **{"batch_size": 8, "shuffle": True, **options})


def steps(loop, model, optimizer, *, stop=0, fail=None):
    for x, y in loop:
        if loop.step == fail:
            raise ValueError("mine")
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        np.random.rand()  # as any code may
        if loop.step + 1 == stop:
            break
    return loop


def begin(name, *, stop=3, lr=1e-2, batches=None, model=None, epochs=2, **options):
    """Train a few steps in a run of that name."""
    model = model or net()
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    with ck.open_run(ROOT / name.replace(" ", "-"), every="1 steps") as run:
        loop = run.loop(batches or loader(), epochs=epochs, model=model, optimizer=optimizer, **options)
        return steps(loop, model, optimizer, stop=stop)


def told(name, act):
    """Note what an act raises, with what was said."""
    SAID.clear()
    try:
        result = act()
        text = f"fine: {result.step}" if hasattr(result, "step") else f"fine: {result}"
    except ColabKitError as error:
        text = f"{type(error).__name__}: {error}"
    except Exception as error:  # what must not happen
        text = f"RAW {type(error).__name__}: {error}"
    TOLD[name] = [text, *SAID]


def after(name, **others):
    """Begin a run, then go on with others."""
    begin(name)
    told(name, lambda: begin(name, stop=0, **others))


class Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.last(self.first(x).relu())


class NoLength(data.IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class Dies(data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, at):
        if at >= 24:
            os.kill(os.getpid(), signal.SIGKILL)
        return X[at], Y[at]


NAMES = [f"/content/digits/{at:02}.png" for at in range(40)]


class Pictures(data.Dataset):
    """Files with labels, as people write it."""

    def __init__(self, files, labels):
        self.files, self.labels, self.cache = files, labels, [None] * len(files)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, at):
        self.cache[at] = at
        return X[int(self.files[at][-6:-4])], Y[self.labels[at]]


def pictures(draw, folder="/content/digits"):
    """Choose 32 of 40 files, by a draw that nobody gives a seed."""
    files = [f"{folder}/{at % 2}/{at:02}.png" for at in range(40)]
    draw.shuffle(files)
    return shuffled(Pictures(files[:32], list(range(32))))


def shuffled(dataset, **options):
    return data.DataLoader(dataset, 8, **{"shuffle": True, **options})


def drawn_anew():
    """Split, choose and shuffle without a seed, as another process does it."""
    whole = data.TensorDataset(X, Y)
    rows = [np.random.default_rng(seed).permutation(40)[:32] for seed in (1, 2)]
    choices = {
        "a split drawn anew": [shuffled(data.Subset(whole, each.tolist())) for each in rows],
        "an array of rows drawn anew": [shuffled(data.Subset(whole, each)) for each in rows],
        "a sampler drawn anew": [
            shuffled(whole, shuffle=False, sampler=data.SubsetRandomSampler(each.tolist())) for each in rows
        ],
        "files drawn anew": [pictures(random.Random(seed)) for seed in (1, 2)],
        "files in another order": [
            shuffled(Pictures(files, list(range(40)))) for files in (NAMES, [*NAMES[20:], *NAMES[:20]])
        ],
        "files in another folder": [pictures(random.Random(1), folder) for folder in ("/content/a", "/kaggle/b/c")],
        "the same data made twice": [pictures(random.Random(1)) for _ in range(2)],
        "rows of a joined dataset": [
            shuffled(data.ConcatDataset([data.Subset(whole, range(8)), data.Subset(whole, each[:24].tolist())]))
            for each in rows
        ],
    }
    for name, (first, second) in choices.items():
        begin(name, batches=first)
        told(name, lambda name=name, second=second: begin(name, batches=second, stop=0))
    begin("drawn anew, allowed", batches=choices["a split drawn anew"][0])
    allowed = {"batches": choices["a split drawn anew"][1], "check_data": False}
    told("drawn anew, allowed", lambda: begin("drawn anew, allowed", stop=0, **allowed))


class Unsavable:
    def state_dict(self):
        return {"hook": print}

    def load_state_dict(self, state):
        pass


class Lazy(data.Sampler):
    def __len__(self):
        return 40

    def __iter__(self):
        for _ in range(40):
            yield int(np.random.randint(40))


def loop_of(name, batches=None, **state):
    return lambda: list(ck.open_run(ROOT / name).loop(loader() if batches is None else batches, **state)) and "read"


def main():
    after("as before")
    after("other width", model=net(9))
    after("renamed", model=Renamed())
    after("other type", model=net().double())
    after("other data", batches=loader(X[:32], Y[:32]))
    after("other values", batches=loader(X + 1, Y))
    after("other data allowed", batches=loader(X + 1, Y), check_data=False)
    after("other batch size", batches=loader(batch_size=4))
    after("other learning rate", lr=0.5)
    after("more epochs", epochs=4)
    after("one more", history={"a": 1})
    begin("one less", history={"a": 1})
    told("one less", lambda: begin("one less"))
    begin("another optimizer")
    model = net()
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    run = ck.open_run(ROOT / "another-optimizer")
    told("another optimizer", lambda: steps(run.loop(loader(), epochs=2, model=model, optimizer=sgd), model, sgd))
    run.close()
    sampler = {n: data.distributed.DistributedSampler(range(40), num_replicas=n, rank=0) for n in (2, 4)}
    begin("world size", batches=loader(shuffle=False, sampler=sampler[2]))
    told("world size", lambda: begin("world size", batches=loader(shuffle=False, sampler=sampler[4])))
    begin("compiled")
    told("compiled", lambda: begin("compiled", model=torch.compile(net(), backend="eager"), stop=0))
    told("done", lambda: begin("compiled", stop=0))

    told("plain value", loop_of("v1", best_loss=0.5))
    told("tuple", loop_of("v2", trees=(1, 2)))
    told("function", loop_of("v3", f=print))
    told("object", loop_of("v4", own=Unsavable()))
    told("no batches", lambda: ck.open_run(ROOT / "v5").loop(5))
    told("epochs", lambda: ck.open_run(ROOT / "v6").loop([1], epochs=0))
    told("best", lambda: ck.open_run(ROOT / "v7").loop([1], best="reward"))
    told("generator twice", lambda: list(ck.open_run(ROOT / "v8").loop((n for n in range(3)), epochs=2)))
    told("not a number", lambda: [loop := ck.open_run(ROOT / "v9").loop([1]), loop.log(loss="high")])
    told("ends epoch", lambda: ck.open_run(ROOT / "v10").loop(data.DataLoader(NoLength(), 8)).ends_epoch)
    told("stream", loop_of("v11", data.DataLoader(NoLength(), 8)))
    told("persistent", loop_of("v12", loader(num_workers=1, persistent_workers=True)))
    drawn_anew()
    begin("lazy sampler", batches=loader(shuffle=False, sampler=Lazy()))
    told("lazy sampler", lambda: begin("lazy sampler", batches=loader(shuffle=False, sampler=Lazy()), stop=0))

    with ck.open_run(ROOT / "numbered") as run:
        for _ in run.loop([1, 2, 3]):
            break
        told("numbered", lambda: [at for at, _ in enumerate(run.loop([1, 2, 3]))])

    def batches():
        draw = np.random.default_rng()  # with noise, as the same batch may come by chance
        return [(X[at : at + 8] + draw.random(), Y[at : at + 8]) for at in draw.permutation(32)[:5]]

    begin("unseeded data", batches=batches)
    told("unseeded data", lambda: begin("unseeded data", batches=batches, stop=0))
    worker = data.DataLoader(Dies(), 8, num_workers=1)
    told("killed worker", lambda: begin("killed worker", batches=worker, stop=0))
    told("killed worker again", lambda: begin("killed worker", batches=worker, stop=0, check_data=False))

    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    run = ck.open_run(ROOT / "error", every="1h")
    told("error", lambda: steps(run.loop(loader(), model=model, optimizer=optimizer), model, optimizer, fail=3))
    told("after an error", lambda: steps(run.loop(loader(), model=model, optimizer=optimizer), model, optimizer))
    run = ck.open_run(ROOT / "break", every="1h")
    told("break", lambda: steps(run.loop(loader(), model=model, optimizer=optimizer), model, optimizer, stop=2))
    told("after a break", lambda: steps(run.loop(loader(), model=model, optimizer=optimizer), model, optimizer))

    forgotten()
    shared_out()
    begin("other kind")
    told("other kind", lambda: ck.open_run(ROOT / "other-kind").restore())
    told("best state", best_state)
    print(json.dumps(TOLD))


class Meter:
    """As in torch's example of ImageNet."""

    def __init__(self):
        self.sum = self.count = 0


def forgotten():
    """Forget what is trained, give what cannot be saved, and change what was built."""
    given = {"model": net(), "decoder": nn.Linear(1, 1)}
    every = torch.optim.Adam([*given["model"][2].parameters(), *given["decoder"].parameters()], 1e-2)

    def act(name, *, stop=0, batches=None, body=lambda x, y: None, **state):
        with ck.open_run(ROOT / name.replace(" ", "-"), every="1 steps") as run:
            loop = run.loop(batches or loader(), epochs=2, **state)
            for at, (x, y) in enumerate(loop):
                body(x, y)
                if at + 1 == stop:
                    break
        return loop

    def train(optimizer, x, y):
        optimizer = optimizer or torch.optim.Adam(given["model"].parameters(), 1e-2)
        optimizer.zero_grad()
        nn.functional.mse_loss(given["decoder"](given["model"](x)), y).backward()
        optimizer.step()

    def grow():
        model = net()
        optimizer = torch.optim.SGD(model[2].parameters(), 0.1)

        def body(x, y):
            if len(optimizer.param_groups) == 1:
                optimizer.add_param_group({"params": model[0].parameters()})

        return act("8", stop=3, model=model, optimizer=optimizer, body=body)

    told("module forgotten", lambda: act("1", model=given["model"][2], optimizer=every))
    told("keys that are objects", lambda: act("2", s={"by": dict.fromkeys(given["model"].parameters(), 0.0)}))
    told("an object of a class", lambda: act("3", meter=Meter()))
    act("4", table=np.zeros(4))
    told("array of another shape", lambda: act("4", table=np.zeros(5)))
    told("optimizer forgotten", lambda: act("5", model=given["model"], body=lambda x, y: train(every, x, y)))
    told("optimizer of one step", lambda: act("6", model=given["model"], body=lambda x, y: train(None, x, y)))
    pairs = [(torch.rand(8, 6), torch.rand(8, 1)) for _ in range(9)]
    act("7", batches=pairs, model=given["model"])
    told("list drawn anew", lambda: act("7", batches=[(x + 1, y) for x, y in pairs], model=given["model"]))

    told("group added, first", grow)
    batches = iter(loader(batch_size=4))
    told("iterator of its own", lambda: act("9", model=net(), body=lambda x, y: next(batches)))
    told("validation in a step", lambda: act("10", model=net(), body=lambda x, y: list(loader())))
    both = lambda: zip(loader(), loader(batch_size=4), strict=False)  # noqa: E731
    told("both in a function", lambda: act("11", batches=both, model=net()))
    told("group added", grow)


class Crew:
    """Some processes, of which this is the first and the others have its state."""

    index = 0

    def __init__(self, count):
        self.count = count

    def gather(self, numbers):
        return [list(numbers)] * self.count

    def broadcast(self, content):
        return content

    def collect(self, content):
        same = io.BytesIO()
        container.write(same, {}, {"tree": None})
        return [content] + [same.getvalue()] * (self.count - 1)


def shared_out():
    """Stop as the first of two processes; go on as the first of three, of four and of one."""
    numbers = torch.arange(48.0).reshape(48, 1).expand(48, 6)
    alone = processes.joined

    def train(name, count, *, sampled=True, stop=0, batch_size=4, accumulate=False):
        processes.joined = lambda: Crew(count)
        sampler = data.distributed.DistributedSampler(range(48), count, 0) if sampled else None
        batches = loader(numbers, numbers[:, :1], sampler=sampler, shuffle=not sampled, batch_size=batch_size)
        model = net()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        seen = []
        loop = ck.open_run(ROOT / name, every="1 steps").loop(batches, model=model, optimizer=optimizer)
        for x, y in loop:
            seen += x[:, 0].tolist()
            nn.functional.mse_loss(model(x), y).backward()
            if not accumulate:
                optimizer.step()
                optimizer.zero_grad()
            if loop.step + 1 == stop:
                break
        after = list(data.distributed.DistributedSampler(range(48), count, 0))[48 // count - len(seen) :]
        return [seen == after, loop.batch, loop.step]

    for count, batch_size in ((3, 4), (4, 2), (1, 8), (4, 4)):
        name = f"shared {count} {batch_size}"
        train(name, 2, stop=3)
        told(name, lambda name=name, count=count, size=batch_size: train(name, count, batch_size=size))
    train("unshared", 2, sampled=False, stop=3)
    told("unshared", lambda: train("unshared", 3, sampled=False))
    train("waiting gradients", 2, stop=3, accumulate=True)
    told("waiting gradients", lambda: train("waiting gradients", 3))
    processes.joined = alone


def best_state():
    """Keep the best state by a metric, go past it, and come back to it."""
    state = {"value": 0}
    with ck.open_run(ROOT / "best-state", every="1h") as run:
        loop = run.loop([3.0, 1.0, 2.0], best="val_loss", state=state)
        for value in loop:
            state["value"] = value
            loop.log(val_loss=value)
        run.flush()
        found = [state["value"], loop.load_best()["step"], state["value"]]
    model, other = net(), net()
    with ck.open_run(ROOT / "best-module", every="1h") as run:
        loop = run.loop([3.0, 1.0, 2.0], best="val_loss", model=model)
        for value in loop:
            nn.init.constant_(model[0].bias, value)
            loop.log(val_loss=value)
        run.flush()
        return [*found, run.load_best(other)["step"], float(other[0].bias[0])]


if __name__ == "__main__":
    main()
