"""The order of the samples as a pure function of (seed, epoch), so that an epoch can begin in its middle.

Keras' own shuffling cannot be continued: on TensorFlow a seeded `fit` repeats one order in every epoch, on JAX and
torch a restart begins again with the order of epoch 0. Here the order of epoch `e` is fixed by the seed and `e` alone,
the same on every backend. Nothing about the data is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(kw_only=True)
class SampleOrder:
    """Where an epoch stands and in which order its samples come.

    Attributes:
        seed: Fixes the order of every epoch; 64 bits.
        samples: Number of samples.
        batch_size: Samples a step.
        shuffle: Whether to shuffle at all.
        epoch: The present epoch, from 0.
        first_step: Steps of this epoch that are already done.
        shift: Samples that are done beyond those of these steps, after the batches got another size.
    """

    seed: int
    samples: int
    batch_size: int
    shuffle: bool
    epoch: int = 0
    first_step: int = 0
    shift: int = 0
    _cache: tuple[tuple[int, int], Indices] | None = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        """Steps in a whole epoch; the last one may be smaller."""
        return -(-self.samples // self.batch_size)

    def remaining(self) -> Indices:
        """Give the indices of the samples that this epoch still has to see, in order; int64."""
        return self.permutation()[self.first_step * self.batch_size + self.shift :]

    def permutation(self) -> Indices:
        """Give the order of the whole epoch; int64, shape (samples,).

        Sorting raw Philox words: NumPy guarantees the words of a bit generator for ever (NEP 19), but not what its
        `shuffle` makes of them.
        """
        key = (self.seed, self.epoch) if self.shuffle else (0, 0)
        if self._cache is not None and self._cache[0] == key:
            return self._cache[1]
        if not self.shuffle:
            self._cache = (key, np.arange(self.samples, dtype=np.int64))
        else:
            words = np.random.Philox(key=np.array(key, np.uint64)).random_raw(self.samples)
            self._cache = (key, np.argsort(words, kind="stable").astype(np.int64))
        return self._cache[1]
