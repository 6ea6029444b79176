"""The errors that google.colab's own derive from."""


class Error(Exception):
    """The root."""
