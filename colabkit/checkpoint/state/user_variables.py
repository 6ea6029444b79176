"""The variables of the user's functions that called a training, and of the notebook or script."""

from __future__ import annotations

import re
import sysconfig
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_OF_OTHERS = (sysconfig.get_path("stdlib"), "<frozen")
_PACKAGES = ("site-packages", "dist-packages")
_IN_A_NOTEBOOK = re.compile(r"In|Out|__.*|_+|_\d+|_i+\d*|_[iod]h|_exit_code")  # what it has shown


def of_callers(
    frame: FrameType | None, inside: Callable[[Any, str, set[int]], Iterator[tuple[str, Any]]]
) -> Iterator[tuple[str, Any]]:
    """Go through what is in the variables of the user's functions among the callers, and of their modules.

    Args:
        frame: Where to begin.
        inside: Gives what of a variable is wanted, of its value, its name, and the ids of what was seen before.

    Returns:
        Pairs of a place and what is there; a name that comes twice is numbered.
    """
    seen: set[int] = set()
    names: dict[str, int] = {}
    while frame is not None:
        if _is_of_the_user(frame):
            for variables in (frame.f_locals, frame.f_globals):
                if id(variables) in seen:
                    continue
                seen.add(id(variables))
                for key, value in list(variables.items()):
                    if _IN_A_NOTEBOOK.fullmatch(key):
                        continue
                    for place, item in inside(value, key, seen):
                        names[place] = count = names.get(place, 0) + 1
                        yield place if count == 1 else f"{place} ({count})", item
        frame = frame.f_back


def _is_of_the_user(frame: FrameType) -> bool:
    root, file = str(frame.f_globals.get("__name__")).split(".")[0], frame.f_code.co_filename
    is_installed = any(part in file for part in _PACKAGES) or file.startswith(_OF_OTHERS)
    return not is_installed and root not in ("colabkit", "keras")
