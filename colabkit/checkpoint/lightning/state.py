"""The state of a fit: what its checkpoints hold, and how it is taken and put back.

| phase    | the fit is                                         | what leads on                                       |
|----------|----------------------------------------------------|-----------------------------------------------------|
| between  | between two epochs; at the start, too              | the first batch: within                             |
| within   | within an epoch, whose state is whole at a batch   | the next epoch begins, or the fit ends: between     |
| complete | at an end that an earlier process has reached      | nothing: no epoch is left                           |
"""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.lightning import progress
from colabkit.checkpoint.lightning.loaders import FitLoaders
from colabkit.checkpoint.loop.carried import CarriedNames
from colabkit.checkpoint.loop.carried.held import HeldObjects
from colabkit.checkpoint.loop.parts import take_generators
from colabkit.checkpoint.loop.restoring import StateKind
from colabkit.checkpoint.loop.resumable import Resumable
from colabkit.checkpoint.lost_files import is_lost
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.state.class_names import by_class_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.loop.restoring import SavedState
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.run_store import RunStore


class FitPhase(Enum):
    """Where a fit is, as in the table above."""

    BETWEEN = "between"
    WITHIN = "within"
    COMPLETE = "complete"


class FitState(Resumable):
    """What a fit of Lightning is at an instant.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.
        best: By which logged metric the best state is kept.
    """

    kind = StateKind(
        name="lightning", holds="fit", tree=frozenset({"parts", "gradients", "generators", "begin", "progress"})
    )

    def __init__(self, run: RunStore, *, check_data: bool, best: BestMetric | None = None) -> None:
        super().__init__(run, check_data=check_data, best=best, limit=run.limit)
        self._trainer: Any = None  # while it trains
        self._phase = FitPhase.BETWEEN
        self._loaders = FitLoaders(())
        self._names = CarriedNames(run.dir, notify=self._notify, warn=self._warn, whose="training")
        self._begin: tuple[dict[str, Any], dict[str, Any]] = ({}, {})  # random states, of the global and own generators

    def _identity(self) -> dict[str, Any]:
        return self._loaders.identity() | {"accumulation": self._trainer.accumulate_grad_batches}

    def _loaders_read(self) -> list[Any]:
        return list(self._trainer.fit_loop._combined_loader.flattened)

    def _steps_done(self) -> int:
        """Batches of all epochs that are done."""
        return int(self._trainer.fit_loop.epoch_loop.batch_progress.total.completed)

    def _rebuilds_itself(self) -> bool:
        return any(map(progress.adds_groups, self._trainer.callbacks))

    def _versions(self) -> dict[str, str]:
        names = [name for name in ("lightning", "pytorch_lightning") if hasattr(sys.modules.get(name), "__version__")]
        return pytree.versions(**{name: str(sys.modules[name].__version__) for name in names})

    def _save_state(self, *, complete: bool) -> None:
        trainer = self._trainer
        assert self._parts is not None  # noqa: S101 - made when the fit starts
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed if self._phase is FitPhase.WITHIN else 0
        tensors: dict[str, Any] = dict(rng.capture())
        if done:
            tensors |= rng.at_epoch_start(self._begin[0])
        tree = {
            "parts": self._parts.take(),
            "gradients": self._gradients.take(),
            "generators": take_generators(self._loaders.generators()),
            "begin": self._begin[1] if done else {},
            "reopened": self._loaders.reopened if done else [],
            "progress": progress.take(trainer, self),
            "names": self._names.take(),
        }
        self._submit(
            tree,
            tensors,
            epoch=trainer.current_epoch,
            step_in_epoch=done,
            epochs=trainer.max_epochs,
            max_steps=trainer.max_steps,
            complete=complete,
            cut=complete and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch,
            metrics={name: float(value) for name, value in progress.of_epoch(trainer).items()},
        )

    def _give(self, saved: SavedState, *, is_last: bool = False) -> None:
        assert self._parts is not None  # noqa: S101 - made when the fit starts
        tree = saved.tree()
        self._parts.give(tree["parts"])
        progress.give(self._trainer, self, tree["progress"])
        self._names.give(tree.get("names"), is_last=is_last)
        for checkpoint in self._trainer.checkpoint_callbacks:
            is_lost(getattr(checkpoint, "best_model_path", ""), owner=type(checkpoint).__name__)


def parts_of(trainer: Any, module: Any, own: FitState) -> dict[str, Any]:
    """Name what a fit trains, and what belongs to it: of callbacks their own modules."""
    parts: dict[str, Any] = {
        "model": module,
        "optimizers": list(trainer.optimizers),
        "schedulers": [config.scheduler for config in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin,
    }
    if trainer.datamodule is not None:
        parts["datamodule"] = trainer.datamodule
    for key, callback in progress.named(trainer, own).items():
        parts |= {f"{key}/{name}": part for name, part in vars(callback).items() if _is_other(part, module)}
    return parts


def held_of(trainer: Any, module: Any, callbacks: Mapping[str, Any]) -> HeldObjects:
    """Find what a fit is given of the user's, whose code Lightning calls."""
    own = by_class_name(callbacks.values())
    objects = {"model": module, **own}
    if trainer.datamodule is not None:
        objects["datamodule"] = trainer.datamodule
    return HeldObjects(objects, saved=[name for name, each in own.items() if not each.state_dict()])


def _is_other(part: Any, module: Any) -> bool:
    """Say whether an attribute of a callback is a module of its own, such as an average of the weights."""
    return hasattr(part, "named_parameters") and hasattr(part, "state_dict") and part is not module
