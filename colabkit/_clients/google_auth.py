"""What google-auth is asked for, whichever service of Google the credentials are for."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import warnings
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit._internal.optional import require
from colabkit._patches import global_random
from colabkit.errors import AccessError, OfflineError, SecretAccessError, SecretError, SecretTimeoutError
from colabkit.runtime.secrets import secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"
SECRET = "GOOGLE_CREDENTIALS"  # noqa: S105 - the name of one
"""A notebook's secret, or a variable, for sessions where nobody is there to sign in."""

_read_before = ""
"""What the notebook's secret held when a cell read it: Colab's page answers to no other thread."""

_TOKEN = re.compile(r"[\w.~+/=-]{16,4096}", re.ASCII)


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
    global_random.keep_off()
    if given := env.get(SECRET, "").strip():
        return _read(given, scope)
    try:
        with warnings.catch_warnings(), _silent("google.auth._default"):
            warnings.simplefilter("ignore")  # it warns of credentials without a quota project, which nothing here needs
            credentials, _ = auth.default(scopes=[scope])
    except exceptions.DefaultCredentialsError as error:
        if env.get(CREDENTIALS):
            raise AccessError(
                f"cannot use the credentials that {CREDENTIALS} names",
                why=short(error),
                hint=f"set {CREDENTIALS} to the path of a key file, or unset it; {do}",
            ) from None
        given = _kept(env)
        return _read(given, scope) if given else None
    return credentials


def read_secret_here(env: Mapping[str, str]) -> None:
    """Read the notebook's secret for the threads that cannot; where there is none nothing is said.

    Args:
        env: The environment; what it names itself is found without asking the page.
    """
    global _read_before  # noqa: PLW0603 - one page a process
    if env.get(SECRET) or env.get(CREDENTIALS):
        return
    try:
        _read_before = str(secret(SECRET, prompt=False, env=env)).strip()
    except SecretAccessError as error:  # it is there
        warn("%s is treated as missing: %s", SECRET, error.what)
    except SecretError:
        pass


def _kept(env: Mapping[str, str]) -> str:
    """Return what the host's secrets have, "" for nothing.

    Most users have never heard of this one: that it cannot be asked for here is told to nobody.
    """
    try:
        return str(secret(SECRET, prompt=False, env=env)).strip()
    except (SecretAccessError, SecretTimeoutError) as error:  # it is there, or nobody knows
        warn("%s is treated as missing: %s", SECRET, error.what)
    except SecretError:
        return _read_before
    return ""


def _read(text: str, scope: str) -> Any:
    """Make credentials of what a secret holds: the content of a key file, a saved sign-in, or a bare access token.

    Raises:
        AccessError: It is none of these; its content is not repeated.
    """
    auth = importlib.import_module("google.auth")
    if not text.startswith("{"):
        if not _TOKEN.fullmatch(text):
            raise _unusable("it is neither JSON nor an access token")
        return importlib.import_module("google.oauth2.credentials").Credentials(text)
    try:
        value = json.loads(text)
        if value.get("type") not in ("service_account", "authorized_user"):
            raise _unusable("its type is neither service_account nor authorized_user")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in find
            credentials, _ = auth.load_credentials_from_dict(value, scopes=[scope])
    except (ValueError, TypeError, AttributeError, KeyError, auth.exceptions.GoogleAuthError) as error:
        # What it says may repeat a part of a key.
        raise _unusable(f"google-auth cannot read it ({type(error).__name__})") from None
    return credentials


def _unusable(why: str) -> AccessError:
    return AccessError(
        f"cannot use the credentials in {SECRET}",
        why=why,
        hint="put the whole content of a service account's key file there, or of the file that gcloud auth "
        "application-default login writes, or an access token",
    )


def transport() -> Any:
    """Return what google-auth sends its own requests with: what they carry is shown to no other host by a redirect."""
    requests = importlib.import_module("requests")
    google = importlib.import_module("google.auth.transport.requests")
    global_random.keep_off()
    session = _trusting(requests.Session())
    session.max_redirects = 0  # instead of an argument: some credentials look at the session of their transport
    return google.Request(session)


def authorized_session(credentials: Any) -> Any:
    """Return google-auth's own session of requests: it adds the token, and after a 401 renews it and asks once more.

    All other retries are left to the engine: google-auth's transport for tokens would try again on its own.
    """
    google = importlib.import_module("google.auth.transport.requests")
    return _trusting(
        google.AuthorizedSession(
            credentials, refresh_status_codes=(401,), max_refresh_attempts=1, auth_request=transport()
        )
    )


def _trusting(session: Any) -> Any:
    """Trust the certificates that SSL_CERT_FILE names; requests reads the other two names itself, and they win."""
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    return session


@contextlib.contextmanager
def translated(sign_in: str) -> Iterator[None]:
    """Turn google-auth's errors into ours.

    Args:
        sign_in: How to sign in.

    Raises:
        AccessError: The sign-in is no longer valid.
        OfflineError: It cannot be renewed without a network.
    """
    exceptions = importlib.import_module("google.auth.exceptions")
    try:
        yield
    except exceptions.TransportError as error:
        raise OfflineError(
            "cannot renew the sign-in to Google", why=short(error), hint="check the network, then run it again"
        ) from None
    except exceptions.GoogleAuthError as error:
        raise AccessError("the sign-in to Google is no longer valid", why=short(error), hint=sign_in) from None


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
