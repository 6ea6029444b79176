"""The user's secrets. NotebookAccessError is a plain Exception there, too."""

import os
import threading

from google.colab import _message, errors

_lock = threading.Lock()
TIMEOUT = float(os.environ.get("FAKE_COLAB_SECRET_TIMEOUT", "10"))


class SecretNotFoundError(errors.Error):
    """There is no such secret."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Secret {key} does not exist.")


class NotebookAccessError(Exception):
    """The notebook was not given access."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Notebook does not have access to secret {key}")


class TimeoutException(errors.Error):
    """Nobody answered."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Requesting secret {key} timed out. Secrets can only be fetched when running from the Colab UI."
        )


def get(key: str) -> str:
    """Return the value of a secret."""
    if not key or not isinstance(key, str):
        raise ValueError("Please enter a valid secret name")
    if any(letter.isspace() for letter in key):
        raise ValueError("Secret name cannot contain spaces or whitespace")
    with _lock:
        reply = _message.blocking_request("GetSecret", request={"key": key}, timeout_sec=TIMEOUT)
    if not reply:
        raise TimeoutException(key)
    if not reply.get("exists", False):
        raise SecretNotFoundError(key)
    if not reply.get("access", False):
        raise NotebookAccessError(key)
    return str(reply.get("payload", ""))
