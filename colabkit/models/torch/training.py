"""Trains a torch module of the user's own, as `train` does Keras models: build, a resumable loop, evaluation."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.training_display import TrainingDisplay
from colabkit._internal.log import notify, warn
from colabkit._internal.optional import require
from colabkit._internal.out_of_memory import is_out_of_memory, let_go
from colabkit._internal.phases import Timings
from colabkit._internal.process.frameworks import before_torch
from colabkit.checkpoint.loop import make_loop
from colabkit.checkpoint.management.history import saved_words
from colabkit.checkpoint.policy.save_triggers import session_left
from colabkit.errors import DataError, DivergedError, OutOfMemoryError, UnsupportedError
from colabkit.models import recipes
from colabkit.models.batch_size import AUTO
from colabkit.models.results.result import Result
from colabkit.models.torch import build as torch_build
from colabkit.models.torch import parts as torch_parts
from colabkit.models.torch.data import Loaders, open_loaders
from colabkit.models.torch.parts import find_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.checkpoint import Run
    from colabkit.checkpoint.loop.loop import Loop
    from colabkit.checkpoint.time_use import TimeUse
    from colabkit.models.settings import Settings
    from colabkit.models.torch.build import TorchTraining

LIBRARY = "torch"
EPOCHS, BATCH_SIZE = 10, 32
_LOG_EVERY = 50  # steps, as `track` does
_PER_STEP = ("OneCycleLR", "CyclicLR")


@dataclass(frozen=True, kw_only=True, repr=False)
class TorchResult(Result):
    """A trained module of the user's own; `model` is the `torch.nn.Module`.

    Of data in a DataLoader or a Dataset `data` holds no samples, only how many they are, and the targets of the test.
    """

    @property
    def _classes(self) -> int:
        return len(self.data.labels) or int(self._outputs(self.data.x_test[:1]).shape[-1])

    def _predict(self, x: Any) -> Any:
        out = self._outputs(x)
        import numpy as np

        out = np.exp(out - out.max(axis=-1, keepdims=True))
        return out / out.sum(axis=-1, keepdims=True)

    def _outputs(self, x: Any) -> Any:
        import numpy as np
        import torch

        if x.ndim == 2 and not x.shape[1]:
            raise DataError(
                f"{self.name} keeps no samples to look at",
                why="its data came in a DataLoader or a Dataset",
                hint='give the test data as arrays: "test": (x_test, y_test)',
            )
        device = next(self.model.parameters()).device
        with _evaluating(self.model), torch.no_grad():
            parts = torch.as_tensor(x).split(256)
            return np.concatenate([self.model(part.to(device)).float().cpu().numpy() for part in parts])

    @property
    def classifier(self) -> Any:
        """Refuse: a module of the user's own has no bundle.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"{self.name} has no classifier for raw images",
            why="only your code knows how your module takes them",
            hint="save its weights: ck.save_model(result, 'model.safetensors'), and call result.model yourself",
        )


def train_torch(build: Callable[[], Any], name: str, settings: Settings, *, open_run: Callable[[], Run]) -> TorchResult:
    """Train a module of the user's own; the arguments are those of `train_keras`, and what builds it.

    Raises:
        DataError: The function gives no training.
        UnsupportedError: An argument of `train` does not go with it.
        DivergedError: The loss is no longer a number.
    """
    for argument, instead in (
        ("class_weight", "give the loss the weights: torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0]))"),
        ("fine_tune", "train the whole network in a run of its own, with the weights of the first one"),
        ("weights", f"load them in {name}()"),
    ):
        if getattr(settings, argument) is not None:
            raise UnsupportedError(f"{name} takes no {argument}=", why="it is a torch module of yours", hint=instead)
    if settings.recipe == "sprint":
        raise UnsupportedError(
            f"{name} has no recipe 'sprint'",
            why="its batch and learning rate must be tried out for each model",
            hint="use recipe='same', and set them in the function that builds it",
        )
    if strange := [type(one).__name__ for one in settings.callbacks if hasattr(one, "set_model")]:
        raise UnsupportedError(
            f"{strange[0]} is a callback of Keras, and {name} is trained with torch",
            hint="pass functions of (epoch, logs): callbacks=[lambda epoch, logs: print(logs)]",
        )
    if importlib.util.find_spec("torch") is None:
        hint = "pass data=(x, y), or a function that gives it; for a function that gives a torch module install torch"
        raise DataError(f"{name}() needs data", hint=hint)
    before_torch()
    torch = require("torch", extra="torch", why=f"{name} gives a torch module")
    return _train(build, name, settings, open_run, Timings(), torch)


def _train(
    build: Callable[[], Any],
    name: str,
    settings: Settings,
    open_run: Callable[[], Run],
    phases: Timings,
    torch: Any,
) -> TorchResult:
    """Train; once more with each batch in more parts where the memory is out."""
    with phases("build"):
        torch_build.set_seed(settings.seed)
        built = torch_build.read(name, build())
        device = torch_build.place(built.module)
        torch_build.set_rate(name, built, settings.learning_rate)
    with phases("data"):
        loaders = open_loaders(built.data, built.test, settings, batch_size=settings.size or BATCH_SIZE)
    run = open_run()
    begun = recipes.read_begun(run.dir)
    recipes.check_begun(run.dir, begun, model=name, recipe=settings.recipe)
    if settings.batch_size == AUTO:
        with phases("batch size"):
            size = _found_size(built, loaders, begun, device, name)
            loaders = open_loaders(built.data, built.test, settings, batch_size=size)
    in_use: int | None = getattr(loaders.train, "batch_size", None)
    if begun is None:
        begun = recipes.ResumedRecipe(model=name, recipe=settings.recipe, backend=LIBRARY, batch_size=in_use)
        recipes.write_begun(run.dir, begun)
    strategy = f"torch on {torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type}"
    notify("data: %s", loaders.words)
    notify("strategy: %s", strategy)
    training = _Training(name, built, loaders, settings, run=run, device=device, parts=begun.parts)
    stopped = None
    with phases("fit"):
        try:
            stopped = training.run()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            parts = training.more_parts(error)
            let_go(error)
            recipes.write_begun(run.dir, replace(begun, parts=parts))
    if stopped is None:
        del training, built, loaders
        return _train(build, name, settings, open_run, phases, torch)
    with phases("evaluate"):
        metrics, targets = training.evaluate(loaders.test) if loaders.test is not None else ({}, None)
    if stopped:
        notify("%s: %s", name, stopped)
    return TorchResult(
        name=name,
        model=built.module,
        history=training.history,
        metrics=metrics,
        resumed_from=training.resumed_from,
        data=loaders.described(targets, tuple(built.labels)),
        strategy=strategy,
        recipe=settings.recipe,
        seconds=phases.seconds,
        run_dir=run.dir,
        stopped=stopped,
        batch_size=in_use,
        parts=begun.parts,
        time_use=training.time_use,
    )


def _found_size(
    built: TorchTraining, loaders: Loaders, begun: recipes.ResumedRecipe | None, device: Any, name: str
) -> int:
    """Find the batch size, or take the one that the run was begun with."""
    if begun is not None and begun.batch_size:
        size, why = begun.batch_size, "as the run was begun"
    else:
        chosen = find_torch(built.module, partial(_loss_of, built, name), loaders.train, device)
        size, why = chosen.size, chosen.why
    notify("batch size: %s, %s", size, why)
    return size


def _loss_of(built: TorchTraining, name: str, module: Any, batch: Any) -> Any:
    """Compute the loss of a batch that is on the module's device."""
    if built.step is not None:
        return built.step(module, batch)
    inputs, targets = _split(batch, name)
    assert built.loss is not None  # noqa: S101 - `torch_build.read` has seen to it
    return built.loss(module(*inputs), targets)


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        name: str,
        built: TorchTraining,
        loaders: Loaders,
        settings: Settings,
        *,
        run: Run,
        device: Any,
        parts: int,
    ) -> None:
        self._parts = parts
        self._name, self._built, self._loaders, self._settings = name, built, loaders, settings
        self._run, self._device = run, device
        kind = type(built.scheduler).__name__
        self._each = built.each or ("step" if kind in _PER_STEP else "epoch")
        self._watched = "loss" if loaders.validation is None else "val_loss"
        self._state: dict[str, Any] = {"history": {}, "sum": 0.0, "count": 0, "best": None, "since": 0, "ended": False}
        self.history: dict[str, list[float]] = {}
        self.resumed_from: dict[str, int] | None = None
        self.time_use: TimeUse | None = None

    def run(self) -> str:
        """Train; say why it ended early, or nothing."""
        settings, built = self._settings, self._built
        parts = {"module": built.module, "optimizer": built.optimizer, "training": self._state}
        if built.scheduler is not None:
            parts["scheduler"] = built.scheduler
        epochs = settings.epochs or EPOCHS
        loop = make_loop(
            self._run,
            self._loaders.train,
            epochs=epochs,
            check_data=True,
            best=(self._watched, "min") if settings.patience is not None else None,
            state=parts,
            limit=settings.limit(self._run),
            trackers=settings.trackers,
            show=False,
        )
        stopped, display = "", TrainingDisplay(self._name, epochs=epochs, session_left=session_left())
        display.saved = partial(saved_words, self._run)
        with display:
            self._epochs(loop, display)
            if loop.stopped:
                stopped = f"its time is over in epoch {loop.epoch + 1} of {epochs}; the same line continues from there"
                display.close(stopped)
        self.resumed_from, self.time_use = loop.resumed_from, loop.time_use
        self.history = copy.deepcopy(self._state["history"])
        if self._state["ended"]:
            stopped = f"no better {self._watched} for {settings.patience} epochs; the best weights are back"
        if settings.patience is not None and self._state["best"] is not None and loop.epoch >= loop.epochs:
            self._run.load_best(built.module)
        return stopped

    def _epochs(self, loop: Loop, display: TrainingDisplay) -> None:
        state, scheduler = self._state, self._built.scheduler
        for epoch in loop.each_epoch():
            if state["ended"]:
                continue  # patience is over: what is left of the epochs is passed over
            if epoch and not display.history:
                display.earlier(state["history"])
            display.begin_epoch(epoch, self._loaders.steps, done=loop.batch)
            self._built.module.train()
            for batch in loop:
                self._step(loop, batch)
                display.step(loop.batch + 1, {"loss": state["sum"] / state["count"]})
            if loop.stopped:
                return
            logs = {"loss": state["sum"] / max(1, state["count"])}
            if self._loaders.validation is not None:
                measured, _ = self.evaluate(self._loaders.validation)
                logs |= {f"val_{key}": value for key, value in measured.items()}
            if scheduler is not None and self._each == "epoch":
                plateau = type(scheduler).__name__ == "ReduceLROnPlateau"
                scheduler.step(*([logs[self._watched]] if plateau else []))
            self._note(logs)
            loop.log(**logs)
            display.end_epoch(logs)
            for call in self._settings.callbacks:
                call(epoch, dict(logs))

    def _step(self, loop: Loop, batch: Any) -> None:
        state, built = self._state, self._built
        count = torch_parts.count_of(batch)
        value = 0.0
        parts = self._parts if count >= self._parts else 1
        for number, (part, share) in enumerate(torch_parts.split(batch, count, parts)):
            loss = _loss_of(built, self._name, built.module, torch_parts.on_device(part, self._device))
            self._check(float(loss.detach()), loop)
            if not number:
                built.optimizer.zero_grad()
            weight = 1.0 if getattr(built.loss, "reduction", "mean") == "sum" else share
            value += float(loss.detach()) * weight
            (loss if parts == 1 else loss * weight).backward()
        built.optimizer.step()
        if built.scheduler is not None and self._each == "step":
            built.scheduler.step()
        if not loop.batch:
            state["sum"], state["count"] = 0.0, 0
        state["sum"] += value * count
        state["count"] += count
        if (loop.step + 1) % _LOG_EVERY == 0:
            loop.log(loss=state["sum"] / state["count"])

    def _note(self, logs: Mapping[str, float]) -> None:
        state = self._state
        for key, value in logs.items():
            state["history"].setdefault(key, []).append(value)
        value = logs[self._watched]
        if state["best"] is None or value < state["best"]:
            state["best"], state["since"] = value, 0
        else:
            state["since"] += 1
        if self._settings.patience is not None and state["since"] >= self._settings.patience:
            state["ended"] = True

    def _check(self, value: float, loop: Loop) -> None:
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} in epoch {loop.epoch + 1}, step {loop.batch + 1}",
                why="the steps were too large, or the data holds values that are not numbers",
                hint="pass a smaller learning_rate and another run=, and look for NaN in the data. Nothing of this "
                "state was saved: the run's newest checkpoint is from before it",
            )

    def more_parts(self, error: BaseException) -> int:
        """Say what happens now that memory is out; give twice the parts.

        Raises:
            OutOfMemoryError: There is no smaller part.
        """
        size, parts = getattr(self._loaders.train, "batch_size", None), self._parts * 2
        if parts > (size or 1024):
            raise OutOfMemoryError(
                f"{self._name} does not fit the memory, not even one sample at a time",
                why=str(error).partition("\n")[0][:200],
                hint="take a smaller model or smaller samples, or a machine with more memory; "
                + saved_words(self._run),
            ) from error
        notify(
            "%s: out of memory with a batch of %s. From the last saved state on each batch is computed in %s parts, "
            "whose gradients are added up before the weights move, which is the same mathematics",
            *(self._name, size or "unknown size", parts),
        )
        for difference in torch_parts.differences(self._built.module, self._built.loss):
            warn("%s: not the same with smaller parts: %s", self._name, difference)
        return parts

    def evaluate(self, loader: Any) -> tuple[dict[str, float], Any]:
        """Measure loss and metrics; also gives the targets, where they are numbers of classes."""
        import numpy as np
        import torch

        built, sums, count, seen = self._built, dict[str, float](), 0, []
        with _evaluating(built.module), torch.no_grad():
            for raw in loader:
                batch = torch_parts.on_device(raw, self._device)
                number = torch_parts.count_of(batch)
                if built.step is not None:
                    values = {"loss": float(built.step(built.module, batch))}
                else:
                    inputs, targets = _split(batch, self._name)
                    values = self._measure(built.module(*inputs), targets)
                    seen.append(targets.cpu().numpy())
                sums = {key: sums.get(key, 0.0) + value * number for key, value in values.items()}
                count += number
        return {key: value / max(1, count) for key, value in sums.items()}, np.concatenate(seen) if seen else None

    def _measure(self, outputs: Any, targets: Any) -> dict[str, float]:
        built = self._built
        assert built.loss is not None  # noqa: S101 - `torch_build.read` has seen to it
        values = {"loss": float(built.loss(outputs, targets))}
        if outputs.ndim == 2 and targets.ndim == 1 and not targets.is_floating_point():
            values["accuracy"] = float((outputs.argmax(1) == targets).float().mean())
        return values | {key: float(metric(outputs, targets)) for key, metric in (built.metrics or {}).items()}


@contextlib.contextmanager
def _evaluating(module: Any) -> Any:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _split(batch: Any, name: str) -> tuple[list[Any], Any]:
    if not isinstance(batch, list) or len(batch) < 2:
        raise DataError(
            f"a batch of {name} is not a pair of inputs and targets",
            why=f"it is a {type(batch).__name__}",
            hint='give a function of (module, batch) that returns the loss: "step": lambda module, batch: …',
        )
    return batch[:-1], batch[-1]
