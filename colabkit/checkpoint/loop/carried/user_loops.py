"""The `for` of the user's that runs over the batches or epochs of a loop, and the names that it carries along.

A new process comes into the middle of that `for`. A name is carried where a step reads what an earlier one has left:
it is assigned in the `for`, and read there, or behind it, before it is assigned again. This is read in the code of the
frame, as `reader.left_by_break` reads how it is left, so that it holds in a notebook and in a program without a file.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.policy.code_flow import flow_of
from colabkit.checkpoint.state import loose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

_PACKAGES = ("site-packages", "dist-packages")
_STDLIB = (sysconfig.get_path("stdlib"), "<frozen")
_ITERATES = {"__next__", "__iter__", "next"}


class UserLoop:
    """A `for` of the user's that runs, or a `while` that asks for the next item.

    Args:
        frame: Where it runs.
        head: The place where it asks for the next item.
        body: The places of its instructions.
        entry: The first of them.

    Attributes:
        frame: Where it runs.
        loaded: The names that it reads, without those of moments of this process's clocks.
        stored: The names that it assigns, without the same.
        carried: Those of the assigned ones that a step has from an earlier one.
        needed: The names that are read from its head on, also behind it.
    """

    def __init__(self, frame: FrameType, head: int, body: list[int], entry: int) -> None:
        flow = flow_of(frame.f_code)
        self.frame = frame
        self.loaded, self.stored = (names - flow.clocks for names in flow.names_in(body))
        self.carried = flow.needed_at(entry, at_least_once=True) & self.stored
        self.needed = flow.needed_at(head)

    @property
    def is_global(self) -> bool:
        """Whether it runs in no function."""
        return self.frame.f_locals is self.frame.f_globals

    @property
    def variables(self) -> Variables:
        """The variables of the frame."""
        return Variables(self.frame.f_globals, None if self.is_global else self.frame)

    def is_at_the_place_of(self, other: UserLoop) -> bool:
        """Say whether both are the same `for` of the same call."""
        return self.frame is other.frame and self.stored == other.stored and self.needed == other.needed


class Variables:
    """The variables of a module, or of a function that runs.

    Args:
        names: Those of the module.
        frame: The function's; None for the module.
    """

    def __init__(self, names: dict[str, Any], frame: FrameType | None = None) -> None:
        self._names = names
        self._frame = frame

    @property
    def is_global(self) -> bool:
        """Whether they are those of a module, which other code may read later."""
        return self._frame is None

    @property
    def place(self) -> str:
        """Where they are, the same in each process."""
        module = str(self._names.get("__name__"))
        inside = "" if self._frame is None else f"{self._frame.f_code.co_name}."
        return f"{'' if module == '__main__' else module}:{inside}"

    @property
    def module(self) -> str:
        """How the code of the program writes a module of the user's: "settings."; empty for its own variables."""
        module = str(self._names.get("__name__"))
        return "" if module == "__main__" or not self.is_global else f"{module}."

    def __contains__(self, name: str) -> bool:
        return name in (self._names if self._frame is None else self._frame.f_locals)

    def __getitem__(self, name: str) -> Any:
        return (self._names if self._frame is None else self._frame.f_locals)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if self._frame is None:
            self._names[name] = value
            return
        variables = self._frame.f_locals  # read once: before 3.13 Python fills the same dict anew each time
        variables[name] = value
        if sys.version_info < (3, 13):  # as debuggers do; later Pythons write through
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(self._frame), ctypes.c_int(0))

    def encloses(self, name: str, cell: Any) -> bool:
        """Say whether a variable that a function encloses is the one of that name here."""
        if self._frame is None or name not in (*self._frame.f_code.co_cellvars, *self._frame.f_code.co_freevars):
            return False
        return name not in self or self[name] is cell.cell_contents

    def may_hold(self, name: str) -> bool:
        """Say whether a name belongs here: a function has the names of its code alone."""
        if self._frame is None:
            return True
        code = self._frame.f_code
        return name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars)


def running(frame: FrameType | None) -> UserLoop | None:
    """Find the `for` that reads a generator of ours, through bars and helpers of the user's; None where none does.

    A library that reads it, and `train`, keep what they carry themselves.
    """
    is_asked = False
    while frame is not None:
        if not _is_ours(frame):
            is_of_the_user = _is_of_the_user(frame)
            is_bar = frame.f_code.co_flags & inspect.CO_GENERATOR or frame.f_code.co_name in _ITERATES
            if not is_of_the_user and not is_bar:
                return None
            if is_of_the_user and not frame.f_code.co_flags & inspect.CO_GENERATOR:
                flow = flow_of(frame.f_code)
                if (loop := flow.loop_at(frame.f_lasti, is_asked=is_asked)) is not None:
                    return UserLoop(frame, *loop)
                is_asked |= flow.asks_at(frame.f_lasti)
                if frame.f_code.co_name == "<module>":
                    return None
        frame = frame.f_back
    return None


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("colabkit.checkpoint.loop.")


def _is_of_the_user(frame: FrameType) -> bool:
    return is_user_code(frame.f_code.co_filename, frame.f_globals)


def is_user_code(file: str, names: Mapping[str, Any]) -> bool:
    """Say whether code is of no package that is installed, and not ours."""
    is_installed = any(part in file for part in _PACKAGES) or file.startswith(_STDLIB)
    return not is_installed and str(names.get("__name__")).split(".")[0] != "colabkit"


def is_of_the_user(kind: type) -> bool:
    """Say whether a class is the user's."""
    return loose.is_in_user_code(kind) and kind.__module__.split(".")[0] != "colabkit"
