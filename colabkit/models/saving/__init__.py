"""Saving and loading a model: its weights, the whole of it, or a bundle that predicts from raw images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._tools.files import staged
from colabkit._tools.optional import require
from colabkit.errors import AddressError, ModelFileError, UnsupportedError
from colabkit.models.base import Result
from colabkit.models.classifier import Classifier
from colabkit.models.saving import _torch

if TYPE_CHECKING:
    from colabkit._types import StrPath

__all__ = ["load_model", "save_model"]

_WEIGHTS, _WHOLE, _BUNDLE = ".weights.h5", ".keras", ".zip"
_WHY = "saving and loading models needs it"


def save_model(model: Any, where: StrPath) -> Path:
    """Save a model; the file appears whole or not at all, and what was there before stays until then.

    Args:
        model: A `keras.Model`, what `train` gave, or a `colabkit.models.Classifier`.
        where: Its ending says what is saved: `.weights.h5` the weights, `.keras` the whole model, `.zip` a bundle with
            preprocessing, labels, versions and metrics, which predicts from raw images in any process. A bundle is
            made of what `train` gave, or of a Classifier. A learner of fastai is saved as a bundle or, with `.pkl`, as
            its own `export` does it.

    Returns:
        The written file.

    Raises:
        AddressError: The ending says nothing; the message tells the form for it.
        DataError: The classes have no names, so no bundle can be made.

    Example:
        ```python
        result = ck.train("digits-cnn")
        ck.save_model(result, "digits.zip")
        print(ck.load_model("digits.zip").predict("seven.png")[0].label)
        ```
    """
    path = Path(where).expanduser()
    if _torch.is_ours(model):
        path.parent.mkdir(parents=True, exist_ok=True)
        return _torch.save(model, path)
    require("keras", extra="train", why=_WHY)
    kind = _ending(path)
    if kind is None:
        raise AddressError(
            f"{path} does not say what to save",
            why="Keras 3 writes no checkpoints without an ending and no SavedModel folders here",
            do=f"for the weights {path}{_WEIGHTS}, for the whole model {path}{_WHOLE}, for a bundle {path}{_BUNDLE}",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == _BUNDLE:
        from colabkit.models.saving._bundle import write_bundle

        classifier = model.classifier if isinstance(model, Result) else model
        if not isinstance(classifier, Classifier):
            raise UnsupportedError(
                f"a bundle cannot be made of {type(model).__name__}",
                why="it needs preprocessing and labels",
                do="pass what ck.train gave, or colabkit.models.Classifier(name=…, model=…, shape=…, labels=…)",
            )
        write_bundle(classifier, path)
        return path
    bare: Any = model.model if isinstance(model, (Result, Classifier)) else model
    with staged(path) as temporary:
        if kind == _WEIGHTS:
            bare.save_weights(temporary)
        else:
            bare.save(temporary)
    return path


def load_model(where: StrPath, *, into: Any = None, trusted: bool = False) -> Any:
    """Load what `save_model` or Keras has saved; nothing in the file is run.

    Args:
        where: The file.
        into: The model that takes the weights; for `.weights.h5` only.
        trusted: Allow files that bring code of their own (Lambda layers, custom classes). Only for files that you made.

    Returns:
        A `keras.Model`, for a bundle a `colabkit.models.Classifier`, for a trusted `.pkl` a learner of fastai.

    Raises:
        ModelFileError: The file is damaged or of another form; the message names the member.
        UnsafeModelError: It would run code or read other files; the message names the layer or the member.
        AddressError: The ending says nothing, or there is no file.

    Example:
        ```python
        model = ck.load_model("digits.keras")
        ```
    """
    path = Path(where).expanduser()
    if path.is_file() and path.name.endswith(_torch.PICKLE):
        return _torch.read_pickle(path, trusted=trusted)
    if path.name.endswith(_BUNDLE) and _torch.is_bundle(path):
        return _torch.read(path)
    keras = require("keras", extra="train", why=_WHY)
    kind = _ending(path)
    if kind is None or not path.is_file():
        raise _not_there(path)
    from colabkit.models.saving import _bundle, _weights, _whole

    if kind == _BUNDLE:
        return _bundle.read_bundle(path, trusted=trusted)
    if kind == _WHOLE:
        return _whole.read(path, str(path), trusted=trusted)
    if into is None:
        raise AddressError(
            f"{path} holds weights alone",
            why="they need a model to go into",
            do="build the model and pass it: load_model(..., into=model)",
        )
    _weights.check(path, str(path))
    try:
        into.load_weights(path)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise ModelFileError(
            f"the weights in {path} do not fit {into.name}",
            why=str(error).partition("\n")[0][:300],
            do=f"build the model as it was; this is Keras {keras.__version__}",
        ) from error
    return into


def _ending(path: Path) -> str | None:
    return next((ending for ending in (_WEIGHTS, _WHOLE, _BUNDLE) if path.name.endswith(ending)), None)


def _not_there(path: Path) -> AddressError:
    """Say what is there instead: the forms of old tutorials, or nothing."""
    if path.with_name(f"{path.name}.index").is_file():
        return AddressError(
            f"{path} is a checkpoint of TensorFlow, which Keras 3 does not read",
            do=f"where it was written, save it as {path}{_WEIGHTS}; or read its arrays with tf.train.load_checkpoint",
        )
    if (path / "saved_model.pb").is_file():
        return AddressError(
            f"{path} is a SavedModel folder, which Keras 3 does not load as a model",
            do=f"where it was written, save it as {path}{_WHOLE}; or use it for predictions alone: "
            f'keras.layers.TFSMLayer("{path}", call_endpoint="serving_default")',
        )
    for ending in (_WHOLE, _WEIGHTS, _BUNDLE):
        if path.with_name(f"{path.name}{ending}").is_file():
            return AddressError(f"{path} has no ending", do=f"load {path}{ending}, which is there")
    if _ending(path) is None and path.exists():
        return AddressError(f"{path} is no model file", do=f"its name must end with {_WHOLE}, {_WEIGHTS} or {_BUNDLE}")
    return AddressError(f"there is no file {path}", do="check the path")
