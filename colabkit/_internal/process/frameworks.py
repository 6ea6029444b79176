"""Frameworks that clash in one process, and the order in which they do not.

TensorFlow 2.20 and later, loaded before a torch with triton 3.7, ends in a segmentation fault
(https://github.com/tensorflow/tensorflow/issues/124205). With triton imported first it does not. Older tritons, as
Colab has, do not need it and are left alone.
"""

from __future__ import annotations

import importlib
import sys

_TENSORFLOW = (2, 20)
_TRITON = (3, 7)


def before_torch() -> None:
    """Import triton first where torch would end this process; called wherever colabkit is about to bring torch in."""
    if clash():
        importlib.import_module("triton")


def clash() -> str:
    """Say why `import torch` would end this process now; "" where it would not.

    Example:
        >>> clash() if "tensorflow" not in sys.modules else ""
        ''
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or "torch" in sys.modules or "triton" in sys.modules:
        return ""
    from importlib.metadata import PackageNotFoundError, version

    theirs = str(getattr(tensorflow, "__version__", "0"))
    try:
        triton = version("triton")
    except PackageNotFoundError:
        return ""
    if _numbers(theirs) < _TENSORFLOW or _numbers(triton) < _TRITON:
        return ""
    return f"TensorFlow {theirs} is loaded, and torch brings triton {triton}: a segmentation fault (tensorflow#124205)"


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts)
