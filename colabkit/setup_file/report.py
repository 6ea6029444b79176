"""A set-up in words: the plan before, the summary after."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown
from colabkit._safe_text import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit.checkpoint import Run
    from colabkit.packages import InstallReport
    from colabkit.setup_file.step import Step

_MARKS = {"ready": "ok", "done": "ok", "to do": "..", "missing": "!!", "failed": "!!"}
_COLOURS = {"ready": "#188038", "done": "#188038", "to do": "#5f6368", "missing": "#b06000", "failed": "#c5221f"}


@dataclass(frozen=True, kw_only=True, repr=False)
class Setup(Shown):
    """What `setup()` found and did. In a notebook it shows itself as a table.

    Attributes:
        origin: Where the set-up was written.
        steps: Each part with its state and words.
        data: Where each source lies, by its name.
        packages: What was installed; None when no package was asked for.
        address: Where the run lives; None when none was asked for.
        seconds: How long each step took, and all together.
        dry_run: Nothing was touched.
    """

    origin: str
    steps: tuple[Step, ...]
    data: Mapping[str, Path] = field(default_factory=dict)
    packages: InstallReport | None = None
    address: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for is there, and may be used at once."""
        return not self.restart_needed and all(step.state in ("ready", "done") for step in self.steps)

    @property
    def restart_needed(self) -> bool:
        """Whether the kernel must start anew before the packages can be trusted."""
        return self.packages is not None and self.packages.restart_needed

    @functools.cached_property
    def run(self) -> Run | None:
        """The run of this set-up, opened as by `open_run`; None when none was asked for."""
        from colabkit.checkpoint import open_run

        return None if self.address is None else open_run(self.address)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {
            "origin": self.origin,
            "complete": self.complete,
            "restart_needed": self.restart_needed,
            "dry_run": self.dry_run,
            "steps": [vars(step) for step in self.steps],
            "data": {name: str(path) for name, path in self.data.items()},
            "packages": None if self.packages is None else self.packages.as_dict(),
            "run": self.address,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }

    def __str__(self) -> str:
        lines = [f"set-up of {self.origin}: {self._verdict()}", *_lines(self.steps)]
        if self.restart_needed:
            lines.append("restart the kernel before you use what was replaced: colabkit.detect().restart()")
        return safe_text("\n".join(lines))

    def _repr_html_(self) -> str:
        return table(f"Set-up of {self.origin}: {self._verdict()}", self.steps)

    def _verdict(self) -> str:
        if self.dry_run:
            return "this would be done"
        if self.complete:
            return f"all is ready ({self.seconds['all']:.1f} s)"
        return "not all is ready"


def table(title: str, steps: tuple[Step, ...]) -> str:
    """Return steps as a table of HTML."""
    cell = "text-align:left;vertical-align:top;padding:2px 10px"
    rows = "".join(
        f'<tr><td style="{cell};color:{_COLOURS[step.state]}"><b>{step.state}</b></td>'
        f'<th scope="row" style="{cell}">{escape(step.title)}</th>'
        f'<td style="{cell}">{escape(_words(step))}</td></tr>'
        for step in steps
    )
    return f"<div><p>{escape(title)}</p><table><tbody>{rows}</tbody></table></div>"


def plan_text(origin: str, steps: tuple[Step, ...], *, beside: list[str], restart: bool) -> str:
    """Return the page that is shown before anything is done.

    Args:
        origin: Where the set-up was written.
        steps: Its parts.
        beside: The sources that are fetched while packages are installed.
        restart: Whether the kernel would have to start anew.
    """
    lines = [f"colabkit: the set-up of {origin}", *_lines(steps)]
    if beside:
        lines.append(f"  while packages are installed: {', '.join(beside)}")
    if restart:
        lines.append("  then the kernel restarts in place, and this cell runs again")
    return safe_text("\n".join(lines))


def _lines(steps: tuple[Step, ...]) -> list[str]:
    width = max((len(step.title) for step in steps), default=0)
    return [f"  {_MARKS[step.state]}  {step.title:<{width}}  {_words(step)}" for step in steps]


def _words(step: Step) -> str:
    is_open = step.state in ("missing", "failed") or (step.kind == "secret" and step.state == "to do")
    return f"{step.what}. What to do: {step.do}" if is_open and step.do else step.what
