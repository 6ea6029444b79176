"""The batches of one epoch as accelerate's loader gives them, from any place on.

That loader reads a batch ahead, and a collator may draw random numbers (masks, for one). So a place in an epoch has two
random states: the one with which the batch that waits was read, and the present one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.data import LoaderSource
from colabkit.checkpoint.loop.parts import give_generators, take_generators
from colabkit.checkpoint.state import rng

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from colabkit.checkpoint.loop.data.own_state import OwnState

_BEGIN, _AHEAD = "begin/", "ahead/"


class Place:
    """A place in an epoch.

    Attributes:
        done: Batches that were trained on.
        position: The order so far, without the batch that waits.
        tensors: The random states of the beginning and of the batch that waits.
        generators: Those of the loader's own generators, at the beginning, and then.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None, tensors: Mapping[str, Any] | None = None) -> None:
        saved = saved or {}
        self.done: int = saved.get("done", 0)
        self.position: dict[str, Any] = saved.get("position", {})
        self.generators: dict[str, Any] = saved.get("generators", {})
        self.tensors = {name: array for name, array in (tensors or {}).items() if name.startswith((_BEGIN, _AHEAD))}

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it, beside the tensors."""
        return {"done": self.done, "position": self.position, "generators": self.generators}

    def begin(self, generators: Mapping[str, Any]) -> None:
        """Note the loader's own generators at the beginning of an epoch."""
        self.generators = {_BEGIN: take_generators(generators)}

    def random(self, prefix: str) -> dict[str, Any]:
        """Return the random states that were noted under a prefix."""
        return {name[len(prefix) :]: array for name, array in self.tensors.items() if name.startswith(prefix)}


class EpochBatches:
    """Stands where the Trainer's loader stood, for one epoch.

    Args:
        loader: The loader as accelerate has prepared it.
        place: Where to begin.
        resume: Puts back the present random states once the place is reached; None at the start of an epoch.
        boundary: Called before a batch is asked for, with how many are done.
        own: What datasets and samplers had when the training began.
    """

    def __init__(
        self,
        loader: Any,
        place: Place,
        *,
        resume: Callable[[], None] | None,
        boundary: Callable[[Place], None],
        own: dict[int, OwnState],
    ) -> None:
        self._loader = loader
        self._source = LoaderSource(getattr(loader, "base_dataloader", loader), own)
        self._place = place
        self._resume = resume
        self._boundary = boundary
        self._epoch = 0

    def given_to_trainer(self, epoch: int, *, run: str) -> dict[str, Any]:
        """Return what the Trainer is told of an epoch: that it begins at the place, which these batches do themselves.

        Args:
            epoch: Its number.
            run: The run's name.
        """
        done = self._place.done
        return {
            "train_dataloader": self,
            "epochs_trained": epoch,
            "steps_trained_in_current_epoch": done,
            "resume_from_checkpoint": run if done else None,
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def set_epoch(self, epoch: int) -> None:
        """Tell samplers and datasets the number of the epoch."""
        self._epoch = epoch
        if hasattr(self._loader, "set_epoch"):
            self._loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        """Give the batches that are left."""
        loader, place = self._loader, self._place
        if hasattr(loader, "begin"):
            loader.begin()
        batches = self._open()
        current = next(batches, None)
        if self._resume is not None:
            self._resume()
        while current is not None:
            self._note_ahead()
            following = next(batches, None)
            if following is None and hasattr(loader, "end_of_dataloader"):
                loader.end_of_dataloader = True
            place.done += 1
            yield self._placed(current)
            self._boundary(place)
            current = following
        if hasattr(loader, "end"):
            loader.end()

    def _open(self) -> Iterator[Any]:
        place, source = self._place, self._source
        if self._resume is None:
            give_generators(source.generators(), place.generators.get(_BEGIN, {}))
            if (kinds := getattr(self._loader, "rng_types", None)) is not None:  # as it does itself at this place
                from accelerate.utils import synchronize_rng_states

                synchronize_rng_states(kinds, self._loader.synchronized_generator)
            place.tensors = {f"{_BEGIN}{name}": array for name, array in rng.capture().items()}
            place.generators = {_BEGIN: take_generators(source.generators())}
            return source.begin(self._epoch)
        rng.restore(place.random(_BEGIN))
        give_generators(source.generators(), place.generators.get(_BEGIN, {}))
        batches, _ = source.skip(source.begin(self._epoch), place.done, place.position)
        if ahead := place.random(_AHEAD):
            rng.restore(ahead)
            give_generators(source.generators(), place.generators.get(_AHEAD, {}))
        return batches

    def _note_ahead(self) -> None:
        """Note with what the batch after the next one is read, and the order up to the one that is given out."""
        place, source = self._place, self._source
        position = source.position()
        place.position = {key: position[key] for key in ("order", "samples") if key in position}
        if source.data.num_workers:
            return
        begin = {name: array for name, array in place.tensors.items() if name.startswith(_BEGIN)}
        place.tensors = begin | {f"{_AHEAD}{name}": array for name, array in rng.capture().items()}
        place.generators = {_BEGIN: place.generators.get(_BEGIN, {}), _AHEAD: take_generators(source.generators())}

    def _placed(self, batch: Any) -> Any:
        device = getattr(self._loader, "device", None)
        if device is None:
            return batch
        from accelerate.utils import send_to_device

        return send_to_device(batch, device, non_blocking=getattr(self._loader, "_non_blocking", False))
