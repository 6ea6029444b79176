"""The `for` of the user's that runs over the batches or epochs of a loop, and the names that it carries along.

A new process comes into the middle of that `for`. A name is carried where a step reads what an earlier one has left:
it is assigned in the `for`, and read there, or behind it, before it is assigned again. This is read in the code of the
frame, as `reader.left_by_break` reads how it is left, so that it holds in a notebook and in a program without a file.
"""

from __future__ import annotations

import bisect
import ctypes
import dis
import functools
import inspect
import sys
import sysconfig
import types
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.state import loose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import CodeType, FrameType

_DEPTH = 3  # of functions that call functions
_CALL = 8  # instructions that make up a call of `next`
_LOADS = {
    "LOAD_NAME",
    "LOAD_FAST",
    "LOAD_FAST_CHECK",
    "LOAD_FAST_BORROW",
    "LOAD_GLOBAL",
    "LOAD_DEREF",
    "LOAD_CLOSURE",
    "LOAD_FAST_LOAD_FAST",
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
}
_STORES = {"STORE_NAME", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF", "STORE_FAST_STORE_FAST"}
_DELETES = {"DELETE_NAME", "DELETE_FAST", "DELETE_GLOBAL", "DELETE_DEREF"}
_STORE_AND_LOAD = "STORE_FAST_LOAD_FAST"
_LEAVES = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"}
_LEADS_ELSEWHERE = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
_PACKAGES = ("site-packages", "dist-packages")
_STDLIB = (sysconfig.get_path("stdlib"), "<frozen")
_ITERATES = {"__next__", "__iter__", "next"}


class CodeFlow:
    """What a piece of code reads and assigns, and what it reads from a place on before it assigns it.

    Args:
        code: The code.

    Example:
        >>> def count(items):
        ...     total = 0
        ...     for item in items:
        ...         total += item
        ...     return total
        >>> flow = CodeFlow(count.__code__)
        >>> sorted(flow.stored), flow.needed_at(0)
        (['item', 'total'], frozenset({'items'}))
    """

    def __init__(self, code: CodeType) -> None:
        self._steps = list(dis.get_instructions(code))
        self._number = {step.offset: number for number, step in enumerate(self._steps)}
        self._reads = [frozenset(_reads(step)) for step in self._steps]
        self._writes = [frozenset(_writes(step)) for step in self._steps]
        self._next = [list(self._after(number)) for number in range(len(self._steps))]
        self._handlers: list[list[int]] = [[] for _ in self._steps]
        self._find_handlers(code)
        self._needed = self._flow_back(at_least_once=False)
        self._needed_once = self._flow_back(at_least_once=True)

    @property
    def loaded(self) -> frozenset[str]:
        """The names that it reads."""
        return frozenset().union(*self._reads)

    @property
    def stored(self) -> frozenset[str]:
        """The names that it assigns."""
        return frozenset().union(*self._writes)

    def needed_at(self, offset: int, *, at_least_once: bool = False) -> frozenset[str]:
        """Name what is read from a place on, before it is assigned.

        Args:
            offset: The place.
            at_least_once: Each `for` on the way has an item, so that what it assigns is assigned behind it.
        """
        return (self._needed_once if at_least_once else self._needed)[self._number[offset]]

    def names_in(self, offsets: Iterable[int]) -> tuple[frozenset[str], frozenset[str]]:
        """Name what some instructions read, and what they assign."""
        numbers = [self._number[offset] for offset in offsets]
        loaded = frozenset().union(*(self._reads[number] for number in numbers))
        return loaded, frozenset().union(*(self._writes[number] for number in numbers))

    def loop_at(self, offset: int, *, is_asked: bool = False) -> tuple[int, list[int], int] | None:
        """Find the loop that waits at a place for its next item.

        Args:
            offset: The place.
            is_asked: A function that is called there asks for the item.

        Returns:
            The place of its head, those of its instructions, and the first of them; None where no loop waits there.
        """
        number = bisect.bisect_right([step.offset for step in self._steps], offset) - 1
        header = self._steps[number]
        is_for = header.opname.startswith("FOR_ITER")
        if number + 1 >= len(self._steps) or not (is_for or is_asked or self.asks_at(offset)):
            return None
        inside = self._around(number) - (self._reach(0, {number}) if is_for else set())
        if is_for:
            inside |= {at for at, step in enumerate(self._steps) if header.offset < step.offset < header.argval}
        numbers = sorted(inside) or self._loop_behind(number)
        body = [self._steps[at].offset for at in numbers]
        return (header.offset, body, self._steps[number + 1].offset) if body else None

    def _loop_behind(self, number: int) -> list[int]:
        """Give the first loop behind an instruction: Python asks once in front of a `while` whose test asks."""
        jumps = [(self._number[step.argval], at) for at, step in enumerate(self._steps) if _leads_back(step)]
        first = min((start for start, _ in jumps if start > number), default=None)
        return [] if first is None else list(range(first, max(end for start, end in jumps if start == first) + 1))

    def asks_at(self, offset: int) -> bool:
        """Say whether `next(…)` is called at a place."""
        before = [step for step in self._steps if step.offset <= offset][-_CALL:]
        return any(step.argval in ("next", "__next__") for step in before)

    def _around(self, number: int) -> set[int]:
        """Give what lies on a way from behind an instruction back to it."""
        ahead = self._reach(number + 1, {number})
        back: list[list[int]] = [[] for _ in self._steps]
        for before in ahead:
            for after in (*self._next[before], *self._handlers[before]):
                back[after].append(before)
        around, waiting = {number}, [number]
        while waiting:
            for before in back[waiting.pop()]:
                if before not in around:
                    around.add(before)
                    waiting.append(before)
        return around - {number}

    def _reach(self, start: int, ends: set[int]) -> set[int]:
        """Give what is reached from an instruction, but not through the ends."""
        reached, waiting = {start}, [start]
        while waiting:
            number = waiting.pop()
            for after in (*self._next[number], *self._handlers[number]):
                if after not in reached and after not in ends:
                    reached.add(after)
                    waiting.append(after)
        return reached

    def _after(self, number: int) -> Iterator[int]:
        step = self._steps[number]
        leads_on = step.opname not in _LEAVES and not step.opname.startswith(_LEADS_ELSEWHERE)
        if leads_on and number + 1 < len(self._steps):
            yield number + 1
        if step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            yield self._number[step.argval]

    def _find_handlers(self, code: CodeType) -> None:
        for entry in getattr(dis.Bytecode(code), "exception_entries", ()):
            target = self._number[entry.target]
            names = [step.opname for step in self._steps[target : target + 2]]
            if "WITH_EXCEPT_START" in names:  # a `with` that goes on after an error is none of torch's
                continue
            for number, step in enumerate(self._steps):
                if entry.start <= step.offset < entry.end:
                    self._handlers[number].append(target)

    def _flow_back(self, *, at_least_once: bool) -> list[frozenset[str]]:
        needed: list[frozenset[str]] = [frozenset()] * len(self._steps)
        heads = {number for number, step in enumerate(self._steps) if step.opname.startswith("FOR_ITER")}
        entered = heads if at_least_once else set()  # from in front of it, a `for` leads into its body alone
        ways = [[at + (at == number + 1 and at in entered) for at in after] for number, after in enumerate(self._next)]
        is_changed = True
        while is_changed:
            is_changed = False
            for number in reversed(range(len(self._steps))):
                after = frozenset().union(*(needed[each] for each in ways[number])) - self._writes[number]
                on_error = frozenset().union(*(needed[each] for each in self._handlers[number]))
                if (now := self._reads[number] | after | on_error) != needed[number]:
                    needed[number], is_changed = now, True
        return needed


def _leads_back(step: dis.Instruction) -> bool:
    return (step.opcode in dis.hasjrel or step.opcode in dis.hasjabs) and step.argval <= step.offset


def _reads(step: dis.Instruction) -> Iterator[str]:
    if step.opname in _LOADS:
        yield from step.argval if isinstance(step.argval, tuple) else (step.argval,)
    elif step.opname == _STORE_AND_LOAD:
        yield from {step.argval[1]} - {step.argval[0]}
    elif isinstance(step.argval, types.CodeType):  # a function that is made here
        yield from (*step.argval.co_freevars, *step.argval.co_names)


def _writes(step: dis.Instruction) -> Iterator[str]:
    if step.opname in _STORES or step.opname in _DELETES:
        yield from step.argval if isinstance(step.argval, tuple) else (step.argval,)
    elif step.opname == _STORE_AND_LOAD:
        yield step.argval[0]


flow_of = functools.lru_cache(maxsize=256)(CodeFlow)


class UserLoop:
    """A `for` of the user's that runs, or a `while` that asks for the next item.

    Args:
        frame: Where it runs.
        head: The place where it asks for the next item.
        body: The places of its instructions.
        entry: The first of them.

    Attributes:
        frame: Where it runs.
        loaded: The names that it reads.
        stored: The names that it assigns.
        carried: Those of the assigned ones that a step has from an earlier one.
        needed: The names that are read from its head on, also behind it.
    """

    def __init__(self, frame: FrameType, head: int, body: list[int], entry: int) -> None:
        flow = flow_of(frame.f_code)
        self.frame = frame
        self.loaded, self.stored = flow.names_in(body)
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
    return _is_user_code(frame.f_code.co_filename, frame.f_globals)


def _is_user_code(file: str, names: Mapping[str, Any]) -> bool:
    is_installed = any(part in file for part in _PACKAGES) or file.startswith(_STDLIB)
    return not is_installed and str(names.get("__name__")).split(".")[0] != "colabkit"


def is_of_the_user(kind: type) -> bool:
    """Say whether a class is the user's."""
    return loose.is_in_user_code(kind) and kind.__module__.split(".")[0] != "colabkit"


def functions_in(value: Any, *, depth: int = _DEPTH, seen: set[int] | None = None) -> Iterator[types.FunctionType]:
    """Give a function of the user's, those that it calls, and the methods of an object's class."""
    seen = set() if seen is None else seen
    value = getattr(value, "__func__", value)
    if not depth or id(value) in seen:
        return
    seen.add(id(value))
    if not isinstance(value, types.FunctionType):
        kind = value if isinstance(value, type) else type(value)
        if is_of_the_user(kind):
            for each in list(vars(kind).values()):
                if isinstance(each, types.FunctionType):
                    yield from functions_in(each, depth=depth, seen=seen)
        return
    if not _is_user_code(value.__code__.co_filename, value.__globals__):
        return
    yield value
    for name in sorted(flow_of(value.__code__).loaded):
        if isinstance(inner := value.__globals__.get(name), types.FunctionType):
            yield from functions_in(inner, depth=depth - 1, seen=seen)
