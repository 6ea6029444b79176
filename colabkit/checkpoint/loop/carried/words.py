"""What is said of the names that a loop carries along, each line once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import few
from colabkit.checkpoint.loop.parts.attached import is_optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.checkpoint.loop.carried.pieces import Piece

_SHOWN = 8
_QUIET = ("tqdm", "torch.utils.data", "colabkit.")  # bars, and iterators of loaders, which are told by `strays.py`
_left: set[Any] = set()  # what was said to be left, which a loop that is begun many times says once


class CarriedWords:
    """Says what goes on, and what does not.

    Args:
        key: The run in this process.
        notify: Says a line with values.
        warn: The same, of what is not exact.
        whose: "loop", or "training" by a trainer of another library.

    Attributes:
        unkept: Why a name is not kept, by its place.
        outcomes: What became of each as it was put back: "restored", "left" or "lost".
    """

    def __init__(self, key: Any, notify: Callable[..., None], warn: Callable[..., None], whose: str) -> None:
        self._key = key
        self._whose = whose
        self._notify = notify
        self._warn = warn
        self._lines: set[str] = set()
        self.unkept: dict[str, str] = {}
        self.outcomes: dict[str, str] = {}

    def tell(self, place: str, why: str) -> None:
        """Tell of a name that is not kept, the first time."""
        if place not in self.unkept:
            self.unkept[place] = why
            text = f"%s: your {self._whose} carries %s along, which is not the same after a kill: it %s"
            self._warn(text, place, why)

    def give_up(self, error: Exception) -> None:
        """Tell that nothing of it is kept."""
        text = f"%s: what your {self._whose} carries along cannot be looked at, and is not kept: %s"
        text += ". Give it to run.loop" if self._whose == "loop" else ""
        self._say(self._warn, text, [f"{type(error).__name__}: {error}"])

    def tell_unkept(self, piece: Piece, place: str) -> None:
        """Tell of what a checkpoint cannot hold, at a place in words."""
        value, kind = piece.value, type(piece.value).__name__
        if type(value).__module__.startswith(_QUIET) or is_optimizer(value):
            return
        if piece.kind == "foreign":
            why = f"is a {kind}, whose state no checkpoint can hold; begin each step by env.reset(seed=step)"
        elif piece.kind == "filled":
            why = "holds what no checkpoint can; keep numbers, texts, arrays and tensors in it"
        elif piece.kind in ("module", "stateful"):
            why = f"is a {kind}; {self._way_for(piece)}"
        else:
            why = f"is a {kind}, which no checkpoint can hold; keep what it is made of, in a dict"
        self.tell(place, why)

    def _way_for(self, piece: Piece) -> str:
        if self._whose == "loop":
            return f"give it to the loop: run.loop(…, {piece.name}={piece.place})"
        return "keep it in an attribute of the model"

    def say(self, unkept: Mapping[str, str]) -> None:
        """Say what goes on, and what does not.

        Args:
            unkept: What the process that was killed has not kept.
        """
        places: dict[str, list[str]] = {"restored": [], "left": [], "lost": []}
        for place, outcome in self.outcomes.items():
            places[outcome].append(place)
        for place in sorted(place for place in unkept if self.outcomes.get(place) != "lost"):
            self._say(self._warn, f"%s: %s is not what it was when the run was killed: it {unkept[place]}", [place])
        self.unkept = {**unkept, **self.unkept}
        self._say(self._notify, f"%s: your {self._whose} goes on with what the run has of %s", places["restored"])
        left = [place for place in places["left"] if (self._key, place) not in _left]
        _left.update((self._key, place) for place in left)
        self._say(self._notify, "%s: set in this process since, and left so: %s", left)
        self._say(
            self._warn, "%s: not what it was when the run was killed, as it cannot be put back: %s", places["lost"]
        )

    def _say(self, say: Callable[..., None], text: str, places: list[str]) -> None:
        if places and text not in self._lines:
            self._lines.add(text)
            say(text, few(places, _SHOWN))
