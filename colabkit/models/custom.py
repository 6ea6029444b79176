"""A user's own model and data, trained as a reference model is."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.paths import expand
from colabkit._internal.nearest import suggest
from colabkit.errors import ColabKitError, DataError, NotFoundError, UnknownNameError
from colabkit.models.base import ImageData
from colabkit.models.readers.npz import read_npz

if TYPE_CHECKING:
    from colabkit.models.base import Build, Sprint

_FORMS = (
    "give arrays as (x, y), as ((x_train, y_train), (x_test, y_test)), as a dict or an .npz file with these names, "
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
        self.name = name_of(build)

    def load(self, data: Any) -> ImageData:
        """Bring the user's data, or what the user's function gives, into one form."""
        import numpy as np

        if isinstance(data, (str, os.PathLike)):
            data = from_file(str(data)) if ".py:" in str(data) else read_npz(expand(data), hint=_FORMS)
        given = data() if callable(data) else data
        if isinstance(given, Mapping) and {"x", "y"} <= given.keys():
            given = (given["x"], given["y"])
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
            raise DataError(f"data of type {type(given).__name__} cannot be trained on", hint=_FORMS)
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
            raise DataError(f"{source}: x_train is empty", hint=_FORMS)
        x_test, y_test = arrays["x_test"], arrays["y_test"]
        return ImageData(x_train=x, y_train=y, x_test=x_test, y_test=y_test, labels=(), source=source)

    def build(self, learning_rate: Any = None) -> Any:
        """Call the user's function; a learning rate that `train` was given takes the place of its own."""
        model = self._build()
        if not getattr(model, "compiled", False):
            raise DataError(
                f"{self.name}() gave {type(model).__name__}, which is not a compiled Keras model",
                hint="call model.compile(...) and return the model; a function that gives a torch module gives its "
                "data with it, so leave data= out",
            )
        if learning_rate is not None:
            try:
                model.optimizer.learning_rate = learning_rate
            except (TypeError, AttributeError) as error:
                raise DataError(
                    f"learning_rate= cannot be set on the {type(model.optimizer).__name__} of {self.name}()",
                    why=str(error).partition(". ")[0],
                    hint=f"leave learning_rate= out, and set it where {self.name}() compiles the model",
                ) from error
        return model


def name_of(build: Any) -> str:
    """Call a model by the function that builds it."""
    return getattr(build, "__name__", type(build).__name__).strip("<>_") or "model"


def from_module(place: str) -> Callable[[], Any]:
    """Load a function of the user's from a module, as "package.module:build"; the module is imported.

    Raises:
        NotFoundError: There is no such module.
        UnknownNameError: It has no such function.
    """
    name, _, function = place.partition(":")
    try:
        module = importlib.import_module(name)
    except (ImportError, ValueError, TypeError) as error:
        raise NotFoundError(
            f"there is no module {name!r}", why=str(error), hint="name one as package.module:build, or a file: train.py"
        ) from error
    return _function_of(module, function, name)


def from_file(place: str) -> Callable[[], Any]:
    """Load a function of the user's from where it is, as "train.py:build"; the file is run.

    Raises:
        NotFoundError: There is no such file.
        UnknownNameError: The file has no such function.
        DataError: The file ends with an error.
    """
    file, _, name = place.rpartition(":") if ".py:" in place else (place, "", "build")
    path = expand(file)
    if not path.is_file():
        raise NotFoundError(f"there is no file at {path}", hint="check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} is not a Python file", hint="name one as train.py:build")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # its own imports, as when it is run itself
    try:
        spec.loader.exec_module(module)
    except ColabKitError:
        raise
    except Exception as error:  # it is the user's code
        raise DataError(
            f"{path} ends with {type(error).__name__}: {error}", hint=f"run it by itself: python {path}"
        ) from error
    return _function_of(module, name, path)


def _function_of(module: Any, name: str, where: object) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UnknownNameError(f"{where} has no function {name!r}", hint=suggest(name, functions))
    maker: Callable[[], Any] = function
    return maker


def _check(part: str, x: Any, y: Any) -> None:
    for name, array in ((f"x_{part}", x), (f"y_{part}", y)):
        if not array.ndim or array.dtype.hasobject:
            raise DataError(f"{name} is not an array of numbers", why=f"it is {array.dtype} {array.shape}", hint=_FORMS)
    if len(x) != len(y):
        raise DataError(f"x_{part} has {len(x)} samples and y_{part} {len(y)}", hint="pass one target per sample")
