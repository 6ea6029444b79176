"""Which members of an archive are wanted, and the hold on a choice that fits nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from colabkit._internal.display.few import few
from colabkit.errors import ArchiveError, NotFoundError

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One word that chooses members.

    Attributes:
        text: As it was written.
        expression: The regular expression that the whole path of a member fits.
        ignores_case: Letters fit in either case.
        hint: What to write instead if it fits no member; "" where nothing is known.
    """

    text: str
    expression: str
    ignores_case: bool = False
    hint: str = ""

    def fits(self, name: str) -> bool:
        """Say whether it chooses a member."""
        return re.fullmatch(self.expression, name, re.DOTALL | (re.IGNORECASE if self.ignores_case else 0)) is not None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The members that are wanted.

    Attributes:
        patterns: Each chooses some; without any, all are wanted.
        exclusions: Each leaves out some of those.
        flat: Members lose the folders in their paths; "files" drops the folders themselves, "all" makes them too.
        twice: What happens to files that have the same name then; "refuse" is a question that nobody answers.
    """

    patterns: tuple[Pattern, ...] = ()
    exclusions: tuple[Pattern, ...] = ()
    flat: Literal["", "files", "all"] = ""
    twice: Literal["refuse", "replace", "keep"] = "refuse"

    def __bool__(self) -> bool:
        return bool(self.patterns or self.exclusions or self.flat)

    @property
    def identity(self) -> str:
        """What tells this choice from others; "" for all members."""
        if not self:
            return ""
        words = [*(pattern.text for pattern in self.patterns), "", *(pattern.text for pattern in self.exclusions)]
        expressions = [f"{pattern.expression}{pattern.ignores_case}" for pattern in (*self.patterns, *self.exclusions)]
        return "\0".join(["chosen", *words, *expressions, self.flat, self.twice if self.flat else ""])


ALL = Choice()


class Chosen:
    """One walk over an archive: says for each member where it goes, and at the end what was not there.

    Args:
        choice: What is wanted.
        archive: The name of the archive, for messages.
    """

    def __init__(self, choice: Choice, archive: str) -> None:
        self._choice = choice
        self._archive = archive
        self._open = set(choice.patterns)
        self._names: set[str] = set()
        self._tops: dict[str, None] = {}
        self._taken = 0

    def place(self, name: str, *, folder: bool = False) -> str | None:
        """Return the path that a member gets, or None where it is not wanted.

        Args:
            name: Its path.
            folder: It is a folder.

        Raises:
            ArchiveError: Another one has its name, and nothing says which is meant.
        """
        choice = self._choice
        if not choice:
            return name
        self._note(name)
        if not self.takes(name):
            return None
        self._taken += 1
        if not choice.flat:
            return name
        if folder:
            return None if choice.flat == "files" else name.rstrip("/").rpartition("/")[2]
        last = self.renamed(name)
        if last in self._names and choice.twice == "refuse":
            raise ArchiveError(
                f"two of the chosen members of {self._archive} are called {last[:200]!r}",
                why="without their folders one would lie over the other, and the program would ask",
                hint="leave the folders, choose fewer members, or say which counts (-o for the later one with unzip)",
            )
        if last in self._names and choice.twice == "keep":
            return None
        self._names.add(last)
        return last

    def renamed(self, name: str) -> str:
        """Return the path of a member without the folders that it loses."""
        return name.rpartition("/")[2] if self._choice.flat else name

    def takes(self, name: str) -> bool:
        """Say whether a member is wanted."""
        if not self._choice:
            return True
        fitting = [pattern for pattern in self._choice.patterns if pattern.fits(name)]
        self._open.difference_update(fitting)
        return bool(fitting or not self._choice.patterns) and not any(
            pattern.fits(name) for pattern in self._choice.exclusions
        )

    def finish(self) -> None:
        """Hold what was found against what was asked for.

        Raises:
            NotFoundError: A word chose nothing, or nothing is left.
        """
        if not self._choice or (self._taken and not self._open):
            return
        missing = [pattern for pattern in self._choice.patterns if pattern in self._open]
        named = ", ".join(pattern.text[:100] for pattern in missing) or "what is chosen"
        hint = next((pattern.hint for pattern in missing if pattern.hint), "")
        raise NotFoundError(
            f"{self._archive} has no member that fits {named}",
            why=f"at its top it holds {few(list(self._tops), _SHOWN)}" if self._tops else "it holds nothing",
            hint=hint or "compare the names, with upper and lower case",
        )

    def _note(self, name: str) -> None:
        lead = "./" if name.startswith("./") else ""
        first, slash, _ = name[len(lead) :].partition("/")
        if first and len(self._tops) < 1000:
            plain = "".join(letter for letter in first[:60] if letter.isprintable())
            self._tops[f"{lead}{plain}{slash}"] = None
