"""The tab Packages: plan, then apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.packages import install
from colabkit.panel import _html

if TYPE_CHECKING:
    from colabkit.packages import InstallReport
    from colabkit.panel._desk import Desk


class PackagesTab:
    """Requirements, what they would change, and the change."""

    title = "Packages"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.wanted = desk.area("Packages", placeholder="polars>=1\nkeras>=3.10")
        self._result = desk.html()
        self._plan = desk.button("Plan", self.plan)
        self._apply = desk.button("Install", self._install, style="primary")
        self.widget = desk.column(
            desk.html(_html.hint("One requirement a line. The plan shows what would change, and touches nothing.")),
            self.wanted,
            desk.actions(self._plan, self._apply),
            self._result,
        )

    def plan(self) -> None:
        """Ask what would change."""
        self._start("planning", dry_run=True)

    def _install(self) -> None:
        self._start("installing", dry_run=False)

    def _start(self, name: str, *, dry_run: bool) -> None:
        wanted = [line.strip() for line in self.wanted.value.splitlines() if line.strip()]
        self._desk.note_code("packages", f"ck.install({', '.join(map(repr, wanted))})")
        self._result.value = ""

        def work() -> str:
            report = install(*wanted, restart="never", dry_run=dry_run)
            self._result.value = _rows(report)
            if report.restart_needed and not dry_run:
                return "installed; run the first cell again, or restart the kernel, before you use what was replaced"
            count = len(report.changed)
            verb = "would change" if dry_run else "changed"
            return f"{count} package{'' if count == 1 else 's'} {verb}" if count else "everything is already there"

        self._desk.worker.start(name, work)


def _rows(report: InstallReport) -> str:
    verb = "would change" if report.dry_run else "changed"
    rows = [(verb if number == 0 else "", _html.text(change)) for number, change in enumerate(report.changed)]
    rows += [("conflict", _html.text(conflict)) for conflict in report.conflicts]
    rows += [("restart for", _html.text(one)) for one in report.stale]
    return _html.table(rows or [("nothing to do", "everything is already there")], "packages")
