"""Kill torch trainings on a GPU and go on there, or on a CPU and back; compare with those that were left alone.

    python tests/benchmarks/gpu_resume.py

For a machine with one GPU, in under 8 minutes; without one the rows that need it are left out, and that is said. There
the operations are set to be deterministic, so a row on it ends bit for bit the same too. A row whose device changes
ends with other last digits, as the two compute differently: it goes on at the exact step, and its losses are close.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KILLS = (3, 8)
ROWS = ("cpu,cpu,cpu", "cuda,cuda,cuda", "cpu,cuda,cpu", "cuda,cpu,cuda")
CASES = ("plain", "scaled", "workers", "lightning", "trainer")


def train(case: str, device: str, folder: str, kill: int, seed: int) -> None:
    """Train on a device, killed at a step; print how it ends."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    import colabkit as ck

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x = torch.linspace(0, 1, 160 * 3 * 16 * 16).sin().reshape(160, 3, 16, 16)
    y = torch.arange(160) % 10
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1568, 10)
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, num_workers=2 if case == "workers" else 0)
    losses: list[float] = []
    state = {"losses": losses}

    def die(step: int) -> None:
        if step == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    run = ck.open_run(folder, every="1 steps")
    if case == "lightning":
        resumed = fit(run, net, loader, device, losses, die)
    elif case == "trainer":
        resumed = hugging(run, x, y, net, device, losses, die)
    else:
        net.to(device)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
        scaler = torch.amp.GradScaler(device, enabled=case == "scaled")
        loop = run.loop(loader, epochs=3, model=net, optimizer=optimizer, scaler=scaler, state=state)
        for images, labels in loop:
            with torch.autocast(
                device, torch.float16 if device == "cuda" else torch.bfloat16, enabled=case == "scaled"
            ):
                loss = nn.functional.cross_entropy(net(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            die(loop.step + 1)
        resumed = loop.resumed_from
    run.flush()
    content = b"".join(value.cpu().numpy().tobytes() for value in net.state_dict().values())
    print(json.dumps({"hash": hashlib.sha256(content).hexdigest(), "losses": losses[-3:], "resumed": resumed}))


def fit(run, net, loader, device, losses, die):
    """Train by Lightning."""
    import lightning
    import torch

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, batch, number):
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            losses.append(loss.item())
            return loss

        def on_train_batch_end(self, *_):
            die(self.trainer.global_step)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), 1e-3)

    resume = run.resume_lightning()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    accelerator = "gpu" if device == "cuda" else "cpu"
    trainer = lightning.Trainer(
        max_epochs=3, accelerator=accelerator, devices=1, callbacks=[resume], enable_checkpointing=False, **quiet
    )
    trainer.fit(Module(), loader)
    net.cpu()
    return resume.resumed_from


def hugging(run, x, y, net, device, losses, die):
    """Train by the Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Kill(TrainerCallback):
        stateless = True

        def on_step_end(self, args, state, control, **_):
            die(state.global_step)

    class Own(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            import torch

            return torch.nn.functional.cross_entropy(model(inputs["x"]), inputs["labels"])

    resume = run.resume_transformers()
    rows = [{"x": image, "labels": label} for image, label in zip(x, y, strict=True)]
    arguments = TrainingArguments(
        str(run.dir / "hf"), num_train_epochs=3, per_device_train_batch_size=32, save_strategy="no", report_to="none",
        use_cpu=device == "cpu", logging_steps=1, remove_unused_columns=False, disable_tqdm=True,
    )  # fmt: skip
    trainer = Own(net, arguments, train_dataset=rows, callbacks=[resume, Kill()])
    trainer.train()
    losses += [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return resume.resumed_from


def start(case: str, device: str, folder: Path, kill: int = 0, seed: int = 1) -> dict | None:
    """Train in a process of its own; None where it was killed."""
    command = [sys.executable, __file__, case, device, str(folder), str(kill), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(done.stderr[-3000:])
    return None if done.returncode else json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Run all rows."""
    import torch

    gpu, bad, began = torch.cuda.is_available(), 0, time.monotonic()
    print("| case | devices | resumed from | ends |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as base:
        for case in CASES:
            for row in ROWS:
                devices = row.split(",")
                if "cuda" in devices and not gpu:
                    continue
                folder = Path(base, f"{case}-{row}")
                whole = start(case, devices[0], folder.with_suffix(".whole"))
                for number, (device, kill) in enumerate(zip(devices, KILLS, strict=False)):
                    start(case, device, folder, kill, seed=number + 1)
                told = start(case, devices[-1], folder, seed=9)
                same = told["hash"] == whole["hash"] and told["losses"] == whole["losses"]
                close = max(abs(a - b) for a, b in zip(told["losses"], whole["losses"], strict=True))
                fine = same if len(set(devices)) == 1 else close < 0.05
                bad += not fine
                words = "the same" if same else f"losses differ by {close:.1e}"
                print(f"| {case} | {row} | {told['resumed']} | {words}{'' if fine else ' (NO)'} |", flush=True)
    if not gpu:
        print("\nThere is no GPU here: the rows on cuda are left out.")
    print(f"\n{time.monotonic() - began:.0f} s")
    return int(bool(bad))


if __name__ == "__main__":
    if sys.argv[1:]:
        train(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        sys.exit(main())
