"""A bundle: a plain zip with the model, how to prepare raw images for it, and the names of its classes."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from colabkit._internal.disk.files import atomic_path, sha256
from colabkit._version import __version__
from colabkit.errors import ModelFileError, NewerFormatError
from colabkit.models.results.classifier import Classifier
from colabkit.models.saving import keras_file, zip_reader

_FORMAT = 1
DESCRIPTION, _MODEL = "bundle.json", "model.keras"
_LARGEST_DESCRIPTION = 1 << 20


def write_bundle(classifier: Classifier, path: Path) -> None:
    """Write a classifier as a bundle; it appears whole."""
    import keras
    import numpy as np

    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        model = Path(folder, _MODEL)
        classifier.model.save(model)
        versions = {
            "colabkit": __version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "backend": keras.backend.backend(),
        }
        description = describe(classifier, versions=versions, digest=sha256(model))
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(DESCRIPTION, json.dumps(description, indent=2, ensure_ascii=False))
            archive.write(model, _MODEL)


def describe(classifier: Classifier, *, versions: dict[str, str], digest: str) -> dict[str, Any]:
    """Return what a bundle says of a classifier.

    Args:
        classifier: The classifier.
        versions: Of the packages that the model needs.
        digest: The sha256 of the member that holds the model.
    """
    return {
        "format": _FORMAT,
        "name": classifier.name,
        "shape": list(classifier.shape),
        "divide_by": classifier.divide_by,
        "labels": list(classifier.labels),
        "metrics": dict(classifier.metrics),
        "versions": versions,
        "model_sha256": digest,
    }


def read_bundle(path: Path, *, trusted: bool) -> Classifier:
    """Read a bundle.

    Raises:
        ModelFileError: It is damaged, or no bundle; the message names the member.
        UnsafeModelError: It would run code, read other files or write outside.
        NewerFormatError: A newer colabkit wrote it.
    """
    name = str(path)
    with (
        open(path, "rb") as file,
        zip_reader.opened(file, name, needed=(DESCRIPTION, _MODEL), allowed=()) as archive,
        zip_reader.extracted(archive, _MODEL, name) as model,
    ):
        description = read_description(archive, name)
        if sha256(model) != description["model_sha256"]:
            raise ModelFileError(
                f"the member {_MODEL!r} of {name} is not what was saved", why="its sha256 differs", hint="save it again"
            )
        loaded = keras_file.read(model, f"{_MODEL} in {name}", trusted=trusted)
    try:
        return Classifier(
            name=description["name"],
            model=loaded,
            shape=tuple(description["shape"]),
            divide_by=description["divide_by"],
            labels=tuple(description["labels"]),
            metrics=description["metrics"],
            versions=description["versions"],
        )
    except Exception as error:  # the values are the file's, whatever they make of the model
        raise ModelFileError(
            f"the member {DESCRIPTION!r} of {name} does not fit its model", why=str(error), hint="save it again"
        ) from error


def read_description(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Read what a bundle says of itself, and see that it has the form of one.

    Raises:
        ModelFileError: It has not.
        NewerFormatError: A newer colabkit wrote it.
    """
    data = zip_reader.read(archive, DESCRIPTION, name, most=_LARGEST_DESCRIPTION)
    try:
        description = json.loads(data)
        known = int(description["format"])
        shape, labels = description["shape"], description["labels"]
        valid = (
            isinstance(description["name"], str)
            and isinstance(description["model_sha256"], str)
            and all(isinstance(description[key], dict) for key in ("metrics", "versions"))
            and isinstance(labels, list)
            and all(isinstance(label, str) for label in labels)
            and isinstance(shape, list)
            and bool(shape)
            and all(isinstance(length, int) and length > 0 for length in shape)
            and float(description["divide_by"]) > 0
        )
    except Exception as error:  # JSON of any form
        raise ModelFileError(
            f"the member {DESCRIPTION!r} of {name} cannot be read", why=repr(error)[:200], hint="save the bundle again"
        ) from error
    if known > _FORMAT:
        raise NewerFormatError(
            f"{name} has the format {known}", why=f"this colabkit reads {_FORMAT}", hint="update colabkit"
        )
    if not valid:
        raise ModelFileError(f"the member {DESCRIPTION!r} of {name} has values of the wrong type", hint="save it again")
    result: dict[str, Any] = description
    return result
