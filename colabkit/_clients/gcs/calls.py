"""Calls of Google's client of Cloud Storage: as whom, who pays, and again while they fail in passing."""

from __future__ import annotations

import functools
import threading
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from colabkit._clients.gcs.refusals import ConditionError, refusal, words
from colabkit._http.errors import map_transport_errors
from colabkit._http.service import PATIENT, ApiSession
from colabkit._http.types import TransientError
from colabkit._internal.optional import require
from colabkit._patches import global_random
from colabkit.errors import ColabKitError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._clients.gcs.auth import Caller

SERVICE = "https://storage.googleapis.com"
_MOST_REFUSALS = 3
"""An anonymous try, one with an old token, one with a new one, and one that names who pays."""

Result = TypeVar("Result")


class BucketCalls(ApiSession):
    """Asks the service by its own client, again where it failed in passing.

    The client's own retry is off: it knows neither our budget nor whose credentials to try next.

    Args:
        caller: Who asks.
        endpoint: The service, or an emulator.
        tries: Failures in a row that are forgiven.
    """

    def __init__(self, caller: Caller, endpoint: str = SERVICE, *, tries: int = PATIENT) -> None:
        super().__init__(endpoint, tries=tries)
        self.caller = caller
        self._paying: set[str] = set()
        self._made = threading.local()  # its session is one of requests, which does not promise that threads may share

    def ask(self, bucket: str, name: str, do: Callable[[Any], Result], *, conditional: bool = False) -> Result:
        """Do something with a bucket, again while it fails in passing.

        Args:
            bucket: Its name.
            name: The object that it is about, for messages.
            do: Is given the client's bucket.
            conditional: It sends a condition; else a 412 is a rule of the bucket's, not another writer.

        Raises:
            ConditionError: A condition does not hold.
            TransferError: Or one of its kinds: it is refused, or was tried often enough.
        """
        backoff, refusals, display = self.tries(), 0, f"gs://{bucket}/{name}"
        while True:
            try:
                return self._once(bucket, do, display)
            except ColabKitError:
                raise
            except TransientError as error:
                self.wait(backoff, error, display)
                continue
            except _WithdrawnError:
                continue  # as nobody, which happens once
            except Exception as error:
                status, message = status_of(error), words(getattr(error, "response", None))
                if not status:
                    raise
                if refusals < _MOST_REFUSALS and self._is_retryable(status, message, bucket):
                    refusals += 1
                    continue
                failure = refusal(self.caller, status, message, bucket, name, getattr(error, "response", None))
            if isinstance(failure, TransientError):
                self.wait(backoff, failure, display)
                continue
            if isinstance(failure, ConditionError):
                if not conditional:
                    failure = TransferError(
                        f"the service refuses {display}",
                        why=str(failure),
                        hint="ask the bucket's owner which rules it has",
                    )
                else:
                    failure.perhaps_ours = backoff.failures > 0
            raise failure from None

    def _once(self, bucket: str, do: Callable[[Any], Result], display: str) -> Result:
        import google.auth.exceptions as auth
        import requests

        with map_transport_errors(display):
            self._session()  # that there is no network is known soon
            try:
                return do(self._client().bucket(bucket, user_project=self._payer(bucket) or None))
            except auth.InvalidOperation:
                raise _AnonymousError from None  # how the client tells a 401 to nobody
            except auth.GoogleAuthError as error:
                self.caller.give_up(error)
                raise _WithdrawnError from None
            except requests.exceptions.JSONDecodeError:
                raise TransferError(
                    "the service's answer cannot be read",
                    why="it is not JSON",
                    hint="check the proxy and the address of the service",
                ) from None

    def _client(self) -> Any:
        """Return this thread's client for whoever asks now."""
        storage = _storage()
        from google.auth.credentials import AnonymousCredentials

        credentials = self.caller.credentials()
        made, of = getattr(self._made, "client", (None, None))
        if made is None or of is not credentials:
            # Without an address the client follows the credentials to their universe.
            address = {} if self.endpoint == SERVICE else {"client_options": {"api_endpoint": self.endpoint}}
            made = storage.Client(project="none", credentials=credentials or AnonymousCredentials(), **address)
            self._made.client = made, credentials
        return made

    def _domain(self) -> str:
        credentials = self.caller.credentials()
        return f".{getattr(credentials, 'universe_domain', '') or 'googleapis.com'}"

    def _payer(self, bucket: str) -> str:
        return self.caller.paying_project if bucket in self._paying else ""

    def refusal(self, answer: Any, bucket: str, name: str) -> Exception:
        """Turn an answer to the engine that is no success into an error."""
        return refusal(self.caller, answer.status_code, words(answer), bucket, name, answer)

    def _is_retryable(self, status: int, message: str, bucket: str) -> bool:
        if status == 400 and bucket not in self._paying and "requester pays" in message.lower():
            if not self.caller.paying_project and not (self.caller.anonymous and self.caller.refused()):
                return False
            self._paying.add(bucket)
            return bool(self.caller.paying_project)
        return status == 401 and self.caller.refused()


@functools.cache
def _storage() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses packages that only its other way of speaking needs
        storage = require("google.cloud.storage", extra="gcs", why="Cloud Storage is accessed through its own client")
        global_random.keep_off()
        return storage


class _AnonymousError(Exception):
    """A 401 to somebody who has no credentials, or none that are good."""

    code = 401


class _WithdrawnError(Exception):
    """The credentials that were found are not good any more."""


def status_of(error: Exception) -> int:
    """Return the status code that an error of the client stands for; 0 for none."""
    code = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
    try:
        return int(code) if code is not None else 0
    except (TypeError, ValueError):
        return 0
