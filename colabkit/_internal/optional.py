"""Optional packages: imported when first needed, or refused with the exact line that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from colabkit._version import DISTRIBUTION
from colabkit.errors import MissingDependencyError

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
        raise MissingDependencyError(
            f"the package {module.partition('.')[0]!r} is not installed",
            why=why,
            hint=f"run: pip install {' '.join(requirements(extra)) or module.partition('.')[0]}",
        ) from error


def requirements(extra: str) -> list[str]:
    """List what an extra asks for, quoted for a shell.

    The packages themselves, not "colabkit[extra]": this is right whatever name colabkit was installed by.
    """
    import importlib.metadata

    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    missing = []
    for text in declared:
        requirement = Requirement(text)
        if requirement.marker and requirement.marker.evaluate({"extra": extra}):
            if requirement.marker.evaluate({"extra": ""}):
                continue
            requirement.marker = None
            missing.append(f'"{requirement}"')
    return missing
