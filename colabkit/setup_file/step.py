"""One part of a set-up, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ready", "to do", "done", "missing", "failed"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One part of a set-up.

    Attributes:
        kind: "python", "accelerator", "secret", "drive", "packages", "lock", "data" or "run".
        name: What it is called; "" where there is one of its kind.
        state: "ready" needs nothing, "to do" would be done, "done" was done now, "missing" only the user can give,
            "failed" was tried.
        what: In words.
        do: What the user can do about it.
    """

    kind: str
    name: str = ""
    state: State
    what: str
    do: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others."""
        return self.kind, self.name

    @property
    def title(self) -> str:
        """The words that a page shows it under."""
        return f"{self.kind} {self.name}".rstrip()
