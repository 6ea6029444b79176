"""The tab Packages: plan, then apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.packages import install
from colabkit.panel import html

if TYPE_CHECKING:
    from colabkit.packages import InstallReport
    from colabkit.panel.widget_kit import WidgetKit


class PackagesTab:
    """Requirements, what they would change, and the change."""

    title = "Packages"

    def __init__(self, desk: WidgetKit) -> None:
        self._desk = desk
        self.requirements = desk.area("Packages", placeholder="polars>=1\nkeras>=3.10")
        self._result = desk.html()
        self._plan = desk.button("Plan", self.plan)
        self._apply = desk.button("Install", self._install, style="primary")
        self.widget = desk.column(
            desk.html(html.hint("One requirement a line. The plan shows what would change, and touches nothing.")),
            self.requirements,
            desk.actions(self._plan, self._apply),
            self._result,
        )

    def plan(self) -> None:
        """Ask what would change."""
        self._start("planning", dry_run=True)

    def _install(self) -> None:
        self._start("installing", dry_run=False)

    def _start(self, name: str, *, dry_run: bool) -> None:
        requirements = [line.strip() for line in self.requirements.value.splitlines() if line.strip()]
        line = f"ck.install({', '.join(map(repr, requirements))})"
        self._result.value = ""

        def work() -> str:
            report = install(*requirements, restart="never", dry_run=dry_run)
            self._result.value = _rows(report)
            if report.restart_needed and not dry_run:
                return "installed; run the first cell again, or restart the kernel, before you use what was replaced"
            count = len(report.changed)
            verb = "would change" if dry_run else "changed"
            return f"{count} package{'' if count == 1 else 's'} {verb}" if count else "everything is already there"

        self._desk.worker.start(name, work, done=lambda: self._desk.note_code("packages", line), may_leave=dry_run)


def _rows(report: InstallReport) -> str:
    verb = "would change" if report.dry_run else "changed"
    rows = [(verb if number == 0 else "", html.text(change)) for number, change in enumerate(report.changed)]
    rows += [("conflict", html.text(conflict)) for conflict in report.conflicts]
    rows += [("restart for", html.text(package)) for package in report.stale]
    return html.table(rows or [("nothing to do", "everything is already there")], "packages")
