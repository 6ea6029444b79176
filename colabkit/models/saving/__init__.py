"""Saving and loading a model: its weights, the whole of it, or a bundle that predicts from raw images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.disk import lfs_pointer
from colabkit._internal.disk.files import atomic_path
from colabkit._internal.disk.paths import on_this_machine
from colabkit._internal.optional import require
from colabkit.errors import AddressError, ModelFileError, NotFoundError, UnsupportedError
from colabkit.models.results.classifier import Classifier
from colabkit.models.results.result import Result
from colabkit.models.saving import state_dict, torch
from colabkit.runtime import my_drive

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath

__all__ = ["load_model", "save_model"]

_WEIGHTS, _WHOLE, _BUNDLE = ".weights.h5", ".keras", ".zip"
RUN_BUNDLE, RUN_MODEL, RUN_WEIGHTS = "model.zip", "model.keras", "model.safetensors"
"""What `colabkit train` leaves in the folder of a run."""

_WHY = "saving and loading models needs it"


def save_model(model: Any, where: StrPath) -> Path:
    """Save a model; the file appears whole or not at all, and what was there before stays until then.

    Args:
        model: A `keras.Model`, what `train` gave, or a `colabkit.models.Classifier`.
        where: Its ending says what is saved: `.weights.h5` the weights, `.keras` the whole model, `.zip` a bundle with
            preprocessing, labels, versions and metrics, which predicts from raw images in any process. A bundle is
            made of what `train` gave, or of a Classifier. A learner of fastai is saved as a bundle or, with `.pkl`, as
            its own `export` does it; of a torch module the weights, as `.safetensors` or `.pt`.

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
    path = my_drive.path_to_write(where, 'save it here, then ck.push(FILE, "{}")')
    if torch.is_ours(model):
        path.parent.mkdir(parents=True, exist_ok=True)
        return torch.save(model, path)
    module = model.model if isinstance(model, Result) else model
    if state_dict.is_module(module):
        path.parent.mkdir(parents=True, exist_ok=True)
        return state_dict.save(module, path)
    require("keras", extra="train", why=_WHY)
    kind = _ending(path)
    if kind is None:
        raise AddressError(
            f"{path} does not say what to save",
            why="Keras 3 writes no checkpoints without an ending and no SavedModel folders here",
            hint=f"for the weights {path}{_WEIGHTS}, for the whole model {path}{_WHOLE}, for a bundle {path}{_BUNDLE}",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == _BUNDLE:
        from colabkit.models.saving.bundle import write_bundle

        classifier = model.classifier if isinstance(model, Result) else model
        if not isinstance(classifier, Classifier):
            raise UnsupportedError(
                f"a bundle cannot be made of {type(model).__name__}",
                why="it needs preprocessing and labels",
                hint="pass what ck.train gave, or colabkit.models.Classifier(name=…, model=…, shape=…, labels=…)",
            )
        write_bundle(classifier, path)
        return path
    bare: Any = model.model if isinstance(model, (Result, Classifier)) else model
    if not hasattr(bare, "save_weights"):
        raise UnsupportedError(
            f"a {type(bare).__name__} cannot be saved as {path.name}",
            why="it is no model of Keras",
            hint="save a model of scikit-learn by joblib.dump, and any other by its own library",
        )
    with atomic_path(path) as temporary:
        if kind == _WEIGHTS:
            bare.save_weights(temporary)
        else:
            bare.save(temporary)
    return path


def load_model(where: StrPath, *, into: Any = None, trusted: bool = False) -> Any:
    """Load what `save_model` or Keras has saved; nothing in the file is run.

    Args:
        where: The file.
        into: The model that takes the weights; for `.weights.h5`, and for `.safetensors` and `.pt` a torch module.
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
    path = on_this_machine(where, 'bring it here first: ck.load_model(ck.fetch("{}"))')
    lfs_pointer.refuse(path, ModelFileError)
    if path.is_file() and path.name.endswith(torch.PICKLE):
        return torch.read_pickle(path, trusted=trusted)
    if path.name.endswith(_BUNDLE) and torch.is_bundle(path):
        return torch.read(path)
    if state_dict.is_file(path):
        return state_dict.load(path, into, trusted=trusted)
    keras = require("keras", extra="train", why=_WHY)
    kind = _ending(path)
    if kind is None or not path.is_file():
        raise _not_there(path)
    from colabkit.models.saving import bundle, keras_file, weights

    if kind == _BUNDLE:
        return bundle.read_bundle(path, trusted=trusted)
    if kind == _WHOLE:
        return keras_file.read(path, str(path), trusted=trusted)
    if into is None:
        raise AddressError(
            f"{path} holds weights alone",
            why="they need a model to go into",
            hint="build the model and pass it: load_model(..., into=model)",
        )
    weights.check(path, str(path))
    try:
        into.load_weights(path)
    except Exception as error:  # Keras, h5py and the backend each raise their own
        raise ModelFileError(
            f"the weights in {path} do not fit {into.name}",
            why=str(error).partition("\n")[0][:300],
            hint=f"build the model as it was; this is Keras {keras.__version__}",
        ) from error
    return into


def model_file(place: StrPath) -> Path:
    """Find the model of a run's folder, or return the file that was named.

    Raises:
        NotFoundError: There is none.
    """
    path = on_this_machine(place, 'bring it here first: ck.fetch("{}")')
    if path.is_dir():
        for name in (RUN_BUNDLE, RUN_MODEL):
            if (path / name).is_file():
                return path / name
        raise NotFoundError(
            f"the folder {path} holds no model",
            why=f"neither {RUN_BUNDLE} nor {RUN_MODEL} is there",
            hint="colabkit train writes one when it has ended; or save one with ck.save_model(result, PATH)",
        )
    if not path.is_file():
        raise NotFoundError(f"there is no file at {path}", hint="check the path")
    return path


def load_classifier(place: StrPath) -> Classifier:
    """Load a bundle, from its file or from the folder of a run.

    Raises:
        NotFoundError: There is none.
        UnsupportedError: The model was saved without its labels and preprocessing.
    """
    path = model_file(place)
    model = load_model(path)
    if not isinstance(model, Classifier):
        raise UnsupportedError(
            f"{path} holds a model alone",
            why="to use it on raw images its preprocessing and its labels are needed too",
            hint='save a bundle: ck.save_model(result, "model.zip")',
        )
    return model


def _ending(path: Path) -> str | None:
    return next((ending for ending in (_WEIGHTS, _WHOLE, _BUNDLE) if path.name.endswith(ending)), None)


def _not_there(path: Path) -> AddressError:
    """Say what is there instead: the forms of old tutorials, or nothing."""
    if path.with_name(f"{path.name}.index").is_file():
        return AddressError(
            f"{path} is a checkpoint of TensorFlow, which Keras 3 does not read",
            hint=f"where it was written, save it as {path}{_WEIGHTS}; or read its arrays with tf.train.load_checkpoint",
        )
    if (path / "saved_model.pb").is_file():
        return AddressError(
            f"{path} is a SavedModel folder, which Keras 3 does not load as a model",
            hint=f"where it was written, save it as {path}{_WHOLE}; or use it for predictions alone: "
            f'keras.layers.TFSMLayer("{path}", call_endpoint="serving_default")',
        )
    for ending in (_WHOLE, _WEIGHTS, _BUNDLE):
        if path.with_name(f"{path.name}{ending}").is_file():
            return AddressError(f"{path} has no ending", hint=f"load {path}{ending}, which is there")
    if _ending(path) is None and path.exists():
        return AddressError(
            f"{path} is not a model file", hint=f"its name must end with {_WHOLE}, {_WEIGHTS} or {_BUNDLE}"
        )
    return AddressError(f"there is no file {path}", hint="check the path")
