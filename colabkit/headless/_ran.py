"""What a headless run left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run that came to its end.

    Attributes:
        output: The notebook with its outputs, or what the script printed.
        attempts: How often it began.
        seconds: How long it took, all attempts together.
        code: A script's own exit code; 0 for a notebook.
    """

    output: Path
    attempts: int
    seconds: float
    code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {**vars(self), "output": str(self.output), "seconds": round(self.seconds, 3)}
