"""The notebooks of a folder, one after another."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify
from colabkit.errors import ColabKitError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit.headless.outcome import Ran


@dataclass(frozen=True, kw_only=True)
class FolderRow:
    """How one notebook of a folder ended.

    Attributes:
        name: Its path in the folder.
        ran: What it left; None when it failed.
        error: Why it failed.
        seconds: How long it took.
    """

    name: str
    ran: Ran | None
    error: ColabKitError | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        row: dict[str, Any] = {"name": self.name, "seconds": round(self.seconds, 3), "ok": self.ran is not None}
        if self.ran is not None:
            row |= self.ran.to_json()
        if self.error is not None:
            row["error"] = {**self.error.to_json(), "exit_code": self.error.exit_code}
        return row


@dataclass(frozen=True, kw_only=True)
class FolderRan:
    """How the notebooks of a folder ended.

    Attributes:
        rows: One for each, in the order in which they ran.
    """

    rows: tuple[FolderRow, ...]

    @property
    def code(self) -> int:
        """0 when all came to their end, else the exit code of the first error."""
        return next((row.error.exit_code for row in self.rows if row.error is not None), 0)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = []
        for row in self.rows:
            failed = f"ok, {len(row.ran.failed)} commands failed" if row.ran is not None and row.ran.failed else "ok"
            outcome = row.error.what if row.error is not None else failed
            lines.append(f"{row.name:<{width}}  {row.seconds:8.1f} s  {outcome}")
        good = sum(row.ran is not None for row in self.rows)
        return "\n".join([*lines, f"{good} of {len(self.rows)} came to their end"])

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {"runs": [row.to_json() for row in self.rows]}


def run_folder(folder: Path, run: Callable[[Path], Ran]) -> FolderRan:
    """Run each notebook of a folder and of those below it; one that fails does not keep the next from running.

    Args:
        folder: The folder; hidden ones in it, and outputs of earlier runs, are passed over.
        run: What runs one.

    Raises:
        NotFoundError: There is no notebook in it.
    """
    notebooks = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if not path.name.endswith(".out.ipynb")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not notebooks:
        raise NotFoundError(f"no notebook in {folder}", hint="check the path")
    rows = []
    for number, path in enumerate(notebooks, 1):
        notify("colabkit: %s, %d of %d", path.relative_to(folder), number, len(notebooks))
        begun = time.monotonic()
        ran, failed = None, None
        try:
            ran = run(path)
        except ColabKitError as error:
            failed = error
        seconds = time.monotonic() - begun
        rows.append(FolderRow(name=str(path.relative_to(folder)), ran=ran, error=failed, seconds=seconds))
    return FolderRan(rows=tuple(rows))
