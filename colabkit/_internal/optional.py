"""Optional packages: imported when first needed, or refused with the exact line that installs them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from colabkit._version import DISTRIBUTION
from colabkit.errors import MissingDependencyError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_ALONE = {"PIL": "pillow", "h5py": "h5py", "matplotlib": "matplotlib"}
"""What draws, reads pictures or stores weights, whichever framework trains: its line asks for none of them."""
_NEED_TORCH = {"torch", "torchvision", "fastai", "lightning", "pytorch_lightning", "transformers", "accelerate"}


def require(module: str, *, extra: str, why: str) -> Any:
    """Import and return an optional module.

    Args:
        module: The dotted module name.
        extra: The extra of this distribution that brings it.
        why: What it is needed for, as in "training needs it".

    Raises:
        MissingDependencyError: It is not installed; the message has the install line.

    Example:
        >>> require("json", extra="train", why="reading settings needs it").dumps([1])
        '[1]'
    """
    if module.partition(".")[0] in _NEED_TORCH:
        from colabkit._internal.process.frameworks import before_torch

        before_torch()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise  # the package is there; something of its own is missing, and its message says what
        package = module.partition(".")[0]
        alone = _ALONE.get(package)
        line = (_requirement(alone) or alone) if alone else " ".join(requirements(extra, first=package)) or package
        raise MissingDependencyError(
            f"the package {package!r} is not installed", why=why, hint=f"run: pip install {line}"
        ) from error


def as_missing(error: ModuleNotFoundError, why: str) -> ImportError:
    """Turn the error of a package that an extra brings into ours, with the line that installs it.

    Args:
        error: What an import raised.
        why: What it is needed for.

    Returns:
        A `MissingDependencyError`; the error itself for a package that no extra names.
    """
    package = (error.name or "").partition(".")[0]
    line = _requirement(package)
    if not line:
        return error
    training = requirements("train")
    more = f"; to train with Keras: pip install {' '.join(training)}" if line in training and len(training) > 1 else ""
    return MissingDependencyError(
        f"the package {package!r} is not installed", why=why, hint=f"run: pip install {line}{more}"
    )


def requirements(extra: str, *, first: str = "") -> list[str]:
    """List what an extra asks for, quoted for a shell; the package `first` before the others.

    The packages themselves, not "colabkit[extra]": this is right whatever name colabkit was installed by. A wheel lists
    them by name, so without `first` a user who lacks Ray would read of aiohttp.
    """
    missing = []
    for requirement in _declared():
        if requirement.marker and requirement.marker.evaluate({"extra": extra}):
            if requirement.marker.evaluate({"extra": ""}):
                continue
            requirement.marker = None
            missing.append(requirement)
    missing.sort(key=lambda requirement: requirement.name != first)
    return [f'"{requirement}"' for requirement in missing]


def _requirement(package: str) -> str:
    """Return what the extras ask of a package, quoted for a shell; "" for one that none names."""
    for requirement in _declared():
        if requirement.name == package and requirement.marker:
            requirement.marker = None
            return f'"{requirement}"'
    return ""


def _declared() -> list[Requirement]:
    import importlib.metadata

    from packaging.requirements import Requirement

    try:
        return [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    except importlib.metadata.PackageNotFoundError:
        return []
