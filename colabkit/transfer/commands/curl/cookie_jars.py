"""Cookies that a pasted curl or wget command saves: sessions are not kept here, and a login is told from a download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAVE = ("cookie-jar", "save-cookies")
_LOAD = ("cookie", "load-cookies")
_POST = ("post-data", "body-data", "data", "data-ascii", "data-binary", "data-raw", "data-urlencode", "json")
_NAMED = ("output", "remote-name", "remote-name-all")

Option = tuple[str, str, str]


def check(program: str, options: Sequence[Option]) -> list[str]:
    """Say what is not done with the cookies of a command, for its note.

    Args:
        program: What is called.
        options: Each as written, with its long name and its value.

    Raises:
        AddressError: It signs in, and brings no file.
    """
    names = {name for _, name, _ in options}
    places = [(option, value) for option, name, value in options if name in _SAVE]
    loads = [value for _, name, value in options if name in _LOAD]
    shows = program == "curl" and not names.intersection(_NAMED) and not loads
    nowhere = any(name == "output" and value == "/dev/null" for _, name, value in options)
    if places and (names.intersection((*_POST, "delete-after")) or shows or nowhere):
        option, value = places[-1]
        load = f"curl -b {value} -O ADDRESS" if program == "curl" else f"wget --load-cookies {value} ADDRESS"
        raise AddressError(
            f"the pasted command has {option}: it signs in and saves a session, and brings no file",
            why="fetch brings files; it neither signs in nor keeps sessions",
            hint=f'run this line as it is, behind a "!", and then ck.fetch("{load}"); '
            "a large file of Google Drive needs no cookies: pass its link alone",
        )
    if option := next((option for option, name, _ in options if name == "delete-after"), ""):
        raise refused(option, "it keeps nothing of what comes")
    return [f"{option} is ignored: no cookies are saved in {value}" for option, value in places]


def without_own(options: Sequence[Option]) -> list[Option]:
    """Leave out the files of cookies that a command begins and that are not here or empty yet, as the program does."""
    own = {value for _, name, value in options if name in _SAVE}
    return [option for option in options if option[1] not in _LOAD or not _is_new(option[2], own)]


def _is_new(path: str, own: set[str]) -> bool:
    if "=" in path:
        return False
    place = expand(path)
    try:
        return place.stat().st_size == 0
    except OSError:
        return path in own
