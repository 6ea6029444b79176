"""What the objects keep that a training is given, or calls by itself: callbacks, modules, a Trainer, functions.

A trainer calls the code of the user's from its own: no `for` of the user's says what belongs to the training. So the
attributes of these objects and of their classes are looked at, and the names that their methods use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.carried.called import holds_functions
from colabkit.checkpoint.loop.carried.inside import attributes_of, is_of_code
from colabkit.checkpoint.loop.carried.roots import Root, add_functions
from colabkit.checkpoint.loop.carried.user_loops import Variables, is_of_the_user
from colabkit.checkpoint.loop.parts.attached import flat, is_module
from colabkit.checkpoint.state import loose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from colabkit.checkpoint.loop.carried.pieces import Piece, Pieces

_NOTHING = Variables({})


def modules_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Name the modules in what a training is given, those of a list by their numbers."""
    modules = {name: [each for each in flat(value) if is_module(each)] for name, value in given.items()}
    return {
        f"{name}[{at}]" if at else name: module for name, inside in modules.items() for at, module in enumerate(inside)
    }


class Attributes(Variables):
    """The attributes of an object, or of a class, as names.

    Args:
        owner: The object.
        name: How it is called, the same in each process.
        label: How messages call it.
    """

    def __init__(self, owner: Any, name: str, label: str) -> None:
        super().__init__({})
        self._owner = owner
        self._name = name
        self._label = label

    @property
    def is_global(self) -> bool:
        """They are of no module."""
        return False

    @property
    def place(self) -> str:
        """Where they are."""
        return f".{self._name}."

    @property
    def module(self) -> str:
        """What stands in front of an attribute, in words."""
        return f"{self._label}."

    def __contains__(self, name: str) -> bool:
        return name in attributes_of(self._owner)

    def __getitem__(self, name: str) -> Any:
        return attributes_of(self._owner)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)

    def names(self) -> list[str]:
        """List what of it is no code, and nothing of a framework's own."""
        held = attributes_of(self._owner)
        if isinstance(self._owner, type):
            return [name for name, each in held.items() if not (name.startswith("__") or is_of_code(each))]
        own = loose.of_the_framework(self._owner) if is_module(self._owner) else frozenset()
        return [name for name in held if not (name.startswith("__") or name in own)]


@dataclass
class HeldRoot(Root):
    """An attribute of an object that a training is given.

    Attributes:
        owner: "module", whose values and objects of values are saved with it; "saved", of which all plain values are
            saved with it; or another.
    """

    owner: str = ""

    def pieces(self, pieces: Pieces) -> Iterator[Piece]:
        """Give the pieces of what it holds now, without what is saved otherwise."""
        return (piece for piece in super().pieces(pieces) if not self._is_saved(piece))

    def _is_saved(self, piece: Piece) -> bool:
        if piece.kind != "value" or not self.owner:
            return False
        if self.owner == "saved":
            return piece.is_whole
        if not loose.is_value(piece.value) or any(step != "." for step, _ in piece.path[1:]):
            return False
        owner = self.variables[self.name]
        for _, key in piece.path[1:]:
            if not loose.is_of_the_user(owner):
                return False
            owner = attributes_of(owner).get(key)
        return True


class HeldObjects:
    """The objects and functions that a training is given, or calls by itself.

    Args:
        objects: Those whose attributes are state, by name; of a module its submodules, too.
        called: Functions, and what has methods, beside them.
        saved: The names of those objects whose plain values are saved otherwise.
    """

    def __init__(
        self, objects: Mapping[str, Any], called: Iterable[Any] = (), *, saved: Iterable[str] = frozenset()
    ) -> None:
        self._owners: list[tuple[Attributes, str]] = []
        self._called = [each for each in called if each is not None]
        kinds: dict[type, None] = {}
        saved = set(saved)
        for name, value in objects.items():
            for path, owner in value.named_modules() if is_module(value) else [("", value)]:
                if is_of_the_user(type(owner)):
                    kind = "module" if is_module(owner) else "saved" if name in saved else ""
                    place = f"{name}.{path}".removesuffix(".")
                    self._owners.append((Attributes(owner, place, place), kind))
                    kinds |= dict.fromkeys(each for each in type(owner).__mro__ if is_of_the_user(each))
        for each in kinds:
            self._owners.append((Attributes(each, f"class {each.__qualname__}", each.__name__), ""))
        self._called += [*kinds, *objects.values()]

    def add_to(self, roots: dict[tuple[str, str], Root]) -> None:
        """Add the attributes, and the names that the methods and functions use."""
        for variables, kind in self._owners:
            for name in variables.names():
                roots.setdefault((variables.place, name), HeldRoot(variables, name, owner=kind))
        for each in self._called:
            for function in flat(each):
                add_functions(roots, function, _NOTHING)

    def spaces(self) -> dict[str, Variables]:
        """Name where the attributes are."""
        return {variables.place: variables for variables, _ in self._owners}


def of_trainer(
    trainer: Any,
    callbacks: Mapping[str, Any],
    *,
    beside: set[str],
    saves: Callable[[Any], bool],
    called: Iterable[Any] = (),
) -> HeldObjects:
    """Find what a Trainer, or a learner, is given of the user's: callbacks, functions, objects.

    Args:
        trainer: It.
        callbacks: Its callbacks, by their names.
        beside: The attributes that are saved otherwise, such as its data.
        saves: Says whether the plain values of a callback are saved otherwise.
        called: Functions beside those that it has in attributes.
    """
    own = {name: value for name, value in vars(trainer).items() if name not in beside}
    objects = {name: value for name, value in own.items() if is_module(value) or is_of_the_user(type(value))}
    functions = [*called, *(value for value in own.values() if holds_functions(value))]
    saved = [name for name, callback in callbacks.items() if saves(callback)]
    return HeldObjects({type(trainer).__name__: trainer, **objects, **callbacks}, functions, saved=saved)
