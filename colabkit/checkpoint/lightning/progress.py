"""What a Trainer of Lightning keeps beside the model: progress, metrics in the making, callbacks."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import loose
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRESS = (
    "epoch_progress",
    "epoch_loop.batch_progress",
    "epoch_loop.scheduler_progress",
    "epoch_loop.automatic_optimization.optim_progress",
    "epoch_loop.manual_optimization.optim_step_progress",
    "epoch_loop.val_loop.batch_progress",
)
_METRICS = ("_callback_metrics", "_logged_metrics", "_progress_bar_metrics")


def take(trainer: Any, own: Any) -> dict[str, Any]:
    """Return how far a training is.

    Args:
        trainer: The Trainer.
        own: The callback that asks, which keeps nothing there.
    """
    loop, connector = trainer.fit_loop, trainer._logger_connector
    return {
        "progress": {path: encode(operator.attrgetter(path)(loop).state_dict(), path) for path in _PROGRESS},
        "stepped": loop.epoch_loop._batches_that_stepped,
        "loaded": loop._last_train_dl_reload_epoch,
        "metrics": {name: encode(dict(getattr(connector, name)), name) for name in _METRICS},
        "results": _take_results(loop.epoch_loop._results),
        "callbacks": {key: _take_callback(one) for key, one in named(trainer, own).items()},
    }


def give(trainer: Any, own: Any, saved: Mapping[str, Any]) -> None:
    """Put back what `take` returned."""
    loop, connector = trainer.fit_loop, trainer._logger_connector
    for path, state in saved["progress"].items():
        operator.attrgetter(path)(loop).load_state_dict(decode(state))
    loop.epoch_loop._batches_that_stepped = saved["stepped"]
    for name, values in saved["metrics"].items():
        now = getattr(connector, name)
        now.clear()
        now.update(decode(values))
    _give_results(loop.epoch_loop._results, saved["results"])
    for key, one in named(trainer, own).items():
        if key in saved["callbacks"]:
            _give_callback(one, saved["callbacks"][key])
        if adds_groups(one):
            one._restarting = False  # its groups are there


def restore_groups(trainer: Any, own: Any, saved: Mapping[str, Any]) -> None:
    """Give the optimizers the groups that callbacks such as BackboneFinetuning have added since the start."""
    for key, callback in named(trainer, own).items():
        if adds_groups(callback) and key in saved["callbacks"]:
            _give_callback(callback, saved["callbacks"][key])
            callback.on_fit_start(trainer, trainer.lightning_module)


def load_data_again(trainer: Any, saved: Mapping[str, Any]) -> None:
    """Ask for the loaders as in the epoch for which they were loaded, with reload_dataloaders_every_n_epochs."""
    loop, epoch = trainer.fit_loop, saved.get("loaded")
    if not trainer.reload_dataloaders_every_n_epochs or epoch in (None, loop._last_train_dl_reload_epoch):
        return
    current = loop.epoch_progress.current
    now, current.completed = current.completed, epoch
    loop._combined_loader = None
    loop.setup_data()
    current.completed = now


def to_the_start_of_the_epoch(trainer: Any) -> None:
    """Set the progress so that the epoch that was begun begins again; its events come once more."""
    progress = trainer.fit_loop.epoch_progress
    for part in (progress.current, progress.total):
        part.ready = part.started = part.completed = part.processed


def begin_another_epoch(trainer: Any) -> None:
    """Set back what counts within an epoch: the state is that at the end of one, and another one begins."""
    loop = trainer.fit_loop.epoch_loop
    for path in ("batch_progress", "scheduler_progress", "automatic_optimization.optim_progress"):
        operator.attrgetter(path)(loop).reset_on_run()
    loop._results.reset()


def end_early(trainer: Any) -> dict[str, Any]:
    """Let a Trainer end before its last epoch, whatever it must train at least; returns that, to be set again."""
    least = {name: getattr(trainer.fit_loop, name) for name in ("min_epochs", "min_steps")}
    vars(trainer.fit_loop).update(min_epochs=0, min_steps=None)
    trainer.should_stop = True
    return least


def named(trainer: Any, own: Any) -> dict[str, Any]:
    """Name the callbacks by what Lightning calls them in its checkpoints."""
    return {one.state_key: one for one in trainer.callbacks if one is not own and not getattr(one, "stateless", False)}


def of_step(trainer: Any, outputs: Any) -> dict[str, Any]:
    """Return what a step has logged; its loss where it logs nothing."""
    logged = trainer._logger_connector.metrics["callback"]
    scalars = {name: value for name, value in logged.items() if value.numel() == 1}
    if not scalars and outputs is not None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        return {} if loss is None else {"loss": loss.detach()}
    return scalars


def of_epoch(trainer: Any) -> dict[str, Any]:
    """Return the newest value of each metric that was logged, as it is at the end of an epoch."""
    return {name: value for name, value in trainer.callback_metrics.items() if value.numel() == 1}


# ---- callbacks ----


def adds_groups(callback: Any) -> bool:
    """Say whether a callback adds groups of parameters to optimizers, as BackboneFinetuning does."""
    return hasattr(callback, "_internal_optimizer_metadata")


def _take_callback(callback: Any) -> dict[str, Any]:
    state = callback.state_dict()
    if state:
        return {"state": encode(state, callback.state_key)}
    if type(callback).__module__.startswith(("lightning.", "pytorch_lightning.")):
        return {}
    attributes = {}
    for name, value in vars(callback).items():
        try:
            attributes[name] = encode(value, name)
        except CheckpointError:
            continue
    return {"attributes": attributes}


def _give_callback(callback: Any, saved: Mapping[str, Any]) -> None:
    if "state" in saved:
        callback.load_state_dict(decode(saved["state"]))
    for name, value in saved.get("attributes", {}).items():
        now, content = vars(callback).get(name), decode(value)
        if not loose.fill(now, content):  # a list of it may have other names
            setattr(callback, name, content)


# ---- metrics that are averaged over an epoch ----


def _take_results(results: Any) -> dict[str, Any]:
    by_key = {}
    for key, metric in results.items():
        if getattr(metric, "is_tensor", False):
            state = {name: getattr(metric, name) for name in metric._defaults}
            by_key[key] = encode(state | {"count": metric._update_count, "reset": metric.has_reset}, key)
    return by_key


def _give_results(results: Any, saved: Mapping[str, Any]) -> None:
    """Give the sums back, and again when each is logged for the first time.

    Until then it may not be known, or Lightning sets it back as the first batch begins: it does where the
    LearningRateFinder has trained before.
    """
    waiting = {key: decode(state) for key, state in saved.items()}
    vars(results).pop("update_metrics", None)
    update = results.update_metrics

    def update_metrics(key: str, *rest: Any, **more: Any) -> None:
        if key in waiting:
            _give_result(results[key], waiting.pop(key))
        update(key, *rest, **more)

    for key in waiting.keys() & results.keys():
        _give_result(results[key], waiting[key])
    if waiting:
        results.update_metrics = update_metrics


def _give_result(metric: Any, state: Mapping[str, Any]) -> None:
    for name in metric._defaults:
        setattr(metric, name, state[name].to(getattr(metric, name).device))
    metric._update_count, metric.has_reset, metric._computed = state["count"], state["reset"], None
