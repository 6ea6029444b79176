"""Loops with names beside them that they are not given, as people write them; see torch_killed.py.

A cell of a notebook is text that runs in its variables; the others are functions.

Usage: torch_carried.py FOLDER CASE...
"""

from __future__ import annotations

import argparse
import collections
import copy
import dataclasses
import functools
import random
import types
import warnings
import zlib
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np
import torch
from environments import environments
from torch import nn
from torch.utils import data
from torch_habits import step
from torch_killed import Killed, Lines, main
from torch_loops import CASES, EPOCHS, X, Y, case, evaluate, loader, net

import colabkit as ck

CASES.clear()


def parts():
    """Build what is given to each loop."""
    model = net()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), 1e-2)}


def cell(text):
    """Make a case of a cell's text, which gives its `result`."""

    def runs(run, kill):
        names = {"__name__": "__main__", "run": run, "kill": kill, **parts()}
        names |= {
            "loader": loader(),
            "step": step,
            "evaluate": evaluate,
            "copy": copy,
            "random": random,
            "torch": torch,
            "Machine": Machine,
            "averaged": averaged,
            "counted": counted,
            "Losses": Losses,
        }
        exec(text, names)  # noqa: S102 - as a notebook does
        return names["result"]

    return runs


CASES["best_and_patience"] = cell("""
best, waited, history, running = 9.0, 0, {"loss": [], "val": []}, 0.0
loop = run.loop(loader, epochs=3, model=model, optimizer=optimizer)
for epoch in loop.each_epoch():
    running = 0.0
    for x, y in loop:
        running += step(model, optimizer, x, y).item()
        kill.at(loop.step + 1)
    loss = evaluate(model) + epoch % 2
    kill.at(loop.step, "evaluate")
    if loss < best:
        best, weights, best_model = loss, copy.deepcopy(model.state_dict()), copy.deepcopy(model)
    else:
        waited += 1
    history["loss"].append(running), history["val"].append(loss)
result = best, waited, history, running, weights, best_model, model
""")

CASES["epochs_alone"] = cell("""
best, rates, top, number = float("inf"), [], [], 0
lr = 1e-2
for epoch in run.loop(range(6), model=model, optimizer=optimizer):
    for x, y in loader:
        loss = step(model, optimizer, x, y)
    if loss.item() < best:
        best = loss.item()
    lr *= 0.5 if epoch % 2 else 1
    optimizer.param_groups[0]["lr"] = lr
    rates.append(lr)
    top = sorted([*top, (evaluate(model), epoch)])[:2]
    number += 1
    kill.at(number)
result = best, rates, top, number, float(loss), model
""")

CASES["times_of_steps"] = cell("""
import os
perf_counter = lambda: 1000.0 * os.getpid()  # as a clock that begins anew with each machine
longest, count = 0.0, 0
last = began = perf_counter()
loop = run.loop(loader, epochs=3, model=model, optimizer=optimizer)

def note():
    global seen
    passed = perf_counter() - seen
    seen = perf_counter()
    return passed

seen = perf_counter()
for x, y in loop:
    step(model, optimizer, x, y)
    count += 1
    kill.at(loop.step + 1)
    longest = max(longest, perf_counter() - last, note())
    last = perf_counter()
result = longest, count, model
""")

CASES["functions_with_globals"] = cell("""
losses, counter, tested, seen = [], [], [], 0
loop = run.loop(loader, epochs=3, model=model, optimizer=optimizer)

def train(epoch):
    global seen
    for at, (x, y) in enumerate(loop, loop.batch):
        loss = step(model, optimizer, x, y)
        seen += len(x)
        if at % 2 == 0:
            losses.append(loss.item())
            counter.append(at * 8 + epoch * 40)
        kill.at(loop.step + 1)

def test():
    tested.append(evaluate(model))

for epoch in loop.each_epoch():
    train(epoch)
    test()
result = losses, counter, tested, seen, model
""")

CASES["a_while_that_asks"] = cell("""
batches, losses, count = iter(run.loop(loader, epochs=3, model=model, optimizer=optimizer)), [], 0
while True:
    try:
        x, y = next(batches)
    except StopIteration:
        break
    losses.append(step(model, optimizer, x, y).item())
    count += 1
    kill.at(count)
result = losses, count, model
""")


@case
def locals_of_a_function(run, kill):
    given, printed, ema, count = parts(), [], None, 0
    counts, average = collections.defaultdict(int), [each.detach().clone() for each in given["model"].parameters()]
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for epoch in loop.each_epoch():
        running, total = 0.0, 0
        for at, (x, y) in enumerate(loop, loop.batch):
            with torch.enable_grad():
                loss = step(**given, x=x, y=y)
            running += loss.item() * len(x)
            total += len(x)
            ema = loss.item() if ema is None else 0.9 * ema + 0.1 * loss.item()
            for one, other in zip(average, given["model"].parameters(), strict=True):
                one.mul_(0.9).add_(other.detach(), alpha=0.1)
            counts[int(y[0] > 0)] += 1
            count += 1
            if at % 2:
                printed.append(f"[{epoch}, {at}] {running / total:.3f}")
                running = 0.0
            kill.at(count)
    return printed, ema, count, dict(sorted(counts.items())), average, running, loss.item(), given["model"]


@case
def a_function_within(run, kill):
    given, count, losses = parts(), 0, np.zeros(15)

    def train(x, y):
        nonlocal count
        losses[count] = step(**given, x=x, y=y).item()
        count += 1

    for x, y in run.loop(loader(), epochs=EPOCHS, **given):
        train(x, y)
        kill.at(count)
    return count, losses, given["model"]


class Meter:
    """Averages what it is told."""

    def __init__(self):
        self.sum = self.count = 0

    def update(self, value, count):
        self.sum, self.count = self.sum + value * count, self.count + count


class Trainer:
    """Trains, and keeps what it has come to."""

    def __init__(self, run, kill):
        self.given, self.kill, self.best, self.history, self.meters = parts(), kill, 9.0, [], {"all": Meter()}
        self.loop = run.loop(loader(), epochs=EPOCHS, **self.given)

    def epoch(self):
        meter = Meter()
        for x, y in self.loop:
            loss = step(**self.given, x=x, y=y).item()
            meter.update(loss, len(x)), self.meters["all"].update(loss, len(x))
            self.kill.at(self.loop.step + 1)
        return meter.sum / meter.count

    def fit(self):
        for _ in self.loop.each_epoch():
            self.history.append(self.epoch())
            self.best = min(self.best, self.history[-1])


@case
def a_class_that_trains(run, kill):
    trainer = Trainer(run, kill)
    trainer.fit()
    return trainer.best, trainer.history, vars(trainer.meters["all"]), trainer.given["model"]


@case
def settings_in_a_namespace(run, kill):
    given, args, steps = parts(), argparse.Namespace(best=9.0, lr=0.1), types.SimpleNamespace(done=0, log=[])
    for x, y in run.loop(loader(), epochs=EPOCHS, **given):
        loss = step(**given, x=x, y=y).item()
        args.best, steps.done = min(args.best, loss), steps.done + 1
        steps.log.append(loss)
        kill.at(steps.done)
    return args.best, steps.done, steps.log, given["model"]


@dataclasses.dataclass(slots=True)
class Average:
    """A mean, in a class with slots."""

    sum: float = 0.0
    losses: list[float] = dataclasses.field(default_factory=list)


def settings_as_a_module(text):
    """Make what `import settings` gives of a file beside the program."""
    module = types.ModuleType("settings")
    module.__file__ = str(Path(__file__).parent / "settings.py")
    exec(compile(text, module.__file__, "exec"), vars(module))  # noqa: S102 - as an import does
    return module


@case
def modules_functions_and_slots(run, kill):
    given, average = parts(), Average()
    settings = settings_as_a_module("best, log, count = 9.0, [], 0\ndef note(loss):\n global count\n count += loss > 0")

    def train_step(x, y):
        train_step.calls += 1
        return step(**given, x=x, y=y).item()

    train_step.calls = 0
    for x, y in run.loop(loader(), epochs=EPOCHS, **given):
        loss = train_step(x, y)
        settings.best = min(settings.best, loss)
        settings.log.append(loss)
        settings.note(loss)
        average.sum += loss
        average.losses.append(average.sum)
        kill.at(train_step.calls)
    seen = settings.best, settings.log, settings.count
    return seen, train_step.calls, average.sum, average.losses, given["model"]


@case
def two_networks_and_pictures(run, kill):
    given, other, pictures, losses, iters = parts(), nn.Linear(6, 1), [], [], 0
    optimizer = torch.optim.Adam(other.parameters(), 1e-2)
    noise = torch.arange(12.0).reshape(2, 6)
    loop = run.loop(loader(), epochs=EPOCHS, **given, other=other, other_optimizer=optimizer)
    for epoch in loop.each_epoch():
        for x, y in loop:
            losses.append([step(other, optimizer, x, y).item(), step(**given, x=x, y=y).item()])
            if iters % 3 == 0 or epoch == EPOCHS - 1:
                pictures.append(given["model"](noise).detach())
            iters += 1
            kill.at(iters)
    return pictures, losses, iters, given["model"], other


@case
def a_memory_to_draw_from(run, kill):
    given, memory, epsilon, rng = parts(), collections.deque(maxlen=6), 1.0, np.random.default_rng(0)
    move = collections.namedtuple("move", "x y")  # noqa: PYI024 - as in the tutorial
    for number in run.loop(range(12), **given):
        memory.append(move(torch.rand(6), torch.rand(1)))
        epsilon *= 0.9
        chosen = [memory[at] for at in rng.integers(0, len(memory), 3)]
        step(**given, x=torch.stack([each.x for each in chosen]), y=torch.stack([each.y for each in chosen]))
        kill.at(number + 1)
    return [list(each) for each in memory], epsilon, rng, given["model"]


@case
def others_that_change(run, kill):
    given, seen = parts(), 0
    average, scheduler = copy.deepcopy(given["model"]), torch.optim.lr_scheduler.StepLR(given["optimizer"], 2, 0.7)
    for x, y in run.loop(loader(), epochs=EPOCHS, **given):
        step(**given, x=x, y=y)
        scheduler.step()
        seen += len(x)
        with torch.no_grad():
            for one, other in zip(average.parameters(), given["model"].parameters(), strict=True):
                one.mul_(0.9).add_(other, alpha=0.1)
        kill.at(seen // 8)
    return average, scheduler, given["model"]


@case
def classes_of_tensors(run, kill):
    given, Tensor, kinds, count = parts(), torch.FloatTensor, {"images": torch.Tensor}, 0  # noqa: N806 - as users write
    for x, y in run.loop(loader(), epochs=EPOCHS, **given):
        step(**given, x=x + Tensor(np.random.normal(0, 0.1, x.shape)), y=kinds["images"](y))
        count += 1
        kill.at(count)
    return count, given["model"]


class Machine:
    """Trains, and calls what was registered."""

    def __init__(self):
        self.hooks, self.seen = collections.defaultdict(list), 0

    def fit(self, run, kill, **given):
        for x, y in run.loop(loader(), epochs=EPOCHS, **given):
            self.loss = step(**given, x=x, y=y).item()
            for hook in self.hooks["step"]:
                hook(self.loss)
            self.seen += 1
            kill.at(self.seen)


class Losses:
    """Keeps what it is told."""

    def __init__(self):
        self.losses, self.last = [], None

    def note(self, loss):
        self.losses.append(loss)
        self.last = loss


def averaged():
    """Make a function that remembers in its closure."""
    losses, best = [], 9.0

    def average(loss):
        nonlocal best
        losses.append(loss)
        best = min(best, loss)
        return sum(losses) / len(losses) + best

    return average


CASES["functions_registered_with_an_object"] = cell("""
history, machine, average = [], Machine(), averaged()
def note(loss):
    history.append(average(loss))
machine.hooks["step"] += [note]
machine.fit(run, kill, model=model, optimizer=optimizer)
result = history, machine.seen, model
""")


@case
def a_function_with_a_memory(run, kill):
    given, average, seen = parts(), averaged(), []
    for x, y in run.loop(loader(), epochs=EPOCHS, **given):
        seen.append(average(step(**given, x=x, y=y).item()))
        kill.at(len(seen))
    return seen, average(0.0), given["model"]


CASES["methods_in_a_list"] = cell("""
losses = Losses()
hooks = [losses.note]
for x, y in run.loop(loader, epochs=3, model=model, optimizer=optimizer):
    loss = step(model, optimizer, x, y).item()
    for hook in hooks:
        hook(loss)
    kill.at(len(losses.losses))
result = losses.losses, losses.last, model
""")


def counted(function):
    """Wrap a function as a decorator does, and count its calls."""
    calls = 0

    @functools.wraps(function)
    def wrapper(*values):
        nonlocal calls
        calls += 1
        return function(*values), calls

    return wrapper


CASES["functions_that_are_wrapped"] = cell("""
best, history = 9.0, []
@counted
def train(x, y):
    global best
    loss = step(model, optimizer, x, y).item()
    best = min(best, loss)
    return loss
@counted
def note(pair):
    history.append(pair)
for x, y in run.loop(loader, epochs=3, model=model, optimizer=optimizer):
    note(train(x, y))
    kill.at(len(history))
result = best, history, note(0), model
""")


class Balanced(data.Sampler):
    """Gives as many samples of each kind, and goes on in each of them from epoch to epoch."""

    def __init__(self, kinds):
        self.rows = {kind: np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}
        self.used = dict.fromkeys(self.rows, 0)
        for rows in self.rows.values():
            np.random.shuffle(rows)

    def __len__(self):
        return 4

    def __iter__(self):
        batches = []
        for _ in range(len(self)):
            batches.append([])
            for kind, rows in self.rows.items():
                batches[-1] += rows[self.used[kind] : self.used[kind] + 3].tolist()
                self.used[kind] += 3
                if self.used[kind] + 3 > len(rows):
                    np.random.shuffle(rows)
                    self.used[kind] = 0
        return iter(batches)


@case
def samplers_with_a_state(run, kill):
    given, kinds, scores = parts(), np.arange(len(X)) % 3, []
    batches = data.DataLoader(data.TensorDataset(X, Y), batch_sampler=Balanced(kinds))
    held_out = data.DataLoader(data.TensorDataset(X, Y), batch_sampler=Balanced(kinds))
    loop = run.loop(batches, epochs=EPOCHS, **given)
    for _ in loop.each_epoch():
        for x, y in loop:
            step(**given, x=x, y=y)
            kill.at(loop.step + 1)
        scores.append([float((x.sum() + y.sum()).detach()) for x, y in held_out])
        kill.at(loop.step, "evaluate")
    return scores, given["model"]


class Pairs(data.Dataset):
    """Draws the second of each pair anew when it is told to."""

    def draw(self):
        self.seconds = [random.randrange(len(X)) for _ in range(len(X))]

    def __len__(self):
        return len(X)

    def __getitem__(self, at):
        return X[at] - X[self.seconds[at]], Y[at]


@case
def samples_drawn_anew_for_each_epoch(run, kill):
    given, losses = parts(), []
    batches = data.DataLoader(Pairs(), batch_size=10, shuffle=True)
    loop = run.loop(batches, epochs=EPOCHS, **given)
    for _ in loop.each_epoch():
        batches.dataset.draw()
        for x, y in loop:
            losses.append(step(**given, x=x, y=y).item())
            kill.at(loop.step + 1)
    return losses, given["model"]


def plain_parts():
    """Build what is given to a loop that learns from one state at a time."""
    model = nn.Linear(6, 1)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), 1e-2)}


@case
def episodes_of_an_environment(run, kill):
    given, env, steps, rewards = plain_parts(), environments.make(), 0, []
    env.reset(seed=543)
    for episode in run.loop(range(12), **given):
        state, done, reward = env.reset(), False, 0.0
        while not done:
            action = env.action_space.sample() if random.random() < 0.5 else int(given["model"](state[None])[0, 0] > 0)
            state, gain, done = env.step(action)
            reward += gain
        rewards.append(reward)
        step(**given, x=torch.rand(4, 6), y=torch.full((4, 1), reward))
        steps += 1
        kill.at(episode + 1)
    return rewards, steps, env.env.env.turns, given["model"]


@case
def steps_of_an_environment(run, kill):
    given, env = plain_parts(), environments.make()
    state, rewards = env.reset(seed=543), []
    for number in run.loop(range(20), **given):
        state, gain, done = env.step(env.action_space.sample())
        rewards.append(gain)
        if done:
            state = env.reset()
        step(**given, x=state[None], y=torch.full((1, 1), gain))
        kill.at(number + 1)
    return rewards, state, env.env.env.turns, given["model"]


@case
def an_emulator(run, kill):
    given, env = plain_parts(), environments.make()
    env.env.env.emulator = zlib.compressobj()  # one that nobody sees into
    env.reset(seed=543)
    for number in run.loop(range(12), **given):
        step(**given, x=env.reset()[None], y=torch.ones(1, 1))
        kill.at(number + 1)
    return given["model"]


@case
def generators_of_a_librarys_object(run, kill):
    given, chooser, chosen = plain_parts(), environments.Space(5), []
    for number in run.loop(range(12), **given):
        chosen.append(chooser.sample())
        step(**given, x=torch.rand(4, 6), y=torch.full((4, 1), float(chosen[-1])))
        kill.at(number + 1)
    return chosen, given["model"]


@case
def weights_by_hand(run, kill):
    weights, velocity, count = torch.zeros(6, 1, requires_grad=True), torch.zeros(6, 1), 0
    for x, y in run.loop(loader(), epochs=EPOCHS):
        ((x @ weights - y) ** 2).mean().backward()
        with torch.no_grad():
            velocity = 0.9 * velocity + weights.grad
            weights -= 0.01 * velocity
            weights.grad.zero_()
        count += 1
        kill.at(count)
    return weights, velocity, count


# ---- what cannot be kept, and is said ----


@case
def a_sum_with_its_graph(run, kill):
    given, total = parts(), 0
    for at, (x, y) in enumerate(run.loop(loader(), epochs=EPOCHS, **given)):
        total = total + nn.functional.mse_loss(given["model"](x), y)
        if at % 4 == 3:
            given["optimizer"].zero_grad()
            total.backward()
            given["optimizer"].step()
            total = 0
        kill.at(at + 1)
    return (given["model"],)


@case
def the_weights_themselves(run, kill):
    given, best, weights = parts(), 9.0, None
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for epoch in loop.each_epoch():
        for x, y in loop:
            step(**given, x=x, y=y)
            run.flush()
            kill.at(loop.step + 1)
        if evaluate(given["model"]) + epoch < best:
            best, weights = evaluate(given["model"]) + epoch, given["model"].state_dict()
    return best, weights


@case
def an_object_of_the_loops(run, kill):
    given, best = parts(), None
    loop = run.loop(loader(), epochs=EPOCHS, **given)
    for epoch in loop.each_epoch():
        for x, y in loop:
            step(**given, x=x, y=y)
            run.flush()
            kill.at(loop.step + 1)
        if best is None or evaluate(given["model"]) + epoch < best.sum:
            best = Meter()
            best.update(evaluate(given["model"]), 1)
    return (best.sum,)


@case
def noise_without_a_seed(run, kill):
    given, noise, pictures = parts(), torch.randn(2, 6), []
    for at, (x, y) in enumerate(run.loop(loader(), epochs=EPOCHS, **given)):
        step(**given, x=x, y=y)
        pictures.append(given["model"](noise).detach())
        kill.at(at + 1)
    return (pictures,)


# ---- again in the same process ----


@case
def a_cell_run_again(run, kill):
    text = """
seen, total = [], 0
loop = run.loop([1, 2, 3, 4, 5, 6])
for each in loop:
    if loop.step == stop:
        raise ValueError
    seen.append(each)
    total += each
    last = last * 2
"""
    names = {"__name__": "__main__", "run": run, "stop": 4, "last": 1}
    try:
        exec(text, names)  # noqa: S102 - as a notebook does
    except ValueError:
        names |= {"stop": -1, "last": 5}
    exec(text, names)  # noqa: S102 - as a notebook does
    return names["seen"], names["total"], names["last"]


@case
def left_and_gone_on(run, kill):
    sums, more = [], True
    while more:
        total, more = 0, False
        loop = run.loop([1, 2, 3, 4, 5, 6, 7])
        for each in loop:
            total += each
            if loop.step % 3 == 2:
                more = True
                break
        sums.append(total)
    return (sums,)


@case
def more_epochs(run, kill):
    seen = []
    for each in run.loop([1, 2, 3], epochs=2):
        seen.append(each)
        kill.at(len(seen))
    first, seen = len(seen), []
    for each in run.loop([1, 2, 3], epochs=4):
        seen.append(each)
        kill.at(10 + len(seen))
    return first, seen


def shown(value):
    """Bring what a case gives into what JSON holds."""
    if hasattr(value, "state_dict"):
        return shown(value.state_dict())
    if isinstance(value, np.random.Generator):
        return shown(value.bit_generator.state)
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple | collections.deque):
        return list(map(shown, value))
    return value.tolist() if hasattr(value, "tolist") else value


def train(folder, name, where):
    """Train to the end or to the kill; what the case gives, and what was said of names."""
    lines = Lines()
    with ck.open_run(folder, every="1 steps") as run:
        result = CASES[name](run, Killed(where, folder))
    said = [line.partition(": ")[2] for line in lines.lines]
    return {
        "result": shown(result),
        "said": [line for line in said if not line.startswith(("continuing", "enumerate"))],
    }


if __name__ == "__main__":
    main(train)
