"""The state of a training by a Trainer: what its checkpoints hold, and how it is taken and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried import CarriedNames
from colabkit.checkpoint.loop.data import LoaderSource
from colabkit.checkpoint.loop.restoring import StateKind
from colabkit.checkpoint.loop.resumable import Resumable
from colabkit.checkpoint.state import rng
from colabkit.checkpoint.transformers import trainer_state
from colabkit.checkpoint.transformers.batches import Place

if TYPE_CHECKING:
    from colabkit.checkpoint.loop.data.own_state import OwnState
    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.run_store import RunStore


class TrainingState(Resumable):
    """What a training by a Trainer is at an instant.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.
        best: By which metric of the evaluations the best state is kept.
    """

    kind = StateKind(
        name="transformers",
        holds="Trainer",
        tree=frozenset({"parts", "trainer", "state", "callbacks", "place"}),
        meta=frozenset({"max_steps"}),
    )

    def __init__(self, run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> None:
        super().__init__(run, check_data=check_data, best=best, limit=run.limit)
        self._trainer: Any = None  # while it trains
        self._state: Any = None  # what its checkpoints hold beside the parts, while it trains
        self._epoch = 0
        self._place = Place()  # in the epoch
        self._metrics: dict[str, float] = {}
        self._names = CarriedNames(run.dir, notify=self._notify, warn=self._warn, whose="training")
        self._own: dict[int, OwnState] = {}  # of the data, as the training began

    def _identity(self) -> dict[str, Any]:
        [loader] = self._loaders_read()
        return LoaderSource(loader).identity() | {"accumulation": self._trainer.args.gradient_accumulation_steps}

    def _loaders_read(self) -> list[Any]:
        loader = self._trainer.callback_handler.train_dataloader
        return [getattr(loader, "base_dataloader", loader)]

    @property
    def _is_epoch_done(self) -> bool:
        return self._place.done >= trainer_state.batches_in_epoch(self._trainer)

    def _steps_done(self) -> int:
        return int(self._trainer.state.global_step)

    def _versions(self) -> dict[str, str]:
        return trainer_state.versions()

    def _save_state(self, *, complete: bool) -> None:
        trainer = self._trainer
        assert self._parts is not None  # noqa: S101 - made when the training starts
        if not self._place.done:
            [loader] = self._loaders_read()
            self._place.begin(LoaderSource(loader, self._own).generators())
        self._submit(
            {
                "parts": self._parts.take(),
                **self._state.take(),
                "place": self._place.take(),
                "names": self._names.take(),
            },
            dict(rng.capture()) | self._place.tensors,
            epoch=self._epoch,
            step_in_epoch=self._place.done,
            epochs=trainer.state.num_train_epochs,
            max_steps=trainer.state.max_steps,
            complete=complete,
            metrics=dict(self._metrics),  # a copy: the state is written later
        )

    def _give(self, saved: SavedState, *, is_last: bool = False) -> None:
        assert self._parts is not None  # noqa: S101 - made when the training starts
        tree = saved.tree()
        self._parts.give(tree["parts"])
        self._state.give(tree)
        self._names.give(tree.get("names"), is_last=is_last)

    def _go_on_behind(self, saved: SavedState) -> None:
        """Put back what reading the batch that waits has changed."""
        rng.restore(saved.tensors)
        self._names.give(saved.tree().get("names"), is_last=True)
