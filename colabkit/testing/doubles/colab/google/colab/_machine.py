"""Where the files of this Colab machine are: under another root than the real machine's."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("COLABKIT_MACHINE_ROOT") or "/")


def has(absolute: str) -> bool:
    """Say whether a file of the machine exists."""
    return (ROOT / absolute.lstrip("/")).exists()


def is_enterprise() -> bool:
    """Say whether this is Colab Enterprise."""
    return os.environ.get("VERTEX_PRODUCT") == "COLAB_ENTERPRISE"
