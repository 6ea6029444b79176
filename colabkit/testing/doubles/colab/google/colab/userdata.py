"""The user's secrets. NotebookAccessError is a plain Exception there, too."""

import os
import threading

from google.colab import _message, errors

_lock = threading.Lock()
TIMEOUT = float(os.environ.get("FAKE_COLAB_SECRET_TIMEOUT", "10"))


class SecretNotFoundError(errors.Error):
    """There is no such secret."""


class NotebookAccessError(Exception):
    """The notebook was not given access."""


class TimeoutException(errors.Error):
    """Nobody answered."""


def get(key: str) -> str:
    """Return the value of a secret."""
    if not isinstance(key, str) or not key or any(letter.isspace() for letter in key):
        raise ValueError(key)
    with _lock:
        reply = _message.blocking_request("GetSecret", request={"key": key}, timeout_sec=TIMEOUT)
    if not reply:
        raise TimeoutException(f"Requesting secret {key} timed out. Secrets can only be fetched from the Colab UI.")
    if not reply.get("exists", False):
        raise SecretNotFoundError(f"Secret {key} does not exist.")
    if not reply.get("access", False):
        raise NotebookAccessError(f"Notebook does not have access to secret {key}")
    return str(reply.get("payload", ""))
