"""The errors that google.colab's own derive from."""


class Error(Exception):
    """The root."""


class AuthorizationError(Error):
    """Credentials could not be had."""


class RuntimeManagementError(Error):
    """The runtime could not be managed."""
