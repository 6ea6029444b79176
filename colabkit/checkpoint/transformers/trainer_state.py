"""What a Trainer keeps beside the model: its counters, the sums between two logs, the states of its callbacks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.held import HeldObjects, of_trainer
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.lost_files import is_lost
from colabkit.checkpoint.state import loose, pytree
from colabkit.checkpoint.state.class_names import by_class_name
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STATE = (
    "epoch",
    "global_step",
    "num_input_tokens_seen",
    "total_flos",
    "log_history",
    "best_metric",
    "best_global_step",
    "best_model_checkpoint",
)
_ALWAYS = ("_tr_loss", "_total_loss_scalar", "_globalstep_last_logged", "_initial_global_step", "current_flos")
_OF_A_PROCESS = ("epoch", "total_flos", "train_loss")
_TIMES = ("_runtime", "_per_second")
_PROVED = ("Trainer", "Seq2SeqTrainer", "SFTTrainer", "UnslothTrainer", "UnslothSFTTrainer")
_SIMPLE = (bool, int, float, str, dict, list, tuple)


def batches_in_epoch(trainer: Any) -> int:
    """Return how many batches an epoch has; without end, where nobody knows."""
    try:
        return len(trainer.callback_handler.train_dataloader)
    except TypeError:
        return sys.maxsize


def parts_of(trainer: Any) -> dict[str, Any]:
    """Name what a Trainer trains, and what belongs to it."""
    parts = {"model": trainer.model, "optimizer": trainer.optimizer, "scheduler": trainer.lr_scheduler}
    if (scaler := getattr(trainer.accelerator, "scaler", None)) is not None:
        parts["scaler"] = scaler
    return parts


def held_of(trainer: Any, own: Any) -> HeldObjects:
    """Find what a Trainer is given of the user's, whose code it calls."""
    callbacks = by_class_name(
        each for each in trainer.callback_handler.callbacks if each is not own and not getattr(each, "stateless", False)
    )
    beside = {"train_dataset", "model_wrapped"}
    return of_trainer(trainer, callbacks, beside=beside, saves=lambda each: not callable(getattr(each, "state", None)))


def notes(trainer: Any) -> list[str]:
    """Say what of a Trainer of another class cannot be continued exactly."""
    kind = type(trainer).__name__
    if kind in _PROVED:
        return []
    return [f"exactness is proved for Trainer and SFTTrainer; what a {kind} keeps beside its numbers is not saved"]


def versions() -> dict[str, str]:
    """Name the versions that a state depends on."""
    import accelerate
    import transformers

    return pytree.versions(transformers=transformers.__version__, accelerate=accelerate.__version__)


class TrainerState:
    """What a Trainer keeps beside its parts: attributes, counters, and the states of its callbacks.

    Args:
        trainer: As it is when its training begins.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._attributes = Attributes(trainer)

    def take(self) -> dict[str, Any]:
        """Return it, for a checkpoint."""
        return {
            "trainer": self._attributes.take(),
            "state": take_state(self._trainer.state),
            "callbacks": take_callbacks(self._trainer.callback_handler.callbacks),
        }

    def give(self, saved: Mapping[str, Any]) -> None:
        """Put back what `take` returned."""
        state = self._trainer.state
        self._attributes.give(saved["trainer"])
        give_state(state, saved["state"])
        if is_lost(state.best_model_checkpoint, owner="the Trainer"):
            state.best_model_checkpoint = None  # as its own resume does; looking for it at the end would fail
        give_callbacks(self._trainer.callback_handler.callbacks, saved["callbacks"])


class Attributes:
    """The attributes of a Trainer that change while it trains, such as what SFTTrainer adds up between two logs.

    Args:
        trainer: As it is when its training begins.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._first = {name: repr(value) for name, value in _simple(trainer).items()}
        self._known = set(_ALWAYS)

    def take(self) -> dict[str, Any]:
        """Return those that differ from their values at the beginning."""
        return {
            name: value
            for name, value in _simple(self._trainer).items()
            if name in self._known or repr(value) != self._first.get(name)
        }

    def give(self, saved: Mapping[str, Any]) -> None:
        """Put back what `take` returned."""
        for name, value in saved.items():
            self._known.add(name)
            setattr(self._trainer, name, _merged(getattr(self._trainer, name, None), decode(value)))


def _simple(trainer: Any) -> dict[str, Any]:
    attributes = {}
    for name, value in vars(trainer).items():
        if isinstance(value, _SIMPLE) or (hasattr(value, "detach") and value.numel() == 1):
            try:
                attributes[name] = encode(value, name)
            except CheckpointError:
                continue
    return attributes


def _merged(now: Any, saved: Any) -> Any:
    """Fill containers in place, as they may have other names; a tensor goes to where the one before is."""
    if isinstance(now, dict) and isinstance(saved, dict):
        for key in [key for key in now if key not in saved]:
            del now[key]
        for key, value in saved.items():
            now[key] = _merged(now.get(key), value)
        return now
    if hasattr(now, "detach") and hasattr(saved, "detach"):
        return saved.to(now.device)
    return now if loose.fill(now, saved) else saved


def measured(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a Trainer's logs is the same however often the training was interrupted."""
    return {name: value for name, value in logs.items() if name not in _OF_A_PROCESS and not name.endswith(_TIMES)}


def known(number: int) -> int | None:
    """Return a number of epochs or steps; None where the Trainer has only put in a very large one."""
    return number if number < sys.maxsize // 2 else None


def take_state(state: Any) -> dict[str, Any]:
    """Return the fields of a TrainerState that say how far it is; its settings follow from the arguments."""
    return {name: encode(getattr(state, name), name) for name in _STATE if hasattr(state, name)}


def give_state(state: Any, saved: Mapping[str, Any]) -> None:
    """Put back what `take_state` returned."""
    for name, value in saved.items():
        setattr(state, name, decode(value))


def take_callbacks(callbacks: Iterable[Any]) -> dict[str, Any]:
    """Return the states of the callbacks: what they export, or what the user's own keep in plain values."""
    return {key: _attributes(callback) for key, callback in by_class_name(callbacks).items()}


def give_callbacks(callbacks: Iterable[Any], saved: Mapping[str, Any]) -> None:
    """Put back what `take_callbacks` returned."""
    for key, callback in by_class_name(callbacks).items():
        for name, value in saved.get(key, {}).items():
            setattr(callback, name, _merged(getattr(callback, name, None), decode(value)))


def _attributes(callback: Any) -> dict[str, Any]:
    if getattr(callback, "stateless", False):
        return {}
    if callable(getattr(callback, "state", None)):
        own: dict[str, Any] = callback.state().get("attributes", {})
    elif type(callback).__module__.startswith(("transformers.", "trl.", "colabkit.")):
        return {}  # bars and loggers, which begin anew
    else:
        own = vars(callback)
    attributes = {}
    for name, value in own.items():
        try:
            attributes[name] = encode(value, name)
        except CheckpointError:
            continue
    return attributes
