"""A DataLoader of torch as training data, on any backend: opened as it was in the epoch, and brought to its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from colabkit._internal.log import notify
from colabkit.checkpoint.keras.data import Source
from colabkit.checkpoint.keras.data.streams import watched
from colabkit.checkpoint.loop.data import LoaderSource
from colabkit.checkpoint.loop.data.rows import check_samples
from colabkit.checkpoint.loop.parts import give_generators, take_generators
from colabkit.checkpoint.state import pytree, rng

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.data import Array


_OF_THE_BATCHES = frozenset({"steps", "batch_size"})  # those of another size go on at the next sample


class LoaderData(Source):
    """A DataLoader whose dataset has a length.

    The order of an epoch, and the seeds of its workers, follow from the random states at the moment in which it is
    opened. They are kept with the state: a new process opens it with them, and passes over what is done.
    """

    kind = "a DataLoader"

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        import torch

        self._adapter: Any = fit.iterator.data_adapter
        loader = self._adapter._dataloader
        if fit.iterator.steps_per_epoch:
            self.why_inexact = "steps_per_epoch cuts the data into epochs of another length"
        elif isinstance(loader.dataset, torch.utils.data.IterableDataset):
            self.why_inexact = "the DataLoader reads a stream (IterableDataset)"
        else:
            self._attach_data(loader)

    def _attach_data(self, loader: Any) -> None:
        self._loader = LoaderSource(loader)
        self._reads_ahead = keras.backend.backend() == "tensorflow"
        self.reopens = not self._reads_ahead  # as Keras does; in TensorFlow's threads it would draw at any time
        self._identity = self._loader.identity()
        self._at_open: tuple[dict[str, Array], dict[str, Any]] = rng.capture(), self._states()
        self._begun: Iterator[Any] | None = None
        self._adapter._dataloader = _Opening(self, loader)
        if keras.backend.backend() == "jax" and keras.distribution.distribution() is None:
            # Without Keras' look-ahead, which takes one batch more than was trained.
            self.fit.iterator._get_iterator = self._adapter.get_jax_iterator
        self.caveat = next(iter(self._loader.inexact()), None)

    def identity(self) -> dict[str, Any]:
        """Tell the loader's settings, and which samples it reads."""
        return {"kind": self.kind, "seed": self.seed, **self._identity}

    def check(self, run: str, *, in_epoch: bool, check_data: bool) -> None:
        """As of any data; refuse other samples."""
        for note in self._loader.notes():
            if note != self.caveat:
                notify("%s: %s", run, note)
        super().check(run, in_epoch=in_epoch, check_data=check_data)
        if self.saved.get("kind") == self.kind:
            check_samples(run, self.saved, self._identity, ignored=_OF_THE_BATCHES, refuse=check_data)

    def open(self) -> Iterator[Any]:
        """Open it anew, or hand out what was opened and brought to its place."""
        begun, self._begun = self._begun, None
        if begun is None:
            self._at_open = rng.capture(), self._states()
            begun = self._loader.open()
        batches = self._handed(begun)
        if not self._reads_ahead:
            return batches
        return watched(
            batches,
            "the samples of the DataLoader draw from a global random generator while batches are read ahead, so a "
            "continued run is not the same bit for bit; with num_workers=1 it is",
        )

    def _handed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                raise self._loader.failed(error, batches) from error
            self._loader.seen(batch)
            yield batch

    def closing(self) -> None:
        """Be told that the epoch is read to its end."""
        self._begun = None

    def capture(self, tensors: dict[str, Array], *, steps: int = 0) -> Any:  # noqa: ARG002
        """Take the random states with which it was opened, and where it stands."""
        globals_, held = self._at_open
        tensors.update({f"data/{name}": value for name, value in globals_.items()})
        return {
            "at_open": pytree.flatten(held, "data/at_open", tensors),
            "generators": pytree.flatten(self._states(), "data/generators", tensors),
            "place": None if self._reads_ahead else self._loader.position(),
        }

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:  # noqa: ARG002
        """Open it as it was opened for this epoch, and pass over what is done."""
        state = state or {}
        if done and done < len(self._loader.data):  # else only the end of the epoch is owed
            now = rng.capture()
            before = {name[len("data/") :]: value for name, value in tensors.items() if name.startswith("data/rng/")}
            held = pytree.unflatten(state.get("at_open", {}), tensors)
            rng.restore(now | before)
            give_generators(self._loader.generators(), held)
            self._at_open = before, held
            self._begun, _ = self._loader.skip(self._loader.open(), done, self._place(state, done))
            rng.restore(now)
        give_generators(self._loader.generators(), pytree.unflatten(state.get("generators", {}), tensors))

    def _place(self, state: Mapping[str, Any], done: int) -> dict[str, Any]:
        size = self._identity["batch_size"]
        if state.get("place") and self.saved.get("batch_size") == size:
            return dict(state["place"])
        return {"samples": done * size} if size else {}

    def _states(self) -> dict[str, Any]:
        return take_generators(self._loader.generators())


class _Opening:
    """Stands in for a loader, and tells the source whenever it is opened."""

    def __init__(self, source: LoaderData, loader: Any) -> None:
        self._source, self._loader = source, loader

    def __iter__(self) -> Iterator[Any]:
        return self._source.open()

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
