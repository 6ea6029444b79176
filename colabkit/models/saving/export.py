"""Export for serving: a SavedModel folder, or a file for TF Lite; neither is read back as a Keras model."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import atomic_path, map_os_errors
from colabkit._internal.optional import require
from colabkit._internal.process.quiet import native_stderr_hidden
from colabkit.errors import ExistsError, UnsupportedError
from colabkit.models.results.classifier import Classifier
from colabkit.models.results.result import Result
from colabkit.runtime import my_drive

if TYPE_CHECKING:
    from colabkit._types import StrPath

_LITE, _ONNX = ".tflite", ".onnx"
_MARK = "saved_model.pb"


def export_model(model: Any, where: StrPath) -> Path:
    """Export a model for serving; what it takes and gives stays the same.

    Args:
        model: A `keras.Model`, what `train` gave, or a `colabkit.models.Classifier`, of which the bare model is
            exported. For probabilities pass `classifier.probability_model()`.
        where: A file that ends with `.tflite` for TF Lite and LiteRT, or with `.onnx` where onnx and tf2onnx are
            installed; else a folder, which becomes a SavedModel for
            TensorFlow Serving, `tf.saved_model.load` and `keras.layers.TFSMLayer`.

    Returns:
        The written file or folder. It appears whole; an earlier export there is replaced.

    Raises:
        UnsupportedError: The backend, the TensorFlow that is installed, or the model does not allow it.
        ExistsError: The place is taken by something that is no export.
        MissingDependencyError: Keras or TensorFlow is not installed.

    Example:
        ```python
        result = ck.train("mnist-mlp")
        ck.export_model(result.classifier.probability_model(), "./served/1")
        ```
    """
    bare: Any = model.model if isinstance(model, (Result, Classifier)) else model
    path = my_drive.path_to_write(where, 'export it here, then ck.push(FOLDER, "{}")')
    keras = require("keras", extra="train", why="exporting a model needs it")
    with native_stderr_hidden():
        require("tensorflow", extra="train", why="SavedModel and TF Lite are its formats")
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise UnsupportedError(
            f"Keras on {backend} writes no SavedModel that can be relied on",
            why="its way there is an experiment that needs torch_xla",
            hint="save it with ck.save_model as .keras, and export it from there with KERAS_BACKEND=tensorflow",
        )
    if path.suffix == _ONNX:
        return _onnx(bare, path)
    if path.suffix == _LITE:
        return _lite(bare, path)
    if path.exists() and not (path / _MARK).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise ExistsError(f"{path} exists and is not a SavedModel", hint="choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with map_os_errors(path), tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        _saved_model(bare, new)
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    return path


def _saved_model(model: Any, folder: Path) -> None:
    try:
        with native_stderr_hidden():
            model.export(str(folder), verbose=False)
    except Exception as error:  # Keras, TensorFlow and JAX each raise their own
        shutil.rmtree(folder, ignore_errors=True)
        raise UnsupportedError(
            f"the model {model.name} cannot be exported",
            why=str(error).strip().partition("\n")[0][:300],
            hint="call it once on data so that it is built, and use layers of Keras' own; or save it as .keras",
        ) from error


def _onnx(model: Any, path: Path) -> Path:
    for package in ("onnx", "tf2onnx"):
        require(package, extra="onnx", why="ONNX is written with it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        written = Path(folder, "model.onnx")
        try:
            with native_stderr_hidden():
                model.export(str(written), format="onnx", verbose=False)
        except Exception as error:  # the converter raises what it likes
            raise UnsupportedError(
                f"the model {model.name} cannot be converted to an ONNX model",
                why=str(error).strip().partition("\n")[0][:300],
                hint="use layers that ONNX has, or export a SavedModel folder",
            ) from error
        temporary.write_bytes(written.read_bytes())
    return path


def _lite(model: Any, path: Path) -> Path:
    import tensorflow as tf

    converter = getattr(getattr(tf, "lite", None), "TFLiteConverter", None)
    if converter is None:
        raise UnsupportedError(
            f"TensorFlow {tf.__version__} has no converter to TF Lite",
            why="later versions leave it to another package",
            hint="export a SavedModel folder, and convert that where there is a TensorFlow with tf.lite",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        saved = Path(folder, "model")
        _saved_model(model, saved)
        try:
            with native_stderr_hidden():
                content = converter.from_saved_model(str(saved)).convert()
        except Exception as error:  # same
            raise UnsupportedError(
                f"the model {model.name} cannot be converted to a TF Lite model",
                why=str(error).strip().partition("\n")[0][:300],
                hint="use layers that TF Lite has, or export a SavedModel folder",
            ) from error
        temporary.write_bytes(content)
    return path
