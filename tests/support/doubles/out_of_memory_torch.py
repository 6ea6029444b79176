"""A torch module in `train` whose loss refuses batches that are too large, as a GPU's memory would; prints JSON."""

from __future__ import annotations

import json
import sys

import torch

import colabkit as ck

X = torch.linspace(0, 1, 150 * 6).reshape(150, 6).sin()
Y = (X.sum(1) * 5).long() % 3
LOSS = torch.nn.CrossEntropyLoss()
MOST = {"samples": 1000}


def loss(outputs, targets):
    """Refuse what does not fit."""
    if len(outputs) > MOST["samples"] and torch.is_grad_enabled():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return LOSS(outputs, targets)


def build():
    """Build a small module."""
    module = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    return {"module": module, "optimizer": torch.optim.Adam(module.parameters(), 1e-2), "loss": loss, "data": (X, Y)}


def main(folder):
    """Train, and tell."""
    whole = ck.train(build, run=f"{folder}/whole", epochs=3, batch_size=64)
    MOST["samples"] = 16
    halved = ck.train(build, run=f"{folder}/halved", epochs=3, batch_size=64)
    more = ck.train(build, run=f"{folder}/halved", epochs=4, batch_size=64)
    MOST["samples"] = 4
    auto = ck.train(build, run=f"{folder}/auto", epochs=1, batch_size="auto")
    MOST["samples"] = 1000
    again = ck.train(build, run=f"{folder}/auto", epochs=2, batch_size="auto")
    MOST["samples"] = 0
    words = ""
    try:
        ck.train(build, run=f"{folder}/never", epochs=1, batch_size=2)
    except MemoryError as error:
        words = str(error)
    pairs = zip(whole.model.parameters(), halved.model.parameters(), strict=True)
    told = {
        "furthest": max(float((one - other).abs().max()) for one, other in pairs),
        "parts": [whole.parts, halved.parts, more.parts],
        "resumed": more.resumed_from,
        "auto": [auto.batch_size, auto.parts, again.batch_size],
        "words": words,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
