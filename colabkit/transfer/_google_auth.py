"""What google-auth is asked for, whichever service of Google the credentials are for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

from colabkit._tools.optional import require
from colabkit.errors import AccessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


def find(scope: str, env: Mapping[str, str], *, extra: str, do: str) -> Any | None:
    """Find the credentials of this machine; None where there are none.

    Args:
        scope: What they must be good for.
        env: The environment.
        extra: The extra of colabkit that brings google-auth.
        do: How to sign in.

    Raises:
        AccessError: The file that the environment names cannot be used.
        MissingDependencyError: google-auth is missing.
    """
    auth = require("google.auth", extra=extra, why="signing in to Google needs it")
    exceptions = importlib.import_module("google.auth.exceptions")
    try:
        with warnings.catch_warnings(), _silent("google.auth._default"):
            warnings.simplefilter("ignore")  # it warns of credentials without a quota project, which nothing here needs
            credentials, _ = auth.default(scopes=[scope])
    except exceptions.DefaultCredentialsError as error:
        if env.get(CREDENTIALS):
            raise AccessError(
                f"cannot use the credentials that {CREDENTIALS} names",
                why=short(error),
                do=f"set {CREDENTIALS} to the path of a key file, or unset it; {do}",
            ) from None
        return None
    return credentials


def transport() -> Any:
    """Return what google-auth sends its own requests with."""
    return importlib.import_module("google.auth.transport.requests").Request()


def short(error: Exception) -> str:
    """Return what an error of google-auth says, on one line."""
    return " ".join(str(error.args[0] if error.args else error).split())[:200]


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a logger from telling of credentials without a project."""

    def never(_: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger(name)
    logger.addFilter(never)
    try:
        yield
    finally:
        logger.removeFilter(never)
