"""A diagnosis as a page for a terminal, and as a table for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown
from colabkit._safe_text import safe_text
from colabkit.diagnosis.base import SEVERITIES
from colabkit.runtime import report

if TYPE_CHECKING:
    from colabkit.diagnosis.base import Finding
    from colabkit.runtime.report import Runtime

_COLOURS = {"problem": "#c5221f", "warning": "#b06000", "note": "#5f6368"}
"""They are read on a white page and on a dark one."""

_CELL = "text-align:left;vertical-align:top;padding:4px 10px"


@dataclass(frozen=True, kw_only=True, repr=False)
class Diagnosis(Shown):
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
        return text(self)

    def _repr_html_(self) -> str:
        return html(self)


def text(diagnosis: Diagnosis) -> str:
    """Return the page that `print(doctor())` and `colabkit doctor` show."""
    lines = [_machine(diagnosis)]
    for finding in diagnosis.findings:
        lines += ["", f"{finding.severity}: {finding.what}", f"  Why: {finding.why}", f"  What to do: {finding.do}"]
    return safe_text("\n".join([*lines, "", _summary(diagnosis)]))


def html(diagnosis: Diagnosis) -> str:
    """Return the table that a notebook shows."""
    rows = "".join(
        f'<tr><td style="{_CELL};color:{_COLOURS[finding.severity]}"><b>{finding.severity}</b></td>'
        f'<td style="{_CELL}"><b>{escape(finding.what)}</b><br>{escape(finding.why)}</td>'
        f'<td style="{_CELL}">{escape(finding.do)}</td></tr>'
        for finding in diagnosis.findings
    )
    head = f'<tr><th style="{_CELL}"></th><th style="{_CELL}">what and why</th><th style="{_CELL}">what to do</th></tr>'
    table = f"<table>{head}{rows}</table>" if rows else ""
    return f"<div><p>{escape(_machine(diagnosis))}</p>{table}<p>{escape(_summary(diagnosis))}</p></div>"


def _machine(diagnosis: Diagnosis) -> str:
    runtime = diagnosis.runtime
    parts = [
        runtime.name,
        f"Python {runtime.python}",
        f"{runtime.cpus:g} core{'' if runtime.cpus == 1 else 's'}",
        f"{report.size(runtime.memory)} memory" if runtime.memory is not None else "",
        f"{report.size(runtime.disk.free)} disk free" if runtime.disk is not None else "",
        report.accelerators(runtime) if runtime.accelerators else "no GPU or TPU",
    ]
    return ", ".join(filter(None, parts))


def _summary(diagnosis: Diagnosis) -> str:
    checked = f"Looked at {', '.join(diagnosis.checks)}"
    counts = []
    for severity in SEVERITIES:
        number = sum(finding.severity == severity for finding in diagnosis.findings)
        if number:
            counts.append(f"{number} {severity}{'' if number == 1 else 's'}")
    return f"{checked}: {', '.join(counts) or 'all is well'}."
