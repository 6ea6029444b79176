"""Where the code of a frame can go from a place, and what it reads and assigns on the way.

This is read in the instructions, so that it holds in a notebook and in a program without a file.
"""

from __future__ import annotations

import bisect
import dis
import functools
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType

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
_CLOCKS = {"perf_counter", "monotonic", "process_time", "thread_time"}
_CLOCKS |= {f"{clock}_ns" for clock in _CLOCKS}
_LEADS_ELSEWHERE = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE")


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

    @functools.cached_property
    def _needed(self) -> list[frozenset[str]]:
        return self._flow_back(at_least_once=False)

    @functools.cached_property
    def _needed_once(self) -> list[frozenset[str]]:
        return self._flow_back(at_least_once=True)

    @property
    def loaded(self) -> frozenset[str]:
        """The names that it reads."""
        return frozenset().union(*self._reads)

    @property
    def stored(self) -> frozenset[str]:
        """The names that it assigns."""
        return frozenset().union(*self._writes)

    @functools.cached_property
    def clocks(self) -> frozenset[str]:
        """The names that it gives moments of a clock of this process alone, as in `start = time.perf_counter()`.

        Example:
            >>> import time
            >>> def steps(items):
            ...     last = first = time.perf_counter()
            ...     for item in items:
            ...         took = time.perf_counter() - last
            ...         last = time.perf_counter()
            ...     return took, last - first
            >>> sorted(CodeFlow(steps.__code__).clocks)
            ['first', 'last']
        """
        kinds: dict[str, set[str]] = {}
        for number, names in enumerate(self._writes):
            for name in names:
                kinds.setdefault(name, set()).add(self._stores_what(number))
        return frozenset(name for name, each in kinds.items() if "clock" in each and each <= {"clock", "nothing"})

    def _stores_what(self, number: int) -> str:
        before = [step for step in self._steps[:number][-_CALL:] if step.opname not in ("PRECALL", "PUSH_NULL")]
        while len(before) > 1 and before[-1].opname in _STORES and before[-2].opname in {"COPY", *_STORES}:
            before.pop()  # start = last = ...
        if len(before) > 1 and before[-1].opname == "COPY":
            before.pop()
        if before and before[-1].opname == "LOAD_CONST" and before[-1].argval in (None, 0):
            return "nothing"
        is_call = len(before) > 1 and before[-1].opname == "CALL" and not before[-1].arg
        return "clock" if is_call and before[-2].argval in _CLOCKS else "another"

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
        number = self._at(offset)
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

    def comes_by_again(self, offset: int) -> bool:
        """Say whether it can come by a place once more, beside the `for` that waits there for its next item."""
        number = self._at(offset)
        step = self._steps[number]
        ahead = self._number[step.argval] if step.opname.startswith("FOR_ITER") else number + 1
        return ahead < len(self._steps) and number in self._reach(ahead, set())

    def _at(self, offset: int) -> int:
        return bisect.bisect_right([step.offset for step in self._steps], offset) - 1

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
