"""Where the batches of a loop come from, and how each kind of data is brought to the place where a run stopped."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.checkpoint.loop.data import rows
from colabkit.checkpoint.loop.data.own_state import own_states
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import rng
from colabkit.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.checkpoint.loop.data.own_state import OwnState

_SAMPLE = 4096
_DEPTH = 4
_MOST = 64  # items of a list that are looked into for generators


def open_source(data: Any, noted: dict[int, OwnState] | None = None) -> Source:
    """Find out how to read data.

    Args:
        data: The data.
        noted: What its datasets and samplers had when the training began; what is not there is added.

    Raises:
        DataError: It gives no batches.
    """
    torch_data = sys.modules.get("torch.utils.data")
    if torch_data is not None and isinstance(data, torch_data.DataLoader):
        return LoaderSource(data, noted)
    if type(data).__module__.startswith("tensorflow.") and hasattr(data, "element_spec"):
        return TensorFlowSource(data)
    if callable(data) and not hasattr(data, "__iter__"):
        return CalledSource(data)
    if hasattr(data, "__next__"):
        return OnceSource(data)
    if hasattr(data, "__iter__") or hasattr(data, "__getitem__"):
        return Source(data)
    raise DataError(
        f"a {type(data).__name__} gives no batches",
        hint="pass a DataLoader, a list, anything that can be iterated over in each epoch, or a function that makes it",
    )


class Source:
    """Data that can be iterated over in each epoch, as it is.

    Attributes:
        data: What the user gave.
        first: A hash of the first batch of all, where each process should see the same one.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.first: str | None = None
        self._last: Any = None

    @property
    def length(self) -> int | None:
        """Batches of an epoch; None where nobody knows."""
        try:
            return len(self.data)
        except (TypeError, NotImplementedError, AttributeError):
            return None

    def identity(self) -> dict[str, Any]:
        """Describe it, so that other data is noticed."""
        return {"kind": type(self.data).__name__, "steps": self.length, "content": digest(self.data)}

    def notes(self) -> list[str]:
        """Say what cannot be continued exactly."""
        return []

    def begin(self, epoch: int) -> Iterator[Any]:  # noqa: ARG002 - others shuffle by it
        """Begin an epoch."""
        return iter(self.data)

    def open_again(self, epochs: int, first: str | None) -> None:
        """Open the data as often as earlier processes did, where it counts that to shuffle."""

    def generators(self) -> dict[str, Any]:
        """Return the random generators that belong to the data, by a name that the next process gives them too."""
        return find_generators(self.data, "data")

    def position(self) -> dict[str, Any]:
        """Return what a checkpoint says of the place in the epoch, beside the number of batches."""
        return {} if self._last is None else {"last": digest_batch(self._last)}

    def seen(self, batch: Any) -> None:
        """Remember a batch that was given out, to prove the place by it."""
        self._last = batch

    @property
    def replicas(self) -> int | None:
        """Among how many processes a DistributedSampler shares out one order; None where it does not."""
        return None

    def skip(
        self, batches: Iterator[Any], done: int, position: dict[str, Any], *, shared_by: int | None = None
    ) -> tuple[Iterator[Any], int]:
        """Come to the place where `done` batches of the epoch are behind.

        Args:
            batches: Of the epoch, from its beginning.
            done: How many of them.
            position: What `position` said there.
            shared_by: How many processes had shared the samples out, where it is another number now.

        Returns:
            The batches that are left, and how many of this size are behind.

        Raises:
            DataError: There are fewer.
        """
        last = None
        for number in range(done):
            try:
                last = next(batches)
            except StopIteration:
                raise DataError(
                    f"the data has only {number} batches in an epoch, and {done} of it were trained on",
                    hint="pass the data that the run was begun with, or open a run under another name",
                ) from None
        if shared_by is None and done and "last" in position and digest_batch(last) != position["last"]:
            warn(
                "the data does not give the same batches again: the place (batch %s of the epoch) is kept, but the "
                "order differs, so some samples come twice in this epoch and some not at all. To be exact, shuffle by "
                "a DataLoader, or by a generator with a seed of its own",
                done,
            )
        self._last = last
        return batches, done

    def failed(self, error: Exception, batches: Any) -> Exception:  # noqa: ARG002 - others have something to end
        """Translate an error of the data, where something is known of it."""
        return error


class TensorFlowSource(Source):
    """A `tf.data.Dataset`, whose shuffles have another order each time it is opened."""

    def begin(self, epoch: int) -> Iterator[Any]:
        """Begin an epoch."""
        batches: Iterator[Any] = iter(self.data)
        if epoch or self.first is not None:
            return batches
        first = next(batches, None)
        if first is None:
            return iter(())
        self.first = digest_batch(first)
        return itertools.chain([first], batches)

    def open_again(self, epochs: int, first: str | None) -> None:
        """Open it once for each epoch that is over, and see whether it is the same order."""
        self.first = first
        for epoch in range(epochs):
            batch = next(iter(self.data), None)
            if not epoch and digest_batch(batch) != first:
                warn(
                    "the tf.data pipeline does not give the same order as the process before, so the order of the "
                    "samples differs from here on. To be exact, set a seed, in each process: shuffle(…, seed=1) "
                    "and tf.random.set_seed(1)"
                )
                return


class CalledSource(Source):
    """A function that makes the data of an epoch; one that takes an argument gets the epoch's number."""

    def begin(self, epoch: int) -> Iterator[Any]:
        """Begin an epoch."""
        import inspect

        return iter(self.data(epoch) if inspect.signature(self.data).parameters else self.data())

    def identity(self) -> dict[str, Any]:
        """Describe it."""
        return {"kind": "function"}


class OnceSource(Source):
    """A generator or an iterator, which can be gone through once."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self._begun = False

    def begin(self, epoch: int) -> Iterator[Any]:
        """Begin the only epoch.

        Raises:
            DataError: It was gone through before.
        """
        if self._begun:
            raise DataError(
                f"a {type(self.data).__name__} can be iterated only once, and epoch {epoch + 1} begins",
                hint="pass a function that makes it: run.loop(make_batches, epochs=…), without the parentheses",
            )
        self._begun = True
        return iter(self.data)

    def identity(self) -> dict[str, Any]:
        """Describe it."""
        return {"kind": type(self.data).__name__}


class LoaderSource(Source):
    """A DataLoader of torch, of torchdata or as accelerate prepares it.

    Args:
        data: The loader.
        noted: As for `open_source`.
    """

    def __init__(self, data: Any, noted: dict[int, OwnState] | None = None) -> None:
        import torch

        super().__init__(data)
        self._streams = isinstance(data.dataset, torch.utils.data.IterableDataset)
        whole = self._streams and not _loses_its_buffer(data.dataset)
        self._own_state = whole and _has_state(data)
        self._dataset_state = whole and not data.num_workers and _has_state(data.dataset)
        self._plain = type(data).__iter__ is torch.utils.data.DataLoader.__iter__
        self._order: _Order | None = None
        self._samples = 0
        self._own_states = own_states(data, {} if noted is None else noted)

    @property
    def length(self) -> int | None:
        """Batches of an epoch; a stream that counts its samples need not have so many."""
        return None if self._streams else super().length

    @property
    def _sampler(self) -> Any:
        inside = getattr(getattr(self.data, "batch_sampler", None), "sampler", None)
        return inside or getattr(self.data, "sampler", None)

    @property
    def _batch_size(self) -> int | None:
        batch_sampler = getattr(self.data, "batch_sampler", None)
        size: int | None = getattr(self.data, "batch_size", None) or getattr(batch_sampler, "batch_size", None)
        return size

    @property
    def replicas(self) -> int | None:
        """Among how many processes a DistributedSampler shares out one order; None where it does not."""
        return getattr(self._sampler, "num_replicas", None)

    def identity(self) -> dict[str, Any]:
        """Describe it."""
        loader, sampler = self.data, self._sampler
        settings = {
            "samples": None if self._streams else _length(loader.dataset),
            "steps": self.length,
            "batch_size": self._batch_size,
            rows.WORKERS: loader.num_workers,
            "drop_last": getattr(loader, "drop_last", None),
            "sampler": type(sampler).__name__,
            "content": digest(loader.dataset),
            "rows": rows.fingerprint(loader.dataset, sampler, getattr(sampler, "sampler", None)),
        }
        if hasattr(sampler, "num_replicas"):
            settings |= {"world size": sampler.num_replicas, "rank": sampler.rank}
        return settings

    def notes(self) -> list[str]:
        """Say what cannot be continued exactly, and what is done in another way than without a run."""
        loader, remarks = self.data, self.inexact()
        if loader.num_workers and loader.persistent_workers:
            remarks.append(
                "the worker processes of the DataLoader start anew in each epoch, with their seeds in the run"
            )
            if find_generators(loader.dataset, "dataset"):
                remarks.append(
                    "the dataset has a random generator of its own, which begins anew in each worker and epoch; draw "
                    "from torch's, NumPy's or Python's global one instead"
                )
        if self._streams and _loses_its_buffer(loader.dataset):
            remarks.append(
                "the state of this stream is without its shuffle buffer, so it is read again up to its place"
            )
        elif self._streams and not (self._own_state or self._dataset_state):
            remarks.append(
                "a stream without a state of its own is read again up to its place; with state_dict() and "
                "load_state_dict() in the dataset and torchdata's StatefulDataLoader it goes on there"
            )
        return remarks

    def inexact(self) -> list[str]:
        """Say what is not the same again in a process that goes on."""
        loader, reasons = self.data, []
        if loader.num_workers and not getattr(loader, "in_order", True):
            reasons.append(
                "in_order=False: batches come as the workers are ready, so their order is another one each time"
            )
        if not self._plain and not loader.num_workers and not self._streams:
            reasons.append(
                f"a {type(loader).__name__} reads a batch ahead, so samples that are changed by random numbers in this "
                "process are not the same again; with num_workers=1 they are"
            )
        if self._own_state and loader.num_workers:
            reasons.append(
                "the place in the stream is kept by the loader; random numbers that its workers draw are not"
            )
        return reasons

    def generators(self) -> dict[str, Any]:
        """Return those of the loader, its samplers and its dataset, of which workers have a copy as it is here.

        With them is what samplers and datasets of the user's change in themselves.
        """
        loader = self.data
        by_place: dict[str, Any] = dict(self._own_states)
        if (own := getattr(loader, "generator", None)) is not None:
            by_place["generator"] = own
        for name in ("sampler", "batch_sampler"):
            by_place |= find_generators(getattr(loader, name, None), name)
        return by_place | find_generators(loader.dataset, "dataset")

    def begin(self, epoch: int) -> Iterator[Any]:
        """Begin an epoch, with samplers and datasets that shuffle by its number told of it."""
        loader = self.data
        for owner in (loader, getattr(loader, "batch_sampler", None), getattr(loader, "sampler", None), loader.dataset):
            sampler = getattr(owner, "sampler", None) if owner is not loader else None
            for each in (owner, sampler):
                if (tell := getattr(each, "set_epoch", None)) is not None:
                    tell(epoch)
        return self.open()

    def open(self) -> Iterator[Any]:
        """Open the loader anew, with the order of its samples in sight where this process draws it."""
        loader = self.data
        if getattr(loader, "persistent_workers", False) and getattr(loader, "_iterator", None) is not None:
            loader._iterator._shutdown_workers()
            loader._iterator = None
        batches: Any = iter(loader)
        self._order = None
        if self._plain and hasattr(batches, "_sampler_iter") and not loader.num_workers and not self._streams:
            self._order = batches._sampler_iter = _Order(batches._sampler_iter)
        iterator: Iterator[Any] = batches
        return iterator

    def seen(self, batch: Any) -> None:
        """Remember a batch, where the order of its samples cannot be seen."""
        if self._order is None and (self._plain or self._streams or self.data.num_workers):
            self._last = batch

    def position(self) -> dict[str, Any]:
        """Return the state of the stream, or a checksum of the order so far."""
        if self._own_state:
            return {"loader": encode(self.data.state_dict(), "the state_dict() of the DataLoader")}
        if self._dataset_state:
            return {"dataset": encode(self.data.dataset.state_dict(), "the state_dict() of the dataset")}
        if self._order is not None:
            return {"order": self._order.checksum, "samples": self._order.samples}
        return super().position() | {"batch_size": self._batch_size}

    def skip(
        self, batches: Iterator[Any], done: int, position: dict[str, Any], *, shared_by: int | None = None
    ) -> tuple[Iterator[Any], int]:
        """Come to the place, without reading what a sampler can pass over."""
        if shared_by is None and "loader" in position and self._own_state:
            self.data.load_state_dict(decode(position["loader"]))
            return iter(self.data), done
        if shared_by is None and "dataset" in position and self._dataset_state:
            self.data.dataset.load_state_dict(decode(position["dataset"]))
            return iter(self.data), done
        by, size = shared_by or 1, self._batch_size
        among = (self.replicas or 1) if shared_by is not None else 1
        if self._order is None or "samples" not in position:
            before = position.get("batch_size")
            if before and size and (before != size or by != among):
                done, shared_by = -(-done * before * by // (size * among)), by  # another size: no batch is the same
            batches, done = super().skip(batches, done, position, shared_by=shared_by)
            self._last = None
            return batches, done
        order = self._order
        wanted = -(-position["samples"] * by // among)
        while order.samples < wanted and next(order, None) is not None:
            pass
        if order.samples > wanted:
            warn(
                "the batches have another size: %s samples that were not trained on are skipped",
                order.samples - wanted,
            )
        elif shared_by is None and order.checksum != position.get("order", order.checksum):
            warn(
                "the sampler does not give the same order again, as it draws random numbers while it goes: the place "
                "(batch %s) is kept, but the order differs. To be exact, draw them all in its __iter__, or by a "
                "torch.Generator of its own",
                done,
            )
        return batches, order.batches

    def failed(self, error: Exception, batches: Any) -> Exception:
        """Translate the death of a worker process, and end the others, or torch tells of it again later on."""
        died = [each.exitcode for each in getattr(batches, "_workers", []) if each.exitcode]
        if (end := getattr(batches, "_shutdown_workers", None)) is not None:
            with contextlib.suppress(RuntimeError):  # of a worker whose death was not told of yet
                end()
        lost = isinstance(error, ConnectionError | EOFError) and self.data.num_workers
        if died or lost or (isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)):
            return DataError(
                "a worker process of the DataLoader has died",
                why=(str(error).splitlines() or ["its connection has ended"])[0],
                hint="most often the machine is out of memory, or of shared memory: lower num_workers or batch_size. "
                "What was trained is saved; the same lines resume there",
            )
        return error


class _Order:
    """The batches of indices that a sampler gives, counted and summed up."""

    def __init__(self, indices: Iterator[Any]) -> None:
        self._indices = indices
        self.samples = self.batches = 0
        self.checksum = 0

    def __iter__(self) -> _Order:
        return self

    def __next__(self) -> Any:
        batch = next(self._indices)
        self.batches += 1
        try:
            numbers = np.asarray(batch, np.int64)
            self.checksum = zlib.crc32(numbers.tobytes(), self.checksum)
            self.samples += numbers.size
        except (TypeError, ValueError, OverflowError):  # a sampler may give anything
            self.checksum = zlib.crc32(repr(batch).encode(), self.checksum)
            self.samples += len(batch) if hasattr(batch, "__len__") else 1
        return batch


def _has_state(owner: Any) -> bool:
    return hasattr(owner, "state_dict") and hasattr(owner, "load_state_dict")


def _loses_its_buffer(dataset: Any) -> bool:
    """Say whether it is a stream of Hugging Face that is shuffled by a buffer, which is no part of its state.

    Source:
        https://huggingface.co/docs/datasets/stream#save-a-dataset-checkpoint-and-resume-iteration
    """
    stage = getattr(dataset, "_ex_iterable", None)
    while stage is not None:
        if type(stage).__name__ == "BufferShuffledExamplesIterable":
            return True
        stage = getattr(stage, "ex_iterable", None)
    return False


def _length(owner: Any) -> int | None:
    try:
        return len(owner)
    except (TypeError, NotImplementedError):
        return None


# ---- random generators in the data ----


def find_generators(owner: Any, place: str, depth: int = _DEPTH) -> dict[str, Any]:
    """Find the random generators that an object keeps, such as a dataset that augments its samples."""
    if rng.is_generator(owner):
        return {place: owner}
    if owner is None or not depth or isinstance(owner, str | bytes | int | float | np.ndarray | type):
        return {}
    if rng.is_generator(bound := getattr(owner, "__self__", None)):  # a method of one
        return {place: bound}
    if isinstance(owner, list | tuple):
        inside = [(str(at), item) for at, item in enumerate(itertools.islice(owner, _MOST))]
    elif isinstance(owner, dict):
        inside = [(str(key), item) for key, item in itertools.islice(owner.items(), _MOST)]
    else:
        inside = list(getattr(owner, "__dict__", {}).items())
    generators: dict[str, Any] = {}
    for name, item in inside:
        if not hasattr(item, "detach"):
            generators |= find_generators(item, f"{place}.{name}", depth - 1)
    return generators


# ---- what the data is ----


def digest(dataset: Any) -> str | None:
    """Hash what the samples are made of, where that can be seen without reading them; a sample of large arrays."""
    hasher = hashlib.sha256()
    return hasher.hexdigest()[:16] if _feed(hasher, dataset, _DEPTH) else None


def _feed(hasher: Any, value: Any, depth: int) -> bool:
    if (name := getattr(value, "_fingerprint", None)) and isinstance(name, str):  # datasets of Hugging Face
        hasher.update(name.encode())
        return True
    if hasattr(value, "detach") or isinstance(value, np.ndarray):
        return _feed_array(hasher, value)
    if not depth:
        return False
    if type(value) in (list, tuple):
        hasher.update(str(len(value)).encode())
        return sum(_feed(hasher, item, depth - 1) for item in itertools.islice(value, _MOST)) > 0
    fed = False
    for attribute in ("tensors", "data", "targets", "samples", "imgs", "indices", "dataset", "datasets"):
        if depth and (inside := getattr(value, "__dict__", {}).get(attribute)) is not None:
            fed = _feed(hasher, inside, depth - 1) or fed
    return fed


def _feed_array(hasher: Any, value: Any) -> bool:
    try:
        hasher.update(f"{tuple(value.shape)}{value.dtype}".encode())
        flat = value.detach().reshape(-1) if hasattr(value, "detach") else value.reshape(-1)
        size = int(flat.shape[0])
        sample = flat[:: max(1, size // _SAMPLE)][:_SAMPLE]
        encoded = encode(sample, "data") if hasattr(sample, "detach") else sample
        array = encoded if isinstance(encoded, np.ndarray) else next(iter(encoded.values()))
        array = array if isinstance(array, np.ndarray) else array[-1]
        if array.dtype.hasobject:
            return False
        hasher.update(np.ascontiguousarray(array).tobytes())
    except (TypeError, RuntimeError, CheckpointError, AttributeError):  # of a kind that cannot be read so
        return False
    return True


def digest_batch(batch: Any) -> str | None:
    """Hash a batch, to tell whether the data gives the same one again."""
    hasher = hashlib.sha256()
    return hasher.hexdigest()[:16] if _feed_batch(hasher, batch, _DEPTH) else None


def _feed_batch(hasher: Any, value: Any, depth: int) -> bool:
    if isinstance(value, bool | int | float | str | bytes):
        hasher.update(repr(value).encode())
        return True
    if hasattr(value, "numpy") and not hasattr(value, "detach"):  # a tensor of TensorFlow
        value = np.asarray(value)
    if hasattr(value, "detach") or isinstance(value, np.ndarray):
        return _feed_array(hasher, value)
    if isinstance(value, dict) or hasattr(value, "items"):
        value = list(value.values())
    if isinstance(value, list | tuple) and depth:
        return sum(_feed_batch(hasher, item, depth - 1) for item in value) > 0
    return _feed_array(hasher, np.asarray(value)) if type(value).__module__.startswith("jax") else False
