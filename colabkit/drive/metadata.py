"""What Drive itself has of some files, asked with the user's own account: names, sizes, checksums."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.process.threads import start_thread
from colabkit.errors import ColabKitError, OfflineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from colabkit._clients.gdrive import DriveAccount

_AT_LEAST = 15.0
"""Seconds for a question however short the user's time is: finding credentials may take a network's time-out."""


class CannotAskError(Exception):
    """Drive cannot be asked; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file in Drive.

    Attributes:
        name: Its name; a folder may hold the same name more than once.
        md5: The checksum of its bytes; "" where there is none, as for Google's own documents.
        size: Its bytes; -1 where there is none.
    """

    name: str
    md5: str
    size: int


class DriveMetadata:
    """Reads My Drive.

    Args:
        until: The monotonic time at which the user's patience ends.

    Raises:
        CannotAskError: No account is signed in, or it is refused.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._folders: dict[tuple[str, ...], list[str]] = {(): ["root"]}
        account = self._ask(_find)
        if account is None:
            raise CannotAskError("no Google account is signed in here, or the package google-auth is missing")
        self._account: DriveAccount = account

    def files(self, folder: tuple[str, ...], names: Iterable[str]) -> set[Stored]:
        """Return the files of some names in a folder, whatever version Drive has.

        Args:
            folder: The names of the folders that lead there from My Drive.
            names: The names of the files.

        Raises:
            CannotAskError: Drive refused or did not answer.
        """
        sorted_names = sorted(set(names))
        entries: list[Mapping[str, Any]] = self._ask(lambda: self._children(folder, sorted_names))
        return {_stored(about) for about in entries if not _is_folder(about)}

    def _children(self, folder: tuple[str, ...], names: list[str]) -> list[Mapping[str, Any]]:
        parents = self._identities(folder)
        return [about for parent in parents for about in self._account.children(parent, names=names)]

    def _identities(self, folder: tuple[str, ...]) -> list[str]:
        """Return the folders that a path may mean: Drive allows one name twice."""
        if folder not in self._folders:
            identities = [
                str(about.get("id")) for about in self._children(folder[:-1], [folder[-1]]) if _is_folder(about)
            ]
            if not identities:
                return []  # it may still come
            self._folders[folder] = identities
        return self._folders[folder]

    def _ask(self, work: Callable[[], Any]) -> Any:
        """Ask in a thread that can be left, since a network that swallows everything holds longer than anyone waits."""
        results: list[Any] = []

        def attempt() -> None:
            try:
                results.append(work())
            except ColabKitError as error:
                results.append(error)

        thread = start_thread(attempt, name="colabkit-drive-ask")
        if thread is None:
            raise CannotAskError("no thread can be started: memory or the process limit is exhausted")
        thread.join(max(_AT_LEAST, self._until - time.monotonic()))
        if not results:
            raise CannotAskError("Drive did not answer in time")
        if isinstance(results[0], OfflineError):
            raise CannotAskError(f"there is no network ({results[0].what})")
        if isinstance(results[0], ColabKitError):
            raise CannotAskError(". ".join(filter(None, (results[0].what, results[0].why))))
        return results[0]


def _find() -> DriveAccount | None:
    from colabkit._clients import gdrive

    return gdrive.account()


def _is_folder(about: Mapping[str, Any]) -> bool:
    return about.get("mimeType") == "application/vnd.google-apps.folder"


def _stored(about: Mapping[str, Any]) -> Stored:
    size = str(about.get("size", ""))
    return Stored(
        name=str(about.get("name", "")),
        md5=str(about.get("md5Checksum", "")).lower(),
        size=int(size) if size.isdecimal() else -1,
    )
