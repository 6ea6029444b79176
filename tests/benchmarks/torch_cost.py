"""What `run.loop` costs a torch training, beside the checkpoints of torch.save, Lightning and the Trainer.

    python tests/benchmarks/torch_cost.py kills [KILLS]      a CNN on digits, killed at random moments
    python tests/benchmarks/torch_cost.py overhead           seconds of an epoch with the loop and without
    python tests/benchmarks/torch_cost.py state [MEGABYTES]  how long training waits for a save, until it is on disk
    python tests/benchmarks/torch_cost.py adapters           bytes of an adapter's checkpoint
    python tests/benchmarks/torch_cost.py beside             what names beside a loop, and other models, cost

The figures of docs/benchmarks.md are for 1200 megabytes; 48 when none are given.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

warnings.simplefilter("ignore")

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import colabkit as ck  # noqa: E402

logging.getLogger("colabkit").setLevel(logging.ERROR)


# ---- a CNN on digits ----


def digits(count):
    """Load images that ship with colabkit."""
    from colabkit.models.datasets import sample

    found = sample()
    return torch.from_numpy(found.x_train[:count]).float().reshape(-1, 1, 28, 28), torch.from_numpy(
        found.y_train[:count]
    ).long()


def cnn():
    """Build the network of the benchmark."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Dropout(0.2), nn.Linear(400, 10)),
    )


def step(model, optimizer, images, labels):
    """Train on a batch."""
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def train(folder, x, y):
    """Train two epochs in a run; the hash of how it ends."""
    model = cnn()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    losses = {"losses": []}
    with ck.open_run(folder, every="5 steps") as run:
        for images, labels in run.loop(loader, epochs=2, model=model, optimizer=optimizer, losses=losses):
            losses["losses"].append(step(model, optimizer, images, labels).item())
    content = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return hashlib.sha256(content + repr(losses).encode() + torch.rand(4).numpy().tobytes()).hexdigest()


def forked(folder, x, y, *, seed, after=None):
    """Train in a fork, killed after some seconds; its hash, or None where it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            torch.set_num_threads(1)
            torch.manual_seed(seed), random.seed(seed)
            os.write(writing, train(folder, x, y).encode())
        finally:
            os._exit(0)
    os.close(writing)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with open(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told or None


def kills(number=100):
    """Kill a training at random moments until it is done; begin the next one."""
    x, y = digits(1280)
    draw, killed, finished, different, lost = random.Random(), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as base:
        began = time.monotonic()
        whole = forked(f"{base}/whole", x, y, seed=1)
        seconds, at = time.monotonic() - began, 0

        def seed():
            # A training that has saved nothing yet begins anew, so it gets the numbers of the first again.
            return 1 if not any(Path(f"{base}/{at}/checkpoints").glob("*")) else draw.randrange(2, 1 << 30)

        while killed < number:
            told = forked(f"{base}/{at}", x, y, seed=seed(), after=draw.uniform(0.05, 0.9) * seconds)
            killed += told is None
            if told is not None:
                finished, different, at = finished + 1, different + (told != whole), at + 1
        told = forked(f"{base}/{at}", x, y, seed=seed())
        finished, different, lost = finished + 1, different + (told not in (None, whole)), lost + (told is None)
    print("| kills | trainings finished | could not start again | ended with other weights |\n|---|---|---|---|")
    print(f"| {killed} | {finished} | {lost} | {different} |")
    return int(bool(different or lost))


def overhead():
    """Measure epochs with the loop and without, in turn; the median of the differences."""
    torch.set_num_threads(1)
    x, y = digits(2560)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = cnn()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    plain, looped, empty = [], [], []
    with tempfile.TemporaryDirectory() as base:
        for number in range(7):
            start = time.process_time()
            for images, labels in loader:
                step(model, optimizer, images, labels)
            plain.append(time.process_time() - start)
            loop = iter(
                ck.open_run(f"{base}/{number}", every="1h").loop(loader, epochs=1, model=model, optimizer=optimizer)
            )
            images, labels = next(loop)  # the first save and the opening are not a step's
            start = time.process_time()
            step(model, optimizer, images, labels)
            for images, labels in loop:
                step(model, optimizer, images, labels)
            looped.append(time.process_time() - start)
        count = 20_000
        batches = DataLoader(range(count), batch_size=1, shuffle=True, collate_fn=list)
        start = time.process_time()
        for _ in batches:
            pass
        bare = time.process_time() - start
        loop = iter(ck.open_run(f"{base}/empty", every="1h").loop(batches, model=model, optimizer=optimizer))
        next(loop)
        start = time.process_time()
        for _ in loop:
            pass
        empty = (time.process_time() - start - bare) / count
    share = statistics.median(b - a for a, b in zip(plain, looped, strict=True)) / statistics.median(plain)
    print(f"the loop itself takes {empty * 1e6:.1f} microseconds a step (processor time)")
    a_step = statistics.median(plain) / len(loader)
    print(f"a step of the CNN takes {a_step * 1e3:.2f} ms: {empty / a_step:.2%}; measured in turn {share:+.2%}")


# ---- what stands beside the loop ----


def alone(loop, loader, model, optimizer):
    """Nothing beside it."""
    for images, labels in loop(loader, epochs=3, model=model, optimizer=optimizer):
        step(model, optimizer, images, labels)


def with_names(loop, loader, model, optimizer):
    """Sums, the best loss, a history and the best weights, which are none of its arguments."""
    history, running, best, seen, best_weights = [], 0.0, float("inf"), 0, None
    for images, labels in loop(loader, epochs=3, model=model, optimizer=optimizer):
        loss = step(model, optimizer, images, labels).item()
        history.append(loss)
        running += loss
        seen += len(images)
        if loss < best:
            best, best_weights = loss, {name: value.clone() for name, value in model.state_dict().items()}
    return history, running, best, seen, best_weights


def with_a_model(loop, loader, model, optimizer):
    """A model of 8 MB of a later phase, drawn before."""
    later = nn.Linear(1000, 2000)
    alone(loop, loader, model, optimizer)
    return later


def bare(loader, *, epochs, model, optimizer):
    """Give the batches of all epochs, as two `for` do."""
    for _ in range(epochs):
        yield from loader


def beside(rounds=5):
    """Measure trainings with nothing, names and another model beside their loop, with a run and without, in turn."""
    torch.set_num_threads(1)
    x, y = digits(2560)
    seconds, sizes = {}, {}
    for number in range(rounds + 1):  # the first warms up
        for train_with in (alone, with_names, with_a_model):
            for is_run in (False, True):
                model = cnn()
                loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
                optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
                with tempfile.TemporaryDirectory() as folder:
                    start = time.process_time()
                    with ck.open_run(folder, every="40 steps") if is_run else nullcontext() as run:
                        train_with(run.loop if is_run else bare, loader, model, optimizer)
                    if number:
                        seconds.setdefault((train_with, is_run), []).append(time.process_time() - start)
                    if is_run:
                        sizes[train_with] = max(each.size for each in run.checkpoints())
    print(f"240 steps, a state every 40, median of {rounds}\n")
    print("| beside the loop | processor time, s | with a run, s | ratio | a state, kB |\n|---|---|---|---|---|")
    for train_with, size in sizes.items():
        without, with_run = (statistics.median(seconds[train_with, is_run]) for is_run in (False, True))
        row = f"{without:.2f} | {with_run:.2f} | {with_run / without:.3f} | {size / 1e3:.0f}"
        print(f"| {train_with.__doc__} | {row} |")


# ---- a large state ----


def state(megabytes=48, rounds=3):
    """Measure a save in turn with those of others, and with a copy and a raw write."""
    width = int((megabytes * 1e6 / 4 / 3 / 4) ** 0.5)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(4)))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, width)).sum().backward()
    optimizer.step()
    tensors = [*model.state_dict().values(), *(v for s in optimizer.state.values() for v in s.values())]
    size = sum(each.nbytes for each in tensors)
    found = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".torch-state-") as name:
        folder = Path(name)
        rows = savers(model, optimizer, tensors, folder)
        for number in range(rounds + 1):  # the first warms up
            for row, (save, wait) in rows.items():
                with torch.no_grad():
                    for each in model.parameters():
                        each.add_(1e-6)
                os.sync()
                start = time.perf_counter()
                save(number)
                blocked = time.perf_counter() - start
                wait()
                if number:
                    found.setdefault(row, []).append((blocked, time.perf_counter() - start))
    best = {row: [min(column) for column in zip(*times, strict=True)] for row, times in found.items()}
    print(f"{size / 1e6:.0f} MB, fastest of {rounds} rounds, in turn\n")
    print("| | training waits, ms | until it is saved, ms | in raw writes |\n|---|---|---|---|")
    for row, (blocked, saved) in best.items():
        print(f"| {row} | {blocked * 1e3:.0f} | {saved * 1e3:.0f} | {saved / best['raw write + fsync'][1]:.2f} |")


def savers(model, optimizer, tensors, folder):
    """Return for each row what saves, and what waits until it is on disk."""

    def raw(_):
        with open(folder / "raw", "wb", buffering=0) as file:
            file.writelines(each.detach().reshape(-1).view(torch.uint8).numpy().data for each in tensors)
            os.fsync(file.fileno())

    def plain(_):
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "plain.pt")

    run = ck.open_run(folder / "ours", every="1 steps", keep=2)
    batches = iter(run.loop([0] * 1000, model=model, optimizer=optimizer))
    next(batches)
    run.flush()

    def ours(_):
        next(batches)  # the step before is done, and saved

    rows = {"raw write + fsync": (raw, lambda: None), "run.loop": (ours, run.flush)}
    rows["torch.save"] = plain, on_disk_later(folder / "plain.pt")
    return rows | lightning_row(model, optimizer, folder) | trainer_row(model, optimizer, folder)


def on_disk_later(path):
    """Wait until a file is on disk."""

    def wait():
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.close(file)

    return wait


def lightning_row(model, optimizer, folder):
    """Save as Lightning's ModelCheckpoint does."""
    try:
        import lightning as L  # noqa: N812
    except ImportError:
        return {}
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model

        def training_step(self, batch, number):
            return self.net(torch.ones(2, model[0].in_features)).sum() * 0

        def configure_optimizers(self):
            return optimizer

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_steps=1, accelerator="cpu", enable_checkpointing=False, default_root_dir=folder, **quiet)
    trainer.fit(Module(), DataLoader([0.0]))
    path = folder / "lightning.ckpt"
    return {"Lightning's save_checkpoint": (lambda _: trainer.save_checkpoint(path), on_disk_later(path))}


def trainer_row(model, optimizer, folder):
    """Save as the Trainer does at `save_steps`."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        from transformers import Trainer, TrainingArguments
    except ImportError:
        return {}
    arguments = TrainingArguments(str(folder / "hf"), use_cpu=True, report_to="none", save_total_limit=1)
    trainer = Trainer(model, arguments, train_dataset=[0], optimizers=(optimizer, None))
    trainer.create_scheduler(10, optimizer)

    def save(number):
        trainer.state.global_step = number
        trainer._save_checkpoint(model, None)

    def wait():
        for path in (folder / "hf").rglob("*"):
            if path.is_file():
                on_disk_later(path)()

    return {"the Trainer's _save_checkpoint": (save, wait)}


def adapters():
    """Compare a checkpoint of an adapter with the bytes of the adapter and its optimizer."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 4096, "hidden_size": 256, "intermediate_size": 512}
    base = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=4, num_attention_heads=4))
    model = get_peft_model(base, LoraConfig(r=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    ids = torch.randint(0, 4096, (2, 16))
    with tempfile.TemporaryDirectory() as folder, ck.open_run(folder) as run:
        for batch in run.loop([ids] * 2, model=model, optimizer=optimizer):
            model(batch, labels=batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        run.flush()
        travels = run.checkpoints()[0].size
    needed = 3 * sum(each.nbytes for each in trained)
    frozen = sum(each.nbytes for each in model.parameters() if not each.requires_grad)
    print(f"adapter and optimizer {needed:,} bytes, base {frozen:,}; a checkpoint {travels:,}: {travels / needed:.3f}")


if __name__ == "__main__":
    verbs = {"kills": kills, "overhead": overhead, "state": state, "adapters": adapters, "beside": beside}
    verb, *numbers = sys.argv[1:]
    sys.exit(verbs[verb](*map(int, numbers)))
