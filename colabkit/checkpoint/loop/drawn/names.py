"""Which names the user's loop and functions use: a number that no code of a training reads needs no word."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user, is_user_code, running

if TYPE_CHECKING:
    from types import CodeType, FrameType


def names_used(frame: FrameType | None) -> set[str]:
    """Return the names that the `for` over the batches and the functions and classes in variables use.

    Args:
        frame: Where to begin.
    """
    loop = running(frame)
    used = set(loop.loaded - loop.stored) if loop is not None else set()
    seen: set[int] = set()
    while frame is not None:
        if is_user_code(frame.f_code.co_filename, frame.f_globals):
            for variables in (frame.f_locals, frame.f_globals):
                for value in list(variables.values()):
                    if id(value) not in seen:
                        seen.add(id(value))
                        used |= _names_in(value)
        frame = frame.f_back
    return used


def _names_in(value: Any) -> set[str]:
    value = value.__func__ if isinstance(value, types.MethodType) else value
    if isinstance(value, types.FunctionType):
        return _names_of(value.__code__) if is_user_code(value.__code__.co_filename, value.__globals__) else set()
    if isinstance(value, type) and is_of_the_user(value):
        return set().union(*(_names_in(each) for each in vars(value).values() if isinstance(each, types.FunctionType)))
    return set()


def _names_of(code: CodeType) -> set[str]:
    inner = [_names_of(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(code.co_freevars, *inner)
