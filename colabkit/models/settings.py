"""What a user asks of `train`, read and checked once, before anything is fetched, opened or imported."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from colabkit.checkpoint import Run
from colabkit.checkpoint.policy.time_limit import parse_time, sooner
from colabkit.errors import DataError, UnsupportedError
from colabkit.models import recipes
from colabkit.models.batch_size import AUTO
from colabkit.tracking.trackers import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._types import StrPath
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.tracking import Tracker


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The arguments of `train` beside the model, the data and the run.

    Attributes:
        epochs: How often to go through the data; None for the model's own number.
        batch_size: Samples a step; None for the model's own number, "auto" for the largest that fits.
        learning_rate: None for the model's own.
        validation: A share of the training data, arrays or a path; None for none.
        patience: Epochs without a better loss until it ends; None for no such end.
        callbacks: Of the user.
        class_weight: "balanced", a weight for each class number, or None.
        fine_tune: Epochs of the whole network after its head; None for none.
        weights: Where the weights to begin with come from; None for the model's own place.
        seconds: How long it may take; None for as long as it takes.
        seed: Fixes weights, dropout and order.
        trackers: Where metrics go besides.
        recipe: The recipe's name.
    """

    epochs: int | None
    batch_size: int | Literal["auto"] | None
    learning_rate: float | None
    validation: Any
    patience: int | None
    callbacks: tuple[Any, ...]
    class_weight: str | dict[int, float] | None
    fine_tune: int | None
    weights: StrPath | None
    seconds: float | None
    seed: int
    trackers: tuple[Tracker | str, ...]
    recipe: str

    @property
    def size(self) -> int | None:
        """The batch size where it is a number of the user's."""
        return None if isinstance(self.batch_size, str) else self.batch_size

    def limit(self, run: Run) -> TimeLimit | None:
        """Say when a training in this run is to save and end, counted from now: at its own limit or the run's."""
        return sooner(self.seconds, run.limit) if self.seconds != math.inf else run.limit


def read(
    *,
    epochs: Any,
    batch_size: Any,
    learning_rate: Any,
    validation: Any,
    patience: Any,
    callbacks: Any,
    time: Any,
    class_weight: Any = None,
    fine_tune: Any = None,
    weights: Any = None,
    seed: Any,
    tracker: Tracker | str | Sequence[Tracker | str],
    recipe: str,
) -> Settings:
    """Check what a user asks for.

    Raises:
        DataError: A value is not valid; the message names the argument.
        UnknownNameError: There is no recipe or tracker of that name.
        UnsupportedError: Two arguments do not go together.
    """
    recipes.check(recipe)
    trackers = tuple(registry.check(tracker))
    for label, number in (
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("patience", patience),
        ("fine_tune", fine_tune),
    ):
        if label == "batch_size" and isinstance(number, str) and number == AUTO:
            continue
        if number is not None and (not _is_whole(number) or number < 1):
            more = ', or "auto" for the largest that fits the memory' if label == "batch_size" else ""
            raise DataError(f"{label}={number!r} is not valid", hint=f"pass {label}=1 or more{more}")
    if batch_size == AUTO and recipe == "sprint":
        raise UnsupportedError(
            "the recipe 'sprint' has its own batch size",
            why="its learning rate belongs to it",
            hint="leave batch_size out, or use recipe='same'",
        )
    if not _is_whole(seed) or not 0 <= seed < 2**32:
        raise DataError(f"seed={seed!r} is not valid", hint="pass a whole number from 0 on")
    if learning_rate is not None and (not _is_number(learning_rate) or not 0 < learning_rate < float("inf")):
        raise DataError(
            f"learning_rate={learning_rate!r} is not valid",
            hint="pass a number above 0, as 0.001; a schedule belongs in the function that builds the model",
        )
    return Settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation=_validation(validation),
        patience=patience,
        callbacks=_callbacks(callbacks),
        class_weight=_class_weight(class_weight),
        fine_tune=fine_tune,
        weights=weights,
        seconds=None if time is None else parse_time(time),
        seed=seed,
        trackers=trackers,
        recipe=recipe,
    )


def _validation(given: Any) -> Any:
    if given is None or isinstance(given, (str, os.PathLike)):
        return given
    if isinstance(given, bool) or (_is_number(given) and not 0 < given < 1):
        raise DataError(
            f"validation={given!r} is not a share of the data", hint="pass validation=0.1 for a tenth, (x, y) or a path"
        )
    if not _is_number(given) and not (isinstance(given, (tuple, list)) and len(given) == 2):
        raise DataError(
            f"validation of type {type(given).__name__} cannot be read",
            hint="pass a share as validation=0.1, arrays as (x, y), or a path",
        )
    return given


def check_fits(asked: Settings, name: str, reference: Any) -> None:
    """Refuse what a model cannot do.

    Raises:
        UnsupportedError: It has no frozen base; or its library trains in another way.
    """
    for argument in ("fine_tune", "weights"):
        if getattr(asked, argument) is not None and not hasattr(reference, "unfreeze"):
            raise UnsupportedError(
                f"{name} takes no {argument}=",
                why="it has no network below its head that was trained before",
                hint='train "image-classifier", or your own model in two phases: fit(…, callbacks=[run.phase("head")'
                '.resume()]), then unfreeze, compile and fit with run.phase("fine-tune")',
            )


def _class_weight(given: Any) -> str | dict[int, float] | None:
    if given is None or (isinstance(given, str) and given == "balanced"):
        return given
    form = 'pass class_weight="balanced", or a weight for each class number, as {0: 1.0, 1: 5.0}'
    if not isinstance(given, Mapping) or not given:
        raise DataError(f"class_weight={given!r} is not valid", hint=form)
    for number, weight in given.items():
        if not _is_whole(number) or not _is_number(weight) or not 0 <= weight < float("inf"):
            raise DataError(f"class_weight has {weight!r} for the class {number!r}", hint=form)
    return {int(number): float(weight) for number, weight in given.items()}


def _callbacks(given: Any) -> tuple[Any, ...]:
    callbacks = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    for number, one in enumerate(callbacks):
        if isinstance(one, Run):
            raise DataError(
                f"callbacks[{number}] is a run, which is not a callback",
                hint="pass it as run=: train saves and resumes it by itself",
            )
        if isinstance(one, type) or not (hasattr(one, "set_model") or callable(one)):
            what = f"the class {one.__name__}" if isinstance(one, type) else f"of type {type(one).__name__}"
            raise DataError(
                f"callbacks[{number}] is {what}, which is not a callback",
                hint="pass objects, as in callbacks=[keras.callbacks.CSVLogger('log.csv')]",
            )
    return callbacks


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(getattr(value, "item", lambda: value)(), int)


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(getattr(value, "item", lambda: value)(), (int, float))
    except ValueError:  # an array of several
        return False
