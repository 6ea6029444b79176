"""Who asks Google Cloud Storage: nobody for public data, else the credentials that google-auth finds."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients import google_auth
from colabkit._clients.google_auth import CREDENTIALS
from colabkit.errors import MissingDependencyError, OfflineError

if TYPE_CHECKING:
    from collections.abc import Mapping

EMULATOR = "STORAGE_EMULATOR_HOST"
"""The address of an emulator, with its scheme, as Google's own client reads it."""

PAYING_PROJECT = "GOOGLE_CLOUD_QUOTA_PROJECT"

SIGN_IN = (
    "in Colab run: from google.colab import auth; auth.authenticate_user() - elsewhere run: gcloud auth "
    f"application-default login, or set {CREDENTIALS} to the path of a key file, or put its content into the secret "
    f"{google_auth.SECRET}"
)
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class Caller:
    """Lends the headers that say who asks.

    Looking for credentials may ask a metadata server, which takes seconds where there is none. So only what lies in a
    file is used from the start; the rest is looked for when the service refuses an anonymous request.

    Args:
        credentials: Credentials of google-auth, or None to find them when they are needed.
        project: The project that pays where a bucket demands it, or "" for the environment's.
        env: The environment.
    """

    def __init__(self, credentials: Any = None, *, project: str = "", env: Mapping[str, str] | None = None) -> None:
        env = config.environment(env)
        self._credentials = credentials
        self._project = project
        self._env = env
        self._lock = threading.Lock()
        self._emulated = bool(env.get(EMULATOR)) and credentials is None
        self._looked = self._emulated
        self.why_anonymous = f"{EMULATOR} is set, so no credentials are used" if self._emulated else ""

    @property
    def anonymous(self) -> bool:
        """Whether requests carry no credentials."""
        return self._credentials is None

    @property
    def name(self) -> str:
        """Who it is, for messages."""
        return str(getattr(self._credentials, "service_account_email", "") or "your account")

    @property
    def paying_project(self) -> str:
        """The project that the user wants to be billed where a bucket makes its readers pay; "" when none is named."""
        named = self._project or self._env.get(PAYING_PROJECT, "")
        return named or str(getattr(self._credentials, "quota_project_id", "") or "")

    def headers(self) -> dict[str, str]:
        """Return the Authorization header, with a token that is still good; nothing for an anonymous request."""
        with self._lock:
            if not self._looked and self._is_in_a_file():
                self._look()
            if self._credentials is None:
                return {}
            headers: dict[str, str] = {}
            try:
                self._credentials.before_request(google_auth.transport(), "GET", "", headers)
            except Exception as error:  # noqa: BLE001 - each kind of credentials fails in its own way
                self._give_up(error)
                return {}
            return {"Authorization": headers.get("authorization") or headers.get("Authorization", "")}

    def credentials(self) -> Any:
        """Return what was found so far; None asks as nobody."""
        with self._lock:
            if not self._looked and self._is_in_a_file():
                self._look()
            return self._credentials

    def give_up(self, error: Exception) -> None:
        """Go on as nobody, since the credentials that were found cannot be used.

        Raises:
            OfflineError: They cannot be renewed without a network.
        """
        with self._lock:
            self._give_up(error)

    def refused(self) -> bool:
        """React to a 401: find credentials, or fetch a new token; False when that was done already."""
        with self._lock:
            if self._credentials is None:
                if self._looked:
                    return False
                self._look()
                return self._credentials is not None
            try:
                self._credentials.refresh(google_auth.transport())
            except Exception as error:  # noqa: BLE001 - as above
                self._give_up(error)
            return True

    def _is_in_a_file(self) -> bool:
        if self._env.get(CREDENTIALS) or self._env.get(google_auth.SECRET):
            return True
        with contextlib.suppress(ImportError, KeyError):  # KeyError: no home folder is known
            sdk = importlib.import_module("google.auth._cloud_sdk")
            return os.path.isfile(sdk.get_application_default_credentials_path())  # noqa: PTH113 - a plain text
        return False

    def _look(self) -> None:
        self._looked = True
        try:
            self._credentials = google_auth.find(_SCOPE, self._env, extra="gcs", do=SIGN_IN)
        except MissingDependencyError as error:
            self.why_anonymous = f"{error.what}; {error.do}"
            return
        if self._credentials is None:
            self.why_anonymous = "no credentials were found"

    def _give_up(self, error: Exception) -> None:
        exceptions = importlib.import_module("google.auth.exceptions")
        metadata = "metadata" in str(error)
        if isinstance(error, exceptions.TransportError) and not metadata:
            raise OfflineError(
                "cannot renew the sign-in to Google Cloud",
                why=google_auth.short(error),
                hint="check the network, then run it again",
            ) from None
        # The virtual machine has no account, or what was signed in has been withdrawn: public data can still be read.
        self.why_anonymous = f"the credentials that were found cannot be used: {google_auth.short(error)}"
        self._credentials = None
