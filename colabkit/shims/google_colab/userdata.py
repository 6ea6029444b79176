"""google.colab.userdata: secrets from where colabkit finds them."""

from __future__ import annotations

from colabkit.shims.google_colab.errors import Error

__all__ = ["NotebookAccessError", "SecretNotFoundError", "TimeoutException", "get"]


class SecretNotFoundError(Error):
    """No place has a secret of this name."""


class NotebookAccessError(Exception):
    """The secret is there, and this notebook may not read it."""


class TimeoutException(Error):  # noqa: N818 - Colab's own name
    """The place that may have it did not answer."""


def get(key: str) -> str:
    """Return a secret by its name.

    Raises:
        SecretNotFoundError: No place has it.
    """
    from colabkit import errors
    from colabkit.runtime.secrets import secret

    try:
        return str(secret(key, prompt=False))
    except errors.SecretAccessError as error:
        raise NotebookAccessError(str(error)) from error
    except errors.SecretTimeoutError as error:
        raise TimeoutException(str(error)) from error
    except errors.SecretError as error:
        raise SecretNotFoundError(str(error)) from error
