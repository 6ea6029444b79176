"""What the cloud has of a file, asked of the Drive API with the user's own credentials: names, sizes, checksums."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.config import DRIVE_API

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ADDRESS = "https://www.googleapis.com/drive/v3"
_SCOPE = "https://www.googleapis.com/auth/drive.readonly"
_FOLDER = "application/vnd.google-apps.folder"
_FIELDS = "nextPageToken,files(id,name,mimeType,md5Checksum,size)"
_NAMES_AT_ONCE = 20
_CREDENTIALS_SECONDS = 15.0
_REQUEST_SECONDS = 20.0


class CannotAskError(Exception):
    """The API cannot be asked; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file or folder in the cloud.

    Attributes:
        identity: Its id.
        name: Its name; a folder may hold the same name more than once.
        is_folder: Whether it is a folder.
        md5: The checksum of its bytes; "" where there is none, as for Google's own documents.
        size: Its bytes.
    """

    identity: str
    name: str
    is_folder: bool
    md5: str
    size: int


class DriveApi:
    """Reads Drive; `connect()` makes one.

    Args:
        session: What `requests` calls a session, with the user's credentials.
        address: Where the API is.
        refusals: What the credentials raise when they are refused.
    """

    def __init__(self, session: Any, address: str, *, refusals: tuple[type[Exception], ...] = ()) -> None:
        self._session, self._address, self._refusals = session, address, refusals
        self._folders: dict[tuple[str, ...], list[str]] = {(): ["root"]}

    def files(self, folder: tuple[str, ...], names: Iterable[str]) -> list[Entry]:
        """Return the files of some names in a folder of My Drive, whatever version the cloud has.

        Args:
            folder: The names of the folders that lead there.
            names: The names of the files.

        Raises:
            CannotAskError: The API refused or did not answer.
        """
        return [
            entry for parent in self._identities(folder) for entry in self._list(parent, names) if not entry.is_folder
        ]

    def _identities(self, folder: tuple[str, ...]) -> list[str]:
        if folder not in self._folders:
            parents = self._identities(folder[:-1])
            entries = [entry for parent in parents for entry in self._list(parent, [folder[-1]])]
            found = [entry.identity for entry in entries if entry.is_folder]
            if not found:
                return []  # it may still come
            self._folders[folder] = found
        return self._folders[folder]

    def _list(self, parent: str, names: Iterable[str]) -> Iterator[Entry]:
        wanted = sorted(set(names))
        for start in range(0, len(wanted), _NAMES_AT_ONCE):
            any_name = " or ".join(f"name = {_quoted(name)}" for name in wanted[start : start + _NAMES_AT_ONCE])
            query = f"{_quoted(parent)} in parents and trashed = false and ({any_name})"
            token = None
            while True:
                page = self._get({"q": query, "fields": _FIELDS, "pageSize": "1000", "pageToken": token})
                yield from map(_entry, page.get("files", ()))
                if not (token := page.get("nextPageToken")):
                    break

    def _get(self, params: Mapping[str, str | None]) -> dict[str, Any]:
        import requests

        caught: tuple[type[Exception], ...] = (requests.RequestException, ValueError, *self._refusals)
        given = {name: value for name, value in params.items() if value is not None}
        try:
            answer = self._session.get(f"{self._address}/files", params=given, timeout=_REQUEST_SECONDS)
            if answer.status_code != 200:
                raise CannotAskError(f"the Drive API answered {answer.status_code} {_reason(answer)}".rstrip())
            page: dict[str, Any] = answer.json()
        except caught as error:
            raise CannotAskError(f"the Drive API could not be asked ({type(error).__name__})") from error
        return page


def connect(env: Mapping[str, str] = os.environ) -> DriveApi:
    """Find the user's credentials and return what reads Drive with them.

    Raises:
        CannotAskError: google-auth is not installed, or there are no credentials.
    """
    import requests

    if other := env.get(DRIVE_API):
        return DriveApi(requests.Session(), other)  # credentials go to Google alone
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession
    except ImportError as error:
        raise CannotAskError("google-auth is not installed: pip install google-auth requests") from error
    credentials, _project = _in_time(_credentials)
    return DriveApi(AuthorizedSession(credentials), ADDRESS, refusals=(GoogleAuthError,))


def _credentials() -> Any:
    import google.auth

    return google.auth.default(scopes=[_SCOPE])


def _in_time(work: Callable[[], Any]) -> Any:
    """Run what may search a network for a machine's credentials, for a while."""
    from google.auth.exceptions import GoogleAuthError

    found: list[Any] = []

    def attempt() -> None:
        try:
            found.append(work())
        except (GoogleAuthError, OSError, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(_CREDENTIALS_SECONDS)
    if not found or isinstance(found[0], Exception):
        raise CannotAskError("there are no credentials for the Drive API")
    return found[0]


def _entry(value: Mapping[str, Any]) -> Entry:
    return Entry(
        identity=str(value.get("id", "")),
        name=str(value.get("name", "")),
        is_folder=value.get("mimeType") == _FOLDER,
        md5=str(value.get("md5Checksum", "")),
        size=int(value.get("size", -1)),
    )


def _quoted(text: str) -> str:
    r"""Write a text as the API's queries have it.

    Example:
        >>> print(_quoted("it's"))
        'it\'s'
    """
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _reason(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return ""
