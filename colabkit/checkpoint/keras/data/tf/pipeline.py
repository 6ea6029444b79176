"""A `tf.data` pipeline as training data: its seeds are ours, and the state of its iterator holds its place.

Every epoch has an order that follows from the run's seed and the number of the epoch: the pipeline is built again for
each, with other seeds. What is in a cache, and the arrays, are built once.
"""

from __future__ import annotations

import copy
import hashlib
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras.data import Source
from colabkit.checkpoint.keras.data.tf import cache as tf_cache
from colabkit.checkpoint.keras.data.tf.graph import PipelineGraph, readable
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.data import Array

_FILE = re.compile(r"data/(iterator\.[a-z0-9.-]{1,60})")
_ORDERS = "data/order"
_TRIES = 50
_NO_SEED = "a shuffle() without a seed; give it one, as in shuffle(1000, seed=1)"


class SeededDataset:
    """A dataset whose n-th opening gives the same in every process.

    Args:
        dataset: The user's dataset.
        seed: The run's seed.
        saved: What `identity` gave when the run was saved.

    Attributes:
        caveat: Why a continued pipeline may differ; None when it does not.
        caveat_of_a_pass: Why a pass that begins anew may give something else in another process; None when it does not.
        opens: How often it was opened.
    """

    def __init__(self, dataset: Any, *, seed: int, saved: Mapping[str, Any]) -> None:
        self.given = dataset
        self.caveat: str | None = None
        self.caveat_of_a_pass: str | None = None
        self.opens = 0
        self._seed = seed
        self._graph: PipelineGraph | None = None
        if readable(dataset):
            try:
                self._graph = PipelineGraph(dataset)
            except Exception as error:  # noqa: BLE001 - TensorFlow has many ways to say that it cannot
                self.caveat = f"TensorFlow cannot describe this tf.data pipeline ({reason(error)})"
        if self._graph is None:
            self._built = dataset
            if self.caveat is None and _shuffles_without_seed(dataset):
                self.caveat = f"the tf.data pipeline has {_NO_SEED}"
            self.caveat_of_a_pass = self.caveat
            return
        self.caveat = next(self._graph.caveats(), None)
        self.caveat_of_a_pass = next(self._graph.caveats_of_a_pass(), None)
        seeds = saved.get("seeds")
        if saved and not seeds and self._graph.is_random:
            self.caveat = (
                "the run was begun by an older colabkit, which kept no seeds of tf.data: the next epochs are new"
            )
        if not seeds or len(seeds) != len(self._graph.seeds):
            seeds = self._graph.seeds
        self._seeds = [pair if any(pair) else self._derive("shuffle", number) for number, pair in enumerate(seeds)]
        try:
            self._built = self._graph.build(self._seeds, inner=self._derive("inner")[0])
        except Exception as error:  # noqa: BLE001 - as above
            self._graph, self._built = None, dataset
            self.caveat = f"TensorFlow cannot build this tf.data pipeline again ({reason(error)})"

    def probe(self) -> None:
        """Try whether its place can be saved; raises what TensorFlow raises."""
        if self._graph is not None and self._graph.has_generator:
            raise ValueError("it reads a Python generator")
        if not self.fills_a_file:
            _write_iterator(iter(self._built))

    @property
    def identity(self) -> dict[str, Any]:
        """Tell its seeds, its data and its steps."""
        return {} if self._graph is None else {"seeds": self._seeds, **self._graph.data}

    @property
    def orders(self) -> list[Array]:
        """Tell the order of each of its lists that Python may have shuffled."""
        return [] if self._graph is None else self._graph.orders

    def arrange(self, saved: Mapping[str, Any], orders: Sequence[Array]) -> bool:
        """Put its lists in the order of a saved pipeline, where they have the same rows; says whether it did.

        Args:
            saved: What `identity` gave when the run was saved.
            orders: What `orders` gave.
        """
        if self._graph is None or not self._graph.in_order_of(saved, orders):
            return False
        graph = PipelineGraph(self.given, orders)
        self._built = graph.build(self._seeds, inner=self._derive("inner")[0])
        self._graph = graph
        return True

    def open(self, number: int) -> Any:
        """Open it for the n-th time, from 0.

        Args:
            number: How often it was opened before in the run.
        """
        if self._graph is not None and self._graph.is_random:
            kept = self._graph.read_variables()
            pairs = zip(self._seeds, self._graph.fixed, strict=True)
            seeds = [pair if fixed else self._derive("shuffle", *pair, number) for pair, fixed in pairs]
            self._built = self._graph.build(seeds, inner=self._derive("inner", number)[0])
            self._graph.write_variables(kept)
        self.opens = number + 1
        return iter(self._built)

    def reopen(self, number: int, files: Mapping[str, Array], tensors: Mapping[str, Array]) -> Any:
        """Open it as it was opened for the n-th time, at the place that was saved.

        Args:
            number: How often it was opened before.
            files: The state of the iterator.
            tensors: What `capture` gave.
        """
        iterator = self.open(number)
        _read_iterator(iterator, files)
        self.restore_variables(tensors)
        return iterator

    def read_again(self, number: int, batches: int, tensors: Mapping[str, Array], *, why: str) -> Any:
        """Open it as it was opened for the n-th time, and read what was read.

        Args:
            number: How often it was opened before.
            batches: How many were read.
            tensors: What `capture` gave.
            why: Why its place was not read from the state.
        """
        notify("reading %s batches of the tf.data pipeline again: %s", batches, why)
        if self.variables():
            warn(
                "the layers in the tf.data pipeline draw as batches are read ahead, so a continued run is not the same "
                "bit for bit where batches are read again"
            )
        iterator = self.open(number)
        for _ in range(batches):
            next(iterator, None)
        self.restore_variables(tensors)
        return iterator

    def capture(self, live: Any) -> dict[str, Array]:
        """Take the state of an iterator, and of the variables that its functions change as they read ahead."""
        before = self.variables()
        for _ in range(_TRIES):
            files = {} if live is None or self.fills_a_file else _write_iterator(live)
            after = self.variables()
            if all(np.array_equal(before[name], after[name]) for name in after):
                break
            before = after
            time.sleep(0.002)  # until the buffers of what is read ahead are full
        return files | after

    @property
    def fills_a_file(self) -> bool:
        """Whether it writes a cache that is not yet whole, while its place cannot be saved."""
        return self._graph is not None and not all(map(tf_cache.is_whole, self._graph.cache_files))

    def clear_half_written(self) -> None:
        """Delete what a killed process has left of its caches."""
        for prefix in self._graph.cache_files if self._graph is not None else ():
            tf_cache.clear_half_written(prefix)

    def variables(self) -> dict[str, Array]:
        """Take what its functions keep in variables."""
        return {} if self._graph is None else self._graph.read_variables()

    def restore_variables(self, tensors: Mapping[str, Array]) -> None:
        """Give them back."""
        if self._graph is not None:
            self._graph.write_variables(tensors)

    def _derive(self, *parts: Any) -> list[int]:
        digest = hashlib.sha256(repr((self._seed, *parts)).encode()).digest()
        return [int.from_bytes(digest[at : at + 8]) >> 1 for at in (0, 8)]


class TfDataPipeline(Source):
    """A `tf.data.Dataset`; TensorFlow saves where its iterator stands, with all buffers in it."""

    kind = "tf.data"

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        iterator: Any = fit.iterator
        self._adapter: Any = iterator.data_adapter
        self._owned = hasattr(iterator, "_distributed_dataset")  # on TensorFlow `fit` itself opens the dataset
        dataset = iterator._distributed_dataset if self._owned else self._adapter._dataset
        self._each_epoch = iterator.steps_per_epoch is None
        self.reopens = not self._each_epoch
        self._seeded = SeededDataset(dataset, seed=seed, saved=saved)
        self._epoch = 0
        self._live: Any = None
        self._seeded.clear_half_written()
        try:
            self._seeded.probe()
        except Exception as error:  # noqa: BLE001 - as above
            self.why_inexact = f"TensorFlow cannot save where this tf.data pipeline stands ({reason(error)})"
            return
        self.caveat = self._seeded.caveat
        self._replace(_Opening(self))
        if keras.backend.backend() == "jax" and keras.distribution.distribution() is None:
            # Without Keras' look-ahead, which takes one batch more than was trained.
            iterator._get_iterator = self._adapter.get_jax_iterator

    def _replace(self, dataset: Any) -> None:
        if self._owned:
            self.fit.iterator._distributed_dataset = dataset
        else:
            self._adapter._dataset = dataset

    def identity(self) -> dict[str, Any]:
        """Tell the seeds, and what the data and the steps of the pipeline are."""
        return {"kind": self.kind, "seed": self.seed, **self._seeded.identity}

    def take_over(self, run: str, tensors: Mapping[str, Array]) -> None:
        """Put a list that Python shuffled in the order that the run began with."""
        if self._seeded.arrange(self.saved, orders_in(tensors, _ORDERS)):
            text = (
                "%s: a list in the tf.data pipeline, as of files, is in another order in each process; the run goes on "
                "in the order that it began with"
            )
            notify(text, run)

    def check(self, run: str, *, in_epoch: bool, check_data: bool) -> None:
        """As of any data; say too that the steps of the pipeline are others than before."""
        names = [each.get("names") or "" for each in (self.saved, self.identity())]
        if check_data and all(names) and names[0] != names[1]:
            rows = [each.get("rows") for each in (self.saved, self.identity())]
            how = (
                "in another order, and so are other values in its steps"
                if all(rows) and rows[0] == rows[1]
                else "another one, or in another order"
            )
            raise RunMismatchError(
                f"the run {run} was trained on other data",
                why=f"the list of files or texts in the tf.data pipeline is {how}",
                hint="sort it, or give a seed to what shuffles or splits it: "
                "image_dataset_from_directory(..., seed=0), random.Random(0).shuffle(files), "
                "np.random.default_rng(0).permutation(files), train_test_split(..., random_state=0). Other data is "
                'a training of its own: run.phase("NAME").resume(), or another run. run.resume(check_data=False) '
                "trains on with it",
            )
        super().check(run, in_epoch=in_epoch, check_data=check_data)
        before, now = self.saved.get("pipeline"), self.identity().get("pipeline")
        if before and now and before != now:
            text = (
                "%s: the steps of the tf.data pipeline are others than when the state was saved (a number in a map() "
                "that Python draws is another in each process), so a continued run is not the same bit for bit"
            )
            warn(text, run)

    def go_to(self, *, epoch: int, done: int) -> None:
        """Be told which pass over the data comes next."""
        self._epoch = epoch
        if self._each_epoch and not done:
            self._live = None

    def closing(self) -> None:
        """Be told that the data is about to be opened anew, or that an epoch is over."""
        self._live = None

    def open(self) -> Any:
        """Open the dataset anew, and keep hold of the iterator."""
        self._live = self._seeded.open(self._epoch if self._each_epoch else self._seeded.opens)
        return self._live

    def capture(self, tensors: dict[str, Array], *, steps: int = 0) -> Any:  # noqa: ARG002
        """Take the state of the iterator, and how often the dataset was opened."""
        tensors.update(self._seeded.capture(self._live))
        tensors.update({f"{_ORDERS}/{number}": order for number, order in enumerate(self._seeded.orders)})
        return {"opens": self._seeded.opens}

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:
        """Open the dataset where it was."""
        first = self._seeded.variables()
        self._seeded.restore_variables(tensors)
        now = self._seeded.variables()
        self.draws_ahead = self.reopens and not all(np.array_equal(first[name], now[name]) for name in now)
        files = {match[1]: array for name, array in tensors.items() if (match := _FILE.fullmatch(name))}
        opens = int((state or {}).get("opens", 0))
        if self._each_epoch and not done:
            self._seeded.opens = opens
            return
        why = ""
        if not files or self._seeded.fills_a_file:
            why = "its cache is written in the first pass"
        elif _forgets_an_end(files):
            why = "one of the data sets that it samples from has ended, which TensorFlow forgets"
        if why:
            read = done if self._each_epoch else steps
            if not opens or (opens > 1 and not self._each_epoch):
                if files:
                    warn("the pass over the tf.data pipeline begins anew: %s", why)
                self._seeded.opens = opens
                return
            self._live = iterator = self._seeded.read_again(opens - 1, read, tensors, why=why)
        else:
            self._live = iterator = self._seeded.reopen(max(0, opens - 1), files, tensors)
        if self._owned:
            self.opened = iterator
        else:
            adapter = copy.copy(self._adapter)
            adapter._dataset = iterator
            jax = keras.backend.backend() == "jax"
            self.opened = iter(adapter.get_jax_iterator() if jax else adapter.get_torch_dataloader())


class _Opening:
    """Stands in for a dataset, and tells the source whenever it is opened."""

    def __init__(self, source: TfDataPipeline) -> None:
        self._source = source

    def __iter__(self) -> Any:
        return self._source.open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source._seeded.given, name)


def orders_in(tensors: Mapping[str, Array], prefix: str) -> list[Array]:
    """Read the orders of lists that a state holds.

    Args:
        tensors: The arrays of the state.
        prefix: What their names begin with.
    """
    names = [name for name in tensors if re.fullmatch(rf"{prefix}/[0-9]+", name)]
    return [tensors[f"{prefix}/{number}"] for number in range(len(names))]


def _shuffles_without_seed(dataset: Any) -> bool:
    """Tell whether a pipeline that is too large to be read has a shuffle without a seed."""
    import tensorflow as tf

    if type(dataset).__name__ == "_ShuffleDataset":
        seeds = [tf.get_static_value(getattr(dataset, name, 1)) for name in ("_seed", "_seed2")]
        if not any(seeds):
            return True
    return any(_shuffles_without_seed(below) for below in getattr(dataset, "_inputs", list)())


def reason(error: Exception) -> str:
    """Give the part of an error of TensorFlow that a user can read."""
    text = str(error).split("}}", 1)[-1].split("[Op:", 1)[0].strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:120]


def _write_iterator(iterator: Any) -> dict[str, Array]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.train.Checkpoint(iterator=iterator).write(f"{folder}/iterator")
        return {f"data/{path.name}": np.fromfile(path, np.uint8) for path in Path(folder).iterdir()}


_SAMPLED = re.compile(rb"\|([\w:\[\]]*DirectedInterleave\w*(?:\[\d+\])?):data_input_impl_empty\[0\]")


def _forgets_an_end(files: Mapping[str, Array]) -> bool:
    """Say whether an iterator stands where some, and not all, data sets of a `sample_from_datasets` have ended.

    TensorFlow restores which of them have, and counts all of them as going on: where the last one ends it looks for the
    next element for ever. `choose_from_datasets` is made of the same.

    Source:
        `RestoreInternal` in tensorflow/core/kernels/data/experimental/directed_interleave_dataset_op.cc, up to 2.21
    """
    content = b"".join(array.tobytes() for array in files.values())
    for place in set(_SAMPLED.findall(content)):
        inputs = {int(at) for at in re.findall(re.escape(place) + rb":data_input_impl_empty\[(\d+)\]", content)}
        going_on = {int(at) for at in re.findall(re.escape(place) + rb"\[(\d+)\]", content)}
        if 0 < len(inputs & going_on) < len(inputs):
            return True
    return False


def _read_iterator(iterator: Any, files: Mapping[str, Array]) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            content.tofile(Path(folder, name))
        try:
            tf.train.Checkpoint(iterator=iterator).read(f"{folder}/iterator").assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise RunMismatchError(
                "the tf.data pipeline cannot continue where the run stopped",
                why=f"it is not the pipeline that was saved ({reason(error)})",
                hint='build it as it was, use run.resume(at="epoch"), or open a run under another name',
            ) from error
