"""Which names the user's loops use, in the frames where they run and in the functions that they call."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.called import Enclosed, cells_of, functions_in
from colabkit.checkpoint.loop.carried.user_loops import Variables, is_user_code
from colabkit.checkpoint.policy.code_flow import flow_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.checkpoint.loop.carried.pieces import Piece, Pieces
    from colabkit.checkpoint.loop.carried.user_loops import UserLoop

Roots = dict[tuple[str, str], "Root"]


@dataclass
class Root:
    """A name that a loop uses.

    Attributes:
        variables: Where it is.
        name: The name.
        is_assigned: The loop, or a function that it calls, assigns it.
        is_carried: A step reads what an earlier one has left there.
        is_needed: It is read later, in the loop or behind it.
    """

    variables: Variables
    name: str
    is_assigned: bool = False
    is_carried: bool = False
    is_needed: bool = False

    def pieces(self, pieces: Pieces) -> Iterator[Piece]:
        """Give the pieces of what it holds now."""
        if self.name in self.variables:
            yield from pieces.of(self.name, self.variables[self.name], self._write, is_assigned=self.is_assigned)

    def shows(self, piece: Piece) -> str:
        """Write where a piece of it is, for messages."""
        return f"{self.variables.module}{piece.place}"

    def _write(self, value: Any) -> None:
        self.variables[self.name] = value


def roots_of(outer: UserLoop, inner: UserLoop | None, given_ids: set[int]) -> Roots:
    """Give the names that the loops use, and those of the user's functions that they call.

    Args:
        outer: The loop over the epochs, or over all batches.
        inner: The loop over the batches of an epoch, where it is another.
        given_ids: The ids of what is given to the loop; what these call is not looked at.
    """
    roots: Roots = {}
    for loop in (outer, *([inner] if inner else ())):
        within = inner if inner and inner.frame is loop.frame else loop  # where the frame is when a state is saved
        names = Variables(loop.frame.f_globals)
        for name in sorted(loop.loaded | loop.stored):
            variables = loop.variables if loop.variables.may_hold(name) else names
            if name not in variables and name not in loop.stored:
                continue
            root = _root_of(roots, variables, name)
            root.is_assigned |= name in loop.stored
            root.is_carried |= name in (within if name in within.stored else loop).carried
            root.is_needed |= name in within.needed
            if name in loop.loaded and name in variables and id(variables[name]) not in given_ids:
                add_functions(roots, variables[name], loop.variables)
                _add_attributes(roots, variables[name], loop.frame.f_code.co_names, loop.variables)
    return roots


def _add_attributes(roots: Roots, module: Any, names: tuple[str, ...], own: Variables) -> None:
    """Add what code uses of a module of the user's, as in `settings.best = loss`, and what it calls there."""
    file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
    if file is None or not is_user_code(file, vars(module)):
        return
    variables = Variables(vars(module))
    for name in sorted(set(names)):
        if name in variables and (variables.place, name) not in roots:
            _root_of(roots, variables, name)
            add_functions(roots, variables[name], own)


def add_functions(roots: Roots, value: Any, own: Variables) -> None:
    """Add the names that a function of the user's uses: of modules, of the frame, and those that it encloses.

    Args:
        roots: They are added here.
        value: The function, or what has some, as an object or a class of the user's.
        own: The variables of the frame in which the loop runs.
    """
    for function in functions_in(value):
        code, flow = function.__code__, flow_of(function.__code__)
        names, cells = Variables(function.__globals__), cells_of(function)
        for name in sorted((flow.loaded | flow.stored) - {*code.co_varnames, *code.co_cellvars}):
            variables = _enclosing(roots, function, name, own) if name in cells else names
            if name not in variables or name in flow.clocks:
                continue
            root = _root_of(roots, variables, name)
            root.is_assigned |= name in flow.stored
            root.is_carried |= name in flow.stored and name in flow.needed_at(0)
            root.is_needed |= name in flow.needed_at(0)
            _add_attributes(roots, variables[name], code.co_names, own)


def _enclosing(roots: Roots, function: Any, name: str, own: Variables) -> Variables:
    """Return where a function has a variable from: the frame of the loop, or another function that made both."""
    cell = cells_of(function)[name]
    if own.encloses(name, cell):
        return own
    others = list(dict.fromkeys(root.variables for root in roots.values() if isinstance(root.variables, Enclosed)))
    for each in others:
        if each.holds_cell(cell):
            return each
    same = [each for each in others if each.function is function]
    at_its_place = [each for each in others if each.function.__qualname__ == function.__qualname__]
    return same[0] if same else Enclosed(function, len(at_its_place) + 1)


def _root_of(roots: Roots, variables: Variables, name: str) -> Root:
    return roots.setdefault((variables.place, name), Root(variables, name))
