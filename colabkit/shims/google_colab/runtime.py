"""google.colab.runtime: this machine is not Colab's to take back."""

from __future__ import annotations

__all__ = ["unassign"]


def unassign() -> None:
    """Say that there is nothing to give back."""
    print("This is no runtime of Colab's: nothing to give back.")  # noqa: T201 - the real one ends the session
