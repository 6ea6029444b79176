"""google.colab.errors."""

from __future__ import annotations

__all__ = ["AuthorizationError", "Error", "RuntimeManagementError", "WidgetException"]


class Error(Exception):
    """The class above Colab's errors."""


class AuthorizationError(Error):
    """Nobody is signed in."""


class RuntimeManagementError(Error):
    """The runtime could not be managed."""


class WidgetException(Exception):  # noqa: N818 - Colab's own name
    """A widget could not be shown."""
