"""What every worker does once it has joined the others: seed alike, and take a share of each batch."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from colabkit._patches import keras_batch_sharding
from colabkit.accelerator import collectives

if TYPE_CHECKING:
    from colabkit.accelerator.base import Strategy


def init_workers(chosen: Strategy) -> None:
    """Make the workers draw the same random numbers and share each batch; called inside the scope, by all at once.

    Workers that were seeded alike by `keras.utils.set_random_seed` keep their seed. Otherwise all take the chief's, as
    weights and orders that differ would go wrong in silence.
    """
    import keras

    workers = collectives.current(None)
    state = [word & 0x3FFFFFFF for word in _fingerprint()]
    fresh = random.SystemRandom().getrandbits(30)
    gathered = workers.gather([*state, fresh])
    if any(numbers[:-1] != gathered[0][:-1] for numbers in gathered):
        keras.utils.set_random_seed(gathered[0][-1])
    keras_batch_sharding.shard_batches(workers.index, workers.count, devices=chosen.replicas)


def _fingerprint() -> list[int]:
    digest = hashlib.sha256(repr(random.getstate()).encode()).digest()
    return [int.from_bytes(digest[start : start + 4]) for start in (0, 4, 8, 12)]
