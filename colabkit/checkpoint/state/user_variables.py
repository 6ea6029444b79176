"""The variables of the user's functions that called a training, and of the notebook or script."""

from __future__ import annotations

import sysconfig
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_OF_OTHERS = (sysconfig.get_path("stdlib"), "<frozen")


def is_of_the_user(frame: FrameType) -> bool:
    """Say whether the code of a frame is the user's, and of no package that is installed."""
    root, file = str(frame.f_globals.get("__name__")).split(".")[0], frame.f_code.co_filename
    packages = "site-packages" in file or "dist-packages" in file or file.startswith(_OF_OTHERS)
    return not packages and root not in ("colabkit", "keras")


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
        if is_of_the_user(frame):
            for variables in (frame.f_locals, frame.f_globals):
                if id(variables) in seen:
                    continue
                seen.add(id(variables))
                for key, value in list(variables.items()):
                    if key.startswith("_") or key in ("In", "Out"):  # what a notebook has shown
                        continue
                    for place, item in inside(value, key, seen):
                        names[place] = count = names.get(place, 0) + 1
                        yield place if count == 1 else f"{place} ({count})", item
        frame = frame.f_back
