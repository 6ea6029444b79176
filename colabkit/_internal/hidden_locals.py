"""Errors that leave a verb without the values of its variables, which may hold a token, and as errors of ours.

A traceback of a notebook's verbose mode, of a logger or of an error tracker shows the variables of every frame. The
caller's own stay. An error of the operating system that nothing in the verb has foreseen is put into words.
"""

from __future__ import annotations

import functools
import traceback
import types
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from colabkit._internal.os_errors import unforeseen

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Result = TypeVar("Result")


def hides_locals(verb: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make a verb whose errors, and what caused them, show lines of code and no values.

    Args:
        verb: The function.

    Example:
        >>> import sys
        >>> @hides_locals
        ... def fail(token):
        ...     raise ValueError
        >>> try:
        ...     fail("secret")
        ... except ValueError as error:
        ...     told = traceback.TracebackException.from_exception(error, capture_locals=True)
        >>> any("secret" in str(frame.locals) for frame in list(told.stack)[1:])
        False
    """
    clear, ours = _clear, unforeseen  # names of this frame: the function below has the globals of the verb

    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return verb(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear(error)
            if (translated := ours(error)) is not None:
                raise translated from error
            raise

    # With the verb's own globals it is a function of the verb's module, as doctest and pydoc look for.
    made = types.FunctionType(
        call.__code__,
        verb.__globals__,
        verb.__name__,
        None,
        call.__closure__,
    )
    return cast("Callable[Given, Result]", functools.update_wrapper(made, verb))


def _clear(error: BaseException) -> None:
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        pending = todo.pop()
        if pending is None or id(pending) in seen:
            continue
        seen.add(id(pending))
        traceback.clear_frames(pending.__traceback__)
        todo += [pending.__cause__, pending.__context__, *getattr(pending, "exceptions", ())]
