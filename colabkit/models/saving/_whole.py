"""Whole models as Keras 3 saves them: looked through before Keras builds what they name.

Keras has its own safe mode; several ways past it were found in recent years (CVE-2025-1550, -8747, -9906, -12058), and
older Keras is what old images have. So the configuration is read here first: it may name Keras' own layers, losses and
the like, and nothing else.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from colabkit.errors import ModelFileError, UnsafeModelError
from colabkit.models.saving import _weights, _zip

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MODULES = re.compile(
    r"keras(\.(layers|activations|initializers|regularizers|constraints|losses|metrics|optimizers|models|random|"
    r"dtype_policies|quantizers)(\.\w+)*|\.src\.(models|ops|layers|losses|metrics|optimizers|activations|initializers|"
    r"regularizers|constraints|random|dtype_policies)(\.\w+)*)?"
)
_RUN_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"}
_READ_FILES = ("vocabulary", "vocabulary_file", "filepath", "idf_weights")
_DEEPEST = 200
_TRUST = "do not use it, or pass trusted=True if you made it yourself"


def read(path: Path, name: str, *, trusted: bool) -> Any:
    """Load a `.keras` file.

    Args:
        path: The file.
        name: What to call it in messages.
        trusted: Allow code of its own.

    Raises:
        ModelFileError: It is damaged, or of another Keras.
        UnsafeModelError: It would run code or read other files.
    """
    import keras

    with (
        open(path, "rb") as file,
        _zip.opened(file, name, needed=(_CONFIG, _METADATA, _WEIGHTS), allowed=("assets/",)) as archive,
    ):
        config = _object(_zip.read(archive, _CONFIG, name), _CONFIG, name)
        metadata = _object(_zip.read(archive, _METADATA, name), _METADATA, name)
        if not trusted:
            _check(config, _CONFIG, name)
        _weights.check(io.BytesIO(_zip.read(archive, _WEIGHTS, name)), f"{_WEIGHTS} in {name}")
    try:
        return keras.saving.load_model(path, safe_mode=not trusted)
    except Exception as error:
        written, here = metadata.get("keras_version", "unknown"), keras.__version__
        raise ModelFileError(
            f"{name} does not become a model",
            why=str(error).strip().partition("\n")[0][:300],
            do=f"it was written by Keras {written}, and this is {here}: "
            f"{'use that version' if written != here else 'save it again'}",
        ) from error


def _object(data: bytes, member: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"the member {member!r} of {name} is no JSON", why=str(error), do="save it again"
        ) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"the member {member!r} of {name} holds no object", do="save it again")
    return value


def _check(value: Any, place: str, name: str, depth: int = 0) -> None:
    """Refuse whatever names a class or function that is not plainly Keras' own."""
    if depth > _DEEPEST:
        raise UnsafeModelError(f"{place[:80]}… in {name} is nested too deep", why="no model is", do=_TRUST)
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check(item, f"{place}[{number}]", name, depth + 1)
    elif isinstance(value, dict):
        if "class_name" in value:
            _check_class(value, place, name)
        for key, item in value.items():
            if key in _READ_FILES and isinstance(item, str):
                raise UnsafeModelError(
                    f"{place}.{key} in {name} names a file, {item[:80]!r}", why="loading would read it", do=_TRUST
                )
            _check(item, f"{place}.{key}", name, depth + 1)


def _check_class(value: dict[str, Any], place: str, name: str) -> None:
    class_name, module = value["class_name"], value.get("module")
    layer = value.get("config", {}).get("name", "") if isinstance(value.get("config"), dict) else ""
    shown = f"{class_name!r}{f' ({layer!r})' if layer else ''}"
    if class_name in _RUN_CODE:
        raise UnsafeModelError(f"{name} has a {shown} at {place}", why="it brings code of its own", do=_TRUST)
    inner = ("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__keras_tensor__", "__tuple__")
    if module is None and class_name in inner:
        return
    if class_name == "function":
        function = value.get("registered_name") or value.get("config")
        raise UnsafeModelError(f"{name} calls the function {function!r} at {place}", why="it is no layer", do=_TRUST)
    if not isinstance(module, str) or not _MODULES.fullmatch(module):
        raise UnsafeModelError(
            f"{name} names the class {shown} of the module {module!r} at {place}", why="it is not Keras' own", do=_TRUST
        )
