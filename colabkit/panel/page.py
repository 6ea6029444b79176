"""The panel as a page to read: for scripts, terminals, saved notebooks, and where ipywidgets is not installed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from colabkit.diagnosis import doctor
from colabkit.panel import html
from colabkit.runtime import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis import Diagnosis
    from colabkit.runtime import Runtime

NEXT = (
    ("packages", 'ck.install("polars")'),
    ("data", 'ck.fetch("https://example.org/digits.zip")'),
    ("Drive", "ck.drive.mount()"),
    ("the run", 'run = ck.open_run("runs/first")'),
    ("all at once", "ck.setup()"),
)
"""What can be done next, in the order of the tabs."""


class Page:
    """What `setup_panel()` shows where there are no widgets."""

    @functools.cached_property
    def diagnosis(self) -> Diagnosis:
        """What the doctor found."""
        return doctor()

    def __str__(self) -> str:
        lines = [f"colabkit: {self.diagnosis.runtime.name}"]
        lines += [f"  {name:<13}{value}" for name, value in facts(self.diagnosis.runtime)]
        for finding in self.diagnosis.findings:
            lines.append(f"  {finding.severity}: {finding.what}. What to do: {finding.do}")
        lines.append("next, after `import colabkit as ck`:")
        lines += [f"  {name:<13}{line}" for name, line in NEXT]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's protocol
        printer.text(str(self))

    def _repr_html_(self) -> str:
        steps = html.table(((name, f"<code>{html.text(line)}</code>") for name, line in NEXT), "next steps")
        return (
            f'{html.STYLE}<div class="ck-panel"><p class="ck-title">colabkit</p>'
            f"{facts_html(self.diagnosis.runtime)}{findings_html(self.diagnosis)}{steps}</div>"
        )


def facts(runtime: Runtime) -> Iterator[tuple[str, str]]:
    """Return what a person wants to know of a runtime at a glance."""
    yield "runtime", f"{runtime.name}, Python {runtime.python}"
    yield "accelerator", report.accelerators(runtime)
    yield "cores", f"{runtime.cpus:g}"
    yield "memory", "unknown" if runtime.memory is None else report.size(runtime.memory)
    if runtime.disk is not None:
        yield "disk", f"{report.size(runtime.disk.free)} free of {report.size(runtime.disk.total)}"
    yield "lasts", "nothing on this machine" if runtime.persistent_dir is None else str(runtime.persistent_dir)
    if runtime.max_session_hours is not None and runtime.session_age is not None:
        left = max(0.0, runtime.max_session_hours - runtime.session_age / 3600)
        yield "time left", f"{left:.1f} h at most"
    for quota in report.known_quotas(runtime):
        yield "quota", str(quota)


def facts_html(runtime: Runtime) -> str:
    """Return the same as a table."""
    return html.table(((name, html.text(value)) for name, value in facts(runtime)), "runtime")


def findings_html(diagnosis: Diagnosis) -> str:
    """Return what the doctor found; a line when that is nothing."""
    if not diagnosis.findings:
        return f"<p>{html.badge('ok', 'all is well')} {html.text(', '.join(diagnosis.checks))} were looked at</p>"
    return "".join(finding_html(finding) for finding in diagnosis.findings)


def finding_html(finding: Any) -> str:
    """Return one finding."""
    return (
        f'<div style="margin:6px 0;line-height:1.45" data-ck-finding="{finding.severity}">'
        f"{html.badge(finding.severity, finding.severity)} <b>{html.text(finding.what)}</b><br>"
        f"{html.text(finding.why)}<br>What to do: {html.text(finding.do)}</div>"
    )
