"""drive:FOLDER/FILE, a place on the user's own Drive: a path where it is mounted, else through the account."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from colabkit._clients import gdrive
from colabkit._clients.gdrive.link import Link
from colabkit._engine.source import ParsedSource
from colabkit._internal.log import notify
from colabkit.errors import AddressError, NotFoundError, UnsupportedError
from colabkit.runtime import my_drive
from colabkit.transfer.sources.gdrive import AT_ONCE, DriveFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit._clients.gdrive import DriveAccount
    from colabkit._engine.source import Entry
    from colabkit._http.types import RemoteFile

    Find = Callable[[], DriveAccount | None]


@dataclass(frozen=True, kw_only=True)
class OwnPath:
    """A place on the user's own Drive that is not mounted here.

    Attributes:
        path: The names from My Drive down.
        find: Looks for the account.
    """

    path: str
    find: Find = gdrive.account

    @property
    def identity(self) -> str:
        """The path."""
        return f"drive-path\0{self.path}"

    @property
    def shown(self) -> str:
        """The path."""
        return f"drive:{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    def here(self, *, ask: bool = True) -> None:
        """It is not mounted."""

    def account(self) -> DriveAccount:
        """Return the account that is signed in.

        Raises:
            UnsupportedError: There is none.
        """
        account = self.find()
        if account is None:
            raise UnsupportedError(
                f"{self.shown} cannot be opened here",
                why="Google Drive is mounted in Colab only, and no Google account is signed in",
                hint=f"use a share link of it, or sign in: {gdrive.SIGN_IN}; it needs the package google-auth",
            )
        return account

    def resolve(self, account: DriveAccount) -> dict[str, Any]:
        """Go down from My Drive, name by name.

        Raises:
            NotFoundError: One of the names is not there.
        """
        about: dict[str, Any] = {"id": "root", "mimeType": gdrive.FOLDER}
        for part in PurePosixPath(self.path).parts:
            about = account.child(str(about["id"]), part, str(about.get("resourceKey", "")))
            if not about:
                raise NotFoundError(
                    f"there is no {self.shown}", why=f"nothing on that Drive is called {part!r} there", hint="check it"
                )
        return about


class OwnFile(OwnPath):
    """One file of the user's own Drive."""

    def remote(self) -> RemoteFile:
        """Ask for the file, with the hash that Drive knows."""
        account = self.account()
        about = self.resolve(account)
        if about.get("mimeType") == gdrive.FOLDER:
            raise AddressError(f"{self.shown} is a folder", hint=f'write it with a slash at its end: "{self.shown}/"')
        return account.remote(about, "", self.shown)


class OwnFolder(OwnPath):
    """One folder of the user's own Drive."""

    at_once = AT_ONCE
    pause = 0.0

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the folder and those inside it."""
        account = self.account()
        about = self.resolve(account)
        if about.get("mimeType") != gdrive.FOLDER:
            raise AddressError(f"{self.shown}/ is not a folder", hint=f'write it without the slash: "{self.shown}"')
        link = Link(kind="folder", id=str(about["id"]), resource_key=str(about.get("resourceKey", "")))
        _, entries = DriveFolder(link, self.find).own_entries(account)
        return self.name, entries


def open_source(text: str) -> ParsedSource:
    """Read drive:PATH; a slash at its end says that it is a folder.

    Where nobody is signed in, the folder that `colab_shim` gave the notebook for its Drive is taken, and said.

    Raises:
        AddressError: It names nothing below My Drive.
        UnsupportedError: This is Colab, and Drive is not mounted.

    Example:
        >>> open_source("drive:data/digits.csv").source.shown
        'drive:data/digits.csv'
    """
    text = text.strip()
    path = my_drive.place_of(text)
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host == "colab":
        if runtime.persistent_dir is None:
            raise UnsupportedError(
                f"drive:{path} cannot be opened", why="Google Drive is not mounted", hint=my_drive.MOUNT
            )
        return ParsedSource(source=Path(runtime.persistent_dir, path))
    if my_drive.stand_ins and gdrive.account() is None:
        stand_in = Path(my_drive.stand_ins[-1], path)
        notify("drive:%s is %s of this machine: nobody is signed in to Google", path, stand_in)
        return ParsedSource(source=stand_in)
    own = OwnFolder if text.endswith("/") else OwnFile
    return ParsedSource(source=own(path=str(path)))
