"""What of a checkpoint travels to the mirror when most of a model is frozen, as in transfer learning.

    python tests/benchmarks/frozen.py [EPOCHS]

MobileNetV2 without weights of its own stands for a trained one; it is frozen, and what is trained on top has about five
hundredths of the numbers. The run is saved at the end of each epoch and mirrored to a folder; the bytes of the first
checkpoint there are compared with those of the later ones. What travels is what changed: with Adam a trained number
brings its two moments along.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

FROZEN_SHARE = 0.95


def travelled(optimizer: str, epochs: int) -> tuple[float, list[int]]:
    """Return the frozen share of the weights, and the bytes of each checkpoint in the mirror."""
    import keras
    import numpy as np

    import colabkit as ck

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    base.trainable = False
    head = int(base.count_params() * (1 - FROZEN_SHARE) / FROZEN_SHARE / (1280 + 10))
    on_top = [keras.layers.UnitNormalization(), keras.layers.Dense(head, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential([base, *on_top])
    choice = keras.optimizers.SGD(momentum=0.9) if optimizer == "SGD with momentum" else optimizer
    model.compile(choice, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.random.default_rng(0).random((64, 32, 32, 3), np.float32), np.arange(64) % 10
    with tempfile.TemporaryDirectory() as folder:
        run = ck.open_run(f"{folder}/run", mirror=f"{folder}/mirror", every="1 epoch", keep=epochs)
        for epoch in range(epochs):
            model.fit(x, y, epochs=epoch + 1, verbose=0, callbacks=[run.resume()])
            run.flush()
        run.close()
        files = sorted(Path(folder, "mirror", "checkpoints").iterdir())
        sizes = [file.stat().st_size for file in files if not file.name.startswith(".")]
    return base.count_params() / model.count_params(), sizes


def main(epochs: int = 3) -> None:
    """Print one row for each optimizer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print("| optimizer | frozen, of the weights | first checkpoint, MB | later ones, MB | of the first |")
    print("|---|---|---|---|---|")
    for optimizer in ("sgd", "SGD with momentum", "adam"):
        share, (first, *later) = travelled(optimizer, epochs)
        print(f"| {optimizer} | {share:.1%} | {first / 1e6:.2f} | {max(later) / 1e6:.2f} | {max(later) / first:.1%} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
