"""A user's own model and data, trained as a reference model is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from colabkit.errors import DataError
from colabkit.models.base import ImageData

if TYPE_CHECKING:
    from colabkit.models.base import Build
    from colabkit.models.recipes import Sprint

_FORMS = (
    "give arrays as (x, y), as ((x_train, y_train), (x_test, y_test)), as a dict with these four names, "
    "or a function that returns one of these"
)


class OwnModel:
    """What `train` needs to know of a user's function; it offers what the file of a reference model does.

    Args:
        build: Builds and compiles a model.
    """

    EPOCHS = 10
    BATCH_SIZE = 32
    STEPS_AT_ONCE: int | None = None  # its steps may be long, and Ctrl-C waits for all that run at once
    FASTEST_ON_CPU: str | None = None
    SPRINT: Sprint | None = None

    def __init__(self, build: Build) -> None:
        self._build = build
        self.name = getattr(build, "__name__", type(build).__name__).strip("<>_") or "model"

    def load(self, data: Any) -> ImageData:
        """Bring the user's data, or what the user's function gives, into one form."""
        import numpy as np

        given = data() if callable(data) else data
        source = f"{getattr(data, '__name__', 'a function')}()" if callable(data) else "arrays"
        if isinstance(given, ImageData):
            return given
        if isinstance(given, Mapping) and {"x_train", "y_train"} <= given.keys():
            x, y = given["x_train"], given["y_train"]
            x_test, y_test = given.get("x_test"), given.get("y_test")
        elif isinstance(given, (tuple, list)) and len(given) == 2:
            pairs = all(isinstance(part, (tuple, list)) and len(part) == 2 for part in given)
            (x, y), (x_test, y_test) = given if pairs else (given, (None, None))
        else:
            raise DataError(f"data of type {type(given).__name__} cannot be trained on", do=_FORMS)
        x, y = np.asarray(x), np.asarray(y)
        tested = x_test is not None and y_test is not None
        arrays = {
            "x_train": x,
            "y_train": y,
            "x_test": np.asarray(x_test) if tested else x[:0],
            "y_test": np.asarray(y_test) if tested else y[:0],
        }
        for part in ("train", "test"):
            _check(part, arrays[f"x_{part}"], arrays[f"y_{part}"])
        if not len(x):
            raise DataError(f"{source}: x_train is empty", do=_FORMS)
        x_test, y_test = arrays["x_test"], arrays["y_test"]
        return ImageData(x_train=x, y_train=y, x_test=x_test, y_test=y_test, labels=(), source=source)

    def build(self, learning_rate: Any = None) -> Any:  # noqa: ARG002 - the contract of a reference model
        """Call the user's function."""
        model = self._build()
        if not getattr(model, "compiled", False):
            raise DataError(
                f"{self.name}() gave {type(model).__name__}, which is no compiled Keras model",
                do="call model.compile(...) and return the model",
            )
        return model


def _check(part: str, x: Any, y: Any) -> None:
    for name, array in ((f"x_{part}", x), (f"y_{part}", y)):
        if not array.ndim or array.dtype.hasobject:
            raise DataError(f"{name} is no array of numbers", why=f"it is {array.dtype} {array.shape}", do=_FORMS)
    if len(x) != len(y):
        raise DataError(f"x_{part} has {len(x)} samples and y_{part} {len(y)}", do="pass one target a sample")
