"""What a function of the user's gives `train` for a torch module, read once and brought to its device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from colabkit._internal.nearest import suggest
from colabkit.errors import DataError

_EXAMPLE = 'return {"module": module, "optimizer": optimizer, "loss": torch.nn.CrossEntropyLoss(), "data": (x, y)}'


@dataclass(frozen=True, kw_only=True)
class TorchTraining:
    """What a function of the user's gives `train`; a dict with these keys does as well.

    Attributes:
        module: The `torch.nn.Module`.
        optimizer: Its optimizer.
        data: What it is trained on: a DataLoader, a Dataset, tensors or arrays as `(x, y)` or `((x, y), (x_test,
            y_test))`.
        loss: A function of (outputs, targets), for batches of inputs and targets.
        step: A function of (module, batch) that gives the loss, for any other batches; instead of `loss`.
        test: What it is measured on at the end, as `data`.
        scheduler: Of the learning rate.
        each: When the scheduler steps; None for what its kind is made for: OneCycleLR and CyclicLR each step.
        metrics: Functions of (outputs, targets) by their names. The accuracy of a classifier is measured anyway.
        labels: The names of the classes.
    """

    module: Any
    optimizer: Any
    data: Any
    loss: Callable[[Any, Any], Any] | None = None
    step: Callable[[Any, Any], Any] | None = None
    test: Any = None
    scheduler: Any = None
    each: Literal["step", "epoch"] | None = None
    metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None
    labels: tuple[str, ...] = ()


def read(name: str, given: Any) -> TorchTraining:
    """Bring what a function of the user's gives into one form.

    Raises:
        DataError: It is no training.
    """
    known = [field.name for field in fields(TorchTraining)]
    if isinstance(given, Mapping):
        if unknown := [key for key in given if key not in known]:
            raise DataError(
                f"{name}() gives {unknown[0]!r}, which train does not know", hint=suggest(unknown[0], known)
            )
        if missing := [key for key in ("module", "optimizer", "data") if given.get(key) is None]:
            raise DataError(f"{name}() gives no {missing[0]!r}", hint=_EXAMPLE)
        given = TorchTraining(**given)
    if not isinstance(given, TorchTraining):
        raise DataError(
            f"{name}() needs data",
            why=f"it gives {type(given).__name__}, and no training of a torch module, which has its own",
            hint=f"for a model of Keras pass data=(x, y), or a function that gives it; for a torch module {_EXAMPLE}",
        )
    if not hasattr(given.module, "named_parameters"):
        raise DataError(f"the module of {name}() is a {type(given.module).__name__}", hint="give a torch.nn.Module")
    if not hasattr(given.optimizer, "param_groups"):
        hint = "give an optimizer of torch, as torch.optim.Adam(module.parameters())"
        raise DataError(f"the optimizer of {name}() is a {type(given.optimizer).__name__}", hint=hint)
    if (given.loss is None) == (given.step is None):
        raise DataError(
            f"{name}() gives {'neither loss nor step' if given.loss is None else 'both loss and step'}",
            hint="give a loss as torch.nn.MSELoss(), or step: a function of (module, batch) that gives the loss",
        )
    return given


def set_seed(seed: int) -> None:
    """Seed the generators that a torch training draws from."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def place(module: Any) -> Any:
    """Bring a module to the GPU, where there is one and the user's function has not chosen."""
    import torch

    parameter = next(iter(module.parameters()), None)
    if parameter is None or parameter.device.type != "cpu" or not torch.cuda.is_available():
        return torch.device("cpu") if parameter is None else parameter.device
    module.to("cuda")  # in place: the optimizer keeps its parameters
    return next(module.parameters()).device


def set_rate(name: str, built: TorchTraining, rate: float | None) -> None:
    """Set the learning rate where one is given.

    Raises:
        DataError: A scheduler sets it.
    """
    if rate is None:
        return
    if built.scheduler is not None:
        raise DataError(
            f"learning_rate= cannot be set where {name}() gives a scheduler",
            hint=f"set it in {name}(), or leave it out",
        )
    for group in built.optimizer.param_groups:
        group["lr"] = rate
