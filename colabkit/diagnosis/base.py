"""What a diagnosis is: findings, each with what, why and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from colabkit.packages._site import Site
    from colabkit.runtime.base import Place, Runtime

Severity = Literal["problem", "warning", "note"]
"""A problem needs action before work goes on; a warning may bite later; a note is good to know."""

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know.

    Attributes:
        severity: "problem", "warning" or "note".
        what: What was found.
        why: Why it matters, or where it comes from.
        do: The next step.
    """

    severity: Severity
    what: str
    why: str
    do: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the checks look at; nothing in it calls a server or touches a device.

    Attributes:
        runtime: The detected runtime.
        place: The environment variables, the root folder, the shell.
        site: The installed packages.
    """

    runtime: Runtime
    place: Place
    site: Site


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `doctor()` found. In a notebook it shows itself as a table.

    Attributes:
        runtime: The runtime that was looked at.
        findings: Problems first, then warnings, then notes; empty when all is well.
        checks: The names of what was looked at.
    """

    runtime: Runtime
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    @property
    def needs_action(self) -> bool:
        """Whether there is a problem."""
        return any(finding.severity == "problem" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {
            "needs_action": self.needs_action,
            "host": self.runtime.host,
            "findings": [vars(finding) for finding in self.findings],
            "checks": list(self.checks),
        }

    def __str__(self) -> str:
        from colabkit.diagnosis import report

        return report.text(self)

    def _repr_html_(self) -> str:
        from colabkit.diagnosis import report

        return report.html(self)
