"""Which backend Keras runs on, or would run on, found without importing one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._tools.optional import requirements
from colabkit.errors import MissingDependencyError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "KERAS_BACKEND"

_JAX_PLUGINS = ("cuda13", "cuda12", "rocm7", "rocm6", "rocm60", "rocm")

TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
"""The backends that train, in the order in which they are taken, by the names to show."""


@dataclass(frozen=True, kw_only=True)
class Backends:
    """What this process has.

    Attributes:
        loaded: The backend of the Keras that is already imported; None before that.
        env: The environment variables.
        installed: The installed ones, in the order of `TITLES`.
        tensorflow_cpu: TensorFlow's wheel is the one that has no GPU code.
        jax_cpu: JAX is installed without the plugin that brings its GPU code.
    """

    loaded: str | None
    env: Mapping[str, str]
    installed: tuple[str, ...]
    tensorflow_cpu: bool = False
    jax_cpu: bool = False


def look() -> Backends:
    """Look at the modules and packages of this process."""
    return Backends(
        loaded=loaded(),
        env=dict(os.environ),
        installed=tuple(name for name in TITLES if importlib.util.find_spec(name) is not None),
        tensorflow_cpu=_has("tensorflow-cpu") and not _has("tensorflow"),
        jax_cpu=_has("jax") and not any(_has(f"jax-{plugin}-plugin") for plugin in _JAX_PLUGINS),
    )


def loaded() -> str | None:
    """Return the backend of the imported Keras, or None while it is not imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


def pick(found: Backends, wanted: str | None) -> str:
    """Decide on a backend: the one wanted, the one that is loaded, KERAS_BACKEND's, or the first installed."""
    if wanted and found.loaded and wanted != found.loaded:
        raise already_loaded(wanted, found.loaded)
    # A loaded Keras comes before the variable: changing the variable after the import changes nothing.
    name = wanted or found.loaded or found.env.get(VARIABLE)
    if not name:
        if not found.installed:
            raise MissingDependencyError(
                "no backend of Keras is installed",
                why="training needs tensorflow, jax or torch",
                do=f"run: pip install {' '.join(requirements('train')) or 'tensorflow'}",
            )
        return found.installed[0]
    if name not in TITLES:
        raise UnsupportedError(
            f"the Keras backend {name!r} cannot be used to train",
            why=f"known are {', '.join(TITLES)}",
            do=f"set {VARIABLE} to one of them and restart the kernel",
        )
    if name not in found.installed:
        here = ", ".join(found.installed) or "none"
        raise UnsupportedError(
            f"the backend {name!r} cannot be used",
            why=f"the package {name} is not installed; installed: {here}",
            do=f"run: pip install {name}",
        )
    return name


def already_loaded(wanted: str, loaded: str) -> UnsupportedError:
    """Make the refusal of a backend that comes too late."""
    return UnsupportedError(
        f"the backend {wanted!r} cannot be used in this process",
        why=f"keras is already loaded with {loaded!r}, and cannot change while the process lives",
        do=f"restart the kernel and ask for {wanted!r} before keras is imported, or go on with {loaded!r}",
    )


def _has(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
