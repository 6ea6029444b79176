"""What lies at a place of the user's Drive, or of the shared drives: files, folders, shortcuts, several of one name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from colabkit._clients import gdrive
from colabkit._internal.disk.files import TEMP_MARKER
from colabkit._internal.log import warn
from colabkit._internal.retry import Backoff
from colabkit.errors import AccessError, BusyError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit._clients.gdrive import DriveAccount

About = Mapping[str, Any]
"""What Drive tells of a file."""

_ROOT: About = {"id": "root", "mimeType": gdrive.FOLDER}
_MOST_FILES = 100_000
_LONGEST_NAME = 236  # there is room for the ending of what is not whole yet


class DriveTree:
    """The folders of My Drive, or of all shared drives, which lie side by side without a folder of their own.

    Args:
        account: The account, which may read.
        shared: Whether they are the shared drives.
    """

    def __init__(self, account: DriveAccount, *, shared: bool = False) -> None:
        self.account = account
        self._shared = shared
        self._paths: dict[tuple[str, ...], Sequence[About]] = {}

    def forget(self) -> None:
        """Ask anew for all folders: others change them."""
        self._paths.clear()

    def folders(self, names: tuple[str, ...], make: Callable[[str, str], str] | None = None) -> Sequence[About]:
        """Return the folders that a path on Drive may mean; none where there is none, unless `make` makes it.

        Args:
            names: The names from the top down.
            make: Takes a name and the id of the folder above, and returns the new folder's id.

        Raises:
            NotFoundError: It would be a new shared drive.
        """
        if names and names not in self._paths:
            above = self.folders(names[:-1], make)
            inside = [about for about in self.children(above, names[-1]) if is_folder(about)]
            if not inside and make is not None:
                if self._shared and len(names) == 1:
                    raise NotFoundError(
                        f"there is no shared drive {names[0]} for this account",
                        hint="make it at drive.google.com, or check its name",
                    )
                inside = [{"id": make(names[-1], str(above[0]["id"])), "mimeType": gdrive.FOLDER}]
            if not inside:
                return []
            self._paths[names] = inside
        return self._paths[names] if names else [_ROOT]

    def walk(self, place: str, entries: Sequence[About]) -> tuple[dict[str, About], list[str], dict[str, list[str]]]:
        """List what is at a place: files and folders by their paths here, and what is left out, by the reason."""
        files: dict[str, About] = {}
        folders: list[str] = []
        left_out: dict[str, list[str]] = {}
        visited: set[str] = set()
        todo: list[tuple[str, Sequence[About]]] = [(place, entries)]
        while todo:
            path, same = todo.pop()
            inner = [about for about in same if is_folder(about) and about["id"] not in visited]
            plain = [about for about in same if not is_folder(about)]
            if len(plain) + bool(inner) > 1:
                left_out.setdefault("of one name, where the newest is taken", []).append(path)
            if inner:
                folders.append(path)
                visited.update(str(about["id"]) for about in inner)  # shortcuts may lead in a circle
                below: dict[str, list[About]] = {}
                for about in self.children(inner):
                    if (name := local_name(str(about["name"]))) is None:
                        left_out.setdefault("with a name that no file here can have", []).append(str(about["name"]))
                    else:
                        below.setdefault(f"{path}/{name}", []).append(about)
                todo += below.items()
            elif plain and str(plain[0].get("size", "")).isdecimal():
                files[path] = plain[0]
            elif plain:
                left_out.setdefault('Google documents, which ck.fetch("drive:…") exports', []).append(path)
            if len(files) + len(todo) > _MOST_FILES:
                raise TransferError(f"it has more than {_MOST_FILES:,} files", hint="name a folder inside it")
        return files, folders, left_out

    def children(self, folders: Sequence[About], name: str = "") -> list[About]:
        """Return what lies in folders of one name, or what has a name there, the newest first."""
        entries: list[About] = []
        backoff = Backoff()
        while True:
            try:
                for folder in folders:
                    if folder is _ROOT and self._shared:
                        entries += [about for about in self.account.shared_drives() if name in ("", about.get("name"))]
                        continue
                    key = str(folder.get("resourceKey", ""))
                    children = self.account.children(str(folder["id"]), key, names=[name] if name else ())
                    entries += [about for about in children if name in ("", about.get("name"))]  # theirs ignores case
                break
            except BusyError:
                entries.clear()
                pause = backoff.wait()
                if pause is None:
                    raise
                time.sleep(pause)
        followed = [about for about in map(self._followed, entries) if about]
        return sorted(followed, key=lambda about: str(about.get("modifiedTime", "")), reverse=True)

    def _followed(self, about: Mapping[str, Any]) -> About:
        """Return what a shortcut leads to, by the shortcut's name; nothing where that is gone."""
        try:
            return {**self.account.followed(dict(about)), "name": str(about.get("name", ""))}
        except (NotFoundError, AccessError):
            warn("drive: the shortcut %s leads to nothing that this account may open", about.get("name"))
            return {}


def is_folder(about: About) -> bool:
    """Say whether it is a folder, or a shared drive."""
    return about.get("mimeType") == gdrive.FOLDER


def local_name(name: str) -> str | None:
    """Return the name of a file here; a slash is an ordinary letter on Drive."""
    name = name.replace("/", "_")
    is_plain = name not in ("", ".", "..") and name.isprintable() and TEMP_MARKER not in name
    return name if is_plain and len(name.encode(errors="replace")) <= _LONGEST_NAME else None
