"""The names that the user's `for` around the batches assigns: the best loss so far, a running sum, a count of steps.

A new process comes into the middle of that `for`, where they have the values of the steps before. Which they are is
read in the code between the `for` and its end, as `left_by_break` reads how it is left.
"""

from __future__ import annotations

import ctypes
import dis
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.display.few import few
from colabkit._internal.log import warn
from colabkit.checkpoint.loop.attached import is_module, is_optimizer
from colabkit.checkpoint.loop.values import decode, encode
from colabkit.checkpoint.state.loose import to_device
from colabkit.checkpoint.state.moments import is_a_moment
from colabkit.checkpoint.state.user_variables import is_of_the_user
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType

_LARGE = 1 << 20  # bytes of what the next step assigns anew, which need not be kept
_DEPTH = 3  # of functions that call functions
_STORES = {"STORE_NAME", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF"}
_LOADS = {"LOAD_NAME", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW"}
_SETTINGS = 256  # numbers of a list that may be one


class _ForLoop:
    """A `for` of the user's that runs.

    Attributes:
        frame: Where it runs.
        assigned: The names that it assigns; True where it reads the value that an earlier step has left.
        read: The names that it only reads.
    """

    def __init__(self, frame: FrameType, body: list[dis.Instruction]) -> None:
        self.frame = frame
        self.assigned: dict[str, bool] = {}
        self.read: set[str] = set()
        reads: set[str] = set()
        for each in body:
            for name in each.argval if isinstance(each.argval, tuple) else (each.argval,):
                if each.opname in _STORES or each.opname.startswith("STORE_FAST"):
                    self.assigned.setdefault(name, name in reads)
                elif each.opname in _LOADS or each.opname.startswith("LOAD_FAST"):
                    reads.add(name)
        self.read = reads - self.assigned.keys()

    @property
    def is_global(self) -> bool:
        """Whether it runs in no function."""
        return self.frame.f_locals is self.frame.f_globals

    @property
    def place(self) -> str:
        """Where it is, for the names of its values."""
        return "" if self.is_global else f"{self.frame.f_code.co_name}."


class LoopNames:
    """The names that the user's loops over a run's batches assign, as long as they run.

    Args:
        run: The run's name.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._outer: list[_ForLoop] = []  # the `for` over the epochs
        self._inner: list[_ForLoop] = []  # the one over the batches, where it is another
        self._known: set[int] = set()
        self._memory: set[int] = set()  # where the tensors are that the loop is given
        self._told: set[str] = set()
        self._settings: dict[str, str] = {}

    def begin(self, given: list[Any]) -> None:
        """Find the `for` that reads the loop.

        Args:
            given: What the loop is given, which is saved otherwise.
        """
        self._known = set(map(id, given))
        tensors = [each for part in given if is_module(part) for each in [*part.parameters(), *part.buffers()]]
        self._memory = {each.untyped_storage().data_ptr() for each in tensors} - {0}
        self._outer = list(_running(sys._getframe(1)))
        self._settings = {key: repr(value) for key, value in self._numbers()}

    def begin_epoch(self) -> None:
        """Find the `for` that reads the batches of an epoch, in the one over the epochs."""
        places = {(id(each.frame), each.frame.f_lasti) for each in self._outer}
        loops = list(_running(sys._getframe(1)))
        self._inner = [each for each in loops if (id(each.frame), each.frame.f_lasti) not in places]

    def release(self) -> None:
        """Hold nothing of the user's any longer."""
        self._outer, self._inner, self._known, self._memory = [], [], set(), set()

    # ---- what they hold ----

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of them, and tell of what an earlier step has left and cannot be saved."""
        taken: dict[str, Any] = {}
        for loop in [*self._outer, *self._inner]:
            variables = loop.frame.f_locals
            for name, is_read in _assigned_by(loop):
                place = f"{loop.place}{name}"
                space = loop.frame.f_globals if name not in variables else variables
                if name not in space or name == "_" or id(space[name]) in self._known:
                    continue
                value = space[name]
                if is_a_moment(value) or (not is_read and _size_of(value) > _LARGE):
                    continue
                if self._is_of_the_model(value):
                    if is_read or (isinstance(value, dict) and "params" not in value):  # no group of an optimizer
                        self._tell(
                            place, "holds tensors of the model itself; take a copy: copy.deepcopy(model.state_dict())"
                        )
                    continue
                try:
                    taken[place] = [encode(value, place), _device_of(value)]
                except (CheckpointError, RuntimeError, TypeError):
                    if is_read and not _is_harmless(value):
                        self._tell(place, f"is a {type(value).__name__}, which a checkpoint cannot hold")
                    continue
                if is_read and any(each.grad_fn is not None and not each.ndim for each in _tensors_of(value)):
                    self._tell(place, "is a tensor with the graph of earlier steps; add up numbers: loss.item()")
        return {"values": taken, "settings": self._settings}

    def give(self, saved: Mapping[str, Any] | None) -> None:
        """Put back what `take` returned, and tell of numbers that the loop reads and that are others now."""
        if saved is None:
            return
        before = saved["settings"]
        changed = {key: text for key, text in self._settings.items() if before.get(key, text) != text}
        if changed and "" not in self._told:
            self._told.add("")
            text = "%s: changed since the state was saved, and in effect from now on: %s"
            words = [f"{key}: {before[key]:.40} -> {text:.40}" for key, text in sorted(changed.items())]
            warn(text, self._run, few(words, 5, between="; "))
        for loop in [*self._outer, *self._inner]:
            values = {
                name: to_device(decode(content[0]), content[1] and _torch_device(content[1]))
                for name, _ in _assigned_by(loop)
                if (content := saved["values"].get(f"{loop.place}{name}")) is not None
            }
            _assign(loop, values)

    def _is_of_the_model(self, value: Any) -> bool:
        return any(each.untyped_storage().data_ptr() in self._memory for each in _tensors_of(value))

    def _tell(self, place: str, why: str) -> None:
        if place not in self._told:
            self._told.add(place)
            warn("%s: %s %s. After a kill it is not what it was", self._run, place, why)

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        """Go through the plain numbers that the loop reads, in the user's functions too, and does not assign."""
        for loop in self._outer:
            spaces = (loop.frame.f_locals, loop.frame.f_globals)
            names, seen = dict.fromkeys(loop.read, spaces), set[Any]()
            for name in sorted(loop.read):
                function = next((space[name] for space in spaces if name in space), None)
                for inner, space in _read_by(function, _DEPTH, seen):
                    names.setdefault(inner, (space, space))
            assigned = {name for name, _ in _assigned_by(loop)}
            for name in sorted(names.keys() - assigned):
                value = next((space[name] for space in names[name] if name in space), None)
                if _is_number(value) and not is_a_moment(value):
                    yield f"{loop.place}{name}", value


def _running(frame: FrameType | None) -> Iterator[_ForLoop]:
    """Give the `for` that reads a generator, and those of the user's generators around it."""
    while frame is not None:
        if is_of_the_user(frame):
            body = _body_of(frame)
            if body:
                yield _ForLoop(frame, body)
            if not frame.f_code.co_flags & inspect.CO_GENERATOR:
                return
        frame = frame.f_back


def _body_of(frame: FrameType) -> list[dis.Instruction]:
    """Give the instructions of the loop that waits for its next item in a frame; none where no loop does."""
    instructions = list(dis.get_instructions(frame.f_code))
    header = next((each for each in instructions if each.offset == frame.f_lasti), None)
    if header is not None and header.opname.startswith("FOR_ITER"):
        return [each for each in instructions if header.offset < each.offset < header.argval]
    jumps = [
        each for each in instructions if each.opname.startswith("JUMP_BACKWARD") or "_JUMP_BACKWARD" in each.opname
    ]
    around = [each for each in jumps if each.argval <= frame.f_lasti < each.offset]
    first = max((each.argval for each in around), default=None)  # of the innermost `while`, which calls next()
    if first is None:
        return []
    last = max(each.offset for each in around if each.argval == first)
    return [each for each in instructions if first <= each.offset < last]


def _assigned_by(loop: _ForLoop) -> Iterator[tuple[str, bool]]:
    """Give the names that a loop assigns, and the globals that the user's functions assign which it calls."""
    names = dict(loop.assigned)
    spaces = (loop.frame.f_locals, loop.frame.f_globals)
    seen: set[Any] = set()
    for name in sorted(loop.read):
        function = next((space[name] for space in spaces if name in space), None)
        for code, space in _codes_of(function, _DEPTH, seen):
            if space is loop.frame.f_globals:
                for each in dis.get_instructions(code):
                    if each.opname == "STORE_GLOBAL":
                        names.setdefault(each.argval, True)
    yield from names.items()


def _codes_of(function: Any, depth: int, seen: set[Any]) -> Iterator[tuple[CodeType, Any]]:
    """Give the code of a function of the user's, and of those that it calls, with their globals."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType) or not depth or function in seen:
        return
    seen.add(function)
    file, names = function.__code__.co_filename, function.__globals__
    if "site-packages" in file or "dist-packages" in file or str(names.get("__name__")).startswith("colabkit."):
        return
    yield function.__code__, names
    for name in function.__code__.co_names:
        yield from _codes_of(names.get(name), depth - 1, seen)


def _read_by(function: Any, depth: int, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    for code, names in _codes_of(function, depth, seen):
        yield from ((name, names) for name in code.co_names if name in names)


def _assign(loop: _ForLoop, values: Mapping[str, Any]) -> None:
    """Give the names in a frame that runs their values."""
    frame, is_global = loop.frame, loop.is_global
    own = {name: value for name, value in values.items() if is_global or name in _locals_of(frame.f_code)}
    frame.f_globals.update({name: value for name, value in values.items() if name not in own})
    if not own:
        return
    variables = frame.f_locals  # read once: each time Python before 3.13 fills the same dict anew
    for name, value in own.items():
        variables[name] = value
    if not is_global and sys.version_info < (3, 13):  # as debuggers do; later Pythons write through
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def _locals_of(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames + code.co_cellvars + code.co_freevars


def _is_number(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return 0 < len(value) <= _SETTINGS and all(type(each) in (int, float) for each in value)
    return type(value) in (bool, int, float)


def _is_harmless(value: Any) -> bool:
    """Say whether a thing that changes hands in a loop is no state, or is watched otherwise."""
    return (
        callable(value)
        or inspect.isgenerator(value)
        or is_module(value)
        or is_optimizer(value)
        or isinstance(value, types.ModuleType)
    )


def _tensors_of(value: Any) -> list[Any]:
    if isinstance(value, dict | list | tuple):
        return [each for item in (value.values() if isinstance(value, dict) else value) for each in _tensors_of(item)]
    return [value] if hasattr(value, "untyped_storage") and str(value.layout) == "torch.strided" else []


def _size_of(value: Any) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else sum(each.nbytes for each in _tensors_of(value))


def _device_of(value: Any) -> str:
    devices = {str(each.device) for each in _tensors_of(value)}
    return devices.pop() if len(devices) == 1 else ""


def _torch_device(name: str) -> Any:
    import torch

    return torch.device(name) if name.partition(":")[0] != "cuda" or torch.cuda.is_available() else torch.device("cpu")
