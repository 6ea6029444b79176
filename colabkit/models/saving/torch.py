"""Models of fastai: a bundle that holds nothing but numbers and names, or fastai's own file, which is a pickle."""

from __future__ import annotations

import importlib
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from colabkit._internal.disk.files import atomic_path, sha256
from colabkit.checkpoint.fastai.install_check import require_fastai
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.state import pytree
from colabkit.errors import AddressError, CheckpointError, ModelFileError, UnsafeModelError, UnsupportedError
from colabkit.models.results.result import Result
from colabkit.models.saving import bundle, zip_reader
from colabkit.models.torch.classifier import TorchClassifier

PICKLE = ".pkl"
_WEIGHTS = "model.safetensors"
_WHY = "the network of the bundle is built with it"


def is_ours(model: Any) -> bool:
    """Say whether a model, or what `train` gave, is one of fastai."""
    bare = model.model if isinstance(model, Result) else model
    return isinstance(model, TorchClassifier) or any(kind.__module__ == "fastai.learner" for kind in type(bare).__mro__)


def is_bundle(path: Path) -> bool:
    """Say whether a bundle holds a network of torch; what is no zip at all is not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _WEIGHTS in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def save(model: Any, path: Path) -> Path:
    """Save a model of fastai as its ending says.

    Raises:
        AddressError: The ending says nothing.
        UnsupportedError: That form cannot be made of it.
    """
    learn = model.model if isinstance(model, Result) else model
    if path.name.endswith(PICKLE) and hasattr(learn, "export"):
        try:
            with atomic_path(path) as temporary:
                learn.export(Path(temporary).absolute())
        except TypeError as error:  # plum-dispatch 2.10 gave the functions of fastai's transforms a lock
            raise UnsupportedError(
                f"{path} cannot be written",
                why=f"fastai's own export failed: {error}",
                hint='save a .zip bundle, or run: pip install "plum-dispatch<2.10", then restart the kernel',
            ) from error
        return path
    if not path.name.endswith(".zip"):
        raise AddressError(
            f"{path} does not say how to save a model of fastai",
            hint=f"for a bundle {path.with_suffix('.zip')}, for fastai's own file {path.with_suffix(PICKLE)}",
        )
    classifier = model.classifier if isinstance(model, Result) else model
    if not isinstance(classifier, TorchClassifier):
        raise UnsupportedError(
            f"a bundle cannot be made of {type(model).__name__}",
            why="it names its network, and only those that ship with colabkit have a name",
            hint=f"pass what ck.train gave, or save {path.with_suffix(PICKLE)}, which runs code when it is loaded",
        )
    _write(classifier, path)
    return path


def _write(classifier: TorchClassifier, path: Path) -> None:
    import numpy as np
    import torch

    _module_of(classifier.name)
    tensors: dict[str, Any] = {}
    for name, tensor in classifier.model.state_dict().items():
        pytree.flatten(tensor, name, tensors)
    versions = pytree.versions(torch=torch.__version__, numpy=np.__version__)
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        weights = Path(folder, _WEIGHTS)
        with open(weights, "wb") as file:
            container.write(file, tensors, {"kind": "model", "network": classifier.name})
        description = bundle.describe(classifier, versions=versions, digest=sha256(weights))
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(bundle.DESCRIPTION, json.dumps(description, indent=2, ensure_ascii=False))
            archive.write(weights, _WEIGHTS)


def read(path: Path) -> TorchClassifier:
    """Read a bundle: its network is one of those that ship with colabkit, and its weights are numbers.

    Raises:
        ModelFileError: It is damaged, or of another form; the message names the member.
        UnsafeModelError: It would write outside.
        NewerFormatError: A newer colabkit wrote it.
        MissingDependencyError: fastai is not installed.
    """
    from colabkit.checkpoint.state.restore_into import restore_into

    name = str(path)
    with (
        open(path, "rb") as file,
        zip_reader.opened(file, name, needed=(bundle.DESCRIPTION, _WEIGHTS), allowed=()) as archive,
        zip_reader.extracted(archive, _WEIGHTS, name) as weights,
    ):
        description = bundle.read_description(archive, name)
        if sha256(weights) != description["model_sha256"]:
            raise ModelFileError(
                f"the member {_WEIGHTS!r} of {name} is not what was saved",
                why="its sha256 differs",
                hint="save it again",
            )
        try:
            saved = container.read(weights)
        except CheckpointError as error:
            raise ModelFileError(f"the member {_WEIGHTS!r} of {name} is damaged", why=error.why) from error
    module = _module_of(description["name"])
    require_fastai(why=_WHY)
    network = module.network(len(description["labels"]))
    try:
        restore_into(network, dict(saved.tensors), "the network")
    except Exception as error:  # the tensors are the file's, whatever torch makes of them
        raise ModelFileError(
            f"the weights in {name} do not fit the network {description['name']}", why=str(error), hint="save it again"
        ) from error
    return TorchClassifier(
        name=description["name"],
        model=network.eval(),
        shape=tuple(description["shape"]),
        divide_by=description["divide_by"],
        labels=tuple(description["labels"]),
        metrics=description["metrics"],
        versions=description["versions"],
    )


def read_pickle(path: Path, *, trusted: bool) -> Any:
    """Load what fastai's `learn.export` has written.

    Raises:
        UnsafeModelError: It is not trusted.
    """
    if not trusted:
        raise UnsafeModelError(
            f"{path} is a pickle, which can run any code when it is loaded",
            why="that is the form of fastai's learn.export",
            hint="use a bundle (.zip), or pass trusted=True for a file that you made yourself",
        )
    require_fastai(why="it loads what learn.export has written")
    from fastai.learner import load_learner

    return load_learner(path)


def _module_of(name: str) -> Any:
    """Find the file of the reference model that a bundle names; nothing else is imported for it."""
    from colabkit.models import MODELS

    module = importlib.import_module(MODELS[name]) if name in MODELS else None
    if module is None or not hasattr(module, "network"):
        raise ModelFileError(
            f"there is no network {name!r}", why="colabkit ships none of that name", hint="update colabkit"
        )
    return module
