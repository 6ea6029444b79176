"""Which backend Keras runs on, or would run on, found without importing one."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.optional import requirements
from colabkit.accelerator.build_info import build_info
from colabkit.errors import MissingDependencyError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.accelerator.build_info import Wheel

VARIABLE = "KERAS_BACKEND"

TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
"""The backends that train, in the order in which they are taken, by the names to show."""


@dataclass(frozen=True, kw_only=True)
class Backends:
    """What this process has.

    Attributes:
        loaded: The backend of the Keras that is already imported; None before that.
        env: The environment variables.
        installed: The installed ones, in the order of `TITLES`.
        wheel: Tells what one of them was built for, where that is known; asked only where there is an accelerator.
        touched: One of them is imported, so this process may hold memory of a GPU itself.
    """

    loaded: str | None
    env: Mapping[str, str]
    installed: tuple[str, ...]
    wheel: Callable[[str], Wheel | None] = field(default=lambda _: None)
    touched: bool = False


def detect_backends() -> Backends:
    """Look at the modules and packages of this process."""
    return Backends(
        loaded=loaded(),
        env=config.environment(),
        installed=tuple(name for name in TITLES if importlib.util.find_spec(name) is not None),
        wheel=lambda name: build_info(name, _find),
        touched=touched(),
    )


def touched() -> bool:
    """Say whether this process may use a GPU itself, as it has imported what does."""
    return any(name in sys.modules for name in TITLES)


def loaded() -> str | None:
    """Return the backend of the imported Keras, or None while it is not imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


def pick(available: Backends, requested: str | None) -> str:
    """Decide on a backend: the one wanted, the one that is loaded, KERAS_BACKEND's, or the first installed."""
    if requested and available.loaded and requested != available.loaded:
        raise already_loaded(requested, available.loaded)
    # A loaded Keras comes before the variable: changing the variable after the import changes nothing.
    name = requested or available.loaded or available.env.get(VARIABLE)
    if not name:
        if not available.installed:
            raise MissingDependencyError(
                "no backend of Keras is installed",
                why="training needs tensorflow, jax or torch",
                hint=f"run: pip install {' '.join(requirements('train')) or 'tensorflow'}",
            )
        return available.installed[0]
    if name not in TITLES:
        raise UnsupportedError(
            f"the Keras backend {name!r} cannot be used to train",
            why=f"known are {', '.join(TITLES)}",
            hint=f"set {VARIABLE} to one of them and restart the kernel",
        )
    if name not in available.installed:
        here = ", ".join(available.installed) or "none"
        raise UnsupportedError(
            f"the backend {name!r} cannot be used",
            why=f"the package {name} is not installed; installed: {here}",
            hint=f"run: pip install {name}",
        )
    return name


def already_loaded(requested: str, loaded: str) -> UnsupportedError:
    """Make the refusal of a backend that comes too late."""
    return UnsupportedError(
        f"the backend {requested!r} cannot be used in this process",
        why=f"keras is already loaded with {loaded!r}, and cannot change while the process lives",
        hint=f"ask for {requested!r} in a cell before keras is imported and restart the kernel, which "
        f"colabkit.detect().restart() does in place, or continue with {loaded!r}",
    )


def _find(distribution: str) -> tuple[str, Path] | None:
    from importlib import metadata  # as slow to import as all of colabkit

    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return None
    return installed.version, Path(str(installed.locate_file("")))
